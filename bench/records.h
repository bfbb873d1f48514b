/* SPDX-License-Identifier: Apache-2.0 */
/* records: the rows of every result this project stores, one struct per table of a run (data/records.h writes
 * them). A run holds attributes about the machine and the build (bench/machine.h), a `models` table when it
 * has models, and the tables of its kind:
 *
 *     kind "bench"    models, throughput, limits (unless --no-limits), lookup (bench/lookup.h, with
 * --lookup), samples kind "limits"   limits, samples kind "parity"   models (one), parity_layers,
 * parity_logits, parity_bounds (bench/parity_rows.h) kind "kernels"  kernels, limits, samples
 *
 * Runs that were compared with a baseline also have `comparison`; baselines (bench/baseline.h) also have
 * `noise`.
 *
 * Texts are cut to their field. Unknown numbers are 0, unknown texts "". Rates: GB is 1e9 bytes, GMAC is 1e9
 * multiply-accumulates (half as many as "FLOP"). Raise RECORD_SCHEMA when a field changes its meaning. */
#ifndef BENCH_RECORDS_H
#define BENCH_RECORDS_H

#include <stdint.h>

#include "data/model.h"
#include "data/records.h"

enum { RECORD_SCHEMA = 1 };

/* One opened model file. Other rows name it by `name`. */
struct model_row {
    char name[64];          /* general.name, or the file's name without its folder and .gguf */
    char file[128];         /* the file's name without its folder */
    char arch[32];          /* "lfm2moe" */
    char recipe[16];        /* "Q4_0" */
    char header_sha256[65]; /* of everything before the tensor data */
    int64_t bytes, params, synthetic;
    double bytes_per_token;       /* weights read for one decoded token */
    double macs_per_token;        /* without the head */
    double head_macs;             /* of one position's logits */
    double kv_bytes_per_position; /* f16 */
};

/* One test of one engine on one model. */
struct throughput_row {
    char engine[64]; /* "optimized", "reference", or the peer: "llama.cpp b1234 (llama-bench)" */
    char model[64];
    char test[48]; /* "pp512", "tg128 @ d4096", "tg128 x8": 8 sequences at once, n_gen is then 8 * 128 */
    int64_t n_prompt, n_gen, n_depth;
    int64_t n_batch;
    int64_t threads;
    int64_t seed;                         /* of the token ids; 0 for peers, who choose their own */
    int64_t repetitions;                  /* = samples_count */
    int64_t samples_first, samples_count; /* rows of `samples`: ns of each repetition, in order */
    double avg_ns, stddev_ns;
    double avg_ts, stddev_ts;       /* tokens per second, as llama-bench computes them */
    double median_ts, ci_lo, ci_hi; /* median of the repetitions and its 95 % bootstrap interval */
    double bytes_per_token; /* read per decoded token at the test's mean depth, keys and values included */
    double macs_per_token;  /* per token of the test, attention at its mean depth included */
    double limit_ts;        /* what this machine's measured limits allow; 0: not measured */
    double share_of_limit;  /* median_ts / limit_ts; where limits were measured beside each repetition, the
                             * median  of the repetitions' own shares, and limit_ts that of their limits */
    double share_lo,
        share_hi;           /* its 95 % interval; 0: the limits were measured before and after the run only */
    char limited_by[16];    /* "read" or "int8": which limit it is */
    int64_t peak_rss;       /* bytes this model on this engine had resident at most; 0 for peers */
    int64_t load_ns;        /* model_open and engine->open; 0 for peers */
    int64_t first_token_ns; /* from before model_open to the logits of the first token; 0: no warm-up */
    char kernels[512];      /* engine->describe */
    char output_sha256[65]; /* of the last repetition's last logits */
    int64_t output_same;    /* 1: every repetition gave those very bytes */
    double ratio, ratio_lo, ratio_hi; /* peers: ours / theirs, paired, with its 95 % interval; else 0 */
};

/* One shape of one row of the kernel table. */
struct kernel_row {
    char op[24], isa[16]; /* "gemm_q4a8", "avx512vnni" */
    char shape[64];       /* "n=1 rows=2048 K=2048" */
    int64_t chosen;       /* 1: dispatch takes this row on this machine */
    int64_t fastest;      /* 1: no other row of the op was faster on this shape */
    int64_t threads, seed;
    int64_t cases;                        /* compared with the oracle */
    double error_share;                   /* largest error as a share of its bound */
    int64_t pass;                         /* 1 also when only timed */
    double median_ns, ci_lo_ns, ci_hi_ns; /* one call; 0: not timed */
    int64_t samples_first, samples_count;
    double gb_s, gmac_s;
    double limit_gb_s, limit_gmac_s; /* measured, for the same threads; 0: none */
    double share_of_limit;           /* of the limit that binds this shape */
    char limited_by[16];             /* "read", "int8", "bf16", "fp32" */
    double times_scalar;             /* scalar's median / this median */
};

/* One measured limit of the machine. */
struct limits_row {
    char name[32];                  /* "read", "int8", "bf16", "fp32" */
    char isa[16];                   /* the instruction used: "avx512vnni" */
    char unit[16];                  /* "GB/s", "GMAC/s" */
    int64_t threads;                /* pinned to as many CPUs */
    int64_t bytes;                  /* read: size of the cyclic set; else 0 */
    double median, lowest, highest; /* of the repetitions, in unit */
    int64_t best;                   /* 1: highest median of its name, threads and bytes */
    int64_t samples_first,
        samples_count; /* ns of each repetition; work per repetition = median * median ns */
};

/* How much one timed thing differs from itself: bench/compare.h. */
struct noise_row {
    char name[256];
    int64_t samples;
    double noise; /* log of a ratio: 0.01 is 1 % */
};

/* One timed thing then and now. */
struct comparison_row {
    char name[256];
    char verdict[16]; /* "better", "worse", "inconclusive", "new" (no baseline has it), "missing" (now) */
    char why[64];     /* of inconclusive */
    int64_t n_then, n_now;   /* samples */
    double then_ns, now_ns;  /* medians */
    double ratio, lo, hi;    /* speed now / then and its 95 % interval */
    double noise, threshold; /* A/A noise, and the least difference that counts */
};

/* All repetitions of a run, in ns; rows point into it by first and count. */
struct sample_row {
    int64_t ns;
    double read_gb_s,
        int8_gmac_s; /* of a throughput sample: what the machine could do around it; 0: not measured */
    double calls; /* of a kernel's sample: ns is of so many calls, each of which may be a few ns; 0: of one */
};

/* ns of one repetition. */
static inline double sample_ns(const struct sample_row *s) {
    return (double)s->ns / (s->calls > 1 ? s->calls : 1);
}

extern const struct table models_table, throughput_table, kernels_table, limits_table, samples_table,
    noise_table, comparison_table;

/* What a model's row says. */
struct model_row model_row(const struct model *m);

/* A growing list of rows of any of these tables. */
struct rows {
    void *data;
    size_t n, capacity;
};
/* Appends a copy of one row (row_bytes of the table); returns 0, or -1 without memory. free(list->data). */
int rows_add(struct rows *list, const struct table *t, const void *row);

#endif
