/* SPDX-License-Identifier: Apache-2.0 */
/* lookup: prompt lookup timed against plain decoding of the same text, in turns. A kind of its own: how much
 * it gains depends on the text, so its rows never stand among those of bench/throughput.h. */
#ifndef BENCH_LOOKUP_H
#define BENCH_LOOKUP_H

#include <stdio.h>

#include "bench/throughput.h"

/* The text: a block of seeded random ids, LOOKUP_BLOCKS times, after BOS; then n_gen tokens, always the
 * likeliest but none that ends an answer. Times are of the tokens after the first, which comes with the
 * prompt. */
enum { LOOKUP_BLOCK = 64, LOOKUP_BLOCKS = 4, LOOKUP_PROMPT = 1 + LOOKUP_BLOCK * LOOKUP_BLOCKS };

/* One number of tokens on one engine and model. */
struct lookup_row {
    char engine[64], model[64];
    char test[48]; /* "tg128 lookup" */
    int64_t n_prompt, n_gen, threads, seed, repetitions;
    int64_t samples_first, samples_count; /* ns: plain, with lookup, plain, ... two per repetition */
    double plain_ts, plain_lo, plain_hi;  /* tokens per second: median and 95 % interval */
    double lookup_ts, lookup_lo, lookup_hi;
    double ratio, ratio_lo, ratio_hi;  /* with / without, paired */
    int64_t steps, proposed, accepted; /* feeds after the prompt, and guesses, of the last repetition */
    int64_t same_tokens;               /* 1: every repetition of both gave the same tokens */
    char ids_sha256[65];               /* of those tokens, as int32 */
    char kernels[512];
};
extern const struct table lookup_table;

struct lookup_options {
    const struct int_list *n_gen; /* each 2 or more */
    int threads, batch, repetitions;
    uint64_t seed;
    unsigned cpu_mask;
    void (*progress)(void *arg, double share, const char *what); /* NULL: not called */
    void *arg;
};

/* Appends one row per number of tokens. ERR_ARG: the model's context does not hold them. */
enum status lookup_run(const struct lookup_options *o, const struct subject *s, struct rows *rows,
                       struct rows *samples, struct error *e);

/* A Markdown table. */
void lookup_print(FILE *to, const struct lookup_row *rows, size_t n);

#endif
