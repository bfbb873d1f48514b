/* SPDX-License-Identifier: Apache-2.0 */
/* importance: finds the sums of a matrix by the address of its data. */
#include "bench/importance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct importance_plane {
    const void *data;
    int entry; /* of sums */
    int64_t plane;
};

static int by_address(const void *a, const void *b) {
    const char *x = ((const struct importance_plane *)a)->data,
               *y = ((const struct importance_plane *)b)->data;
    return x < y ? -1 : x > y;
}

static int is_layer_matrix(const struct gguf_tensor *t) {
    return strncmp(t->name, "blk.", 4) == 0 && t->dims[1] > 1 && !strstr(t->name, "shortconv.conv.");
}

void importance_free(struct importance *x) {
    for (int i = 0; i < x->n; i++) free(x->sums[i].squares), free(x->sums[i].counts);
    free(x->sums);
    free(x->planes);
    memset(x, 0, sizeof *x);
}

static int add(struct importance *x, const struct gguf_tensor *t) {
    struct imatrix_sums *s = &x->sums[x->n];
    memcpy(s->name, t->name, sizeof s->name);
    s->planes = t->dims[2], s->cols = t->dims[0];
    s->squares = calloc((size_t)(s->planes * s->cols), sizeof *s->squares);
    s->counts = calloc((size_t)s->planes, sizeof *s->counts);
    struct importance_plane *more = realloc(x->planes, (x->n_planes + (size_t)s->planes) * sizeof *more);
    if (more) x->planes = more;
    int entry = x->n++;
    if (!s->squares || !s->counts || !more) return -1;
    for (int64_t p = 0; p < s->planes; p++)
        x->planes[x->n_planes++] = (struct importance_plane){gguf_tensor_row(t, p * t->dims[1]), entry, p};
    return 0;
}

enum status importance_new(struct importance *out, const struct model *m, struct error *e) {
    *out = (struct importance){0};
    out->sums = calloc(m->index->n_tensors + 1, sizeof *out->sums);
    if (!out->sums) return fail(e, ERR_MEMORY, "imatrix: out of memory");
    for (uint64_t i = 0; i < m->index->n_tensors; i++)
        if (is_layer_matrix(&m->index->tensors[i]) && add(out, &m->index->tensors[i]))
            return fail(e, ERR_MEMORY, "imatrix: out of memory");
    qsort(out->planes, out->n_planes, sizeof *out->planes, by_address);
    return OK;
}

static void see(void *arg, const struct tensor *w, const float *input, int n) {
    struct importance *x = arg;
    struct importance_plane key = {.data = w->data};
    const struct importance_plane *p = bsearch(&key, x->planes, x->n_planes, sizeof key, by_address);
    if (!p) return; /* the head */
    struct imatrix_sums *s = &x->sums[p->entry];
    double *squares = s->squares + p->plane * s->cols;
    s->counts[p->plane] += n;
    for (int t = 0; t < n; t++, input += s->cols)
        for (int64_t i = 0; i < s->cols; i++) squares[i] += (double)input[i] * (double)input[i];
}

static enum status check_finite(const struct importance *x, const struct model *m, struct error *e) {
    for (int i = 0; i < x->n; i++)
        for (int64_t k = 0; k < x->sums[i].planes * x->sums[i].cols; k++)
            if (!isfinite(x->sums[i].squares[k]))
                return fail(e, ERR_SHAPE, "%s: the inputs of %s are not finite", m->path, x->sums[i].name);
    return OK;
}

static enum status read_windows(struct session *s, const int32_t *ids, const struct windows *w, int bos,
                                int32_t *window, void (*progress)(void *, int, int), void *arg,
                                struct error *e) {
    for (int i = 0; i < w->n; i++) {
        memcpy(window, ids + (size_t)i * (size_t)w->step, (size_t)w->size * sizeof *ids);
        if (bos >= 0) window[0] = bos;
        engine_reference.reset(s);
        TRY(engine_reference.feed(s, window, w->size, NULL, 0, e));
        if (progress) progress(arg, i + 1, w->n);
    }
    return OK;
}

enum status importance_collect(struct importance *x, const struct model *m, const int32_t *ids,
                               const struct windows *w, int bos, int threads,
                               void (*progress)(void *arg, int done, int total), void *arg, struct error *e) {
    struct engine_options o = {.threads = threads, .max_tokens = w->size, .input = see, .input_arg = x};
    struct session *s = NULL;
    int32_t *window = calloc((size_t)w->size, sizeof *window);
    enum status st = window ? OK : fail(e, ERR_MEMORY, "imatrix: out of memory");
    if (st == OK) st = engine_reference.open(&s, m, &o, e);
    if (st == OK) st = read_windows(s, ids, w, bos, window, progress, arg, e);
    if (st == OK) st = check_finite(x, m, e);
    engine_reference.close(s);
    free(window);
    return st;
}
