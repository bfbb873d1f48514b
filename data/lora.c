/* SPDX-License-Identifier: Apache-2.0 */
/* lora: finds the tensor that each pair of matrices belongs to by walking the table of names, keeps both
 * matrices in float32, and adds their product a row at a time. */
#include "data/lora.h"

#include <inttypes.h>
#include <math.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/hf.h"
#include "data/json.h"
#include "data/names.h"
#include "data/safetensors.h"

enum { MAX_CONFIG = 16 << 20 /* bytes */ };

/* One pair, for the rows of one matrix. */
struct pair {
    int64_t first_row, rows, cols, r;
    float *a, *b; /* [r, cols], [rows, r] */
    float scale;
    struct pair *next; /* of the same tensor */
};

struct lora {
    char path[4096];     /* of the .safetensors file */
    struct pair **pairs; /* [n_tensors], lists */
    uint64_t n_tensors;
    void **copies; /* [n_tensors], of lora_merge */
    double alpha;
    int rank_stabilised;
    uint8_t digest[SHA256_DIGEST_SIZE];
};

struct opening {
    struct lora *l;
    const struct gguf *g;
    const struct arch *arch;
    struct safetensors *files;
    uint8_t *taken;
    float factor;
    int64_t rank; /* of every pair; 0: each has its own */
    struct error *e;
};

/* ---- adapter_config.json ---- */

static enum status read_config(struct opening *o, const json_t *c, const char *path) {
    static const char *const must_be_off[] = {
        "use_dora",          "fan_in_fan_out",         "lora_bias", "alpha_pattern", "modules_to_save",
        "layer_replication", "trainable_token_indices"};
    const char *type = json_string_value(json_object_get(c, "peft_type"));
    const json_t *alpha = json_object_get(c, "lora_alpha"), *r = json_object_get(c, "r");
    if (!type || strcmp(type, "LORA") != 0)
        return fail(o->e, ERR_UNSUPPORTED, "%s: key peft_type: not supported (found %s, expected LORA)", path,
                    type ? type : "none");
    for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++) {
        const json_t *v = json_object_get(c, must_be_off[i]);
        int empty =
            (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0);
        if (v && !json_is_null(v) && !json_is_false(v) && !empty)
            return fail(o->e, ERR_UNSUPPORTED, "%s: key %s: adapters that use it are not supported", path,
                        must_be_off[i]);
    }
    if (!json_is_number(alpha) || !(fabs(json_number_value(alpha)) < 1e6))
        return fail(o->e, ERR_SHAPE, "%s: key lora_alpha: missing or not a number", path);
    if (r && (!json_is_integer(r) || json_integer_value(r) < 1))
        return fail(o->e, ERR_SHAPE, "%s: key r: not a whole number of at least 1", path);
    o->rank = json_object_size(json_object_get(c, "rank_pattern")) ? 0 : json_integer_value(r);
    o->l->alpha = json_number_value(alpha);
    o->l->rank_stabilised = json_is_true(json_object_get(c, "use_rslora"));
    return OK;
}

static enum status open_config(struct opening *o, const char *path) {
    char folder[4096], file[4096 + 32];
    json_t *config;
    if (hf_folder(path, folder, sizeof folder)) return fail(o->e, ERR_ARG, "%.64s...: path too long", path);
    snprintf(file, sizeof file, "%s/adapter_config.json", folder);
    TRY(json_read(&config, file, MAX_CONFIG, JSON_REJECT_DUPLICATES, o->e));
    enum status status = read_config(o, config, file);
    json_decref(config);
    return status;
}

/* ---- pairs ---- */

/* Names begin differently with the class that was wrapped; the module's own name is what follows. */
static const struct safetensors_tensor *find(struct opening *o, const char *module, const char *which) {
    static const char *const starts[] = {"base_model.model.", ""};
    static const char *const ends[] = {"", ".default"};
    char name[256];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s.%s%s.weight", starts[i / 2], module, which, ends[i % 2]);
        const struct safetensors_tensor *t = safetensors_find(o->files, name);
        if (!t) continue;
        o->taken[t - o->files->tensors] = 1;
        return t;
    }
    return NULL;
}

/* A NaN that went on would be called a fault of the model. */
static enum status as_f32(float **out, const struct opening *o, const struct safetensors_tensor *t) {
    int64_t n = (int64_t)(t->bytes / (uint64_t)type_info(t->type)->bytes);
    float *x = *out = malloc((size_t)n * sizeof *x);
    if (!x) return fail(o->e, ERR_MEMORY, "%s: out of memory", o->l->path);
    dequantize_row(t->type, t->data, x, n);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return fail(o->e, ERR_FORMAT, "%s: tensor %s: value %" PRId64 " is not finite (found %g)",
                        o->l->path, t->name, i, (double)x[i]);
    return OK;
}

static enum status add_pair(struct opening *o, uint64_t tensor, int64_t first_row, int64_t rows,
                            const char *module) {
    const struct safetensors_tensor *a = find(o, module, "lora_A"), *b = find(o, module, "lora_B");
    int64_t cols = o->g->tensors[tensor].dims[0];
    if (!a && !b) return OK;
    if (!a || !b) return fail(o->e, ERR_SHAPE, "%s: %s has no lora_%c", o->l->path, module, a ? 'B' : 'A');
    int64_t r = a->dims[0];
    if (a->n_dims != 2 || b->n_dims != 2 || r < 1 || a->dims[1] != cols || b->dims[0] != rows ||
        b->dims[1] != r)
        return fail(o->e, ERR_SHAPE,
                    "%s: tensor %s: wrong shape (found [%" PRId64 ", %" PRId64 "] and [%" PRId64 ", %" PRId64
                    "], expected [r, %" PRId64 "] and [%" PRId64 ", r])",
                    o->l->path, a->name, a->dims[0], a->dims[1], b->dims[0], b->dims[1], cols, rows);
    if (o->rank && r != o->rank)
        return fail(o->e, ERR_SHAPE,
                    "%s: tensor %s: another rank than r in adapter_config.json (found %" PRId64
                    ", expected %" PRId64 ")",
                    o->l->path, a->name, r, o->rank);
    struct pair *p = calloc(1, sizeof *p);
    if (!p) return fail(o->e, ERR_MEMORY, "%s: out of memory", o->l->path);
    p->next = o->l->pairs[tensor];
    o->l->pairs[tensor] = p;
    p->first_row = first_row;
    p->rows = rows;
    p->cols = cols;
    p->r = r;
    p->scale = o->factor * (float)(o->l->alpha / (o->l->rank_stabilised ? sqrt((double)r) : (double)r));
    TRY(as_f32(&p->a, o, a));
    return as_f32(&p->b, o, b);
}

/* The module is the tensor's name in a folder without ".weight". */
static void module_of(char *name) {
    static const char end[] = ".weight";
    size_t n = strlen(name);
    if (n >= sizeof end && strcmp(name + n - (sizeof end - 1), end) == 0) name[n - (sizeof end - 1)] = 0;
}

static enum status add_row_of_table(struct opening *o, const struct layer_tensor *r, int layer) {
    char gguf[GGUF_MAX_NAME], module[128];
    const char *pattern = r->hf[o->arch->style];
    snprintf(gguf, sizeof gguf, r->gguf, layer);
    const struct gguf_tensor *t = pattern ? gguf_tensor_find(o->g, gguf) : NULL;
    if (!t || r->rows == DIM_1 || r->cols == DIM_TAPS) return OK; /* not a linear layer */
    int64_t planes = r->part == PART_EXPERT ? t->dims[2] : 1;
    for (int64_t i = 0; i < planes; i++) {
        snprintf(module, sizeof module, pattern, layer, (int)i);
        module_of(module);
        TRY(add_pair(o, (uint64_t)(t - o->g->tensors), i * t->dims[1], t->dims[1], module));
    }
    return OK;
}

static enum status add_head(struct opening *o) {
    char module[] = HF_HEAD;
    const struct gguf_tensor *t = gguf_tensor_find(o->g, TENSOR_HEAD);
    module_of(module);
    return t ? add_pair(o, (uint64_t)(t - o->g->tensors), 0, t->dims[1], module) : OK;
}

static enum status add_pairs(struct opening *o) {
    int64_t n_layers;
    char key[64];
    snprintf(key, sizeof key, "%s.block_count", o->arch->name);
    TRY(gguf_int(o->g, key, 1, 1024, &n_layers, o->e));
    for (int i = 0; i < (int)n_layers; i++)
        for (const struct layer_tensor *r = layer_tensors; r < layer_tensors + n_layer_tensors; r++)
            TRY(add_row_of_table(o, r, i));
    TRY(add_head(o));
    if (o->files->n_tensors == 0)
        return fail(o->e, ERR_SHAPE, "%s: no tensors in it (expected pairs of lora_A and lora_B)",
                    o->l->path);
    for (size_t i = 0; i < o->files->n_tensors; i++)
        if (!o->taken[i])
            return fail(o->e, ERR_UNSUPPORTED,
                        "%s: tensor %s fits no linear layer of the model (architecture %s)", o->l->path,
                        o->files->tensors[i].name, o->arch->name);
    return OK;
}

static enum status find_arch(struct opening *o) {
    struct gguf_string s;
    TRY(gguf_text(o->g, "general.architecture", &s, o->e));
    for (int i = 0; i < n_archs; i++)
        if (s.size == strlen(archs[i].name) && memcmp(s.data, archs[i].name, s.size) == 0)
            o->arch = &archs[i];
    return o->arch ? OK : fail(o->e, ERR_UNSUPPORTED, "%s: unknown architecture", o->g->path);
}

static void make_digest(struct opening *o) {
    const struct mapped *m = &o->files->files[0].map;
    const double scale[] = {o->factor, o->l->alpha, o->l->rank_stabilised};
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, m->size, m->data);
    sha256_update(&sha, sizeof scale, (const uint8_t *)scale);
    sha256_digest(&sha, sizeof o->l->digest, o->l->digest);
}

static enum status open_all(struct opening *o, const char *path) {
    struct stat st;
    struct lora *l = o->l;
    int folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int n = snprintf(l->path, sizeof l->path, "%s%s", path, folder ? "/adapter_model.safetensors" : "");
    if (n < 0 || (size_t)n >= sizeof l->path) return fail(o->e, ERR_ARG, "%.64s...: path too long", path);
    TRY(find_arch(o));
    TRY(safetensors_open(&o->files, l->path, o->e));
    TRY(open_config(o, l->path));
    make_digest(o);
    l->n_tensors = o->g->n_tensors;
    l->pairs = calloc(l->n_tensors + 1, sizeof *l->pairs);
    l->copies = calloc(l->n_tensors + 1, sizeof *l->copies);
    o->taken = calloc(o->files->n_tensors + 1, 1);
    if (!l->pairs || !l->copies || !o->taken) return fail(o->e, ERR_MEMORY, "%s: out of memory", path);
    return add_pairs(o);
}

enum status lora_open(struct lora **out, const char *path, float factor, const struct gguf *g,
                      struct error *e) {
    *out = NULL;
    struct opening o = {.l = calloc(1, sizeof *o.l), .g = g, .factor = factor, .e = e};
    if (!o.l) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    enum status status = open_all(&o, path);
    safetensors_close(o.files);
    free(o.taken);
    if (status == OK)
        *out = o.l;
    else
        lora_close(o.l);
    return status;
}

void lora_close(struct lora *l) {
    if (!l) return;
    for (uint64_t i = 0; i < l->n_tensors; i++) {
        for (struct pair *p = l->pairs ? l->pairs[i] : NULL, *next; p; p = next) {
            next = p->next;
            free(p->a);
            free(p->b);
            free(p);
        }
        if (l->copies) free(l->copies[i]);
    }
    free(l->pairs);
    free(l->copies);
    free(l);
}

const uint8_t *lora_digest(const struct lora *l) {
    return l->digest;
}

int lora_touches(const struct lora *l, uint64_t t) {
    return l->pairs[t] != NULL;
}

void lora_add_row(const struct lora *l, uint64_t t, int64_t row, float *out) {
    for (const struct pair *p = l->pairs[t]; p; p = p->next) {
        if (row < p->first_row || row >= p->first_row + p->rows) continue;
        const float *b = p->b + (row - p->first_row) * p->r;
        for (int64_t k = 0; k < p->r; k++) {
            const float *a = p->a + k * p->cols;
            float factor = p->scale * b[k];
            for (int64_t c = 0; c < p->cols; c++) out[c] += factor * a[c];
        }
    }
}

/* ---- at load ---- */

static enum status merge_tensor(struct lora *l, struct gguf_tensor *t, uint64_t index, float *row,
                                struct error *e) {
    enum tensor_type type = type_info(t->type)->block > 1 ? TYPE_Q8_0 : t->type;
    int64_t rows = gguf_tensor_rows(t);
    size_t row_bytes = type_row_bytes(type, t->dims[0]);
    uint8_t *copy = malloc((size_t)rows * row_bytes);
    if (!copy)
        return fail(e, ERR_MEMORY, "%s: out of memory for %.2f GB of merged weights", l->path,
                    (double)rows * (double)row_bytes * 1e-9);
    for (int64_t r = 0; r < rows; r++) {
        dequantize_row(t->type, gguf_tensor_row(t, r), row, t->dims[0]);
        lora_add_row(l, index, r, row);
        quantize_row(type, row, copy + (size_t)r * row_bytes, t->dims[0]);
    }
    l->copies[index] = copy;
    t->type = type;
    t->bytes = (uint64_t)rows * row_bytes;
    t->data = copy;
    t->planes = NULL;
    return OK;
}

enum status lora_merge(struct lora *l, struct gguf *g, struct error *e) {
    int64_t widest = 1;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].dims[0] > widest) widest = g->tensors[i].dims[0];
    float *row = malloc((size_t)widest * sizeof *row);
    enum status status = row ? OK : fail(e, ERR_MEMORY, "%s: out of memory", l->path);
    for (uint64_t i = 0; i < g->n_tensors && status == OK; i++)
        if (lora_touches(l, i)) status = merge_tensor(l, &g->tensors[i], i, row, e);
    free(row);
    return status;
}

/* ---- the command line's lists ---- */

static enum status parse_one(const char *text, size_t n, float fallback, struct weighted_path *out,
                             struct error *e) {
    char *path = strndup(text, n), *end = NULL;
    if (!path) return fail(e, ERR_MEMORY, "out of memory");
    *out = (struct weighted_path){path, fallback};
    char *colon = strrchr(path, ':');
    if (!colon || !colon[1]) return OK;
    double v = strtod(colon + 1, &end);
    if (*end) return OK; /* a colon of the path's own */
    if (!(fabs(v) < 1e6)) return fail(e, ERR_ARG, "%s: bad weight (expected a number below a million)", path);
    *colon = 0;
    out->weight = (float)v;
    return OK;
}

enum status weighted_paths_parse(const char *text, float fallback, struct weighted_path **out, int *n,
                                 struct error *e) {
    size_t count = 1;
    for (const char *p = text; *p; p++) count += *p == ',';
    *n = 0;
    *out = calloc(count, sizeof **out);
    if (!*out) return fail(e, ERR_MEMORY, "out of memory");
    enum status status = OK;
    for (const char *p = text; status == OK; p++) {
        size_t length = strcspn(p, ",");
        if (length == 0)
            status = fail(e, ERR_ARG, "'%s': a path is missing (expected FILE[:WEIGHT],...)", text);
        else
            status = parse_one(p, length, fallback, &(*out)[(*n)++], e);
        p += length;
        if (!*p) break;
    }
    if (status == OK) return OK;
    weighted_paths_free(*out, *n);
    *out = NULL;
    return status;
}

void weighted_paths_free(struct weighted_path *list, int n) {
    for (int i = 0; i < n; i++) free(list[i].path);
    free(list);
}
