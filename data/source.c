/* SPDX-License-Identifier: Apache-2.0 */
/* source: opens the files, checks that the checkpoints fit each other, adds rows. */
#include "data/source.h"

#include <stdlib.h>
#include <string.h>

#include "data/gguf.h"

/* The same tensors of the same shapes, under the same hyper-parameters but those that no tensor depends on.
 */
static enum status check_fits(const struct model *a, const struct model *b, struct error *e) {
    struct config c = b->config;
    memcpy(c.name, a->config.name, sizeof c.name);
    c.context_length = a->config.context_length;
    c.bos_id = a->config.bos_id;
    c.eos_id = a->config.eos_id;
    if (memcmp(&c, &a->config, sizeof c) != 0)
        return fail(e, ERR_SHAPE, "%s: not the same architecture and sizes as %s", b->path, a->path);
    for (uint64_t i = 0; i < a->index->n_tensors; i++)
        if (!gguf_tensor_find(b->index, a->index->tensors[i].name))
            return fail(e, ERR_SHAPE, "%s: tensor %s is missing (expected all that %s has)", b->path,
                        a->index->tensors[i].source, a->path);
    if (a->index->n_tensors != b->index->n_tensors)
        return fail(e, ERR_SHAPE, "%s: more tensors than %s", b->path, a->path);
    return OK;
}

static enum status open_others(struct source *s, const struct weighted_path *list, int n, struct error *e) {
    s->others = calloc((size_t)n + 1, sizeof *s->others);
    s->weights = calloc((size_t)n + 1, sizeof *s->weights);
    if (!s->others || !s->weights) return fail(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        TRY(model_open(&s->others[i], list[i].path, e));
        s->n_others++;
        s->weights[i] = list[i].weight;
        TRY(check_fits(s->base, s->others[i], e));
    }
    return OK;
}

static enum status open_adapters(struct source *s, const struct weighted_path *list, int n, struct error *e) {
    if (!(s->adapters = calloc((size_t)n + 1, sizeof *s->adapters)))
        return fail(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        TRY(lora_open(&s->adapters[i], list[i].path, list[i].weight, s->base->index, e));
        s->n_adapters++;
    }
    return OK;
}

static enum status open_list(struct source *s, const char *text, float fallback,
                             enum status (*open)(struct source *, const struct weighted_path *, int,
                                                 struct error *),
                             struct error *e) {
    struct weighted_path *list;
    int n;
    if (!text) return OK;
    TRY(weighted_paths_parse(text, fallback, &list, &n, e));
    enum status status = open(s, list, n, e);
    weighted_paths_free(list, n);
    return status;
}

enum status source_open(struct source *s, const char *base, const char *merges, const char *adapters,
                        struct error *e) {
    *s = (struct source){0};
    enum status status = model_open(&s->base, base, e);
    if (status == OK) status = open_list(s, merges, 1, open_others, e);
    if (status == OK) status = open_list(s, adapters, 1, open_adapters, e);
    if (status != OK) source_close(s);
    return status;
}

void source_close(struct source *s) {
    for (int i = 0; i < s->n_adapters; i++) lora_close(s->adapters[i]);
    for (int i = 0; i < s->n_others; i++) model_close(s->others[i]);
    free(s->adapters);
    free(s->others);
    free(s->weights);
    model_close(s->base);
    *s = (struct source){0};
}

int source_is_plain(const struct source *s, uint64_t t) {
    for (int i = 0; i < s->n_adapters; i++)
        if (lora_touches(s->adapters[i], t)) return 0;
    return s->n_others == 0;
}

void source_row(const struct source *s, uint64_t t, int64_t row, float *out, float *scratch) {
    const struct gguf_tensor *base = &s->base->index->tensors[t];
    int64_t n = base->dims[0];
    dequantize_row(base->type, gguf_tensor_row(base, row), out, n);
    float *other = scratch, *start = scratch + n;
    if (s->n_others) memcpy(start, out, (size_t)n * sizeof *out);
    for (int i = 0; i < s->n_others; i++) {
        const struct gguf_tensor *from = gguf_tensor_find(s->others[i]->index, base->name);
        dequantize_row(from->type, gguf_tensor_row(from, row), other, n);
        for (int64_t c = 0; c < n; c++) out[c] += s->weights[i] * (other[c] - start[c]);
    }
    for (int i = 0; i < s->n_adapters; i++)
        if (lora_touches(s->adapters[i], t)) lora_add_row(s->adapters[i], t, row, out);
}
