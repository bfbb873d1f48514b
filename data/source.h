/* SPDX-License-Identifier: Apache-2.0 */
/* source: the weights of a model in float32, a row at a time, with adapters and the differences of other
 * checkpoints added:  row = base + sum of weight_i (other_i - base) + the adapters' rows. What a converter
 * reads. */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "data/lora.h"
#include "data/model.h"

struct source {
    struct model *base;
    struct model **others; /* [n_others], the same shapes as base */
    float *weights;
    int n_others;
    struct lora **adapters; /* [n_adapters] */
    int n_adapters;
};

/* merges and adapters as weighted_paths_parse takes them; NULL: none. A checkpoint without a weight has 1. */
enum status source_open(struct source *s, const char *base, const char *merges, const char *adapters,
                        struct error *e);
void source_close(struct source *s);

/* 1: the tensor is what the base file holds. */
int source_is_plain(const struct source *s, uint64_t t);

/* One row; scratch has room for two more. Several threads may call it. */
void source_row(const struct source *s, uint64_t t, int64_t row, float *out, float *scratch);

#endif
