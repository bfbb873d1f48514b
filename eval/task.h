/* SPDX-License-Identifier: Apache-2.0 */
/* task: the contract of a benchmark. A suite (one file eval/tasks/NAME.c) knows what lm-eval's YAML and
 * utils.py know: which rows there are, what is asked, and what an answer is worth. It knows nothing of
 * models, engines, files of results or the order in which items run: eval/run.c drives it.
 *
 * Terms are lm-eval's: a task ("mmlu_anatomy") has documents; a document's requests and their responses are
 * here an item; a filter ("strict-match") turns responses into answers; a metric values them; a group
 * ("mmlu_stem", "mmlu") aggregates tasks. */
#ifndef EVAL_TASK_H
#define EVAL_TASK_H

#include <jansson.h>
#include <stddef.h>

#include "data/buffer.h"
#include "data/status.h"

enum protocol {
    PROTOCOL_LM_EVAL, /* prompts, shots, stop rules, sampling and metrics of lm-eval's task */
    PROTOCOL_CARD, /* what the model's publisher is believed to do: chat, the card's number of shots, room to
                    * think. Its scores are never put beside the other protocol's */
};

/* What the user asked for; the same for all tasks of a run. */
struct task_options {
    enum protocol protocol;
    int num_fewshot;                /* -1: the task's own */
    int apply_chat_template;        /* 1: items give messages instead of a text */
    int fewshot_as_multiturn;       /* shots are turns of their own; lm-eval's default with a chat template */
    const char *system_instruction; /* NULL: none */
    int fewshot_seed;               /* lm-eval's default: 1234 */
};

enum item_kind {
    ITEM_CHOICES,  /* how likely is each of the continuations? (multiple_choice) */
    ITEM_GENERATE, /* what does the model say? (generate_until) */
};

enum { TASK_MAX_FILTERS = 4, TASK_MAX_METRICS = 12 };

/* One document's requests. Zeroed, then filled by build; freed by item_free. Everything is owned. */
struct item {
    enum item_kind kind;
    json_t *doc;  /* the row as lm-eval logs it, after process_docs: keys in order, an object */
    char *target; /* Python's str(doc_to_target(doc)), as in lm-eval's samples */

    /* The prompt. Without a chat template: context. With one: messages ([{"role","content"}, ...], without a
     * final assistant turn), which the runner renders with the model's template, header of the answer
     * included. What lm-eval logs as arg_0 is the rendered text. */
    struct buffer context;
    json_t *messages;

    /* ITEM_CHOICES: continuations as lm-eval logs them in arg_1, delimiter included (" A"). */
    struct buffer *continuations; /* [n_continuations] */
    int n_continuations;

    /* ITEM_GENERATE: arg_1 as lm-eval logs it, an object: "until" [texts], "do_sample", "temperature", ...;
     * "max_gen_toks" when the YAML has it (256 when absent). */
    json_t *gen_kwargs;
    int repeats; /* answers wanted to the same prompt; 0 means 1 */
};
void item_free(struct item *item);

/* A response is what lm-eval calls one resp: of continuation i, or of repeat i. */
struct response {
    double loglikelihood; /* ITEM_CHOICES */
    int is_greedy;
    const char *text; /* ITEM_GENERATE: stop texts cut off; UTF-8, NUL-terminated, may contain NULs */
    size_t n;
};

/* What one filter made of an item's responses. Both owned by the caller. */
struct score {
    json_t *filtered; /* filtered_resps as lm-eval logs it, before everything becomes text. Left NULL: the
                       * responses themselves (lm-eval's filters "none" and take_first) */
    json_t
        *metrics; /* object in lm-eval's order: metric -> number, boolean, or array of those (inst_level) */
};

enum aggregation {
    AGGREGATE_MEAN, /* stderr: that of a mean */
    AGGREGATE_FLAT, /* each value is a list; the mean of all their members; stderr is "N/A" (IFEval
                     * inst_level)
                     */
};

struct metric {
    const char *name; /* "acc", "exact_match" */
    enum aggregation aggregation;
    int lower_is_better;
};

/* How far our scores are lm-eval's (or the benchmark's own scorer's) on the same outputs. */
enum task_state {
    STATE_EXACT,   /* prompts and scores byte for byte */
    STATE_NEAR,    /* scores differ on items that the suite's note names */
    STATE_PARTIAL, /* part of the checkers or languages; the rest is counted as not scored, not as wrong */
    STATE_EXPORT,  /* generated and written for the benchmark's own scorer */
};

struct task {
    char name[64];  /* lm-eval's: "mmlu_anatomy" */
    char alias[64]; /* shown in tables; "" means name */
    char group[64]; /* the group it belongs to directly ("mmlu_humanities"); "" without one */
    const struct suite *suite;
    int variant;         /* the suite's own: which subject, which language */
    const char *version; /* lm-eval's metadata.version: "3.0", "1" as JSON prints it */
    enum item_kind kind;
    int num_fewshot; /* lm-eval's default */
    const char
        *filters[TASK_MAX_FILTERS]; /* "none", or "strict-match", "flexible-extract"; NULL after the last
                                     */
    struct metric metrics[TASK_MAX_METRICS]; /* name NULL after the last; of every filter */
};

struct task_group {
    const char *name;                      /* "mmlu_stem" */
    const char *alias;                     /* NULL: name */
    const char *parent;                    /* "mmlu"; NULL at the top */
    const char *version;                   /* NULL: lm-eval has none */
    const char *metrics[TASK_MAX_METRICS]; /* aggregated over its tasks; none: the group is only a list */
    int macro;                             /* 1: weight_by_size is false */
};

/* An opened task: documents read, shots drawn. The suite's own. */
struct task_data;

struct suite {
    const char *name; /* "mmlu": the file eval/tasks/mmlu.c, the folder --data DIR/mmlu */
    const char *card; /* the model card's name of it ("MMLU"); NULL when it is not one of the card's 16 */
    enum task_state state;
    const char *note; /* for --list: one or more lines, what differs, what each protocol means here */
    const char *data; /* for --list: which files in DIR/NAME, in which layout, and where they are published */

    /* Tasks 0 .. n_tasks-1: fills a zeroed task but for its suite. Call suite_task. */
    int n_tasks;
    void (*task)(int index, struct task *out);
    const struct task_group *groups; /* name NULL after the last; NULL without groups */

    /* Reads the task's documents and draws the shots of all of them, as a run of lm-eval over all documents
     * would (its generator advances from document to document). dir is what the user gave as --data; files
     * are looked for in dir/NAME, else in dir. The error names the file, and what should be there. ERR_ARG:
     * the task cannot do what the options ask. *out is NULL on error. */
    enum status (*load)(struct task_data **out, const struct task *t, const char *dir,
                        const struct task_options *o, struct error *e);
    void (*unload)(struct task_data *d); /* NULL is fine */
    /* Documents, malformed rows included, so that a doc_id is what it is in lm-eval. */
    int (*count)(const struct task_data *d);
    int (*shots)(const struct task_data *d); /* that a document of this task gets: lm-eval's "n-shot" */
    /* Fills a zeroed item. May be called in any order, from one thread. ERR_FORMAT: the row is malformed;
     * error says which file and row and what is wrong; the run goes on and counts the item as failed. */
    enum status (*build)(struct task_data *d, int doc_id, struct item *out, struct error *e);

    /* Values responses with every filter: out[0..number of filters), zeroed. Depends on nothing but its
     * arguments, so that anybody's samples can be scored again: doc is the logged row, target the logged
     * text. NULL: export only. Never fails on what a model said, only when the doc lacks something. */
    enum status (*score)(const struct task *t, const json_t *doc, const char *target,
                         const struct response *r, int n, struct score *out, struct error *e);

    /* A conversation of several turns (Multi-IF). NULL: one. Called after each answer; adds the answer and
     * the next question to item->messages and sets *more, or clears it. Responses are then those of the
     * turns. */
    enum status (*next)(struct task_data *d, int doc_id, struct item *item, int turn,
                        const struct response *r, int *more, struct error *e);

    /* STATE_EXPORT, also beside a score: what one answer (n > 0) is for the benchmark's own scorer, a new
     * value; NULL: memory ran out, or an answer is not UTF-8. NULL: nothing to export. */
    json_t *(*export_answer)(const struct task *t, const json_t *doc, const struct response *r, int n);
    /* Of all answers of a run, an array, the one JSON value that the scorer's file is; model is a name.
     * NULL: the scorer reads them line by line. */
    json_t *(*export_file)(const json_t *answers, const char *model);
};

/* All suites, NULL after the last (eval/suites.c). */
extern const struct suite *const suites[];

/* Fills *out with the suite's task, suite set. */
void suite_task(const struct suite *s, int index, struct task *out);
/* NULL when the suite has no such group. */
const struct task_group *group_named(const struct suite *s, const char *name);
/* 1: the task belongs to the group, directly or not. */
int task_within(const struct task *t, const char *group);

/* Fills *out with the task of this name; 0 when there is none. */
int task_named(const char *name, struct task *out);
/* Calls add for each task that the name means: a task, or all tasks of a group or suite, in the suite's
 * order. Returns their number, 0 for an unknown name. */
int tasks_named(const char *name, void (*add)(void *arg, const struct task *t), void *arg);

int task_filters(const struct task *t); /* number of */
int task_metrics(const struct task *t);

#endif
