/* SPDX-License-Identifier: Apache-2.0 */
/* convert: writes a model, GGUF file or Hugging Face folder, as a GGUF file with the tensor types of a recipe
 * and all of its metadata, tokenizer and chat template included. Adapters and merges are computed in float32
 * and rounded once. */
#ifndef DATA_CONVERT_H
#define DATA_CONVERT_H

#include <stdint.h>

#include "data/imatrix.h"
#include "data/overrides.h"
#include "data/recipe.h"
#include "data/status.h"

struct convert_options {
    const char *in;                /* with merges: the base that differences are taken from */
    const char *out;               /* replaced when it exists; not the file `in` */
    const struct recipe *recipe;   /* NULL: each tensor keeps its type */
    const char *adapters;          /* "F[:factor],..."; NULL: none */
    const char *merges;            /* "MODEL[:weight],..."; NULL: none */
    struct overrides *overrides;   /* types of one's own for some tensors; NULL: none */
    const struct imatrix *imatrix; /* what Q4_0 and Q4_1 are fitted with; NULL: nothing */
    int allow_requantize;          /* 0: quantised tensors may not become another quantised type */
    int threads;                   /* at least 1 */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes written; NULL: none */
    void *progress_arg;
};

struct convert_result {
    uint64_t in_bytes, out_bytes; /* of tensor data */
    uint64_t n_params;
    int n_fallback;   /* tensors whose rows did not fit the blocks of the type that the recipe wants */
    int n_weighted;   /* tensors fitted with the importance matrix */
    int no_tokenizer; /* 1: a folder without one: the file works with token ids only */
};

/* result may be NULL. */
enum status convert_write(const struct convert_options *o, struct convert_result *result, struct error *e);

#endif
