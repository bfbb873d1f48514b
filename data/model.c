/* SPDX-License-Identifier: Apache-2.0 */
/* model: hands out the tensors of an open file under their roles, each checked against the hyper-parameters
 * that data/model_config.c read. Weight values themselves are not looked at: a NaN in a file is found by
 * whoever computes with it. */
#include "data/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/gguf.h"
#include "data/hf.h"
#include "data/lora.h"
#include "data/model_config.h"
#include "data/names.h"
#include "data/sha256.h"

/* Everything model_open works on. */
struct opening {
    struct model *m;
    const struct gguf *g;
    uint8_t *taken; /* [n_tensors] 1: has a role */
    struct error *e;
};

static int64_t size_of(const struct config *c, enum dim d) {
    switch (d) {
    case DIM_1:
        return 1;
    case DIM_D:
        return c->n_embd;
    case DIM_3D:
        return 3 * (int64_t)c->n_embd;
    case DIM_HEADS:
        return (int64_t)c->n_heads * c->head_dim;
    case DIM_KV_HEADS:
        return (int64_t)c->n_kv_heads * c->head_dim;
    case DIM_HEAD:
        return c->head_dim;
    case DIM_FF:
        return c->n_ff;
    case DIM_EXPERT_FF:
        return c->n_expert_ff;
    case DIM_EXPERTS:
        return c->n_experts;
    case DIM_TAPS:
        return c->conv_taps;
    }
    return 0;
}

static void format_dims(char *out, size_t size, const int64_t *dims, int n) {
    int at = snprintf(out, size, "[");
    for (int i = 0; i < n; i++)
        at += snprintf(out + at, size - (size_t)at, "%s%" PRId64, i ? ", " : "", dims[i]);
    snprintf(out + at, size - (size_t)at, "]");
}

/* Shapes are compared without dimensions of 1: converters disagree on writing them ([3, D] and [3, 1, D]). */
static int same_shape(const int64_t *a, int na, const int64_t *b, int nb) {
    int i = 0, j = 0;
    for (;;) {
        while (i < na && a[i] == 1) i++;
        while (j < nb && b[j] == 1) j++;
        if (i == na || j == nb) return i == na && j == nb;
        if (a[i++] != b[j++]) return 0;
    }
}

/* What the user's file calls the tensor that a row of the table and a layer name. */
static void shown_name(const struct opening *o, const struct layer_tensor *r, int layer, char *out,
                       size_t size) {
    const char *hf = o->m->hf ? r->hf[o->m->hf->arch->style] : NULL;
    snprintf(out, size, hf ? hf : r->gguf, layer, 0);
}

/* A tensor of planes matrices of rows x cols. shown: its name in messages. */
static enum status take(struct opening *o, const char *name, const char *shown, int64_t planes, int64_t rows,
                        int64_t cols, int f32, const struct gguf_tensor **out) {
    const struct gguf_tensor *t = gguf_tensor_find(o->g, name);
    const int64_t expected[3] = {cols, rows, planes};
    int n = planes > 1 ? 3 : rows > 1 ? 2 : 1;
    char found_text[96], expected_text[96];
    format_dims(expected_text, sizeof expected_text, expected, n);
    if (!t)
        return fail(o->e, ERR_SHAPE, "%s: tensor %s is missing (expected shape %s)", o->g->path, shown,
                    expected_text);
    if (t->dims[0] != cols || !same_shape(t->dims, t->n_dims, expected, 3)) {
        format_dims(found_text, sizeof found_text, t->dims, t->n_dims);
        return fail(o->e, ERR_SHAPE, "%s: tensor %s: wrong shape (found %s, expected %s)", o->g->path,
                    t->source, found_text, expected_text);
    }
    if (f32 && t->type != TYPE_F32)
        return fail(
            o->e, ERR_SHAPE,
            "%s: tensor %s: wrong type (found %s, expected F32: norms, taps and routers are never quantised)",
            o->g->path, name, type_info(t->type)->name);
    o->taken[t - o->g->tensors] = 1;
    *out = t;
    return OK;
}

static enum status take_matrix(struct opening *o, const char *name, const char *shown, int64_t rows,
                               int64_t cols, int f32, struct tensor *out) {
    const struct gguf_tensor *t = NULL;
    TRY(take(o, name, shown, 1, rows, cols, f32, &t));
    const void *data = t->planes ? t->planes[0] : t->data;
    *out = (struct tensor){t->name, t->type, rows, cols, data, t->bytes};
    return OK;
}

static struct tensor plane(const struct gguf_tensor *all, int index, int planes, int64_t rows) {
    struct tensor t = {.name = all->name, .type = all->type, .rows = rows, .cols = all->dims[0]};
    t.bytes = all->bytes / (uint64_t)planes;
    t.data = all->planes ? all->planes[index] : (const uint8_t *)all->data + (size_t)index * t.bytes;
    return t;
}

static int has_part(const struct layer *l, enum layer_part part) {
    switch (part) {
    case PART_ALL:
        return 1;
    case PART_CONV:
        return l->mixer == MIXER_CONV;
    case PART_ATTENTION:
        return l->mixer == MIXER_ATTENTION;
    case PART_DENSE:
        return l->ffn == FFN_DENSE;
    case PART_MOE:
    case PART_EXPERT:
        return l->ffn == FFN_MOE;
    }
    return 0;
}

static enum status take_experts(struct opening *o, struct layer *l, const struct layer_tensor *r,
                                const char *name, const char *shown) {
    const struct config *c = &o->m->config;
    const struct gguf_tensor *t = NULL;
    int n = c->n_experts;
    int64_t rows = size_of(c, r->rows);
    TRY(take(o, name, shown, n, rows, size_of(c, r->cols), r->f32, &t));
    /* Only now is it known that the file holds as many experts as it claims. */
    if (!l->experts && !(l->experts = calloc((size_t)n, sizeof *l->experts)))
        return fail(o->e, ERR_MEMORY, "%s: out of memory for %d experts", o->g->path, n);
    for (int i = 0; i < n; i++) *(struct tensor *)((char *)&l->experts[i] + r->offset) = plane(t, i, n, rows);
    return OK;
}

static enum status take_layer(struct opening *o, int index) {
    const struct config *c = &o->m->config;
    struct layer *l = &o->m->layers[index];
    for (const struct layer_tensor *r = layer_tensors; r < layer_tensors + n_layer_tensors; r++) {
        char name[GGUF_MAX_NAME], shown[128];
        snprintf(name, sizeof name, r->gguf, index);
        shown_name(o, r, index, shown, sizeof shown);
        if (!has_part(l, r->part) || (r->optional && !gguf_tensor_find(o->g, name))) continue;
        if (r->part == PART_EXPERT)
            TRY(take_experts(o, l, r, name, shown));
        else
            TRY(take_matrix(o, name, shown, size_of(c, r->rows), size_of(c, r->cols), r->f32,
                            (struct tensor *)((char *)l + r->offset)));
    }
    return OK;
}

static enum status take_ends(struct opening *o) {
    struct model *m = o->m;
    int64_t D = m->config.n_embd, V = m->config.n_vocab;
    TRY(take_matrix(o, TENSOR_EMBEDDING, m->hf ? HF_EMBEDDING : TENSOR_EMBEDDING, V, D, 0, &m->embedding));
    int i = 0;
    while (i < n_final_norm_names - 1 && !gguf_tensor_find(o->g, final_norm_names[i])) i++;
    TRY(take_matrix(o, final_norm_names[i], m->hf ? hf_final_norm[m->hf->arch->style] : final_norm_names[i],
                    1, D, 1, &m->norm));
    m->tied = !gguf_tensor_find(o->g, TENSOR_HEAD);
    m->head = m->embedding;
    return m->tied ? OK : take_matrix(o, TENSOR_HEAD, m->hf ? HF_HEAD : TENSOR_HEAD, V, D, 0, &m->head);
}

/* A tensor without a role (a bias, a second norm) means that the file asks for other mathematics. */
static enum status check_all_taken(const struct opening *o) {
    for (uint64_t i = 0; i < o->g->n_tensors; i++)
        if (!o->taken[i])
            return fail(o->e, ERR_SHAPE, "%s: tensor %s has no place in a model of architecture %s",
                        o->g->path, o->g->tensors[i].source, o->m->config.arch);
    return OK;
}

static enum status allocate(struct opening *o, const struct layer_kinds *kinds) {
    struct model *m = o->m;
    const struct config *c = &m->config;
    m->layers = calloc((size_t)c->n_layers, sizeof *m->layers);
    o->taken = calloc(o->g->n_tensors + 1, 1);
    if (!m->layers || !o->taken) return fail(o->e, ERR_MEMORY, "%s: out of memory", o->g->path);
    for (int i = 0; i < c->n_layers; i++) {
        m->layers[i].mixer = kinds->attention[i] ? MIXER_ATTENTION : MIXER_CONV;
        m->layers[i].ffn = c->n_experts && i >= c->n_dense_layers ? FFN_MOE : FFN_DENSE;
    }
    return OK;
}

static void hash_header(struct model *m, const struct gguf *g) {
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, g->data_offset, g->map);
    for (int i = 0; m->hf && i < m->hf->files->n_files; i++) {
        const struct safetensors_file *f = &m->hf->files->files[i];
        sha256_update(&sha, f->header_bytes, f->map.data);
        m->file_bytes += f->map.size;
    }
    if (!m->hf) m->file_bytes = g->size;
    for (int i = 0; i < m->n_adapters; i++)
        sha256_update(&sha, SHA256_DIGEST_SIZE, lora_digest(m->adapters[i]));
    sha256_end_hex(&sha, m->header_sha256);
}

static void count_weights(struct model *m, const struct gguf *g) {
    uint64_t bytes[64] = {0};
    const int n_types = (int)(sizeof bytes / sizeof *bytes);
    int best = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        const struct type_info *info = type_info(t->type);
        m->n_params += t->bytes / (uint64_t)info->bytes * (uint64_t)info->block;
        if (t->dims[1] > 1 && (int)t->type < n_types) bytes[t->type] += t->bytes;
    }
    for (int i = 1; i < n_types; i++)
        if (bytes[i] > bytes[best]) best = i;
    snprintf(m->recipe, sizeof m->recipe, "%s", type_info(best)->name);
}

/* A folder that does not say what it holds is called by its own name. */
static void name_after_folder(struct model *m) {
    char folder[4096], *path = NULL;
    if (m->config.name[0] || !m->hf || hf_folder(m->index->path, folder, sizeof folder)) return;
    path = realpath(folder, NULL);
    const char *slash = path ? strrchr(path, '/') : NULL;
    snprintf(m->config.name, sizeof m->config.name, "%.63s", slash ? slash + 1 : folder);
    text_clean(m->config.name);
    free(path);
}

static enum status fill(struct opening *o) {
    struct layer_kinds kinds;
    TRY(config_read(&o->m->config, &kinds, o->g, o->e));
    name_after_folder(o->m);
    TRY(allocate(o, &kinds));
    TRY(take_ends(o));
    for (int i = 0; i < o->m->config.n_layers; i++) TRY(take_layer(o, i));
    TRY(check_all_taken(o));
    if (gguf_find(o->g, "lfm2.synthetic")) TRY(gguf_bool(o->g, "lfm2.synthetic", &o->m->synthetic, o->e));
    hash_header(o->m, o->g);
    count_weights(o->m, o->g);
    memcpy(o->m->path, o->g->path, sizeof o->m->path);
    return OK;
}

static enum status open_container(struct model *m, const char *path, struct error *e) {
    if (hf_is(path)) {
        TRY(hf_open(&m->hf, path, e));
        m->index = m->hf->index;
        return OK;
    }
    TRY(gguf_open(&m->gguf, path, e));
    m->index = m->gguf;
    return OK;
}

static enum status merge_adapters(struct model *m, const struct weighted_path *list, int n, struct error *e) {
    if (!(m->adapters = calloc((size_t)n, sizeof *m->adapters)))
        return fail(e, ERR_MEMORY, "%s: out of memory", m->index->path);
    for (int i = 0; i < n; i++) {
        TRY(lora_open(&m->adapters[i], list[i].path, list[i].weight, m->index, e));
        m->n_adapters++;
        TRY(lora_merge(m->adapters[i], m->index, e));
    }
    return OK;
}

static enum status add_adapters(struct model *m, const char *adapters, struct error *e) {
    struct weighted_path *list;
    int n;
    if (!adapters) return OK;
    TRY(weighted_paths_parse(adapters, 1, &list, &n, e));
    enum status status = merge_adapters(m, list, n, e);
    weighted_paths_free(list, n);
    return status;
}

enum status model_open(struct model **out, const char *path, struct error *e) {
    return model_open_lora(out, path, NULL, e);
}

enum status model_open_lora(struct model **out, const char *path, const char *adapters, struct error *e) {
    *out = NULL;
    struct model *m = calloc(1, sizeof *m);
    if (!m) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    enum status status = open_container(m, path, e);
    if (status == OK) status = add_adapters(m, adapters, e);
    if (status == OK) {
        struct opening o = {.m = m, .g = m->index, .e = e};
        status = fill(&o);
        free(o.taken);
    }
    if (status == OK)
        *out = m;
    else
        model_close(m);
    return status;
}

void model_close(struct model *m) {
    if (!m) return;
    for (int i = 0; i < m->n_adapters; i++) lora_close(m->adapters[i]);
    free(m->adapters);
    gguf_close(m->gguf);
    hf_close(m->hf);
    for (int i = 0; m->layers && i < m->config.n_layers; i++) free(m->layers[i].experts);
    free(m->layers);
    free(m);
}

/* Only what can be read again from a file may be dropped: not the converted copies. */
static int is_mapped(const struct model *m, const struct tensor *t) {
    if (m->gguf) return mapped_holds(&m->gguf->file, t->data, t->bytes);
    for (int i = 0; m->hf && i < m->hf->files->n_files; i++)
        if (mapped_holds(&m->hf->files->files[i].map, t->data, t->bytes)) return 1;
    return 0;
}

void model_release_pages(const struct model *m, const struct tensor *t) {
    if (!t->data || !is_mapped(m, t)) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)t->data, end = begin + t->bytes;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static void add_cost(struct model_cost *cost, const struct tensor *t) {
    cost->bytes_per_token += (double)t->bytes;
    /* Norms and the router bias are vectors: no products with a matrix. */
    if (t->rows > 1) cost->macs_per_token += (double)t->rows * (double)t->cols;
}

struct model_cost model_cost(const struct model *m) {
    const struct config *c = &m->config;
    struct model_cost cost = {.head_macs = (double)c->n_vocab * c->n_embd};
    /* One row of the embedding, the final norm, the whole head. */
    cost.bytes_per_token = (double)type_row_bytes(m->embedding.type, c->n_embd) + (double)m->norm.bytes;
    cost.bytes_per_token += (double)m->head.bytes;
    for (const struct layer *l = m->layers; l < m->layers + c->n_layers; l++) {
        for (const struct layer_tensor *r = layer_tensors; r < layer_tensors + n_layer_tensors; r++) {
            if (!has_part(l, r->part)) continue;
            if (r->part != PART_EXPERT) add_cost(&cost, (const struct tensor *)((const char *)l + r->offset));
            for (int i = 0; r->part == PART_EXPERT && i < c->n_experts_used; i++)
                add_cost(&cost, (const struct tensor *)((const char *)&l->experts[i] + r->offset));
        }
        if (l->mixer == MIXER_ATTENTION) cost.kv_bytes_per_position += 2.0 * 2 * c->n_kv_heads * c->head_dim;
    }
    return cost;
}
