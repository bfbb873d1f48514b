/* SPDX-License-Identifier: Apache-2.0 */
/* hf_config: walks the tables of data/names.c; what a table cannot say has a function of its own. */
#include "data/hf_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

enum { MAX_CONFIG = 1 << 20 /* bytes */, MAX_VALUE = 1 << 24, MAX_LAYERS = 1024, MAX_EXPERTS = 4096 };

struct reading {
    json_t *root;
    const char *path;
    struct gguf_writer *w;
    struct hf_config *out;
    struct error *e;
    char key[128]; /* the last one made by full_key */
};

static const char *full_key(struct reading *r, const char *key) {
    snprintf(r->key, sizeof r->key, "%s%s", key[0] == '.' ? r->out->arch->name : "", key);
    return r->key;
}

/* The value at "a/b"; NULL when it is missing or null. */
static const json_t *find(const json_t *at, const char *path) {
    char part[64];
    while (at && *path) {
        size_t n = strcspn(path, "/");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        at = json_object_get(at, part);
        path += n + (path[n] == '/');
    }
    return at && !json_is_null(at) ? at : NULL;
}

static enum status wrong(const struct reading *r, const char *key, const json_t *found,
                         const char *expected) {
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    enum status status = fail(r->e, ERR_SHAPE, "%s: key %s: %s (found %.64s, expected %s)", r->path, key,
                              found ? "bad value" : "missing", text ? text : "none", expected);
    free(text);
    return status;
}

/* Some files write a whole number as 1e6 or 1.0. */
static int whole(const json_t *v, int64_t *out) {
    double d = json_number_value(v);
    if (!json_is_number(v) || d != floor(d) || fabs(d) > 0x1p53) return 0;
    *out = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)d;
    return 1;
}

static enum status read_int(struct reading *r, const char *key, const json_t *v, int64_t low, int64_t high,
                            int64_t *out) {
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from %" PRId64 " to %" PRId64, low, high);
    if (!v || !whole(v, out) || *out < low || *out > high) return wrong(r, key, v, expected);
    return OK;
}

static enum status read_arch(struct reading *r) {
    const json_t *v = find(r->root, "model_type");
    const char *type = json_string_value(v);
    for (int i = 0; type && i < n_archs; i++)
        if (strcmp(type, archs[i].model_type) == 0) r->out->arch = &archs[i];
    if (!r->out->arch) {
        wrong(r, "model_type", v, model_type_names);
        return r->e ? (r->e->code = ERR_UNSUPPORTED) : ERR_UNSUPPORTED;
    }
    gguf_put_string(r->w, "general.architecture", r->out->arch->name);
    gguf_put_string(r->w, "general.type", "model");
    return OK;
}

/* The name that its author gave it, without the place where it lay. A folder's own name is no part of a
 * model: its keys, and their hash, stay the same when it is moved. */
static void put_name(struct reading *r) {
    const char *name = json_string_value(find(r->root, "_name_or_path"));
    if (!name || !*name) return;
    const char *slash = strrchr(name, '/');
    gguf_put_string(r->w, "general.name", slash && slash[1] ? slash + 1 : name);
}

static int wanted(const struct reading *r, enum need need, int found) {
    switch (need) {
    case NEED_ALWAYS:
        return 1;
    case NEED_CONV:
        return r->out->arch->has_conv;
    case NEED_EXPERTS:
        return r->out->arch->has_experts;
    case NEED_NEVER:
        break;
    }
    return found;
}

static enum status put_value(struct reading *r, const struct hf_key *k, const char *name, const json_t *v) {
    const char *key = full_key(r, k->gguf);
    int64_t n;
    switch (k->kind) {
    case HF_INT:
        /* Several ids that end an answer: the first is EOS. */
        if (json_is_array(v)) v = json_array_get(v, 0);
        TRY(read_int(r, name, v, 0, MAX_VALUE, &n));
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): set, or not OK */
        gguf_put_u32(r->w, key, (uint32_t)n);
        return OK;
    case HF_FLOAT:
        if (!json_is_number(v) || !(fabs(json_number_value(v)) < 1e30)) return wrong(r, name, v, "a number");
        gguf_put_f32(r->w, key, (float)json_number_value(v));
        return OK;
    case HF_BOOL:
        if (!json_is_boolean(v)) return wrong(r, name, v, "true or false");
        gguf_put_bool(r->w, key, json_is_true(v));
        return OK;
    }
    return OK;
}

static enum status put_values(struct reading *r) {
    for (const struct hf_key *k = hf_keys; k < hf_keys + n_hf_keys; k++) {
        const char *name = k->hf[0];
        const json_t *v = NULL;
        for (size_t i = 0; !v && i < sizeof k->hf / sizeof *k->hf && k->hf[i]; i++)
            if ((v = find(r->root, k->hf[i]))) name = k->hf[i];
        if (wanted(r, k->need, v != NULL)) TRY(put_value(r, k, name, v));
    }
    return OK;
}

/* Attention everywhere, or where layer_types or the older full_attn_idxs say; a short convolution elsewhere.
 */
static enum status put_kv_heads(struct reading *r) {
    const json_t *types = find(r->root, "layer_types"), *indices = find(r->root, "full_attn_idxs");
    int n = r->out->n_layers, convolutions = 0;
    int64_t heads, index;
    TRY(read_int(r, "num_key_value_heads", find(r->root, "num_key_value_heads"), 1, MAX_VALUE, &heads));
    int32_t per_layer[MAX_LAYERS];
    for (int i = 0; i < n; i++) per_layer[i] = types || !indices ? (int32_t)heads : 0;
    if (types && (!json_is_array(types) || json_array_size(types) != (size_t)n))
        return wrong(r, "layer_types", types, "one text per layer");
    for (int i = 0; types && i < n; i++) {
        const json_t *v = json_array_get(types, (size_t)i);
        const char *type = json_is_string(v) ? json_string_value(v) : "";
        if (strcmp(type, "conv") == 0 && r->out->arch->has_conv)
            per_layer[i] = 0;
        else if (strcmp(type, "full_attention") != 0)
            return wrong(r, "layer_types", v,
                         r->out->arch->has_conv ? "conv or full_attention" : "full_attention");
    }
    for (size_t i = 0; !types && i < json_array_size(indices); i++) {
        TRY(read_int(r, "full_attn_idxs", json_array_get(indices, i), 0, n - 1, &index));
        per_layer[index] = (int32_t)heads;
    }
    for (int i = 0; i < n; i++) convolutions += per_layer[i] == 0;
    if (convolutions || r->out->arch->has_conv)
        gguf_put_i32s(r->w, full_key(r, KEY_KV_HEADS), per_layer, (size_t)n);
    else
        gguf_put_u32(r->w, full_key(r, KEY_KV_HEADS), (uint32_t)heads);
    return OK;
}

static enum status flag(struct reading *r, const char *key, int fallback, int *out) {
    const json_t *v = find(r->root, key);
    if (v && !json_is_boolean(v)) return wrong(r, key, v, "true or false");
    *out = v ? json_is_true(v) : fallback;
    return OK;
}

/* LFM2 configurations may give the width before the reduction that makes SwiGLU as large as a plain block:
 * two thirds, times a factor, rounded up. */
static enum status put_ff(struct reading *r) {
    int64_t ff, multiple = 256;
    int adjusts = 0;
    const char *key = find(r->root, "block_ff_dim") ? "block_ff_dim" : "intermediate_size";
    TRY(read_int(r, key, find(r->root, key), 1, MAX_VALUE, &ff));
    if (r->out->arch->adjusts_ff) TRY(flag(r, "block_auto_adjust_ff_dim", 1, &adjusts));
    if (adjusts) {
        const json_t *factor = find(r->root, "block_ffn_dim_multiplier"),
                     *m = find(r->root, "block_multiple_of");
        ff = 2 * ff / 3;
        if (factor &&
            (!json_is_number(factor) || !(json_number_value(factor) > 0 && json_number_value(factor) < 64)))
            return wrong(r, "block_ffn_dim_multiplier", factor, "a number between 0 and 64");
        if (factor) ff = (int64_t)(json_number_value(factor) * (double)ff);
        if (m) TRY(read_int(r, "block_multiple_of", m, 1, MAX_VALUE, &multiple));
        ff = (ff + multiple - 1) / multiple * multiple;
        if (ff < 1 || ff > MAX_VALUE) return wrong(r, key, find(r->root, key), "a smaller or larger width");
    }
    gguf_put_u32(r->w, full_key(r, KEY_FF), (uint32_t)ff);
    return OK;
}

static enum status check_fixed(struct reading *r) {
    for (const struct hf_fixed *f = hf_fixed; f < hf_fixed + n_hf_fixed; f++) {
        const json_t *v = find(r->root, f->hf);
        json_t *expected = json_loads(f->value, JSON_DECODE_ANY, NULL);
        int same = !v || (json_is_number(v) && json_is_number(expected)
                              ? json_number_value(v) == json_number_value(expected)
                              : json_equal(v, expected));
        json_decref(expected);
        if (same) continue;
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        fail(r->e, ERR_UNSUPPORTED, "%s: key %s: %s (found %.64s, expected %s)", r->path, f->hf, f->why,
             text ? text : "?", f->value);
        free(text);
        return ERR_UNSUPPORTED;
    }
    return OK;
}

static enum status read_all(struct reading *r) {
    int64_t n;
    TRY(read_arch(r));
    put_name(r);
    TRY(check_fixed(r));
    TRY(put_values(r));
    TRY(read_int(r, "num_hidden_layers", find(r->root, "num_hidden_layers"), 1, MAX_LAYERS, &n));
    r->out->n_layers = (int)n;
    if (r->out->arch->has_experts) {
        TRY(read_int(r, "num_experts", find(r->root, "num_experts"), 1, MAX_EXPERTS, &n));
        r->out->n_experts = (int)n;
        gguf_put_u32(r->w, full_key(r, KEY_GATING), 2); /* sigmoid */
    }
    TRY(put_kv_heads(r));
    TRY(put_ff(r));
    TRY(flag(r, "tie_word_embeddings", r->out->arch->tied, &r->out->tied));
    return flag(r, "tie_embedding", r->out->tied, &r->out->tied); /* LFM2's own name for it */
}

enum status hf_config_put(struct gguf_writer *w, const char *folder, struct hf_config *out, struct error *e) {
    char path[4096 + 32];
    *out = (struct hf_config){0};
    snprintf(path, sizeof path, "%s/config.json", folder);
    struct reading r = {.path = path, .w = w, .out = out, .e = e};
    TRY(json_read(&r.root, path, MAX_CONFIG, JSON_REJECT_DUPLICATES, e));
    enum status status = read_all(&r);
    json_decref(r.root);
    return status;
}
