/* SPDX-License-Identifier: Apache-2.0 */
/* parity_rows: a parity result as rows, which is how it is stored, printed and drawn. `lfm2 parity` and
 * `lfm2 report` print through the same functions, so that a table means the same in both. */
#ifndef BENCH_PARITY_ROWS_H
#define BENCH_PARITY_ROWS_H

#include <stdio.h>

#include "bench/parity.h"
#include "data/records.h"

/* NMSE and largest absolute error of what the mixer and the ffn add, and of the residual stream after the
 * layer.  "unflipped" and "routed": the views of bench/parity.h; NaN where a view has no positions. */
struct parity_layer_row {
    char phase[16]; /* "prefill", "decode" */
    int64_t layer;
    char mixer[16], ffn[16]; /* "conv" "attention"; "dense" "moe" */
    int64_t positions, unflipped;
    double mixer_nmse, ffn_nmse, residual_nmse;
    double mixer_max, ffn_max, residual_max;
    double mixer_nmse_unflipped, ffn_nmse_unflipped, residual_nmse_unflipped;
    double mixer_nmse_routed, ffn_nmse_routed, residual_nmse_routed, residual_max_routed;
    int64_t router_decisions, router_flips, router_first_flips, router_near_ties, router_unexplained;
    double router_max_margin;
    int64_t routed_flips, routed_near_ties, routed_unexplained; /* in the run with the reference's choices */
    double routed_max_margin;
};

struct parity_logits_row {
    char phase[16];
    char view[16]; /* "all", "unflipped", "routed" */
    int64_t positions, same_top1;
    double nmse, nmse_worst, max_abs, kl_mean, kl_max;
};

struct parity_bound_row {
    char name[48], unit[16], why[256];
    double found, limit; /* found NaN: nothing to judge */
    int64_t at_least, holds;
};

extern const struct table parity_layers_table, parity_logits_table, parity_bounds_table;

struct parity_rows {
    struct parity_layer_row *layers;
    struct parity_logits_row *logits;
    struct parity_bound_row *bounds;
    size_t n_layers, n_logits, n_bounds;
};

enum status parity_rows_make(struct parity_rows *out, const struct model *m, const struct parity_result *r,
                             struct error *e);
void parity_rows_store(struct record *to, const struct parity_rows *rows);
enum status parity_rows_read(struct parity_rows *out, const struct records *f, int run, struct error *e);
void parity_rows_free(struct parity_rows *rows); /* a zeroed struct is fine */

/* 1 when any layer has a router. */
int parity_has_router(const struct parity_rows *rows);

/* Markdown tables. */
void parity_print_logits(FILE *to, const struct parity_rows *rows);
void parity_print_router(FILE *to, const struct parity_rows *rows);
void parity_print_bounds(FILE *to, const struct parity_rows *rows);
void parity_print_layers(FILE *to, const struct parity_rows *rows, const char *phase);

#endif
