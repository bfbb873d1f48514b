/* SPDX-License-Identifier: Apache-2.0 */
/* synth_shapes: the shapes that synth can write, which tensors they have, of which type and spread.
 *
 * Spreads: a matrix with K columns gets 1/sqrt(K), so that its outputs are as large as its inputs. The last
 * matrix of each mixer and ffn is smaller from the second layer on (LATER): the first layer makes the
 * residual stream and the later ones amend it, as in trained models. Random layers of full size each would
 * replace most of what the stream holds and amplify every rounding error from layer to layer, which no real
 * model does. Logits get a standard deviation of about 3 through the tied embedding, which also keeps a
 * token's own embedding from dominating the residual stream (a model that repeats its last token would make
 * every comparison of top-1 trivial). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/synth_parts.h"

#define LAYERS(...) ((const signed char[]){__VA_ARGS__, -1})

/* name, arch, title; L D H G d; F dense; expert F E k; V context; eps; attention layers */
const struct synth_shape synth_shapes[] = {
    {"lfm2-8b-a1b", "lfm2moe", "LFM2-8B-A1B", 24, 2048, 32, 8, 64, 7168, 2, 1792, 32, 4, 65536, 128000, 1e-5f,
     LAYERS(2, 6, 10, 14, 18, 21)},
    {"lfm2-24b-a2b", "lfm2moe", "LFM2-24B-A2B", 40, 2048, 32, 8, 64, 11776, 2, 1536, 64, 4, 65536, 128000,
     1e-5f, LAYERS(2, 6, 10, 14, 18, 22, 26, 30, 34, 38)},
    {"lfm2-2.6b", "lfm2", "LFM2-2.6B", 30, 2048, 32, 8, 64, 10752, 30, 0, 0, 0, 65536, 128000, 1e-5f,
     LAYERS(2, 5, 9, 13, 17, 21, 24, 27)},
    {"lfm2-1.2b", "lfm2", "LFM2-1.2B", 16, 2048, 32, 8, 64, 8192, 16, 0, 0, 0, 65536, 128000, 1e-5f,
     LAYERS(2, 5, 8, 10, 12, 14)},
    {"lfm2-350m", "lfm2", "LFM2-350M", 16, 1024, 16, 8, 64, 4608, 16, 0, 0, 0, 65536, 128000, 1e-5f,
     LAYERS(2, 5, 8, 10, 12, 14)},
    {"qwen3-1.7b", "qwen3", "Qwen3-1.7B", 28, 2048, 16, 8, 128, 6144, 28, 0, 0, 0, 151936, 40960, 1e-6f,
     NULL},
    {"qwen3-4b", "qwen3", "Qwen3-4B", 36, 2560, 32, 8, 128, 9728, 36, 0, 0, 0, 151936, 40960, 1e-6f, NULL},
    {"small-lfm2moe", "lfm2moe", "small-lfm2moe", 12, 512, 8, 4, 64, 1792, 2, 384, 16, 4, 8192, 32768, 1e-5f,
     LAYERS(2, 5, 8, 10)},
    /* Tiny ones for tests: every pair of mixer and ffn twice, and widths that are no multiple of 256. */
    {"tiny-lfm2moe", "lfm2moe", "tiny-lfm2moe", 8, 256, 4, 2, 64, 448, 4, 192, 8, 2, 512, 32768, 1e-5f,
     LAYERS(1, 3, 5, 7)},
    {"tiny-lfm2", "lfm2", "tiny-lfm2", 8, 192, 3, 1, 64, 320, 8, 0, 0, 0, 512, 32768, 1e-5f,
     LAYERS(1, 3, 4, 6)},
    {"tiny-qwen3", "qwen3", "tiny-qwen3", 4, 128, 4, 2, 64, 384, 4, 0, 0, 0, 512, 32768, 1e-6f, NULL},
    {0},
};

const struct synth_shape *synth_shape_by_name(const char *name) {
    for (const struct synth_shape *s = synth_shapes; s->name; s++)
        if (strcasecmp(s->name, name) == 0) return s;
    return NULL;
}

/* The types of a recipe: most matrices; the embedding, which is the head too; and the matrices that
 * llama.cpp's mixed recipes keep finer (attn_v and ffn_down, in some layers). */
static const struct recipe {
    const char *name;
    uint32_t file_type;
    enum tensor_type matrix, embedding, finer;
} recipes[] = {
    {"q4_0", 2, TYPE_Q4_0, TYPE_Q6_K, TYPE_Q4_0}, {"q4_k_m", 15, TYPE_Q4_K, TYPE_Q6_K, TYPE_Q6_K},
    {"q8_0", 7, TYPE_Q8_0, TYPE_Q8_0, TYPE_Q8_0}, {"bf16", 32, TYPE_BF16, TYPE_BF16, TYPE_BF16},
    {"f16", 1, TYPE_F16, TYPE_F16, TYPE_F16},     {"f32", 0, TYPE_F32, TYPE_F32, TYPE_F32},
};
const char synth_recipe_names[] = "q4_0, q4_k_m, q8_0, bf16, f16, f32";

static const struct recipe *find_recipe(const char *name) {
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcasecmp(recipes[i].name, name) == 0) return &recipes[i];
    return NULL;
}

int synth_recipe_known(const char *recipe) {
    return find_recipe(recipe) != NULL;
}

uint32_t synth_file_type(const char *recipe) {
    return find_recipe(recipe)->file_type;
}

/* Q8_0 where rows are no multiple of the block: what llama.cpp does for Q6_K. */
static enum tensor_type fitting(enum tensor_type type, int64_t cols) {
    return cols % type_info(type)->block == 0 ? type : TYPE_Q8_0;
}

/* llama.cpp's choice of the layers whose attn_v and ffn_down are kept finer: the first and last eighth and
 * every third between. */
static int keeps_finer(int i, int n) {
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* Appends a tensor; layer -1: not of a layer. Room is there: synth_plan_make counts for the worst case. */
static void add(struct synth_plan *p, int layer, const char *name, enum tensor_type type, int n_dims,
                const int64_t *dims, float mean, float sd) {
    struct synth_tensor *t = &p->tensors[p->n++];
    *t = (struct synth_tensor){.type = type, .n_dims = n_dims, .weights = 1, .mean = mean, .sd = sd};
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, name);
    for (int i = 0; i < n_dims; i++) {
        t->dims[i] = dims[i];
        t->weights *= dims[i];
    }
}

static void add_norm(struct synth_plan *p, int layer, const char *name, int64_t n, float mean) {
    add(p, layer, name, TYPE_F32, 1, (int64_t[]){n}, mean, 0.1f * mean);
}

static void add_matrix(struct synth_plan *p, int layer, const char *name, enum tensor_type type, int64_t rows,
                       int64_t cols) {
    add(p, layer, name, fitting(type, cols), 2, (int64_t[]){cols, rows}, 0, 1 / sqrtf((float)cols));
}

/* A matrix whose outputs go into the residual stream. */
static float last_spread(int layer, int64_t cols) {
    const float LATER = 0.25f;
    return (layer == 0 ? 1 : LATER) / sqrtf((float)cols);
}

static void add_last(struct synth_plan *p, int layer, const char *name, enum tensor_type type, int64_t rows,
                     int64_t cols) {
    add(p, layer, name, fitting(type, cols), 2, (int64_t[]){cols, rows}, 0, last_spread(layer, cols));
}

static void add_experts(struct synth_plan *p, int layer, const char *name, enum tensor_type type,
                        int64_t rows, int64_t cols, int64_t experts) {
    add(p, layer, name, fitting(type, cols), 3, (int64_t[]){cols, rows, experts}, 0, 1 / sqrtf((float)cols));
}

int synth_is_attention(const struct synth_shape *s, int layer) {
    if (!s->attention) return 1;
    for (const signed char *a = s->attention; *a >= 0; a++)
        if (*a == layer) return 1;
    return 0;
}

static void add_convolution(struct synth_plan *p, const struct synth_shape *s, int layer,
                            const struct recipe *r) {
    add_matrix(p, layer, "shortconv.in_proj.weight", r->matrix, INT64_C(3) * s->width, s->width);
    add(p, layer, "shortconv.conv.weight", TYPE_F32, 2, (int64_t[]){3, s->width}, 0, 1 / sqrtf(3));
    add_last(p, layer, "shortconv.out_proj.weight", r->matrix, s->width, s->width);
}

/* Query and key norms above 1 make the softmax choose: with 1, long contexts average all values away. */
static void add_attention(struct synth_plan *p, const struct synth_shape *s, int layer,
                          const struct recipe *r, enum tensor_type v_type) {
    int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    add_matrix(p, layer, "attn_q.weight", r->matrix, q, s->width);
    add_matrix(p, layer, "attn_k.weight", r->matrix, kv, s->width);
    add_matrix(p, layer, "attn_v.weight", v_type, kv, s->width);
    add_last(p, layer, "attn_output.weight", r->matrix, s->width, q);
    add_norm(p, layer, "attn_q_norm.weight", s->head_dim, 1.25f);
    add_norm(p, layer, "attn_k_norm.weight", s->head_dim, 1.25f);
}

/* The router's logits get a standard deviation of 1.5, which spreads sigmoid scores over (0, 1); the bias is
 * about the distance between neighbouring scores, so that it decides some choices and no expert starves. */
static void add_ffn(struct synth_plan *p, const struct synth_shape *s, int layer, const struct recipe *r,
                    enum tensor_type down_type) {
    int64_t d = s->width, f = s->expert_ff, n = s->experts;
    if (layer < s->dense_layers) {
        add_matrix(p, layer, "ffn_gate.weight", r->matrix, s->ff, d);
        add_matrix(p, layer, "ffn_up.weight", r->matrix, s->ff, d);
        add_last(p, layer, "ffn_down.weight", down_type, d, s->ff);
        return;
    }
    add(p, layer, "ffn_gate_inp.weight", TYPE_F32, 2, (int64_t[]){d, n}, 0, 1.5f / sqrtf((float)d));
    add(p, layer, "exp_probs_b.bias", TYPE_F32, 1, (int64_t[]){n}, 0, 0.03f);
    add_experts(p, layer, "ffn_gate_exps.weight", r->matrix, f, d, n);
    add_experts(p, layer, "ffn_up_exps.weight", r->matrix, f, d, n);
    add(p, layer, "ffn_down_exps.weight", fitting(down_type, f), 3, (int64_t[]){f, d, n}, 0,
        last_spread(layer, f));
}

enum status synth_plan_make(struct synth_plan *plan, const struct synth_shape *s, const char *recipe,
                            struct error *e) {
    enum { MOST_PER_LAYER = 13 };
    const struct recipe *r = find_recipe(recipe);
    *plan = (struct synth_plan){0};
    if (!r) return fail(e, ERR_ARG, "unknown type '%s' (expected one of: %s)", recipe, synth_recipe_names);
    plan->tensors = calloc((size_t)s->layers * MOST_PER_LAYER + 2, sizeof *plan->tensors);
    if (!plan->tensors) return fail(e, ERR_MEMORY, "out of memory");
    int n_attention = 0, attention = 0;
    for (int i = 0; i < s->layers; i++) n_attention += synth_is_attention(s, i);
    add(plan, -1, "token_embd.weight", fitting(r->embedding, s->width), 2, (int64_t[]){s->width, s->vocab}, 0,
        3 / sqrtf((float)s->width));
    for (int i = 0; i < s->layers; i++) {
        add_norm(plan, i, "attn_norm.weight", s->width, 1);
        if (synth_is_attention(s, i))
            add_attention(plan, s, i, r, keeps_finer(attention++, n_attention) ? r->finer : r->matrix);
        else
            add_convolution(plan, s, i, r);
        add_norm(plan, i, "ffn_norm.weight", s->width, 1);
        add_ffn(plan, s, i, r, keeps_finer(i, s->layers) ? r->finer : r->matrix);
    }
    /* LFM2 files call the final norm after the embedding. */
    add_norm(plan, -1, s->attention ? "token_embd_norm.weight" : "output_norm.weight", s->width, 1);
    return OK;
}

enum status synth_size(const struct synth_shape *shape, const char *recipe, uint64_t *weights,
                       uint64_t *bytes, struct error *e) {
    struct synth_plan plan;
    TRY(synth_plan_make(&plan, shape, recipe, e));
    *weights = *bytes = 0;
    for (int i = 0; i < plan.n; i++) {
        *weights += (uint64_t)plan.tensors[i].weights;
        *bytes += type_row_bytes(plan.tensors[i].type, plan.tensors[i].weights);
    }
    free(plan.tensors);
    return OK;
}
