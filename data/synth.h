/* SPDX-License-Identifier: Apache-2.0 */
/* synth: models with real shapes and seeded random weights, written as ordinary GGUF files that any program
 * for the format can load. They have the sizes, speeds and numerical behaviour of a model, and no knowledge.
 *
 * Weights are a function of (seed, tensor name, index) only: the same seed gives the same bytes for any
 * number of threads, and every type holds the same float32 weights, quantised with quantize_row. */
#ifndef DATA_SYNTH_H
#define DATA_SYNTH_H

#include <stdint.h>

#include "data/quant.h"
#include "data/status.h"

struct synth_shape {
    const char *name; /* as on the command line: "lfm2-8b-a1b" */
    const char *arch; /* "lfm2moe", "lfm2", "qwen3" */
    const char *title;
    int layers, width, heads, kv_heads, head_dim; /* L D H G d */
    int ff, dense_layers;                         /* F; leading layers with a dense ffn, L without experts */
    int expert_ff, experts, experts_used;         /* 0 without experts */
    int vocab, context;
    float norm_eps;
    const signed char *attention; /* layers with attention, ends with -1; NULL: all of them */
};

/* All known shapes; the table ends with an entry whose name is NULL. */
extern const struct synth_shape synth_shapes[];
const struct synth_shape *synth_shape_by_name(const char *name); /* NULL when unknown */

/* Recipes say which type each tensor gets. Norms, convolution taps and routers are always F32. */
extern const char synth_recipe_names[]; /* "q4_0, q8_0, ...", for messages */
int synth_recipe_known(const char *recipe);

struct synth_options {
    const struct synth_shape *shape;
    const char *recipe; /* "q4_0", any case */
    uint64_t seed;
    int threads;                                                /* at least 1 */
    const char *path;                                           /* replaced when it exists */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes of tensor data; NULL: none */
    void *progress_arg;
};

enum status synth_write(const struct synth_options *o, struct error *e);

/* Weights and bytes of tensor data that a model will have. */
enum status synth_size(const struct synth_shape *shape, const char *recipe, uint64_t *weights,
                       uint64_t *bytes, struct error *e);

#endif
