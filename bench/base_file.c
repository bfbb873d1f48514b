/* SPDX-License-Identifier: Apache-2.0 */
/* base_file: llama-perplexity's files of log-probabilities. */
#include "bench/base_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/unfinished.h"

static const char magic[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};
enum { HEADER = sizeof magic + 3 * sizeof(int32_t) };

size_t base_row_bytes(int n_vocab) {
    return 2 * (2 * (((size_t)n_vocab + 1) / 2) + 4);
}

/* The nearest whole number, ties to even, for 0 <= x < 2^22. */
static uint16_t nearest(float x) {
    float shifted = x + 12582912.0f; /* 1.5 * 2^23: its unit is 1 */
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint16_t)((bits & 0x7fffff) - 0x400000);
}

void base_encode(const float *logits, int n_vocab, uint16_t *row) {
    float max = logits[0], min = logits[0], factors[2];
    double sum = 0;
    for (int i = 1; i < n_vocab; i++) {
        max = logits[i] > max ? logits[i] : max;
        min = logits[i] < min ? logits[i] : min;
    }
    min = min > max - 16 ? min : max - 16;
    for (int i = 0; i < n_vocab; i++) sum += expf(logits[i] - max);
    float log_sum = (float)log(sum);
    factors[0] = (max - min) / 65535.0f;
    factors[1] = min - max - log_sum;
    memset(row, 0, base_row_bytes(n_vocab));
    memcpy(row, factors, sizeof factors);
    if (factors[0] == 0) return;
    float inverse = 1 / factors[0];
    for (int i = 0; i < n_vocab; i++) row[4 + i] = logits[i] > min ? nearest(inverse * (logits[i] - min)) : 0;
}

void base_decode(const uint8_t *row, int n_vocab, float *log_p) {
    float factors[2];
    memcpy(factors, row, sizeof factors);
    row += sizeof factors;
    for (int i = 0; i < n_vocab; i++, row += 2)
        log_p[i] = factors[0] * (float)(row[0] | row[1] << 8) + factors[1];
}

/* ---- reading ---- */

/* Bytes of a file with this header; 0 when they do not fit 63 bits. */
static uint64_t file_size(const struct base_header *h) {
    uint64_t ids, rows, size;
    if (__builtin_mul_overflow((uint64_t)h->n_ctx * (uint64_t)h->n_chunks, sizeof(int32_t), &ids) ||
        __builtin_mul_overflow((uint64_t)chunk_scored(h->n_ctx) * (uint64_t)h->n_chunks,
                               base_row_bytes(h->n_vocab), &rows) ||
        __builtin_add_overflow(ids, rows, &size) || __builtin_add_overflow(size, HEADER, &size))
        return 0;
    return size;
}

static enum status check(struct base_file *b, struct error *e) {
    struct base_header *h = &b->header;
    const uint8_t *p = b->file.data;
    if (b->file.size < HEADER || memcmp(p, magic, sizeof magic) != 0)
        return fail(e, ERR_FORMAT, "%s: not a file of log-probabilities (expected it to begin with _logits_)",
                    b->path);
    memcpy(h, p + sizeof magic, sizeof *h);
    if (h->n_ctx < 4 || h->n_vocab < 1 || h->n_chunks < 1)
        return fail(e, ERR_FORMAT,
                    "%s: impossible sizes (found context %d, vocabulary %d, %d chunks; expected at least 4, "
                    "1, 1)",
                    b->path, (int)h->n_ctx, (int)h->n_vocab, (int)h->n_chunks);
    uint64_t want = file_size(h);
    if (!want)
        return fail(e, ERR_FORMAT, "%s: impossible sizes (found %d chunks of %d ids and a vocabulary of %d)",
                    b->path, (int)h->n_chunks, (int)h->n_ctx, (int)h->n_vocab);
    if (b->file.size != want)
        return fail(e, ERR_FORMAT,
                    "%s: %s (found %" PRIu64 " bytes, expected %" PRIu64
                    " for %d chunks of %d ids and a vocabulary of %d)",
                    b->path, b->file.size < want ? "cut short" : "longer than its header says", b->file.size,
                    want, (int)h->n_chunks, (int)h->n_ctx, (int)h->n_vocab);
    int64_t n = (int64_t)h->n_ctx * h->n_chunks;
    /* A copy, since ids become indices and somebody may write to a mapped file after it was checked. */
    if (!(b->ids = malloc((size_t)n * sizeof *b->ids)))
        return fail(e, ERR_MEMORY, "%s: out of memory for %" PRId64 " ids", b->path, n);
    memcpy(b->ids, p + HEADER, (size_t)n * sizeof *b->ids);
    for (int64_t i = 0; i < n; i++)
        if (b->ids[i] < 0 || b->ids[i] >= h->n_vocab)
            return fail(e, ERR_FORMAT,
                        "%s: id number %" PRId64 " is outside the vocabulary (found %d, "
                        "expected 0 to %d)",
                        b->path, i, (int)b->ids[i], (int)h->n_vocab - 1);
    b->codes = p + HEADER + (size_t)n * sizeof(int32_t);
    return OK;
}

enum status base_open(struct base_file *out, const char *path, struct error *e) {
    *out = (struct base_file){0};
    snprintf(out->path, sizeof out->path, "%s", path);
    TRY(mapped_open(&out->file, path, "log-probabilities", e));
    return check(out, e);
}

void base_close(struct base_file *b) {
    mapped_close(&b->file);
    free(b->ids);
    *b = (struct base_file){0};
}

enum status base_read(const struct base_file *b, int chunk, int i, float *log_p, struct error *e) {
    int scored = chunk_scored(b->header.n_ctx);
    const uint8_t *row =
        b->codes + ((size_t)chunk * (size_t)scored + (size_t)i) * base_row_bytes(b->header.n_vocab);
    float factors[2];
    memcpy(factors, row, sizeof factors);
    /* The largest log p is scale * 65535 + lowest: at most 0, but for rounding. */
    if (!(factors[0] >= 0 && isfinite(factors[0]) && isfinite(factors[1]) &&
          factors[0] * 65535.0f + factors[1] < 0.01f))
        return fail(e, ERR_FORMAT,
                    "%s: chunk %d, scored position %d holds no log-probabilities (found scale %g, lowest %g)",
                    b->path, chunk, i, (double)factors[0], (double)factors[1]);
    base_decode(row, b->header.n_vocab, log_p);
    return OK;
}

/* ---- writing ---- */

static enum status cannot_write(const struct base_writer *w, struct error *e) {
    return fail(e, ERR_IO, "%s: cannot be written: %s", w->temporary, strerror(errno));
}

static int put(struct base_writer *w, const void *bytes, size_t n) {
    return fwrite(bytes, 1, n, w->file) == n ? 0 : -1;
}

enum status base_create(struct base_writer *w, const char *path, const struct base_header *h,
                        const int32_t *ids, struct error *e) {
    *w = (struct base_writer){.header = *h};
    if (snprintf(w->path, sizeof w->path, "%s", path) >= (int)sizeof w->path)
        return fail(e, ERR_ARG, "%.64s...: path too long", path);
    snprintf(w->temporary, sizeof w->temporary, "%s.%d.tmp", path, (int)getpid());
    TRY(output_check(path, NULL, e));
    w->row = malloc(base_row_bytes(h->n_vocab));
    if (!w->row) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    w->file = fopen(w->temporary, "wbe");
    if (w->file) unfinished_add(w->temporary);
    if (!w->file) return cannot_write(w, e);
    if (put(w, magic, sizeof magic) || put(w, h, sizeof *h) ||
        put(w, ids, (size_t)h->n_ctx * (size_t)h->n_chunks * sizeof *ids))
        return cannot_write(w, e);
    return OK;
}

enum status base_write(struct base_writer *w, const float *logits, struct error *e) {
    base_encode(logits, w->header.n_vocab, w->row);
    return put(w, w->row, base_row_bytes(w->header.n_vocab)) ? cannot_write(w, e) : OK;
}

enum status base_finish(struct base_writer *w, struct error *e) {
    int failed = fclose(w->file) != 0;
    w->file = NULL;
    if (failed) return cannot_write(w, e);
    TRY(put_in_place(w->temporary, w->path, e));
    w->temporary[0] = 0;
    return OK;
}

void base_abandon(struct base_writer *w) {
    if (w->file) fclose(w->file);
    if (w->temporary[0]) unlink(w->temporary), unfinished_done(w->temporary);
    free(w->row);
    *w = (struct base_writer){0};
}
