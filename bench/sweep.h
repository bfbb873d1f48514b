/* SPDX-License-Identifier: Apache-2.0 */
/* sweep: what quantisation costs. One model is written in many recipes, each is run on each engine over one
 * text, and every run is compared with the model itself in float32. On the reference engine, which computes
 * in float32 with the weights that a file means, the difference is the price of the weights; on the optimized
 * one it is that and the price of int8 activations. */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "bench/quality_rows.h"
#include "bench/records.h"

struct sweep_options {
    const char *model; /* GGUF or folder, best as it was trained */
    const char *text;
    /* "Q8_0,Q4_0,Q4_0+imatrix,F32+experts=Q4_0": recipes separated by commas; after a '+' "imatrix", or a
     * type for a class of tensors under the names of data/overrides.h. */
    const char *recipes;
    /* "reference,optimized,optimized:avx2": after the colon as LFM2_ISA, or kv-q8_0 for an int8 cache; these
     * are run on recipes without =TYPE only */
    const char *engines;
    const char *imatrix; /* file; NULL: none */
    int n_ctx, chunks;   /* chunks -1: all */
    int special, threads;
    unsigned cpu_mask; /* of "optimized" without a colon; 0: all */
    /* done of total runs are finished and of this one share; NULL: none. */
    void (*progress)(void *arg, const char *what, int done, int total, double share);
    void *progress_arg;
};

/* Adds a quality_row per run to rows, the model itself first, a kl_pair_row to pairs for every recipe with a
 * '+' that stands behind its plain type in the list, and fills what the model's row says. Files go to a
 * temporary folder under $TMPDIR or /tmp, one at a time, and are removed. */
enum status sweep_run(struct rows *rows, struct rows *pairs, struct model_row *model,
                      const struct sweep_options *o, struct error *e);

/* How many of a list's words there are. */
int sweep_count(const char *list);

#endif
