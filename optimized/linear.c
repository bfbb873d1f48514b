/* SPDX-License-Identifier: Apache-2.0 */
/* linear: matrix times activations, shared out over the threads. */
#include "optimized/session.h"

#include <string.h>

#include "optimized/scheme.h"

struct rows rows_at(const struct rows *r, int first) {
    struct rows v = *r;
    size_t i = (size_t)first;
    if (v.a.q) {
        v.a.q += i * v.a.q_stride;
        v.a.scale += i * v.a.s_stride;
        v.a.offset8 += i * v.a.s_stride;
        v.a.sum16 += i * 2 * v.a.s_stride;
    }
    if (v.x) v.x += i * v.x_stride;
    return v;
}

void rows_copy(const struct rows *from, int i, struct rows *to, int j, int K, int with_float) {
    struct rows a = rows_at(from, i), b = rows_at(to, j);
    size_t blocks = (size_t)K / BLOCK;
    if (a.a.q && b.a.q) {
        memcpy(b.a.q, a.a.q, (size_t)K);
        memcpy(b.a.scale, a.a.scale, blocks * sizeof *a.a.scale);
        memcpy(b.a.offset8, a.a.offset8, blocks * sizeof *a.a.offset8);
        memcpy(b.a.sum16, a.a.sum16, 2 * blocks * sizeof *a.a.sum16);
    }
    if (with_float) memcpy(b.x, a.x, (size_t)K * sizeof *a.x);
}

void rows_quantize(const struct session *s, struct rows *r, int i, const float *x, int K) {
    struct rows v = rows_at(r, i);
    if (v.a.q) s->k.quantize_a8(x, K, v.a.q, v.a.scale, v.a.offset8, v.a.sum16);
    if (v.x && v.x != x) memcpy(v.x, x, (size_t)K * sizeof *x);
}

void matrix_gemm(const struct kernel_set *k, const struct matrix *m, int panel, int panels,
                 const struct act8 *a, int n, float *y, size_t y_stride) {
    const void *w = m->data + (size_t)panel * m->panel_bytes;
    if (m->kind == MATRIX_Q4) k->gemm_q4a8(w, m->cols, panels, a, n, y, y_stride);
    if (m->kind == MATRIX_Q8) k->gemm_q8a8(w, m->cols, panels, a, n, y, y_stride);
    if (m->kind == MATRIX_Q6) k->gemm_q6a8(w, m->cols, panels, a, n, y, y_stride);
}

void float_gemm(struct worker *w, const struct matrix *m, const float *panel, const struct rows *in, int n,
                float *y, size_t y_stride) {
    const float *x = in->x;
    size_t stride = in->x_stride, cols = (size_t)m->cols;
    if (m->scheme != SCHEME_EXACT) {
        for (int t = 0; t < n; t++) {
            float *row = w->rounded + (size_t)t * cols;
            memcpy(row, in->x + (size_t)t * in->x_stride, cols * sizeof *row);
            scheme_round(m->scheme, row, m->cols);
        }
        x = w->rounded;
        stride = cols;
    }
    w->s->k.gemm_f32(panel, m->cols, x, stride, n, y, y_stride);
}

void multiply(struct worker *w, const struct matrix *m, int begin, int end, const struct rows *in, int n,
              tile_fn *done, void *arg) {
    const struct kernel_set *k = &w->s->k;
    size_t stride = CHUNK * PANEL;
    if (m->kind == MATRIX_FLOAT) {
        for (int p = begin; p < end; p++) {
            matrix_unpack(m, p, w->unpacked[0], w->row);
            for (int t = 0; t < n; t += TILE_TOKENS) {
                int now = n - t < TILE_TOKENS ? n - t : TILE_TOKENS;
                struct rows part = rows_at(in, t);
                float_gemm(w, m, w->unpacked[0], &part, now, w->tile[0], stride);
                done(w, arg, w->tile[0], stride, t, now, p * PANEL, PANEL);
            }
        }
        return;
    }
    for (int t = 0; t < n; t += TILE_TOKENS) {
        int now = n - t < TILE_TOKENS ? n - t : TILE_TOKENS;
        struct rows part = rows_at(in, t);
        matrix_gemm(k, m, begin, end - begin, &part.a, now, w->tile[0], stride);
        done(w, arg, w->tile[0], stride, t, now, begin * PANEL, (end - begin) * PANEL);
    }
}

atomic_int *step_counter(struct worker *w) {
    return &w->s->counters[w->step++];
}

int next_unit(atomic_int *counter, int units) {
    int i = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    return i < units ? i : -1;
}

void linear(struct worker *w, const struct matrix *m, const struct rows *in, int n, tile_fn *done,
            void *arg) {
    atomic_int *counter = step_counter(w);
    if (n <= FEW_TOKENS) {
        int threads = w->s->threads;
        int end = part_begin(m->panels, w->thread + 1, threads);
        for (int p = part_begin(m->panels, w->thread, threads); p < end; p += CHUNK)
            multiply(w, m, p, p + CHUNK < end ? p + CHUNK : end, in, n, done, arg);
        return;
    }
    int units = (m->panels + CHUNK - 1) / CHUNK;
    for (int i; (i = next_unit(counter, units)) >= 0;) {
        int end = (i + 1) * CHUNK < m->panels ? (i + 1) * CHUNK : m->panels;
        multiply(w, m, i * CHUNK, end, in, n, done, arg);
    }
}

void tile_store(struct worker *w, void *arg, const float *tile, size_t stride, int t, int n, int column,
                int width) {
    (void)w;
    const struct store *to = arg;
    if (column + width > to->columns) width = to->columns - column;
    for (int i = 0; i < n; i++)
        memcpy(to->y + (size_t)(t + i) * to->stride + column, tile + (size_t)i * stride,
               (size_t)width * sizeof *tile);
}

void tile_logits(struct worker *w, void *arg, const float *tile, size_t stride, int t, int n, int column,
                 int width) {
    const struct session *s = w->s;
    (void)arg;
    if (column + width > s->c->n_vocab) width = s->c->n_vocab - column;
    for (int i = 0; i < n; i++)
        memcpy(s->wanted[t + i].logits + column, tile + (size_t)i * stride, (size_t)width * sizeof *tile);
}

void tile_add(struct worker *w, void *arg, const float *tile, size_t stride, int t, int n, int column,
              int width) {
    (void)arg;
    struct session *s = w->s;
    int D = s->c->n_embd;
    if (column + width > D) width = D - column;
    for (int i = 0; i < n; i++) {
        float *x = s->x + (size_t)(t + i) * D + column;
        const float *v = tile + (size_t)i * stride;
        for (int j = 0; j < width; j++) x[j] += v[j];
        if (s->tap) memcpy(s->wide + (size_t)(t + i) * D + column, v, (size_t)width * sizeof *v);
    }
}
