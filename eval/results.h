/* SPDX-License-Identifier: Apache-2.0 */
/* results: what a finished run is worth, in the two files that lm-eval writes, results_DATE.json and
 * samples_TASK_DATE.jsonl, and as a table. Nothing in the files depends on how long the run took, how often
 * it was interrupted or how many processes shared it. */
#ifndef EVAL_RESULTS_H
#define EVAL_RESULTS_H

#include <stdio.h>

#include "eval/aggregate.h"
#include "eval/run.h"

/* Scores of one task: values[f * metrics + m] for filter f, metric m. */
struct task_result {
    struct values *values;
    int n_scored, n_failed, n_truncated; /* documents */
    char hash[65];                       /* lm-eval's task_hashes; "" without samples */
};

struct results {
    const struct run *run;
    struct task_result *tasks; /* [n_tasks] */
    json_t *json;              /* results_DATE.json */
    char folder[4096];         /* OUTPUT_PATH/MODEL; "" without output_path */
    char date[32];             /* as in the files' names */
};

/* Scores every answer and writes the samples files when log_samples. ERR_FORMAT: a prompt is not the one that
 * was answered, so the data have changed since. */
enum status results_make(struct results *out, struct run *r, int log_samples, struct error *e);
/* Writes results_DATE.json; prints its path in *path [size]. */
enum status results_write(const struct results *r, char *path, size_t size, struct error *e);
/* lm-eval's table, and what failed or was cut. */
void results_print(const struct results *r, FILE *to);
void results_free(struct results *r);

/* Results' own parts: the JSON from the values. */
enum status results_json(struct results *r, struct error *e);

#endif
