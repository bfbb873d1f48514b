/* SPDX-License-Identifier: Apache-2.0 */
/* recipe: the table of file types, and the choice by a tensor's name, layer and shape. */
#include "data/recipe.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct recipe recipes[] = {
    {"F32", 0, TYPE_F32, 0},      {"F16", 1, TYPE_F16, 0},    {"BF16", 32, TYPE_BF16, 0},
    {"Q8_0", 7, TYPE_Q8_0, 0},    {"Q6_K", 18, TYPE_Q6_K, 0}, {"Q5_K_M", 17, TYPE_Q5_K, 1},
    {"Q4_K_M", 15, TYPE_Q4_K, 1}, {"Q4_0", 2, TYPE_Q4_0, 0},
};
const char recipe_names[] = "F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0";

const struct recipe *recipe_by_name(const char *name) {
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcasecmp(recipes[i].name, name) == 0) return &recipes[i];
    return NULL;
}

static int is_layer_tensor(const char *name, const char *what) {
    const char *dot = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return dot && strncmp(dot + 1, what, strlen(what)) == 0;
}

static int layer_of(const char *name) {
    char *end = NULL;
    long layer = strncmp(name, "blk.", 4) == 0 ? strtol(name + 4, &end, 10) : -1;
    return end && end > name + 4 && layer >= 0 && layer <= INT_MAX ? (int)layer : -1;
}

struct recipe_facts recipe_facts_of(const struct gguf *g, int n_layers, int n_experts) {
    struct recipe_facts f = {.n_layers = n_layers, .n_experts = n_experts};
    for (uint64_t i = 0; i < g->n_tensors; i++)
        f.n_attention += is_layer_tensor(g->tensors[i].name, "attn_v.weight");
    f.tied = !gguf_tensor_find(g, "output.weight");
    return f;
}

static int is_quantised(enum tensor_type type) {
    return type_info(type)->block > 1;
}

static int ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

int recipe_keeps(const struct gguf_tensor *t) {
    return (t->dims[1] == 1 && t->dims[2] == 1) || !ends_with(t->name, "weight") ||
           strstr(t->name, "_norm.weight") || strstr(t->name, "ffn_gate_inp.weight") ||
           strstr(t->name, "shortconv.conv.weight");
}

/* The first and last eighth of n and every third between. */
static int is_chosen(int i, int n) {
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* How many layers before this one have attn_v. */
static int attention_index(const struct gguf *g, int layer) {
    int n = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        n += is_layer_tensor(g->tensors[i].name, "attn_v.weight") && layer_of(g->tensors[i].name) < layer;
    return n;
}

/* Of a quantised recipe, before shapes are looked at. */
static enum tensor_type choose(const struct recipe *r, const struct recipe_facts *f, const struct gguf *g,
                               const struct gguf_tensor *t) {
    int head =
        strcmp(t->name, "output.weight") == 0 || (f->tied && strcmp(t->name, "token_embd.weight") == 0);
    if (head) {
        if (t->dims[0] % type_info(r->matrix)->block) return TYPE_Q8_0;
        return r->matrix == TYPE_Q8_0 ? TYPE_Q8_0 : TYPE_Q6_K;
    }
    if (is_layer_tensor(t->name, "attn_v.weight")) {
        if (f->n_experts == 8) return TYPE_Q8_0;
        return r->finer && is_chosen(attention_index(g, layer_of(t->name)), f->n_attention) ? TYPE_Q6_K
                                                                                            : r->matrix;
    }
    if (f->n_experts == 8 && is_layer_tensor(t->name, "attn_k.weight")) return TYPE_Q8_0;
    if (f->n_experts == 8 && is_layer_tensor(t->name, "attn_output.weight") && r->matrix == TYPE_Q4_K)
        return TYPE_Q5_K;
    if (r->finer && is_layer_tensor(t->name, "ffn_down") && is_chosen(layer_of(t->name), f->n_layers))
        return TYPE_Q6_K;
    if (f->imatrix && r->matrix == TYPE_Q4_0 && is_layer_tensor(t->name, "ffn_down") &&
        layer_of(t->name) < f->n_layers / 8)
        return TYPE_Q4_1;
    return r->matrix;
}

enum tensor_type recipe_type(const struct recipe *r, const struct recipe_facts *f, const struct gguf *g,
                             const struct gguf_tensor *t, int *misfit) {
    *misfit = 0;
    if (recipe_keeps(t)) return t->type;
    enum tensor_type type = is_quantised(r->matrix) ? choose(r, f, g, t) : r->matrix;
    *misfit = t->dims[0] % type_info(type)->block != 0;
    if (!*misfit) return type;
    return t->dims[0] % type_info(TYPE_Q8_0)->block == 0 ? TYPE_Q8_0 : TYPE_F16;
}
