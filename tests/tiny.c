/* SPDX-License-Identifier: Apache-2.0 */
/* tiny: plans a small model's tensors, then declares and fills them in the same order. */
#include "tests/tiny.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/gguf_write.h"

struct plan {
    char name[GGUF_MAX_NAME];
    enum tensor_type type;
    int n_dims;
    int64_t dims[3];
    float mean, spread; /* values are uniform in mean +- spread */
    int short_values;   /* 1: rounded to bfloat16 */
};

struct plans {
    struct plan *at;
    int n, capacity;
};

struct tiny_spec tiny_default(const char *arch) {
    return (struct tiny_spec){.arch = arch,
                              .L = 4,
                              .D = 64,
                              .H = 4,
                              .G = 2,
                              .d = 16,
                              .F = 192,
                              .EF = 96,
                              .E = 8,
                              .k = 4,
                              .V = 512,
                              .type = TYPE_F32,
                              .embedding = TYPE_F32,
                              .tied = 1,
                              .seed = 1};
}

static struct plan *plan_next(struct plans *p) {
    return p->n < p->capacity ? &p->at[p->n++] : NULL;
}

/* spread sqrt(3/cols) gives variance 1/cols. layer < 0: no blk.N. prefix. */
static void plan_tensor(struct plans *p, int layer, const char *name, enum tensor_type type, int64_t cols,
                        int64_t rows, int64_t planes) {
    struct plan *t = plan_next(p);
    if (!t) return;
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, name);
    t->type = cols % type_info(type)->block ? TYPE_Q8_0 : type;
    t->n_dims = planes ? 3 : rows ? 2 : 1;
    t->dims[0] = cols;
    t->dims[1] = rows ? rows : 1;
    t->dims[2] = planes ? planes : 1;
    t->mean = 0;
    t->spread = (float)sqrt(3.0 / (double)cols);
}

static void plan_vector(struct plans *p, int layer, const char *name, int64_t n, float mean, float spread) {
    plan_tensor(p, layer, name, TYPE_F32, n, 0, 0);
    p->at[p->n - 1].mean = mean;
    p->at[p->n - 1].spread = spread;
}

static int is_attention(const struct tiny_spec *s, int layer) {
    return strcmp(s->arch, "qwen3") == 0 || s->all_attention || layer % 2;
}
static int has_experts(const struct tiny_spec *s) {
    return strcmp(s->arch, "lfm2moe") == 0;
}

static void plan_layer(const struct tiny_spec *s, struct plans *p, int l) {
    plan_vector(p, l, "attn_norm.weight", s->D, 1.0f, 0.2f);
    if (is_attention(s, l)) {
        plan_tensor(p, l, "attn_q.weight", s->type, s->D, s->H * s->d, 0);
        plan_tensor(p, l, "attn_k.weight", s->type, s->D, s->G * s->d, 0);
        plan_tensor(p, l, "attn_v.weight", s->type, s->D, s->G * s->d, 0);
        plan_tensor(p, l, "attn_output.weight", s->type, s->H * s->d, s->D, 0);
        plan_vector(p, l, "attn_q_norm.weight", s->d, 1.0f, 0.2f);
        plan_vector(p, l, "attn_k_norm.weight", s->d, 1.0f, 0.2f);
    } else {
        plan_tensor(p, l, "shortconv.in_proj.weight", s->type, s->D, 3 * s->D, 0);
        plan_tensor(p, l, "shortconv.conv.weight", TYPE_F32, 3, s->D, 0);
        plan_tensor(p, l, "shortconv.out_proj.weight", s->type, s->D, s->D, 0);
    }
    plan_vector(p, l, "ffn_norm.weight", s->D, 1.0f, 0.2f);
    if (has_experts(s) && l >= 2) {
        plan_tensor(p, l, "ffn_gate_inp.weight", TYPE_F32, s->D, s->E, 0);
        plan_vector(p, l, "exp_probs_b.bias", s->E, 0.0f, 0.3f);
        plan_tensor(p, l, "ffn_gate_exps.weight", s->type, s->D, s->EF, s->E);
        plan_tensor(p, l, "ffn_up_exps.weight", s->type, s->D, s->EF, s->E);
        plan_tensor(p, l, "ffn_down_exps.weight", s->type, s->EF, s->D, s->E);
    } else {
        plan_tensor(p, l, "ffn_gate.weight", s->type, s->D, s->F, 0);
        plan_tensor(p, l, "ffn_up.weight", s->type, s->D, s->F, 0);
        plan_tensor(p, l, "ffn_down.weight", s->type, s->F, s->D, 0);
    }
}

static void put_key_u32(struct gguf_writer *w, const struct tiny_spec *s, const char *key, int v) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    gguf_put_u32(w, full, (uint32_t)v);
}

static void put_key_f32(struct gguf_writer *w, const struct tiny_spec *s, const char *key, float v) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", s->arch, key);
    gguf_put_f32(w, full, v);
}

static void put_kv_heads(struct gguf_writer *w, const struct tiny_spec *s) {
    if (strcmp(s->arch, "qwen3") == 0) {
        put_key_u32(w, s, "attention.head_count_kv", s->G);
        return;
    }
    int32_t heads[64] = {0};
    char key[128];
    for (int l = 0; l < s->L && l < 64; l++) heads[l] = is_attention(s, l) ? s->G : 0;
    snprintf(key, sizeof key, "%s.attention.head_count_kv", s->arch);
    gguf_put_i32s(w, key, heads, (size_t)s->L);
}

static void put_keys(struct gguf_writer *w, const struct tiny_spec *s) {
    gguf_put_string(w, "general.architecture", s->arch);
    gguf_put_string(w, "general.name", "tiny");
    gguf_put_bool(w, "lfm2.synthetic", 1);
    put_key_u32(w, s, "block_count", s->L);
    put_key_u32(w, s, "context_length", 4096);
    put_key_u32(w, s, "embedding_length", s->D);
    put_key_u32(w, s, "feed_forward_length", s->F);
    put_key_u32(w, s, "attention.head_count", s->H);
    put_kv_heads(w, s);
    put_key_f32(w, s, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_key_f32(w, s, "rope.freq_base", 1e6f);
    put_key_u32(w, s, "vocab_size", s->V);
    if (strcmp(s->arch, "qwen3") == 0 || s->H * s->d != s->D) {
        put_key_u32(w, s, "attention.key_length", s->d);
        put_key_u32(w, s, "attention.value_length", s->d);
    }
    if (strcmp(s->arch, "qwen3")) put_key_u32(w, s, "shortconv.l_cache", 3);
    if (has_experts(s)) {
        put_key_u32(w, s, "expert_count", s->E);
        put_key_u32(w, s, "expert_used_count", s->k);
        put_key_u32(w, s, "expert_feed_forward_length", s->EF);
        put_key_u32(w, s, "leading_dense_block_count", 2);
        put_key_u32(w, s, "expert_gating_func", 2);
    }
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

/* splitmix64: each value depends on the seed, the tensor's name and its index only. */
static float uniform(uint64_t key, uint64_t i) {
    uint64_t z = key + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)((z ^ z >> 31) >> 40) * 0x1p-23f - 1.0f;
}

static enum status write_tensor(struct gguf_writer *w, const struct plan *t, uint64_t seed, struct error *e) {
    int64_t cols = t->dims[0], rows = t->dims[1] * t->dims[2];
    size_t bytes = type_row_bytes(t->type, cols);
    float *x = malloc((size_t)cols * sizeof *x);
    void *q = malloc(bytes);
    uint64_t key = seed * 0x9e3779b97f4a7c15u;
    for (const char *c = t->name; *c; c++) key = (key ^ (uint64_t)*c) * 0x100000001b3u;
    enum status status = x && q ? OK : fail(e, ERR_MEMORY, "out of memory");
    for (int64_t r = 0; r < rows && status == OK; r++) {
        for (int64_t c = 0; c < cols; c++)
            x[c] = t->mean + t->spread * uniform(key, (uint64_t)(r * cols + c));
        for (int64_t c = 0; t->short_values && c < cols; c++) x[c] = bf16_to_f32(f32_to_bf16(x[c]));
        if (quantize_row(t->type, x, q, cols))
            status = fail(e, ERR_UNSUPPORTED, "cannot write type %s", type_info(t->type)->name);
        else
            status = gguf_writer_data(w, q, bytes, e);
    }
    free(x);
    free(q);
    return status;
}

static enum status write_all(struct gguf_writer *w, const struct tiny_spec *s, const struct plans *p,
                             struct error *e) {
    put_keys(w, s);
    for (int i = 0; i < p->n; i++)
        gguf_put_tensor(w, p->at[i].name, p->at[i].type, p->at[i].n_dims, p->at[i].dims);
    TRY(gguf_writer_begin(w, e));
    for (int i = 0; i < p->n; i++) TRY(write_tensor(w, &p->at[i], s->seed, e));
    return gguf_writer_finish(w, e);
}

static enum status write_file(const char *path, const struct tiny_spec *s, int short_vectors,
                              struct error *e) {
    if (s->L < 1 || s->L > 64) return fail(e, ERR_ARG, "tiny models have 1 to 64 layers (found %d)", s->L);
    struct plans p = {.capacity = 4 + 16 * s->L};
    p.at = calloc((size_t)p.capacity, sizeof *p.at);
    if (!p.at) return fail(e, ERR_MEMORY, "out of memory");
    plan_tensor(&p, -1, "token_embd.weight", s->embedding, s->D, s->V, 0);
    int qwen = strcmp(s->arch, "qwen3") == 0;
    plan_vector(&p, -1, qwen ? "output_norm.weight" : "token_embd_norm.weight", s->D, 1.0f, 0.2f);
    if (!s->tied) plan_tensor(&p, -1, "output.weight", s->embedding, s->D, s->V, 0);
    for (int l = 0; l < s->L; l++) plan_layer(s, &p, l);
    for (int i = 0; i < p.n; i++) p.at[i].short_values = short_vectors && p.at[i].type == TYPE_F32;
    struct gguf_writer *w = NULL;
    enum status status = gguf_writer_new(&w, path, e);
    if (status == OK) status = write_all(w, s, &p, e);
    gguf_writer_free(w);
    free(p.at);
    return status;
}

enum status tiny_write(const char *path, const struct tiny_spec *s, struct error *e) {
    return write_file(path, s, 0, e);
}

enum status tiny_write_short(const char *path, const struct tiny_spec *s, struct error *e) {
    return write_file(path, s, 1, e);
}

int tiny_directory(char *out, unsigned size) {
    const char *base = getenv("TMPDIR");
    int n = snprintf(out, size, "%s/lfm2-test-XXXXXX", base && *base ? base : "/tmp");
    return n > 0 && (unsigned)n < size && mkdtemp(out) ? 0 : -1;
}

void tiny_directory_remove(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *f; (f = readdir(d));) {
        char inside[1024];
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..") || !unlinkat(dirfd(d), f->d_name, 0))
            continue;
        int n = snprintf(inside, sizeof inside, "%s/%s", path, f->d_name);
        if (n > 0 && (size_t)n < sizeof inside) tiny_directory_remove(inside);
    }
    closedir(d);
    rmdir(path);
}
