/* SPDX-License-Identifier: Apache-2.0 */
/* recipe: which type each tensor of a GGUF file gets, as llama.cpp's llama-quantize decides it
 * (https://github.com/ggml-org/llama.cpp, src/llama-quant.cpp), for the file types that are known here. */
#ifndef DATA_RECIPE_H
#define DATA_RECIPE_H

#include <stdint.h>

#include "data/gguf.h"

struct recipe {
    const char *name;        /* "Q4_K_M", as llama-quantize writes it */
    uint32_t file_type;      /* GGUF's general.file_type */
    enum tensor_type matrix; /* of most matrices */
    int finer;               /* 1: attn_v and ffn_down of some layers get Q6_K ("_M") */
};

extern const char recipe_names[];                      /* for messages */
const struct recipe *recipe_by_name(const char *name); /* any case; NULL when unknown */

/* The file's numbers that decide. */
struct recipe_facts {
    int n_layers, n_experts; /* n_experts 0 without experts */
    int n_attention;         /* layers with attn_v */
    int tied;                /* 1: no output.weight */
    int imatrix;             /* 1: with an importance matrix: Q4_0 makes ffn_down of the first eighth of the
                              * layers Q4_1 */
};
struct recipe_facts recipe_facts_of(const struct gguf *g, int n_layers, int n_experts);

/* The type of tensor t of g. Norms, taps, routers and biases keep theirs. Where rows are no multiple of 256,
 * the types that need it become Q8_0: for Q6_K that is llama.cpp's choice too; for Q4_K and Q5_K it takes
 * Q5_0 and Q5_1, which nothing else here reads. Where they are no multiple of 32 either: F16.
 * *misfit becomes 1 when that happened, else 0. */
enum tensor_type recipe_type(const struct recipe *r, const struct recipe_facts *f, const struct gguf *g,
                             const struct gguf_tensor *t, int *misfit);

/* 1: recipes leave this tensor as it is. */
int recipe_keeps(const struct gguf_tensor *t);

#endif
