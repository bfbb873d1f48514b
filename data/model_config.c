/* SPDX-License-Identifier: Apache-2.0 */
/* model_config: reads the keys that the tables of data/names.c list, then checks them against each other. */
#include "data/model_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/names.h"

struct reading {
    struct config *c;
    struct layer_kinds *kinds;
    const struct arch *arch;
    const struct gguf *g;
    struct error *e;
    char key[128]; /* the last one made by full_key */
};

static const char *full_key(struct reading *r, const char *key) {
    snprintf(r->key, sizeof r->key, "%s%s", key[0] == '.' ? r->arch->name : "", key);
    return r->key;
}

static const struct gguf_kv *find(struct reading *r, const char *key) {
    return gguf_find(r->g, full_key(r, key));
}

static int text_equals(struct gguf_string s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

static enum status read_arch(struct reading *r) {
    struct gguf_string s;
    TRY(gguf_text(r->g, "general.architecture", &s, r->e));
    for (int i = 0; i < n_archs; i++)
        if (text_equals(s, archs[i].name)) r->arch = &archs[i];
    if (!r->arch)
        return fail(r->e, ERR_UNSUPPORTED,
                    "%s: key general.architecture: not supported (found %.*s, expected %s)", r->g->path,
                    (int)(s.size < 64 ? s.size : 64), s.data, arch_names);
    snprintf(r->c->arch, sizeof r->c->arch, "%s", r->arch->name);
    if (!gguf_find(r->g, "general.name")) return OK;
    TRY(gguf_text(r->g, "general.name", &s, r->e));
    size_t n = s.size < sizeof r->c->name ? s.size : sizeof r->c->name - 1;
    memcpy(r->c->name, s.data, n);
    text_clean(r->c->name);
    return OK;
}

/* 1: the key is to be read. A needed one is read even when missing, which reports it. */
static int wanted(struct reading *r, const char *key, enum need need) {
    switch (need) {
    case NEED_ALWAYS:
        return 1;
    case NEED_CONV:
        return r->arch->has_conv;
    case NEED_EXPERTS:
        return r->arch->has_experts;
    case NEED_NEVER:
        break;
    }
    return find(r, key) != NULL;
}

static enum status read_numbers(struct reading *r) {
    for (const struct int_key *k = int_keys; k < int_keys + n_int_keys; k++) {
        int64_t v = k->fallback;
        if (wanted(r, k->gguf, k->need)) TRY(gguf_int(r->g, full_key(r, k->gguf), k->low, k->high, &v, r->e));
        *(int *)((char *)r->c + k->offset) = (int)v;
    }
    for (const struct f32_key *k = f32_keys; k < f32_keys + n_f32_keys; k++) {
        float v = k->fallback;
        if (wanted(r, k->gguf, k->need)) {
            TRY(gguf_f32(r->g, full_key(r, k->gguf), &v, r->e));
            if (v <= 0)
                return fail(r->e, ERR_SHAPE, "%s: key %s: out of range (found %g, expected more than 0)",
                            r->g->path, r->key, (double)v);
        }
        *(float *)((char *)r->c + k->offset) = v;
    }
    return OK;
}

/* A key that is one integer for all layers or an array of one per layer. */
static enum status find_per_layer(struct reading *r, const char *key, const struct gguf_kv **out) {
    const struct gguf_kv *kv = find(r, key);
    if (!kv || kv->type != GGUF_ARRAY) {
        int64_t v;
        TRY(gguf_int(r->g, full_key(r, key), 0, INT32_MAX, &v, r->e));
    } else {
        if (kv->element != GGUF_U32) TRY(gguf_array(r->g, r->key, GGUF_I32, &kv, r->e));
        if (kv->count != (uint64_t)r->c->n_layers)
            return fail(r->e, ERR_SHAPE,
                        "%s: key %s: wrong length (found %" PRIu64 " values, expected %d, one per layer)",
                        r->g->path, r->key, kv->count, r->c->n_layers);
    }
    *out = kv;
    return OK;
}

static int64_t per_layer(const struct gguf_kv *kv, int layer) {
    return gguf_int_at(kv, kv->type == GGUF_ARRAY ? (uint64_t)layer : 0);
}

static enum status read_kv_heads(struct reading *r) {
    struct config *c = r->c;
    const struct gguf_kv *kv;
    TRY(find_per_layer(r, KEY_KV_HEADS, &kv));
    for (int i = 0; i < c->n_layers; i++) {
        int64_t v = per_layer(kv, i);
        if (v == 0 && r->arch->has_conv) continue;
        if (v < 1 || v > c->n_heads || c->n_heads % v)
            return fail(r->e, ERR_SHAPE,
                        "%s: key %s: bad value for layer %d (found %" PRId64
                        ", expected %sa divisor of the %d heads)",
                        r->g->path, r->key, i, v, r->arch->has_conv ? "0 or " : "", c->n_heads);
        if (c->n_kv_heads && v != c->n_kv_heads)
            return fail(r->e, ERR_UNSUPPORTED,
                        "%s: key %s: differs between attention layers (found %" PRId64
                        " in layer %d, expected %d)",
                        r->g->path, r->key, v, i, c->n_kv_heads);
        c->n_kv_heads = (int)v;
        r->kinds->attention[i] = 1;
    }
    if (c->n_kv_heads == 0)
        return fail(r->e, ERR_UNSUPPORTED, "%s: key %s: no attention layer (found only 0)", r->g->path,
                    r->key);
    return OK;
}

static enum status read_head_size(struct reading *r) {
    struct config *c = r->c;
    int64_t d = c->n_embd / c->n_heads, v;
    if (find(r, KEY_KEY_LENGTH))
        TRY(gguf_int(r->g, r->key, 1, 4096, &d, r->e));
    else if (c->n_embd % c->n_heads)
        return fail(r->e, ERR_SHAPE,
                    "%s: key %s is missing and embedding_length %d is no multiple of the %d heads",
                    r->g->path, r->key, c->n_embd, c->n_heads);
    if (d < 2 || d % 2 || d > 4096)
        return fail(r->e, ERR_SHAPE,
                    "%s: bad head size (found %" PRId64 ", expected an even number from 2 to 4096)",
                    r->g->path, d);
    c->head_dim = (int)d;
    if (find(r, KEY_VALUE_LENGTH)) TRY(gguf_int(r->g, r->key, d, d, &v, r->e));
    if (find(r, KEY_ROPE_DIMS)) TRY(gguf_int(r->g, r->key, d, d, &v, r->e));
    return OK;
}

static enum status read_ff(struct reading *r) {
    const struct gguf_kv *kv;
    TRY(find_per_layer(r, KEY_FF, &kv));
    struct config *c = r->c;
    int n_dense = c->n_experts ? c->n_dense_layers : c->n_layers;
    c->n_ff = 0; /* when no layer is dense */
    for (int i = 0; i < n_dense; i++) {
        int64_t v = per_layer(kv, i);
        if (v < 1 || v > 1 << 24)
            return fail(r->e, ERR_SHAPE, "%s: key %s: out of range (found %" PRId64 ", expected 1 to %d)",
                        r->g->path, r->key, v, 1 << 24);
        if (c->n_ff && v != c->n_ff)
            return fail(r->e, ERR_UNSUPPORTED,
                        "%s: key %s: differs between dense layers (found %" PRId64
                        " in layer %d, expected %d)",
                        r->g->path, r->key, v, i, c->n_ff);
        c->n_ff = (int)v;
    }
    return OK;
}

static enum status read_experts(struct reading *r) {
    struct config *c = r->c;
    int64_t v;
    if (!r->arch->has_experts) return OK;
    TRY(gguf_int(r->g, full_key(r, KEY_GATING), 0, INT32_MAX, &v, r->e));
    if (v != 2)
        return fail(r->e, ERR_UNSUPPORTED,
                    "%s: key %s: not supported (found %" PRId64 ", expected 2, sigmoid)", r->g->path, r->key,
                    v);
    c->expert_norm = 1;
    if (find(r, KEY_EXPERT_NORM)) TRY(gguf_bool(r->g, r->key, &c->expert_norm, r->e));
    if (c->n_experts_used > c->n_experts)
        return fail(r->e, ERR_SHAPE, "%s: key %s: more than there are (found %d, expected at most %d)",
                    r->g->path, full_key(r, ".expert_used_count"), c->n_experts_used, c->n_experts);
    if (c->n_dense_layers > c->n_layers)
        return fail(r->e, ERR_SHAPE, "%s: key %s: more than there are (found %d, expected at most %d)",
                    r->g->path, full_key(r, ".leading_dense_block_count"), c->n_dense_layers, c->n_layers);
    return OK;
}

/* What the engines do not compute must not be asked for. */
static enum status check_fixed(struct reading *r) {
    if (r->arch->has_conv && r->c->conv_taps != 3)
        return fail(r->e, ERR_UNSUPPORTED, "%s: key %s: not supported (found %d, expected 3)", r->g->path,
                    full_key(r, KEY_CONV_TAPS), r->c->conv_taps);
    for (const struct fixed_key *k = fixed_keys; k < fixed_keys + n_fixed_keys; k++) {
        const struct gguf_kv *kv = find(r, k->gguf);
        if (!kv) continue;
        int64_t v = 0;
        if (kv->type != GGUF_BOOL) TRY(gguf_int(r->g, r->key, INT64_MIN, INT64_MAX, &v, r->e));
        v = gguf_int_at(kv, 0);
        if (v != k->value)
            return fail(r->e, ERR_UNSUPPORTED, "%s: key %s: %s (found %" PRId64 ", expected %" PRId64 ")",
                        r->g->path, r->key, k->why, v, k->value);
    }
    if (!find(r, KEY_ROPE_SCALING)) return OK;
    struct gguf_string s;
    TRY(gguf_text(r->g, r->key, &s, r->e));
    if (!text_equals(s, "none"))
        return fail(r->e, ERR_UNSUPPORTED, "%s: key %s: not supported (found %.*s, expected none)",
                    r->g->path, r->key, (int)(s.size < 64 ? s.size : 64), s.data);
    return OK;
}

static enum status read_vocabulary(struct reading *r) {
    struct config *c = r->c;
    const struct gguf_tensor *t = gguf_tensor_find(r->g, TENSOR_EMBEDDING);
    if (!t) return fail(r->e, ERR_SHAPE, "%s: tensor %s is missing", r->g->path, TENSOR_EMBEDDING);
    if (t->dims[1] > 1 << 24)
        return fail(r->e, ERR_SHAPE, "%s: tensor %s: too many rows (found %" PRId64 ", expected at most %d)",
                    r->g->path, t->name, t->dims[1], 1 << 24);
    c->n_vocab = (int)t->dims[1];
    int64_t v;
    if (find(r, KEY_VOCAB_SIZE)) TRY(gguf_int(r->g, r->key, c->n_vocab, c->n_vocab, &v, r->e));
    const struct gguf_kv *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == GGUF_ARRAY && tokens->count > (uint64_t)c->n_vocab)
        return fail(r->e, ERR_SHAPE,
                    "%s: key tokenizer.ggml.tokens: more tokens than rows of the embedding (found %" PRIu64
                    ", expected at most %d)",
                    r->g->path, tokens->count, c->n_vocab);
    int largest = c->bos_id > c->eos_id ? c->bos_id : c->eos_id;
    if (largest >= c->n_vocab)
        return fail(r->e, ERR_SHAPE,
                    "%s: key tokenizer.ggml.%s_token_id: no such token (found %d, expected less than %d)",
                    r->g->path, largest == c->bos_id ? "bos" : "eos", largest, c->n_vocab);
    return OK;
}

enum status config_read(struct config *c, struct layer_kinds *kinds, const struct gguf *g, struct error *e) {
    memset(c, 0, sizeof *c);
    memset(kinds, 0, sizeof *kinds);
    struct reading r = {.c = c, .kinds = kinds, .g = g, .e = e};
    TRY(read_arch(&r));
    TRY(read_numbers(&r));
    TRY(read_kv_heads(&r));
    TRY(read_head_size(&r));
    TRY(read_experts(&r));
    TRY(read_ff(&r));
    TRY(check_fixed(&r));
    return read_vocabulary(&r);
}
