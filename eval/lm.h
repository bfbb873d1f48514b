/* SPDX-License-Identifier: Apache-2.0 */
/* lm: a model as lm-eval's HFLM sees it: how likely is a continuation, and what does it say until a stop
 * text. Prompts are tokenised, cut and scored as there. Knows engines, tokens and texts; nothing of tasks,
 * files or what answers are worth.
 *
 * Several jobs are in flight at once, each on a timeline of its own, and every step feeds all of them in one
 * go. What a job gets does not depend on its company: neither the order of jobs nor the number of timelines
 * changes a bit of the results. */
#ifndef EVAL_LM_H
#define EVAL_LM_H

#include "data/chat.h"
#include "data/model.h"
#include "eval/sampler.h"
#include "eval/task.h"
#include "reference/engine.h"

struct lm_options {
    const char *model, *lora, *packed;
    const char *engine;        /* "reference", "optimized" */
    const char *chat_template; /* name; NULL: the file's own */
    int chat;                  /* 1: prompts are conversations; lm_open fails without a template */
    int threads;               /* 0: one per available CPU */
    unsigned cpu_mask;
    const char *isa; /* how cpu_mask is called; NULL: all */
    enum kv_type kv_type;
    int context;   /* tokens of prompt and answer; 0: LM_CONTEXT, or the model's own when that is less */
    int batch;     /* timelines; 0: LM_BATCH */
    int no_prefix; /* 1: every prompt is computed from its first token, to measure what sharing saves */
    int seed;      /* of sampling; each item draws from a generator of its own */
};
enum { LM_CONTEXT = 8192, LM_BATCH = 8, LM_MAX_BATCH = 256 };

struct lm {
    struct lm_options options;
    struct model *model;
    struct tokenizer *tokenizer;
    const struct engine *engine;
    enum chat_template template;
    int n_vocab, max_length, n_slots;
    struct slot *slots; /* [n_slots]; their sessions are opened by the first lm_run that has a job */
    float *logits;      /* [n_slots, LM_ROWS, V]; NULL before that */
    struct part *parts; /* [n_slots] */
    /* The shared beginning that slots may start from. */
    struct tokens prefix;
    struct snapshot snapshot;
    unsigned version; /* of prefix */
    /* What it took so far. */
    long fed, reused; /* tokens computed; tokens that a shared beginning saved */
    int64_t load_ns;  /* opening the engine, which the first lm_run does */
};

/* Opens the model and its tokenizer. *out is NULL on error. */
enum status lm_open(struct lm **out, const struct lm_options *o, struct error *e);
void lm_close(struct lm *lm); /* NULL is fine */
/* The engine's description of itself; "" before it was opened. */
void lm_describe(const struct lm *lm, char *text, size_t size);

/* Appends the text of an item's prompt, which is lm-eval's arg_0. lm may be NULL when it is no chat. */
enum status lm_prompt(const struct lm *lm, const struct item *item, struct buffer *out, struct error *e);

/* What lm-eval's tok_encode does: BOS when the vocabulary wants one and the text has none. */
enum status lm_encode(const struct lm *lm, const char *text, size_t n, struct tokens *out, struct error *e);
/* lm-eval's _encode_pair, and its rule for an empty context: whole gets both, *n_continuation how many of its
 * last tokens are the continuation's. ERR_ARG: there are none. */
enum status lm_encode_pair(const struct lm *lm, const struct buffer *context,
                           const struct buffer *continuation, struct tokens *whole, size_t *n_continuation,
                           struct error *e);

/* How an answer is generated: what lm-eval's normalize_gen_kwargs makes of an item's gen_kwargs. */
struct gen_options {
    const char **until; /* [n_until], owned array of texts that belong to the json */
    int n_until;
    int max_gen_toks;
    struct sampler_options sampling;
};
/* defaults: sampling where do_sample is true and no temperature is given. ERR_ARG names a bad value. */
enum status gen_options_read(struct gen_options *out, const json_t *gen_kwargs,
                             const struct sampler_options *defaults, struct error *e);
void gen_options_free(struct gen_options *o);

/* One request to the model. The pointers belong to the caller. */
struct job {
    const struct item *item;
    const struct buffer *prompt; /* lm_prompt of the item */
    const struct tokens
        *prefix;   /* a beginning that many prompts share; used when this one has it. NULL: none */
    uint64_t seed; /* of this job's sampling */
    /* Answers: ITEM_CHOICES one per continuation, ITEM_GENERATE one. Freed by job_free. */
    struct response *responses;
    int n_responses;
    int truncated;       /* tokens that were cut off the beginning of the prompt */
    int n_tokens;        /* generated */
    struct error failed; /* code OK, or why this job alone has no answer */
};
void job_free(struct job *job);

/* next gives the next job, NULL when there is none now; it is asked again as long as jobs are in flight. done
 * gets each one when it is answered or has failed; jobs come back in any order. An error of either, or of the
 * engine, ends the run; jobs that are in flight then do not come back. */
struct lm_source {
    enum status (*next)(void *arg, struct job **out, struct error *e);
    enum status (*done)(void *arg, struct job *job, struct error *e);
    void *arg;
};
enum status lm_run(struct lm *lm, const struct lm_source *source, struct error *e);

#endif
