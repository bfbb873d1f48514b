/* SPDX-License-Identifier: Apache-2.0 */
/* quality_rows: a run over a text as a row: made, stored, printed. `lfm2 perplexity`, `lfm2 quality` and
 * `lfm2 report` print through the same functions. Runs of kinds "perplexity" and "quality" hold the tables
 * `models` (the base, or the model itself), `quality` and, of kind "quality", `kl_pairs`. */
#ifndef BENCH_QUALITY_ROWS_H
#define BENCH_QUALITY_ROWS_H

#include <stdio.h>

#include "bench/perplexity.h"
#include "data/records.h"

/* One model on one engine over one text. kl_ to dp_: against the base, 0 when there is none. */
struct quality_row {
    char model[64];
    char recipe[32]; /* "Q4_0", "Q4_0 imatrix" */
    char engine[64]; /* "reference", "optimized", "optimized avx2", "optimized kv-q8_0" */
    char text[64];   /* the file's name without its folder; "" when the ids came from a base file */
    char base[64];   /* what it is compared with: "float32, reference", or a base file's name; "": nothing */
    int64_t n_ctx, windows, positions; /* positions: scored */
    int64_t bytes;                     /* of tensor data */
    double bits_per_weight;
    double ppl, ppl_se, ppl_base, ppl_base_se, log_ratio, log_ratio_se;
    double kl_mean, kl_se, kl_median, kl_p90, kl_p99, kl_p999, kl_max;
    double same_top1, same_top1_se; /* shares of 1 */
    double dp_mean, dp_se, dp_rms, dp_rms_se, dp_p1, dp_p99, dp_min, dp_max;
    int64_t router_decisions, router_flips; /* 0 decisions: not counted */
    double seconds;
    char kernels[512]; /* the session's description */
};
extern const struct table quality_table;

/* A recipe with a '+' beside the same type without, on the same engine and positions. */
struct kl_pair_row {
    char recipe[32], plain[32], engine[64];
    int64_t windows;
    double kl, kl_plain, difference, lo,
        hi; /* of the means: recipe - plain, and its 95 % interval by windows */
};
extern const struct table kl_pairs_table;

/* engine: as in the row. Returns 0, or -1 without memory. */
int quality_row_make(struct quality_row *out, const struct model *m, const char *engine,
                     const struct perplexity_result *r, const struct windows *w);

/* What a comparison with a base adds; base: as in the row. */
int quality_row_compare(struct quality_row *out, const struct perplexity_result *r, const char *base);

/* Markdown: the table of many rows, most exact first as they stand; and all figures of one. */
void quality_print_table(FILE *to, const struct quality_row *rows, size_t n);
/* The same in parts, for tables with more columns: cells of one line, each with its '|' before it. */
void quality_print_head(FILE *to);
void quality_print_rule(FILE *to);
void quality_print_cells(FILE *to, const struct quality_row *r);
void quality_print_one(FILE *to, const struct quality_row *r);

#endif
