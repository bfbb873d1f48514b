/* SPDX-License-Identifier: Apache-2.0 */
/* tiny_hf: lists the tensors of a folder with the pieces of the GGUF file that each is made of, then writes
 * header and pieces. */
#include "tests/tiny_hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/gguf.h"

enum { MAX_ENTRIES = 2048, MAX_PIECES = 64 };

struct piece {
    const void *data;
    size_t bytes;
};

struct entry {
    char name[128];
    enum tensor_type type;
    int64_t shape[3];
    int n_shape;
    struct piece pieces[MAX_PIECES];
    int n_pieces;
    void *owned;
};

struct folder {
    const char *path;
    const struct gguf *g;
    const struct tiny_spec *s;
    const struct tiny_hf *o;
    struct entry *entries;
    int n;
    int failed;
};

/* GGUF and Hugging Face names of what each layer has once. */
static const struct {
    const char *gguf, *lfm2, *qwen3;
} names[] = {
    {"attn_norm.weight", "operator_norm.weight", "input_layernorm.weight"},
    {"ffn_norm.weight", "ffn_norm.weight", "post_attention_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.out_proj.weight", "self_attn.o_proj.weight"},
    {"attn_q_norm.weight", "self_attn.q_layernorm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_layernorm.weight", "self_attn.k_norm.weight"},
    {"shortconv.in_proj.weight", "conv.in_proj.weight", ""},
    {"shortconv.conv.weight", "conv.conv.weight", ""},
    {"shortconv.out_proj.weight", "conv.out_proj.weight", ""},
    {"ffn_gate.weight", "feed_forward.w1.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "feed_forward.w3.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "feed_forward.w2.weight", "mlp.down_proj.weight"},
    {"ffn_gate_inp.weight", "feed_forward.gate.weight", ""},
    {"exp_probs_b.bias", "feed_forward.expert_bias", ""},
};

static int is_qwen(const struct folder *f) {
    return strcmp(f->s->arch, "qwen3") == 0;
}

static struct entry *next(struct folder *f, const char *name, enum tensor_type type) {
    if (f->n == MAX_ENTRIES) {
        f->failed = 1;
        return &f->entries[0];
    }
    struct entry *t = &f->entries[f->n++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = type;
    return t;
}

static void add_piece(struct folder *f, struct entry *t, const void *data, size_t bytes) {
    if (t->n_pieces == MAX_PIECES)
        f->failed = 1;
    else
        t->pieces[t->n_pieces++] = (struct piece){data, bytes};
}

static void add_dim(struct entry *t, int64_t n) {
    t->shape[t->n_shape++] = n;
}

/* A whole tensor; F32 ones in the type of the option, except the expert bias. Taps become [D, 1, 3]. */
static void add_tensor(struct folder *f, const char *gguf, const char *name) {
    const struct gguf_tensor *t = gguf_tensor_find(f->g, gguf);
    if (!t) return;
    int taps = strstr(name, "conv.conv") != NULL, bias = strstr(name, "expert_bias") != NULL;
    int vector = t->n_dims == 1 || taps || strstr(name, "gate.weight") != NULL;
    struct entry *to = next(f, name, vector && !bias ? f->o->vectors : t->type);
    if (t->n_dims > 1) add_dim(to, t->dims[1]);
    if (taps) add_dim(to, 1);
    add_dim(to, t->dims[0]);
    if (to->type == t->type) {
        add_piece(f, to, t->data, t->bytes);
        return;
    }
    int64_t n = t->dims[0] * t->dims[1];
    size_t bytes = type_row_bytes(to->type, n);
    to->owned = malloc(bytes);
    if (!to->owned || quantize_row(to->type, t->data, to->owned, n)) f->failed = 1;
    add_piece(f, to, to->owned, bytes);
}

static struct piece plane(const struct gguf_tensor *t, int e) {
    size_t bytes = t->bytes / (size_t)t->dims[2];
    return (struct piece){(const char *)t->data + (size_t)e * bytes, bytes};
}

static const struct gguf_tensor *experts(const struct folder *f, int layer, const char *which) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, which);
    return gguf_tensor_find(f->g, name);
}

static void add_experts(struct folder *f, int layer) {
    static const char *const which[] = {"gate", "down", "up"}; /* w1 w2 w3 */
    for (int e = 0; e < f->s->E; e++)
        for (int w = 0; w < 3; w++) {
            const struct gguf_tensor *t = experts(f, layer, which[w]);
            char name[128];
            if (!t) return;
            snprintf(name, sizeof name, "model.layers.%d.feed_forward.experts.%d.w%d.weight", layer, e,
                     w + 1);
            struct entry *to = next(f, name, t->type);
            add_dim(to, t->dims[1]);
            add_dim(to, t->dims[0]);
            struct piece p = plane(t, e);
            add_piece(f, to, p.data, p.bytes);
        }
}

static void add_fused(struct folder *f, int layer) {
    const struct gguf_tensor *gate = experts(f, layer, "gate"), *up = experts(f, layer, "up"),
                             *down = experts(f, layer, "down");
    char name[128];
    if (!gate || !up || !down) return;
    snprintf(name, sizeof name, "model.layers.%d.feed_forward.experts.gate_up_proj", layer);
    struct entry *both = next(f, name, gate->type);
    add_dim(both, gate->dims[2]);
    add_dim(both, 2 * gate->dims[1]);
    add_dim(both, gate->dims[0]);
    snprintf(name, sizeof name, "model.layers.%d.feed_forward.experts.down_proj", layer);
    struct entry *one = next(f, name, down->type);
    for (int i = 2; i >= 0; i--) add_dim(one, down->dims[i]);
    for (int e = 0; e < f->s->E; e++) {
        struct piece g = plane(gate, e), u = plane(up, e), d = plane(down, e);
        add_piece(f, both, g.data, g.bytes);
        add_piece(f, both, u.data, u.bytes);
        add_piece(f, one, d.data, d.bytes);
    }
}

static void add_all(struct folder *f) {
    add_tensor(f, "token_embd.weight", "model.embed_tokens.weight");
    add_tensor(f, "token_embd_norm.weight", "model.embedding_norm.weight");
    add_tensor(f, "output_norm.weight", "model.norm.weight");
    add_tensor(f, "output.weight", "lm_head.weight");
    for (int l = 0; l < f->s->L; l++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            char from[64], to[128];
            snprintf(from, sizeof from, "blk.%d.%s", l, names[i].gguf);
            snprintf(to, sizeof to, "model.layers.%d.%s", l, is_qwen(f) ? names[i].qwen3 : names[i].lfm2);
            add_tensor(f, from, to);
        }
        if (f->o->fused)
            add_fused(f, l);
        else
            add_experts(f, l);
    }
}

static size_t bytes_of(const struct entry *t) {
    size_t n = 0;
    for (int i = 0; i < t->n_pieces; i++) n += t->pieces[i].bytes;
    return n;
}

static FILE *create(const struct folder *f, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return fopen(path, "wb");
}

static const char *shard_name(const struct folder *f, int shard, char *out, size_t size) {
    if (f->o->shards == 0)
        snprintf(out, size, "model.safetensors");
    else
        snprintf(out, size, "model-%05d-of-%05d.safetensors", shard + 1, f->o->shards);
    return out;
}

static int shard_of(const struct folder *f, int entry) {
    return f->o->shards ? entry % f->o->shards : 0;
}

/* The header in memory, padded with spaces to a multiple of 8 as the reference implementation does. */
static char *make_header(const struct folder *f, int shard, size_t *size) {
    char *text = NULL;
    FILE *h = open_memstream(&text, size);
    if (!h) return NULL;
    size_t at = 0;
    fprintf(h, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < f->n; i++) {
        const struct entry *t = &f->entries[i];
        if (shard_of(f, i) != shard) continue;
        fprintf(h, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, type_info(t->type)->name);
        for (int d = 0; d < t->n_shape; d++) fprintf(h, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        fprintf(h, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes_of(t));
        at += bytes_of(t);
    }
    fputc('}', h);
    fflush(h);
    while (*size % 8) {
        fputc(' ', h);
        fflush(h);
    }
    fclose(h);
    return text;
}

static int write_shard(const struct folder *f, int shard) {
    char name[64];
    size_t n = 0;
    char *header = make_header(f, shard, &n);
    FILE *out = create(f, shard_name(f, shard, name, sizeof name));
    uint64_t length = n;
    int ok = header && out && fwrite(&length, 8, 1, out) == 1 && fwrite(header, 1, n, out) == n;
    for (int i = 0; ok && i < f->n; i++)
        for (int p = 0; shard_of(f, i) == shard && p < f->entries[i].n_pieces; p++) {
            struct piece piece = f->entries[i].pieces[p];
            ok &= fwrite(piece.data, 1, piece.bytes, out) == piece.bytes;
        }
    if (out) ok &= fclose(out) == 0;
    free(header);
    return ok;
}

static int write_index(const struct folder *f) {
    FILE *out = create(f, "model.safetensors.index.json");
    char name[64];
    size_t total = 0;
    if (!out) return 0;
    for (int i = 0; i < f->n; i++) total += bytes_of(&f->entries[i]);
    fprintf(out, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n  \"weight_map\": {\n", total);
    for (int i = 0; i < f->n; i++)
        fprintf(out, "    \"%s\": \"%s\"%s\n", f->entries[i].name,
                shard_name(f, shard_of(f, i), name, sizeof name), i + 1 < f->n ? "," : "");
    fprintf(out, "  }\n}\n");
    return fclose(out) == 0;
}

static void write_layers(const struct folder *f, FILE *out) {
    int n = 0;
    fprintf(out, f->o->old_config ? "  \"full_attn_idxs\": [" : "  \"layer_types\": [");
    for (int l = 0; l < f->s->L; l++) {
        int attention = is_qwen(f) || l % 2;
        if (!f->o->old_config)
            fprintf(out, "%s\"%s\"", n++ ? ", " : "", attention ? "full_attention" : "conv");
        else if (attention)
            fprintf(out, "%s%d", n++ ? ", " : "", l);
    }
    fprintf(out, "],\n");
}

static int write_config(const struct folder *f) {
    const struct tiny_spec *s = f->s;
    FILE *out = create(f, "config.json");
    int moe = strcmp(s->arch, "lfm2moe") == 0, old = f->o->old_config;
    if (!out) return 0;
    fprintf(out, "{\n  \"model_type\": \"%s\",\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n",
            moe ? "lfm2_moe" : s->arch);
    fprintf(out, "  \"hidden_size\": %d,\n  \"num_attention_heads\": %d,\n  \"num_key_value_heads\": %d,\n",
            s->D, s->H, s->G);
    fprintf(out,
            "  \"num_hidden_layers\": %d,\n  \"vocab_size\": %d,\n  \"max_position_embeddings\": 4096,\n",
            s->L, s->V);
    if (old) { /* the width before two thirds and rounding up to 256 */
        fprintf(out, "  \"block_auto_adjust_ff_dim\": true,\n  \"block_ff_dim\": %d,\n", s->F * 3 / 2 - 100);
        fprintf(
            out,
            "  \"block_ffn_dim_multiplier\": 1.0,\n  \"block_multiple_of\": 256,\n  \"theta\": 1000000.0,\n");
    } else {
        fprintf(out, "  \"intermediate_size\": %d,\n  \"block_auto_adjust_ff_dim\": false,\n", s->F);
        fprintf(out, "  \"rope_parameters\": {\"rope_theta\": 1000000.0, \"rope_type\": \"default\"},\n");
    }
    if (is_qwen(f) || s->H * s->d != s->D) fprintf(out, "  \"head_dim\": %d,\n", s->d);
    if (moe)
        fprintf(out,
                "  \"moe_intermediate_size\": %d,\n  \"num_experts\": %d,\n  \"num_experts_per_tok\": %d,\n"
                "  \"num_dense_layers\": 2,\n  \"norm_topk_prob\": true,\n  \"routed_scaling_factor\": 1.0,\n"
                "  \"use_expert_bias\": true,\n",
                s->EF, s->E, s->k);
    if (!is_qwen(f)) fprintf(out, "  \"conv_L_cache\": 3,\n  \"conv_bias\": false,\n");
    write_layers(f, out);
    fprintf(out, "  \"tie_word_embeddings\": %s,\n  \"%s\": 1e-05\n}\n", s->tied ? "true" : "false",
            is_qwen(f) ? "rms_norm_eps" : "norm_eps");
    return fclose(out) == 0;
}

enum status tiny_hf_write(const char *folder, const char *gguf, const struct tiny_spec *s,
                          const struct tiny_hf *o, struct error *e) {
    struct gguf *g;
    TRY(gguf_open(&g, gguf, e));
    struct folder f = {
        .path = folder, .g = g, .s = s, .o = o, .entries = calloc(MAX_ENTRIES, sizeof *f.entries)};
    int ok = f.entries != NULL;
    if (ok) add_all(&f);
    for (int i = 0; ok && i < (o->shards ? o->shards : 1); i++) ok &= write_shard(&f, i);
    if (ok && o->shards) ok &= write_index(&f);
    ok = ok && write_config(&f) && !f.failed;
    for (int i = 0; i < f.n; i++) free(f.entries[i].owned);
    free(f.entries);
    gguf_close(g);
    return ok ? OK : fail(e, ERR_IO, "%s: cannot write the folder", folder);
}

int tiny_safetensors(const char *path, const char *header, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    uint64_t length = strlen(header);
    if (!f) return -1;
    int ok =
        fwrite(&length, 8, 1, f) == 1 && fwrite(header, 1, length, f) == length && fwrite(data, 1, n, f) == n;
    return fclose(f) == 0 && ok ? 0 : -1;
}
