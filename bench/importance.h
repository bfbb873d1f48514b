/* SPDX-License-Identifier: Apache-2.0 */
/* importance: which columns of a model's matrices matter, as the mean squares of their inputs while the
 * reference engine reads a text. What llama-imatrix collects: all matrices of the layers; experts by the
 * tokens that chose them. */
#ifndef BENCH_IMPORTANCE_H
#define BENCH_IMPORTANCE_H

#include "bench/perplexity.h"
#include "data/imatrix.h"

struct importance {
    struct imatrix_sums *sums; /* [n] */
    int n;
    struct importance_plane *planes; /* [n_planes] sorted by address, private */
    size_t n_planes;
};
/* All sums 0. Free with importance_free, also after an error. */
enum status importance_new(struct importance *out, const struct model *m, struct error *e);
void importance_free(struct importance *x);

/* Reads the windows of the ids, each from an empty state; bos as in perplexity_options. max_batch 0: the
 * engine's. */
enum status importance_collect(struct importance *x, const struct model *m, const int32_t *ids,
                               const struct windows *w, int bos, int threads,
                               void (*progress)(void *arg, int done, int total), void *arg, struct error *e);

#endif
