/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix: two readers and a writer. */
#include "data/imatrix.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/gguf_write.h"
#include "data/mapped.h"

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

void imatrix_close(struct imatrix *m) {
    if (!m) return;
    for (int i = 0; i < m->n; i++) free(m->entries[i].values);
    free(m->entries);
    free(m);
}

static enum status check_values(const struct imatrix *m, const struct imatrix_entry *x, struct error *e) {
    for (int64_t i = 0; i < x->planes * x->cols; i++)
        if (!(x->values[i] >= 0 && isfinite(x->values[i])))
            return fail(e, ERR_FORMAT, "%s: %s: value %" PRId64 " is no mean square (found %g)", m->path,
                        x->name, i, (double)x->values[i]);
    return OK;
}

/* ---- GGUF ---- */

/* sums / counts of one matrix. */
static enum status read_entry(const struct imatrix *m, struct imatrix_entry *x,
                              const struct gguf_tensor *sums, const struct gguf_tensor *counts,
                              struct error *e) {
    int64_t planes = counts ? counts->dims[0] * gguf_tensor_rows(counts) : 0;
    int64_t all = sums->dims[0] * gguf_tensor_rows(sums);
    if (!counts || counts->type != TYPE_F32 || sums->type != TYPE_F32)
        return fail(e, ERR_FORMAT, "%s: %s: %s", m->path, x->name,
                    counts ? "sums and counts must be F32" : "there are sums and no counts");
    if (planes < 1 || all % planes != 0)
        return fail(e, ERR_SHAPE, "%s: %s: %" PRId64 " sums for %" PRId64 " counts", m->path, x->name, all,
                    planes);
    x->planes = planes;
    x->cols = all / planes;
    x->values = malloc((size_t)all * sizeof *x->values);
    if (!x->values) return fail(e, ERR_MEMORY, "%s: out of memory", m->path);
    memcpy(x->values, sums->data, (size_t)all * sizeof *x->values);
    for (int64_t p = 0; p < planes; p++) {
        float count;
        memcpy(&count, (const char *)counts->data + (size_t)p * sizeof count, sizeof count);
        if (!isfinite(count))
            return fail(e, ERR_FORMAT, "%s: %s: count %" PRId64 " is no number (found %g)", m->path, x->name,
                        p, (double)count);
        count = roundf(count);
        for (int64_t i = p * x->cols; i < (p + 1) * x->cols; i++)
            x->values[i] = count > 0 ? x->values[i] / count : 1;
    }
    return check_values(m, x, e);
}

static void read_keys(struct imatrix *m, const struct gguf *g) {
    const struct gguf_kv *names;
    struct error ignored;
    if (gguf_int(g, "imatrix.chunk_count", 0, UINT32_MAX, &m->chunks, &ignored) != OK) m->chunks = 0;
    if (gguf_array(g, "imatrix.datasets", GGUF_STRING, &names, &ignored) != OK || !names->count) return;
    const uint8_t *cursor = names->data;
    struct gguf_string first = gguf_string_next(&cursor);
    snprintf(m->dataset, sizeof m->dataset, "%.*s", (int)(first.size < 127 ? first.size : 127), first.data);
}

static enum status read_gguf(struct imatrix *m, const struct gguf *g, struct error *e) {
    m->entries = calloc(g->n_tensors + 1, sizeof *m->entries);
    if (!m->entries) return fail(e, ERR_MEMORY, "%s: out of memory", m->path);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        struct imatrix_entry *x = &m->entries[m->n];
        size_t n = strlen(t->name), m_suffix = sizeof sums_suffix - 1;
        char counts[GGUF_MAX_NAME + sizeof counts_suffix];
        if (n <= m_suffix || strcmp(t->name + n - m_suffix, sums_suffix) != 0) continue;
        snprintf(x->name, sizeof x->name, "%.*s", (int)(n - m_suffix), t->name);
        snprintf(counts, sizeof counts, "%s%s", x->name, counts_suffix);
        m->n++;
        TRY(read_entry(m, x, t, gguf_tensor_find(g, counts), e));
    }
    read_keys(m, g);
    if (m->n) return OK;
    return fail(e, ERR_FORMAT, "%s: no importance matrix (expected tensors named *%s)", m->path, sums_suffix);
}

/* ---- the older format: int32 entries; each int32 length, name, int32 calls, int32 values, floats that are
 * means times calls; then perhaps int32 chunks, int32 length, name of the text ---- */

struct cursor {
    const uint8_t *at;
    uint64_t left;
};

static int take(struct cursor *c, void *out, uint64_t n) {
    if (n > c->left) return -1;
    memcpy(out, c->at, (size_t)n);
    c->at += n;
    c->left -= n;
    return 0;
}

static enum status cut_short(const struct imatrix *m, int entry, struct error *e) {
    return fail(e, ERR_FORMAT, "%s: not an importance matrix, or cut short (in entry %d)", m->path, entry);
}

static enum status read_old_entry(struct imatrix *m, struct cursor *c, struct error *e) {
    struct imatrix_entry *x = &m->entries[m->n];
    int32_t length, calls, n;
    if (take(c, &length, 4) || length < 1 || length >= GGUF_MAX_NAME || take(c, x->name, (uint64_t)length) ||
        take(c, &calls, 4) || take(c, &n, 4) || n < 1 || (uint64_t)n * sizeof(float) > c->left)
        return cut_short(m, m->n, e);
    x->name[length] = 0;
    text_clean(x->name);
    x->planes = 1; /* how many there are shows when the matrix is known */
    x->cols = n;
    x->values = malloc((size_t)n * sizeof *x->values);
    m->n++;
    if (!x->values) return fail(e, ERR_MEMORY, "%s: out of memory", m->path);
    take(c, x->values, (uint64_t)n * sizeof *x->values);
    for (int32_t i = 0; i < n && calls > 0; i++) x->values[i] /= (float)calls;
    return check_values(m, x, e);
}

static enum status read_old(struct imatrix *m, const struct mapped *file, struct error *e) {
    struct cursor c = {file->data, file->size};
    int32_t n, chunks, length;
    if (take(&c, &n, 4) || n < 1 || (uint64_t)n > file->size / 16) return cut_short(m, 0, e);
    m->entries = calloc((size_t)n, sizeof *m->entries);
    if (!m->entries) return fail(e, ERR_MEMORY, "%s: out of memory", m->path);
    for (int32_t i = 0; i < n; i++) TRY(read_old_entry(m, &c, e));
    if (take(&c, &chunks, 4) == 0 && chunks > 0) m->chunks = chunks;
    if (take(&c, &length, 4) == 0 && length > 0 && (uint64_t)length <= c.left)
        snprintf(m->dataset, sizeof m->dataset, "%.*s", length < 127 ? length : 127, (const char *)c.at);
    return OK;
}

static enum status read_file(struct imatrix *m, struct error *e) {
    struct mapped file;
    struct gguf *g = NULL;
    TRY(mapped_open(&file, m->path, "an importance matrix", e));
    int is_gguf = file.size >= 4 && memcmp(file.data, "GGUF", 4) == 0;
    enum status st = is_gguf ? gguf_open(&g, m->path, e) : read_old(m, &file, e);
    if (st == OK && is_gguf) st = read_gguf(m, g, e);
    gguf_close(g);
    mapped_close(&file);
    text_clean(m->dataset);
    return st;
}

enum status imatrix_open(struct imatrix **out, const char *path, struct error *e) {
    *out = NULL;
    struct imatrix *m = calloc(1, sizeof *m);
    if (!m) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    snprintf(m->path, sizeof m->path, "%s", path);
    enum status st = read_file(m, e);
    if (st == OK)
        *out = m;
    else
        imatrix_close(m);
    return st;
}

enum status imatrix_find(const struct imatrix *m, const struct gguf_tensor *t, const float **values,
                         struct error *e) {
    *values = NULL;
    for (int i = 0; i < m->n; i++) {
        const struct imatrix_entry *x = &m->entries[i];
        if (strcmp(x->name, t->name) != 0) continue;
        if (x->planes * x->cols != t->dims[0] * t->dims[2])
            return fail(e, ERR_SHAPE,
                        "%s: %s: made for another model (found %" PRId64 " values, expected %" PRId64
                        " x %" PRId64 ")",
                        m->path, x->name, x->planes * x->cols, t->dims[2], t->dims[0]);
        *values = x->values;
        return OK;
    }
    return OK;
}

/* ---- writing ---- */

static enum status put_floats(struct gguf_writer *w, const double *squares, const int64_t *counts, int64_t n,
                              struct error *e) {
    for (int64_t i = 0; i < n; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): one of the two is given */
        float x = squares ? (float)squares[i] : (float)counts[i];
        TRY(gguf_writer_data(w, &x, sizeof x, e));
    }
    return OK;
}

static enum status write_all(struct gguf_writer *w, const struct imatrix_sums *sums, int n, struct error *e) {
    char name[GGUF_MAX_NAME + sizeof sums_suffix];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s%s", sums[i].name, sums_suffix);
        gguf_put_tensor(w, name, TYPE_F32, 2, (int64_t[]){sums[i].cols, sums[i].planes});
        snprintf(name, sizeof name, "%s%s", sums[i].name, counts_suffix);
        gguf_put_tensor(w, name, TYPE_F32, 2, (int64_t[]){1, sums[i].planes});
    }
    TRY(gguf_writer_begin(w, e));
    for (int i = 0; i < n; i++) {
        TRY(put_floats(w, sums[i].squares, NULL, sums[i].planes * sums[i].cols, e));
        TRY(put_floats(w, NULL, sums[i].counts, sums[i].planes, e));
    }
    return gguf_writer_finish(w, e);
}

enum status imatrix_write(const char *path, const struct imatrix_sums *sums, int n, const char *dataset,
                          uint32_t chunks, uint32_t chunk_size, struct error *e) {
    struct gguf_writer *w;
    TRY(gguf_writer_new(&w, path, e));
    gguf_put_string(w, "general.type", "imatrix");
    gguf_put_strings(w, "imatrix.datasets", &dataset, 1);
    gguf_put_u32(w, "imatrix.chunk_count", chunks);
    gguf_put_u32(w, "imatrix.chunk_size", chunk_size);
    enum status st = write_all(w, sums, n, e);
    gguf_writer_free(w);
    return st;
}
