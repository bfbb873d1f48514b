/* SPDX-License-Identifier: Apache-2.0 */
/* ops: the operations of the reference engine (see ops.h). The only file that calls BLAS. */
#include "reference/ops.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads: started per call and joined; beside dequantising a matrix that costs nothing ---- */

typedef void item_fn(const void *arg, int item, float *scratch);

struct job {
    item_fn *fn;
    const void *arg;
    int n_items;
    atomic_int next;
};

struct ref_helper {
    struct job *job;
    float *scratch;
    pthread_t thread;
};

static void *helper_main(void *arg) {
    struct ref_helper *h = arg;
    struct job *job = h->job;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->n_items;) job->fn(job->arg, i, h->scratch);
    return NULL;
}

/* Calls fn for items 0 .. n_items-1, each once. A thread that cannot be started leaves its share to the
 * others. */
static void for_each(const struct ref_workers *w, item_fn *fn, const void *arg, int n_items) {
    struct job job = {.fn = fn, .arg = arg, .n_items = n_items};
    int started = 1, wanted = w->n < n_items ? w->n : n_items;
    for (int i = 0; i < w->n; i++) w->helpers[i].job = &job;
    while (started < wanted) {
        struct ref_helper *h = &w->helpers[started];
        if (pthread_create(&h->thread, NULL, helper_main, h)) break;
        started++;
    }
    helper_main(&w->helpers[0]);
    for (int i = 1; i < started; i++) pthread_join(w->helpers[i].thread, NULL);
}

enum status ref_workers_open(struct ref_workers *w, int threads, int64_t max_cols, int max_tokens,
                             struct error *e) {
    size_t weights = (size_t)max_cols * REF_ROW_BLOCK, scores = (size_t)max_tokens * REF_QUERY_BLOCK;
    size_t floats = weights > scores ? weights : scores, total;
    *w = (struct ref_workers){.n = threads, .scratch_floats = floats};
    w->helpers = calloc((size_t)threads, sizeof *w->helpers);
    w->scratch =
        __builtin_mul_overflow(floats, (size_t)threads, &total) ? NULL : calloc(total, sizeof *w->scratch);
    if (!w->helpers || !w->scratch) {
        ref_workers_close(w);
        return fail(e, ERR_MEMORY, "reference engine: no memory for the scratch of %d threads", threads);
    }
    for (int i = 0; i < threads; i++) w->helpers[i].scratch = w->scratch + (size_t)i * floats;
    /* The workers cut the work themselves; each of their BLAS calls stays on its own thread. */
    openblas_set_num_threads(1);
    return OK;
}

void ref_workers_close(struct ref_workers *w) {
    free(w->helpers);
    free(w->scratch);
    *w = (struct ref_workers){0};
}

/* ---- matmul ---- */

/* c [m, n] = a [m, k] times b, b [k, n] or, transposed, [n, k]; each with its own row stride. */
static void gemm(int m, int n, int k, const float *a, int lda, const float *b, int ldb, int transposed,
                 float *c, int ldc) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, m, n, k, 1.0f, a, lda, b,
                ldb, 0.0f, c, ldc);
}

struct matmul {
    const struct tensor *W;
    const float *x;
    float *y;
    int n;
};

/* One block of weight rows gives one block of output columns. */
static void matmul_item(const void *arg, int item, float *scratch) {
    const struct matmul *a = arg;
    int rows = (int)a->W->rows, cols = (int)a->W->cols;
    int first = item * REF_ROW_BLOCK, count = rows - first < REF_ROW_BLOCK ? rows - first : REF_ROW_BLOCK;
    size_t row_bytes = type_row_bytes(a->W->type, cols);
    for (int r = 0; r < count; r++)
        dequantize_row(a->W->type, (const char *)a->W->data + (size_t)(first + r) * row_bytes,
                       scratch + (size_t)r * (size_t)cols, cols);
    gemm(a->n, count, cols, a->x, cols, scratch, cols, 1, a->y + first, rows);
}

void ref_matmul(const struct ref_workers *w, const struct tensor *W, const float *x, int n, float *y) {
    struct matmul a = {W, x, y, n};
    for_each(w, matmul_item, &a, (int)((W->rows + REF_ROW_BLOCK - 1) / REF_ROW_BLOCK));
}

/* ---- norm, rotation, softmax ---- */

void ref_rmsnorm(const float *x, const struct tensor *weight, float eps, int64_t n, int D, float *y) {
    const float *g = weight->data;
    for (int64_t t = 0; t < n; t++, x += D, y += D) {
        double squares = 0;
        for (int i = 0; i < D; i++) squares += (double)x[i] * x[i];
        double scale = 1.0 / sqrt(squares / D + (double)eps);
        for (int i = 0; i < D; i++) y[i] = (float)((double)g[i] * (x[i] * scale));
    }
}

void ref_rope(float *x, int n, int heads, int d, int position, float theta) {
    int half = d / 2;
    size_t row = (size_t)heads * (size_t)d;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < half; i++) {
            double angle = (double)(position + t) * pow((double)theta, -2.0 * i / d);
            double c = cos(angle), s = sin(angle);
            for (int h = 0; h < heads; h++) {
                float *a = x + (size_t)t * row + (size_t)h * (size_t)d + i, *b = a + half;
                double a0 = *a, b0 = *b;
                *a = (float)(a0 * c - b0 * s);
                *b = (float)(a0 * s + b0 * c);
            }
        }
}

void ref_softmax(float *x, int n, float scale) {
    float max = x[0];
    for (int i = 1; i < n; i++)
        if (x[i] > max) max = x[i];
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] = expf(scale * (x[i] - max));
    float inverse = (float)(1.0 / sum);
    for (int i = 0; i < n; i++) x[i] *= inverse;
}

/* ---- attention ---- */

struct attention {
    const float *q, *keys, *values;
    float *out;
    int n, position, H, G, d;
};

/* One head of one block of queries: P = softmax(q k^T / sqrt(d)) under the causal mask, out = P v. */
static void attention_item(const void *arg, int item, float *scores) {
    const struct attention *a = arg;
    int h = item % a->H, first = item / a->H * REF_QUERY_BLOCK;
    int count = a->n - first < REF_QUERY_BLOCK ? a->n - first : REF_QUERY_BLOCK;
    int context = a->position + first + count; /* what the last query of the block sees */
    int q_row = a->H * a->d, kv_row = a->G * a->d;
    size_t at = (size_t)first * (size_t)q_row + (size_t)h * (size_t)a->d;
    size_t kv_at = (size_t)(h / (a->H / a->G)) * (size_t)a->d;

    gemm(count, context, a->d, a->q + at, q_row, a->keys + kv_at, kv_row, 1, scores, context);
    for (int i = 0; i < count; i++) {
        float *row = scores + (size_t)i * (size_t)context;
        int visible = a->position + first + i + 1;
        ref_softmax(row, visible, 1.0f / sqrtf((float)a->d));
        memset(row + visible, 0, (size_t)(context - visible) * sizeof *row);
    }
    gemm(count, a->d, context, scores, context, a->values + kv_at, kv_row, 0, a->out + at, q_row);
}

void ref_attention(const struct ref_workers *w, const float *q, const float *keys, const float *values, int n,
                   int position, int H, int G, int d, float *out) {
    struct attention a = {q, keys, values, out, n, position, H, G, d};
    for_each(w, attention_item, &a, (n + REF_QUERY_BLOCK - 1) / REF_QUERY_BLOCK * H);
}

/* ---- convolution, feed-forward ---- */

void ref_short_conv(const float *bcx, const struct tensor *taps, float *state, int n, int D, float *y) {
    int old = (int)taps->cols - 1; /* columns before the newest one */
    for (int t = 0; t < n; t++, bcx += 3 * (size_t)D, y += D) {
        const float *B = bcx, *C = bcx + D, *x = bcx + 2 * (size_t)D;
        for (int c = 0; c < D; c++) {
            const float *w = (const float *)taps->data + (size_t)c * (size_t)taps->cols;
            float newest = B[c] * x[c];
            double sum = (double)w[old] * newest;
            for (int j = 0; j < old; j++) sum += (double)w[j] * state[(size_t)j * (size_t)D + (size_t)c];
            y[c] = (float)(C[c] * sum);
            for (int j = 0; j < old; j++)
                state[(size_t)j * (size_t)D + (size_t)c] =
                    j + 1 < old ? state[(size_t)(j + 1) * (size_t)D + (size_t)c] : newest;
        }
    }
}

void ref_swiglu(float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static int is_chosen(const int32_t *chosen, int n, int32_t id) {
    for (int i = 0; i < n; i++)
        if (chosen[i] == id) return 1;
    return 0;
}

/* The k largest of p + bias, the lower index first among equals, in ascending order of index. */
static void choose_experts(const float *p, const float *bias, int E, int k, int32_t *chosen) {
    for (int j = 0; j < k; j++) {
        int best = -1;
        float best_score = 0;
        for (int i = 0; i < E; i++) {
            float score = bias ? p[i] + bias[i] : p[i];
            if (is_chosen(chosen, j, i) || (best >= 0 && !(score > best_score))) continue;
            best = i;
            best_score = score;
        }
        chosen[j] = best;
    }
    for (int j = 1; j < k; j++) /* insertion sort */
        for (int i = j; i > 0 && chosen[i] < chosen[i - 1]; i--) {
            int32_t swap = chosen[i];
            chosen[i] = chosen[i - 1];
            chosen[i - 1] = swap;
        }
}

void ref_router(float *p, const float *bias, int n, int E, int k, int32_t *chosen) {
    for (int t = 0; t < n; t++, p += E, chosen += k) {
        for (int i = 0; i < E; i++) p[i] = (float)(1.0 / (1.0 + exp(-(double)p[i])));
        choose_experts(p, bias, E, k, chosen);
    }
}

void ref_expert_weights(const float *p, const int32_t *chosen, int n, int E, int k, int normalise,
                        float scale, float *weights) {
    for (int t = 0; t < n; t++, p += E, chosen += k, weights += k) {
        double sum = 0;
        for (int j = 0; j < k; j++) sum += p[chosen[j]];
        double factor = normalise ? scale / (sum + 1e-6) : scale;
        for (int j = 0; j < k; j++) weights[j] = (float)(p[chosen[j]] * factor);
    }
}
