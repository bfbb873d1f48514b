/* SPDX-License-Identifier: Apache-2.0 */
/* oracle: the forward pass in double (see oracle.h). */
#include "tests/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A matrix as doubles. Memory is taken from one list and released at the end, so that formulas stay free of
 * it; once an allocation fails, everything runs on nothing and the failure is reported. */
struct arena {
    void *blocks[512];
    int n, failed;
};

static double *take(struct arena *a, int64_t rows, int64_t cols) {
    double *p = a->n < (int)(sizeof a->blocks / sizeof *a->blocks)
                    ? calloc((size_t)(rows * cols) + 1, sizeof *p)
                    : NULL;
    if (p)
        a->blocks[a->n++] = p;
    else
        a->failed = 1;
    return p;
}

/* Releases what was taken after the given mark. */
static void release(struct arena *a, int mark) {
    while (a->n > mark) free(a->blocks[--a->n]);
}

static double *weights(struct arena *a, const struct tensor *t) {
    double *w = take(a, t->rows, t->cols);
    float *row = malloc((size_t)t->cols * sizeof *row);
    if (!w || !row) {
        a->failed = 1;
        free(row);
        return NULL;
    }
    size_t bytes = type_row_bytes(t->type, t->cols);
    for (int64_t r = 0; r < t->rows; r++) {
        dequantize_row(t->type, (const char *)t->data + (size_t)r * bytes, row, t->cols);
        for (int64_t c = 0; c < t->cols; c++) w[r * t->cols + c] = row[c];
    }
    free(row);
    return w;
}

/* y [n, rows] = x [n, cols] W^T */
static double *linear(struct arena *a, const struct tensor *t, const double *x, int n) {
    double *w = weights(a, t), *y = take(a, n, t->rows);
    if (a->failed) return NULL;
    for (int i = 0; i < n; i++)
        for (int64_t r = 0; r < t->rows; r++) {
            double sum = 0;
            for (int64_t c = 0; c < t->cols; c++) sum += w[r * t->cols + c] * x[i * t->cols + c];
            y[i * t->rows + r] = sum;
        }
    return y;
}

static double *rmsnorm(struct arena *a, const struct tensor *t, const double *x, int n, int D, double eps) {
    double *w = weights(a, t), *y = take(a, n, D);
    if (a->failed) return NULL;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int c = 0; c < D; c++) sum += x[i * D + c] * x[i * D + c];
        for (int c = 0; c < D; c++) y[i * D + c] = w[c] * x[i * D + c] / sqrt(sum / D + eps);
    }
    return y;
}

static double *conv(struct arena *a, const struct config *c, const struct layer *l, const double *u, int n) {
    int D = c->n_embd, taps = c->conv_taps;
    double *bcx = linear(a, &l->conv_in, u, n), *w = weights(a, &l->conv_taps), *y = take(a, n, D);
    if (a->failed) return NULL;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < D; i++) {
            double sum = 0;
            for (int j = 0; j < taps; j++) {
                int from = t - (taps - 1) + j;
                if (from >= 0) sum += w[i * taps + j] * bcx[from * 3 * D + i] * bcx[from * 3 * D + 2 * D + i];
            }
            y[t * D + i] = bcx[t * 3 * D + D + i] * sum;
        }
    return linear(a, &l->conv_out, y, n);
}

/* Rotates each head's pairs (i, i + d/2) as complex numbers. */
static void rotate(double *x, int n, int heads, int d, double theta) {
    for (int t = 0; t < n; t++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < d / 2; i++) {
                double *head = x + (t * heads + h) * d, angle = t / pow(theta, 2.0 * i / d);
                double re = head[i], im = head[i + d / 2];
                head[i] = re * cos(angle) - im * sin(angle);
                head[i + d / 2] = im * cos(angle) + re * sin(angle);
            }
}

static double *attention(struct arena *a, const struct config *c, const struct layer *l, const double *u,
                         int n) {
    int H = c->n_heads, G = c->n_kv_heads, d = c->head_dim;
    double *q = linear(a, &l->q, u, n), *k = linear(a, &l->k, u, n), *v = linear(a, &l->v, u, n);
    double *y = take(a, n, H * d), *p = take(a, n, 1);
    if (a->failed) return NULL;
    q = rmsnorm(a, &l->q_norm, q, n * H, d, c->norm_eps);
    k = rmsnorm(a, &l->k_norm, k, n * G, d, c->norm_eps);
    if (a->failed) return NULL;
    rotate(q, n, H, d, c->rope_theta);
    rotate(k, n, G, d, c->rope_theta);
    for (int t = 0; t < n; t++)
        for (int h = 0; h < H; h++) {
            int g = h * G / H;
            double max = -INFINITY, sum = 0;
            for (int j = 0; j <= t; j++) {
                p[j] = 0;
                for (int i = 0; i < d; i++) p[j] += q[(t * H + h) * d + i] * k[(j * G + g) * d + i];
                p[j] /= sqrt(d);
                max = fmax(max, p[j]);
            }
            for (int j = 0; j <= t; j++) sum += p[j] = exp(p[j] - max);
            for (int j = 0; j <= t; j++)
                for (int i = 0; i < d; i++) y[(t * H + h) * d + i] += p[j] / sum * v[(j * G + g) * d + i];
        }
    return linear(a, &l->o, y, n);
}

static double *swiglu(struct arena *a, const struct tensor *gate, const struct tensor *up,
                      const struct tensor *down, const double *u, int n) {
    double *x = linear(a, gate, u, n), *y = linear(a, up, u, n);
    if (a->failed) return NULL;
    for (int64_t i = 0; i < n * gate->rows; i++) x[i] = x[i] / (1 + exp(-x[i])) * y[i];
    return linear(a, down, x, n);
}

/* in [E] = 1 for the k experts with the largest s + bias, the lower index first among equals. */
static void choose(const double *s, const double *bias, int E, int k, int *in) {
    for (int e = 0; e < E; e++) {
        int before = 0;
        for (int i = 0; i < E; i++) {
            double mine = s[e] + (bias ? bias[e] : 0), other = s[i] + (bias ? bias[i] : 0);
            before += other > mine || (other == mine && i < e);
        }
        in[e] = before < k;
    }
}

/* The same for a choice that was made elsewhere. Returns how far it is from the best one. */
static double impose(const double *s, const double *bias, int E, const int32_t *experts, int k, int *in) {
    double least = INFINITY, most = -INFINITY;
    for (int e = 0; e < E; e++) {
        double score = s[e] + (bias ? bias[e] : 0);
        in[e] = 0;
        for (int j = 0; j < k; j++) in[e] |= experts[j] == e;
        if (in[e])
            least = fmin(least, score);
        else
            most = fmax(most, score);
    }
    return most - least;
}

static double *moe(struct arena *a, const struct config *c, const struct layer *l, const double *u, int n,
                   const int32_t *experts, double *margin) {
    int D = c->n_embd, E = c->n_experts, k = c->n_experts_used;
    double *s = linear(a, &l->router, u, n), *y = take(a, n, D);
    double *bias = l->router_bias.data ? weights(a, &l->router_bias) : NULL;
    int *in = (int *)take(a, n, E); /* [n, E] chosen */
    if (a->failed) return NULL;
    for (int i = 0; i < n * E; i++) s[i] = 1 / (1 + exp(-s[i]));
    for (int t = 0; t < n; t++) {
        if (experts)
            *margin = fmax(*margin, impose(s + t * E, bias, E, experts + t * k, k, in + t * E));
        else
            choose(s + t * E, bias, E, k, in + t * E);
    }
    for (int e = 0; e < E; e++) {
        const struct expert *x = &l->experts[e];
        int mark = a->n;
        double *out = swiglu(a, &x->gate, &x->up, &x->down, u, n); /* of every token, chosen or not */
        for (int t = 0; t < n && !a->failed; t++) {
            double sum = 0;
            for (int i = 0; i < E; i++) sum += in[t * E + i] * s[t * E + i];
            double weight =
                in[t * E + e] * s[t * E + e] * c->expert_scale / (c->expert_norm ? sum + 1e-6 : 1);
            for (int i = 0; i < D; i++) y[t * D + i] += weight * out[t * D + i];
        }
        release(a, mark);
    }
    return a->failed ? NULL : y;
}

static void add(double *h, const double *y, int64_t n) {
    for (int64_t i = 0; y && i < n; i++) h[i] += y[i];
}

enum status oracle_logits(const struct model *m, const int32_t *ids, int n, struct oracle_routing *routing,
                          double *logits, struct error *e) {
    const struct config *c = &m->config;
    int D = c->n_embd, V = c->n_vocab;
    struct arena a = {0};
    double *embedding = weights(&a, &m->embedding), *h = take(&a, n, D), *u, *y, unused = 0;
    double *margin = routing ? &routing->margin : &unused;
    for (int t = 0; t < n && !a.failed; t++) memcpy(h + t * D, embedding + ids[t] * D, (size_t)D * sizeof *h);
    *margin = -INFINITY;
    for (int i = 0; i < c->n_layers && !a.failed; i++) {
        const struct layer *l = &m->layers[i];
        const int32_t *experts =
            routing ? routing->experts + (size_t)i * (size_t)(n * c->n_experts_used) : NULL;
        int mark = a.n;
        if ((u = rmsnorm(&a, &l->mixer_norm, h, n, D, c->norm_eps)))
            add(h, l->mixer == MIXER_CONV ? conv(&a, c, l, u, n) : attention(&a, c, l, u, n), n * D);
        release(&a, mark);
        if ((u = rmsnorm(&a, &l->ffn_norm, h, n, D, c->norm_eps)))
            add(h,
                l->ffn == FFN_MOE ? moe(&a, c, l, u, n, experts, margin)
                                  : swiglu(&a, &l->gate, &l->up, &l->down, u, n),
                n * D);
        release(&a, mark);
    }
    if (!a.failed && (u = rmsnorm(&a, &m->norm, h, n, D, c->norm_eps)) && (y = linear(&a, &m->head, u, n)))
        memcpy(logits, y, (size_t)n * (size_t)V * sizeof *y);
    release(&a, 0);
    return a.failed ? fail(e, ERR_MEMORY, "oracle: out of memory") : OK;
}
