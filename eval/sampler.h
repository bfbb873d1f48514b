/* SPDX-License-Identifier: Apache-2.0 */
/* sampler: chooses the next token from logits. The order is that of transformers, whose numbers the model
 * cards give: repetition penalty, temperature, top-k, top-p, min-p, then one draw. (llama.cpp applies the
 * temperature last, so the same numbers cut less there.) Everything that is left has the probability it would
 * have among what is left. The same settings, seed, logits and history give the same tokens on every machine
 * with IEEE arithmetic. */
#ifndef EVAL_SAMPLER_H
#define EVAL_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

struct sampler_options {
    double temperature; /* 0: greedy, the highest logit; of equal ones the lowest id */
    int top_k;          /* keep the k most likely; 0: all */
    double top_p;       /* keep the fewest whose probabilities reach p; 1: all */
    double min_p;       /* keep those with at least p times the highest probability; 0: all */
    double
        repeat_penalty; /* divides positive logits of tokens seen before, multiplies negative ones; 1: off */
    int repeat_last_n;  /* how many of the last tokens count as seen; -1: all, 0: none */
    uint64_t seed;
};

/* Temperature 0 and nothing else: the default of evaluations. */
struct sampler_options sampler_greedy(void);
/* The model card's values when arch ("lfm2moe", "lfm2") is one of LFM2's: 0.3, min-p 0.15, penalty 1.05.
 * Qwen3's: 0.6, top-p 0.95, top-k 20. Greedy for other names. */
struct sampler_options sampler_defaults(const char *arch);

struct sampler;

/* n_vocab: how many logits each choice gets. Pass tokenizer_size, not the embedding's rows, so that ids
 * without a text are never chosen. *out is NULL on error; ERR_ARG names the value that is out of range. */
enum status sampler_open(struct sampler **out, const struct sampler_options *o, int n_vocab, struct error *e);
void sampler_close(struct sampler *s); /* NULL is fine */

/* Chooses from logits[0..n_vocab); seen[0..n_seen) is the timeline so far, prompt included. -INFINITY forbids
 * a token. ERR_ARG when no token is left or a logit is NaN: then the model, not the sampler, is at fault. */
enum status sampler_choose(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                           int32_t *id, struct error *e);

/* The probabilities that sampler_choose draws from, [n_vocab], without drawing. */
enum status sampler_distribution(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                                 double *p, struct error *e);

#endif
