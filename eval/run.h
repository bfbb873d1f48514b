/* SPDX-License-Identifier: Apache-2.0 */
/* run: an evaluation from documents to a full set of answers, wherever they come from: this process, others
 * of mpirun, or the journals of earlier and neighbouring runs. What the answers are worth is the business of
 * results. */
#ifndef EVAL_RUN_H
#define EVAL_RUN_H

#include "eval/journal.h"
#include "eval/lm.h"
#include "eval/share.h"
#include "eval/task.h"

struct run_options {
    struct lm_options lm;
    struct task_options task;
    const char *data;        /* folder with the original files */
    const char *output_path; /* folder of journal and results; NULL: neither */
    int limit;               /* documents of each task; 0: all */
    json_t *gen_kwargs;      /* replaces members of the tasks' own; NULL: none */
    int shard, shards;       /* this process computes every shards-th unit, from shard - 1; 0 of 0: all */
};

struct run_task {
    struct task task;
    struct task_data *data;
    int original;         /* documents there are */
    int n;                /* documents of this run */
    json_t **answers;     /* [n], lines of the journal; NULL: not done */
    int n_done, n_failed; /* of those */
    int first_unit;
    double sum; /* of the first metric of the first filter, for the progress line */
    int summed;
    struct tokens prefix; /* what nearly all prompts begin with */
    int prefix_known;
};

struct run {
    struct run_options options;
    struct lm *lm;
    struct run_task *tasks;
    int n_tasks, n_units, next_unit;
    int n_items, n_done, n_failed, n_before; /* n_before: done when this process began */
    json_t *header;                          /* of the journal: {"run": {...}, "info": {...}} */
    struct journal journal;
    struct share *share;
    int64_t start_ns, synced_ns;
    int watched; /* 1: somebody looks at the progress line */
    struct run_progress *progress;
};

/* Opens the model and the tasks and reads the journals. tasks [n]: from tasks_named. *out is NULL on error.
 */
enum status run_open(struct run **out, const struct run_options *o, const struct task *tasks, int n,
                     struct share *share, struct error *e);
/* Computes what is missing; of a shard, its part. Afterwards n_done == n_items unless this was a shard. */
enum status run_compute(struct run *r, struct error *e);
void run_close(struct run *r); /* NULL is fine */

/* An item as it was asked: built, with gen_kwargs replaced; prompt is appended. Error: the row is malformed.
 */
enum status run_build(struct run *r, struct run_task *t, int doc_id, struct item *item, struct buffer *prompt,
                      struct error *e);
/* The responses of a line of the journal, in arrays of their own; text belongs to the line. NULL for a failed
 * item or without memory. *n: how many. */
struct response *run_responses(const json_t *line, int *n);

#endif
