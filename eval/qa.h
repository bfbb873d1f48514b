/* SPDX-License-Identifier: Apache-2.0 */
/* qa: what the question-and-answer suites share: documents from rows, shots drawn as lm-eval draws them,
 * prompts, filters, acc, acc_norm and exact_match. A suite is a table of struct qa, one per task or kind of
 * task, and the few functions in which its tasks differ. */
#ifndef EVAL_QA_H
#define EVAL_QA_H

#include "data/rows.h"
#include "eval/extract.h"
#include "eval/prompt.h"
#include "eval/task.h"

enum sampler {
    SAMPLER_RANDOM,  /* random.Random(seed).sample, going on from document to document */
    SAMPLER_FIRST_N, /* the first rows, the same for every document */
};

struct qa {
    const char *description;                                    /* put before everything; NULL: none */
    void (*describe)(const struct task *t, struct buffer *out); /* a description that depends on the task */

    /* Appends the documents, as lm-eval has them after process_docs, of the test set or of the set shots come
     * from. shots is 0 where shared_pool is set. */
    enum status (*read)(const struct task *t, const char *dir, int shots, struct rows *out, struct error *e);
    int shared_pool; /* shots come from the test documents */
    int removes_doc; /* ... and one more is drawn, so that the document itself can be left out */
    enum sampler sampler;
    int fixed_shots; /* 1: the YAML says num_fewshot 0, which lm-eval lets nobody change */
    int card_shots;  /* shots of PROTOCOL_CARD; the task's own number where it is fixed */

    /* Of documents that read has accepted. text: the question. target: Python's str(doc_to_target(doc)).
     * answer: what follows a shot's question; NULL: target. */
    void (*text)(const struct task *t, const json_t *doc, struct buffer *out);
    void (*target)(const struct task *t, const json_t *doc, struct buffer *out);
    void (*answer)(const struct task *t, const json_t *doc, struct buffer *out);
    struct delimiters delimiters; /* NULL members: lm-eval's defaults */

    const char *const *choices;     /* ITEM_CHOICES: NULL after the last */
    int (*gold)(const json_t *doc); /* ITEM_CHOICES: index of the right one */

    const char *gen_kwargs;       /* ITEM_GENERATE: JSON text */
    const struct filter *filters; /* in the order of the task's filter names; NULL: take_first only */
    struct exact_match match;
    /* Instead of filters and match: one object of metrics for one answer. */
    enum status (*judge)(const struct task *t, const json_t *doc, struct pystr answer, json_t *metrics,
                         struct error *e);
};

/* The suite's own table. */
typedef const struct qa *qa_of(const struct task *t);

/* struct suite's functions; load needs the table, score too. */
enum status qa_load(struct task_data **out, const struct task *t, const struct qa *qa, const char *dir,
                    const struct task_options *o, struct error *e);
void qa_unload(struct task_data *d);
int qa_count(const struct task_data *d);
int qa_shots(const struct task_data *d);
enum status qa_build(struct task_data *d, int doc_id, struct item *out, struct error *e);
enum status qa_score(const struct task *t, const struct qa *qa, const json_t *doc, const char *target,
                     const struct response *r, int n, struct score *out, struct error *e);

/* A suite's load, and load and score, when `table` says which struct qa a task has. */
#define QA_LOAD(table)                                                                                       \
    static enum status load(struct task_data **out, const struct task *t, const char *dir,                   \
                            const struct task_options *o, struct error *e) {                                 \
        return qa_load(out, t, table(t), dir, o, e);                                                         \
    }
#define QA_FUNCTIONS(table)                                                                                  \
    QA_LOAD(table)                                                                                           \
    static enum status score(const struct task *t, const json_t *doc, const char *target,                    \
                             const struct response *r, int n, struct score *out, struct error *e) {          \
        return qa_score(t, table(t), doc, target, r, n, out, e);                                             \
    }

/* Reads the first of the files that exists and converts its rows (convert NULL: none). */
enum status qa_read(struct rows *out, const char *dir, const char *const *folders, const char *const *names,
                    json_t *(*convert)(const json_t *raw, void *arg, const char **fault), void *arg,
                    struct error *e);

/* The text of a document's field, "" when it has none. */
struct pystr doc_text(const json_t *doc, const char *key);
/* 1: every key of the list (NULL after the last) is there with a text. */
int doc_has_texts(const json_t *doc, const char *const *keys);

#endif
