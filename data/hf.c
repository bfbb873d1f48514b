/* SPDX-License-Identifier: Apache-2.0 */
/* hf: walks the tables of data/names.c over all layers; a tensor of the folder that no row asks for is an
 * error. */
#include "data/hf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/hf_config.h"

struct build {
    struct hf *h;
    struct hf_config config;
    uint8_t *taken;  /* [files->n_tensors] */
    size_t n_planes; /* used of h->planes */
    struct error *e;
};

int hf_is(const char *path) {
    static const char end[] = ".safetensors";
    size_t n = strlen(path);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return 1;
    return n >= sizeof end && strcmp(path + n - (sizeof end - 1), end) == 0;
}

int hf_folder(const char *path, char *out, size_t size) {
    struct stat st;
    size_t n = strlen(path);
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        n = slash ? (size_t)(slash - path) + (slash == path) : 1;
        if (!slash) path = ".";
    }
    while (n > 1 && path[n - 1] == '/') n--;
    return n < size && snprintf(out, size, "%.*s", (int)n, path) >= 0 ? 0 : -1;
}

static const struct safetensors_tensor *find(struct build *b, const char *name) {
    const struct safetensors_tensor *t = safetensors_find(b->h->files, name);
    if (t) b->taken[t - b->h->files->tensors] = 1;
    return t;
}

/* Appends a tensor with t's shape without leading 1s in the middle: [D, 1, 3] of a convolution is [D, 3]. */
static enum status append(struct build *b, const char *name, const struct safetensors_tensor *t,
                          struct gguf_tensor **out) {
    struct gguf *g = b->h->index;
    struct gguf_tensor *to = &g->tensors[g->n_tensors];
    *to = (struct gguf_tensor){.type = t->type, .dims = {1, 1, 1, 1}, .bytes = t->bytes, .data = t->data};
    to->source = t->name;
    snprintf(to->name, sizeof to->name, "%s", name);
    for (int i = t->n_dims - 1; i >= 0; i--) {
        if (t->dims[i] == 1 && i > 0 && i < t->n_dims - 1) continue;
        if (to->n_dims == GGUF_MAX_DIMS || t->dims[i] < 1)
            return fail(b->e, ERR_SHAPE,
                        "%s: tensor %s: bad shape (found %d dimensions, the smallest %" PRId64 ")",
                        b->h->files->files[t->file].path, t->name, t->n_dims, t->dims[i]);
        to->dims[to->n_dims++] = t->dims[i];
    }
    if (to->n_dims == 0) to->n_dims = 1;
    g->n_tensors++;
    *out = to;
    return OK;
}

/* A float32 copy of a tensor that engines read as an array of floats. */
static enum status own_f32(struct build *b, struct gguf_tensor *t) {
    struct hf *h = b->h;
    int64_t n = (int64_t)(t->bytes / (uint64_t)type_info(t->type)->bytes);
    if (t->type == TYPE_F32 && (uintptr_t)t->data % sizeof(float) == 0) return OK;
    float *copy = malloc((size_t)n * sizeof *copy);
    void **grown = realloc(h->copies, (h->n_copies + 1) * sizeof *grown);
    if (grown) h->copies = grown;
    if (!copy || !grown) {
        free(copy);
        return fail(b->e, ERR_MEMORY, "%s: out of memory", h->index->path);
    }
    dequantize_row(t->type, t->data, copy, n);
    h->copies[h->n_copies++] = copy;
    t->type = TYPE_F32;
    t->data = copy;
    t->bytes = (uint64_t)n * sizeof *copy;
    return OK;
}

static enum status check_alignment(const struct build *b, const struct safetensors_tensor *t) {
    unsigned size = (unsigned)type_info(t->type)->bytes;
    if ((uintptr_t)t->data % size == 0) return OK;
    return fail(
        b->e, ERR_UNSUPPORTED,
        "%s: tensor %s: unaligned data (found byte %" PRIu64 " of the file, expected a multiple of %u); "
        "save the folder anew with safetensors 0.3 or later",
        b->h->files->files[t->file].path, t->name, b->h->files->files[t->file].header_bytes + t->begin, size);
}

static enum status add(struct build *b, const char *name, const struct safetensors_tensor *t, int f32) {
    struct gguf_tensor *to;
    TRY(append(b, name, t, &to));
    return f32 ? own_f32(b, to) : check_alignment(b, t);
}

/* One matrix per expert: w0 is that of expert 0. */
static enum status add_experts(struct build *b, const char *name, const struct layer_tensor *r, int layer,
                               const struct safetensors_tensor *w0) {
    struct gguf_tensor *to;
    TRY(append(b, name, w0, &to));
    if (to->n_dims != 2)
        return fail(b->e, ERR_SHAPE, "%s: tensor %s: wrong shape (found %d dimensions, expected 2)",
                    b->h->index->path, w0->name, to->n_dims);
    int n = b->config.n_experts;
    const void **planes = b->h->planes + b->n_planes;
    for (int i = 0; i < n; i++) {
        char other[128];
        snprintf(other, sizeof other, r->hf[b->config.arch->style], layer, i);
        const struct safetensors_tensor *w = find(b, other);
        if (!w) return fail(b->e, ERR_SHAPE, "%s: tensor %s is missing", b->h->index->path, other);
        if (w->type != w0->type || w->n_dims != 2 || w->dims[0] != w0->dims[0] || w->dims[1] != w0->dims[1])
            return fail(b->e, ERR_SHAPE, "%s: tensor %s: not of the shape and type of %s", b->h->index->path,
                        other, w0->name);
        TRY(check_alignment(b, w));
        planes[i] = w->data;
    }
    b->n_planes += (size_t)n;
    to->planes = planes;
    to->data = NULL;
    to->dims[to->n_dims++] = n;
    to->bytes *= (uint64_t)n;
    return OK;
}

/* All experts in one tensor [E, halves * rows, cols], of which the name gets one half of the rows. */
static enum status add_fused(struct build *b, const char *name, const struct layer_tensor *r,
                             const struct safetensors_tensor *t) {
    struct gguf_tensor *to;
    TRY(append(b, name, t, &to));
    int n = b->config.n_experts;
    if (t->n_dims != 3 || to->n_dims != 3 || t->dims[0] != n || t->dims[1] % r->halves)
        return fail(b->e, ERR_SHAPE,
                    "%s: tensor %s: wrong shape (found %d dimensions, the first %" PRId64
                    ", expected 3, %d for the experts)",
                    b->h->index->path, t->name, t->n_dims, t->dims[0], n);
    TRY(check_alignment(b, t));
    if (r->halves == 1) return OK;
    to->dims[1] /= r->halves;
    to->bytes /= (uint64_t)r->halves;
    uint64_t plane = to->bytes / (uint64_t)n;
    const void **planes = b->h->planes + b->n_planes;
    for (int i = 0; i < n; i++) planes[i] = t->data + plane * (uint64_t)(i * r->halves + r->half);
    b->n_planes += (size_t)n;
    to->planes = planes;
    to->data = NULL;
    return OK;
}

static enum status add_layer(struct build *b, int layer) {
    for (const struct layer_tensor *r = layer_tensors; r < layer_tensors + n_layer_tensors; r++) {
        const char *pattern = r->hf[b->config.arch->style];
        char from[128], to[GGUF_MAX_NAME];
        if (!pattern) continue;
        snprintf(to, sizeof to, r->gguf, layer);
        snprintf(from, sizeof from, pattern, layer, 0); /* experts: the first */
        const struct safetensors_tensor *t = find(b, from);
        if (t && r->part == PART_EXPERT) {
            TRY(add_experts(b, to, r, layer, t));
        } else if (t) {
            TRY(add(b, to, t, r->f32));
        } else if (r->part == PART_EXPERT) {
            snprintf(from, sizeof from, r->hf_fused, layer);
            if ((t = find(b, from))) TRY(add_fused(b, to, r, t));
        }
    }
    return OK;
}

static enum status missing(const struct build *b, const char *name) {
    return fail(b->e, ERR_SHAPE, "%s: tensor %s is missing", b->h->index->path, name);
}

static enum status add_ends(struct build *b) {
    const char *norm = hf_final_norm[b->config.arch->style];
    const char *norm_to = final_norm_names[b->config.arch->style == HF_LFM2 ? 0 : 1];
    const struct safetensors_tensor *t = find(b, HF_EMBEDDING);
    TRY(t ? add(b, TENSOR_EMBEDDING, t, 0) : missing(b, HF_EMBEDDING));
    t = find(b, norm);
    TRY(t ? add(b, norm_to, t, 1) : missing(b, norm));
    t = find(b, HF_HEAD); /* some tied folders repeat the embedding under that name */
    if (b->config.tied) return OK;
    return t ? add(b, TENSOR_HEAD, t, 0) : missing(b, HF_HEAD);
}

static enum status check_all_taken(const struct build *b) {
    const struct safetensors *s = b->h->files;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (!b->taken[i])
            return fail(b->e, ERR_SHAPE, "%s: tensor %s has no place in a model of type %s",
                        s->files[s->tensors[i].file].path, s->tensors[i].name, b->config.arch->model_type);
    return OK;
}

static enum status allocate(struct build *b) {
    struct hf *h = b->h;
    struct gguf *g = h->index;
    size_t layers = (size_t)b->config.n_layers, most = layers * (size_t)n_layer_tensors + 3;
    free(g->tensors);
    free(g->by_name);
    g->tensors = calloc(most, sizeof *g->tensors);
    g->by_name = calloc(most, sizeof *g->by_name);
    h->planes = calloc(layers * 3 * (size_t)b->config.n_experts + 1, sizeof *h->planes);
    b->taken = calloc(h->files->n_tensors + 1, 1);
    if (!g->tensors || !g->by_name || !h->planes || !b->taken)
        return fail(b->e, ERR_MEMORY, "%s: out of memory", g->path);
    return OK;
}

static enum status open_keys(struct build *b, const char *folder) {
    struct gguf_writer *w;
    TRY(gguf_writer_new(&w, folder, b->e));
    enum status status = hf_config_put(w, folder, &b->config, b->e);
    if (status == OK) status = gguf_writer_keys(w, &b->h->index, b->e);
    gguf_writer_free(w);
    b->h->arch = b->config.arch;
    return status;
}

static enum status build(struct build *b, const char *path) {
    char folder[4096];
    if (hf_folder(path, folder, sizeof folder)) return fail(b->e, ERR_ARG, "%.64s...: path too long", path);
    TRY(open_keys(b, folder));
    struct stat st;
    TRY(stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? safetensors_open_folder(&b->h->files, folder, b->e)
                                                    : safetensors_open(&b->h->files, path, b->e));
    TRY(allocate(b));
    TRY(add_ends(b));
    for (int i = 0; i < b->config.n_layers; i++) TRY(add_layer(b, i));
    TRY(check_all_taken(b));
    return gguf_sort_names(b->h->index, b->e);
}

enum status hf_open(struct hf **out, const char *path, struct error *e) {
    *out = NULL;
    struct build b = {.h = calloc(1, sizeof *b.h), .e = e};
    if (!b.h) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    enum status status = build(&b, path);
    free(b.taken);
    if (status == OK)
        *out = b.h;
    else
        hf_close(b.h);
    return status;
}

void hf_close(struct hf *h) {
    if (!h) return;
    gguf_close(h->index);
    safetensors_close(h->files);
    for (size_t i = 0; i < h->n_copies; i++) free(h->copies[i]);
    free(h->copies);
    free(h->planes);
    free(h);
}
