/* SPDX-License-Identifier: Apache-2.0 */
/* chain: where the distance between a model and its quantised, optimised form comes from. Three runs over the
 * same ids, the first two on the reference engine: the original weights, the quantised weights as they
 * dequantise, and the quantised weights on the optimized engine. Neighbours differ in one thing each. */
#ifndef BENCH_CHAIN_H
#define BENCH_CHAIN_H

#include <stdio.h>

#include "bench/quality.h"
#include "data/records.h"
#include "reference/engine.h"

enum chain_link { CHAIN_WEIGHTS, CHAIN_ACTIVATIONS, CHAIN_TOTAL, CHAIN_LINKS };

/* One link: the later run against the earlier one. */
struct chain_row {
    char link[64], from[64], to[64];
    int64_t positions;
    double nmse; /* of all logits together */
    double kl_mean, kl_se, kl_median, kl_p99, kl_max;
    double same_top1, same_top1_se;
    double ppl_from, ppl_to, log_ratio,
        log_ratio_se; /* of the ids that came next; of a text they mean something */
    int64_t router_decisions, router_flips;
};
extern const struct table chain_table; /* "parity_chain" */

struct chain_options {
    const struct model *original, *quantised;
    const int32_t *ids; /* [n], n >= 2 */
    int n, threads;
    unsigned cpu_mask;
    enum scheme scheme;                                                 /* of the optimized engine */
    void (*progress)(void *arg, const char *what, int done, int total); /* ids of all runs; NULL: none */
    void *progress_arg;
};

/* ERR_SHAPE when the two are not of the same architecture and sizes. */
enum status chain_run(struct chain_row out[CHAIN_LINKS], const struct chain_options *o, struct error *e);

void chain_print(FILE *to, const struct chain_row *rows, size_t n, int is_text);

#endif
