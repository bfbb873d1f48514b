/* SPDX-License-Identifier: Apache-2.0 */
/* eval_rows: evaluations as rows. `lfm2 eval --record` writes them, `lfm2 report` reads them.
 *
 *     kind "eval"     models (one), eval_run (one), eval
 *     kind "compare"  eval_pairs
 *
 * Unknown numbers are 0, unknown texts ""; a score or error that there is none of is NAN. */
#ifndef BENCH_EVAL_ROWS_H
#define BENCH_EVAL_ROWS_H

#include "bench/records.h"

/* One run: what it asked, and what it took. */
struct eval_run_row {
    char model[64], recipe[16]; /* of its model_row */
    char engine[32];            /* "reference", "optimized", "optimized avx2 kv-q8_0" */
    char weights[17];  /* some bytes of every layer, hashed: two checkpoints can have equal headers */
    char protocol[16]; /* "lm-eval", "card" */
    char tasks[256];   /* as asked for */
    int64_t num_fewshot, limit;                /* -1: each task's own; 0: all documents */
    int64_t chat, context;                     /* 1: with the chat template; tokens */
    int64_t batch, threads, processes, prefix; /* prefix 1: common beginnings were computed once */
    int64_t items, n_before;      /* n_before of the items were in the journal; the times are of the others */
    double seconds, load_seconds; /* computing, without load_seconds: opening the engine */
    double items_s;
    int64_t fed, reused; /* tokens computed; tokens that a common beginning saved */
    char kernels[512];   /* engine->describe; "" when nothing was computed */
};

/* One score of one run: of a task or of a group of tasks, under one filter, by one metric. */
struct eval_row {
    char model[64], recipe[16], engine[32], protocol[16];
    char suite[32];  /* "mmlu" */
    char task[64];   /* or group */
    char parent[64]; /* the group of this run that it belongs to; "" at the top */
    char version[16], filter[32], metric[48];
    int64_t num_fewshot, chat, limit;
    int64_t n, n_failed, n_truncated; /* documents: scored, in no score, with a beginning cut off */
    double value, error;              /* error: lm-eval's stderr */
    double lo, hi;                    /* 95 % by bootstrap */
};

/* Two runs on the same documents. */
struct eval_pair_row {
    char a[96], b[96]; /* "tiny BF16, reference" */
    char task[64], filter[32], metric[48];
    int64_t n, gained, lost;   /* documents; of those better and worse in b */
    double value_a, value_b;   /* means over the n */
    double difference, lo, hi; /* b - a, with its paired 95 % interval */
    double p;                  /* McNemar's exact test; NAN where values are not 0 and 1 */
};

extern const struct table eval_run_table, eval_table, eval_pairs_table;

#endif
