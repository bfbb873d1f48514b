/* SPDX-License-Identifier: Apache-2.0 */
/* ops: the operations of the reference engine, float32, one plain function each. They are the definition that
 * the optimized engine is compared with, so they trade speed for being obvious; only ref_matmul and
 * ref_attention, where all the time goes, use BLAS and threads. Sums of norms, softmax, convolution and
 * router are kept in double.
 *
 * Matrices are row-major and contiguous: x [n, D] is n tokens of D values. Pointers do not overlap unless the
 * comment says "in place". Nothing here can fail once ref_workers_open has returned. */
#ifndef REFERENCE_OPS_H
#define REFERENCE_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "data/model.h"
#include "data/status.h"

enum {
    REF_ROW_BLOCK = 128,  /* weight rows dequantised at once: 1 MiB of float32 at width 2048 */
    REF_QUERY_BLOCK = 64, /* queries whose scores one worker holds at once */
};

/* The threads of ref_matmul and ref_attention, and one float32 scratch area per thread. Results do not depend
 * on their number. */
struct ref_workers {
    int n;
    size_t scratch_floats; /* per worker */
    float *scratch;        /* [n, scratch_floats] */
    struct ref_helper *helpers;
};

/* max_cols: of any weight given to ref_matmul; max_tokens: of any context given to ref_attention. On error
 * nothing is held. ref_workers_close accepts a zeroed struct. */
enum status ref_workers_open(struct ref_workers *w, int threads, int64_t max_cols, int max_tokens,
                             struct error *e);
void ref_workers_close(struct ref_workers *w);

/* y = x W^T: x [n, cols], y [n, rows]. Any tensor type: dequantised as it goes. */
void ref_matmul(const struct ref_workers *w, const struct tensor *W, const float *x, int n, float *y);

/* y[i] = weight[i] * x[i] / sqrt(mean(x^2) + eps) for each of n rows of D values; y may be x. */
void ref_rmsnorm(const float *x, const struct tensor *weight, float eps, int64_t n, int D, float *y);

/* Rotary embedding, in place, of x [n, heads, d] whose first row stands at the given position. Half-split
 * (NEOX) order: the pair (i, i + d/2) turns by position * theta^(-2i/d). */
void ref_rope(float *x, int n, int heads, int d, int position, float theta);

/* Scores to probabilities, in place: x[i] = exp(scale * x[i]) / sum. n >= 1. */
void ref_softmax(float *x, int n, float scale);

/* Causal attention, query head h reading kv head h / (H/G), scale 1/sqrt(d).
 * q, out [n, H, d]; keys, values [position + n, G, d]; query i sees keys 0 .. position + i. */
void ref_attention(const struct ref_workers *w, const float *q, const float *keys, const float *values, int n,
                   int position, int H, int G, int d, float *out);

/* Gated short convolution: bcx [n, 3D] holds B | C | x; y [n, D] = C * conv(B*x), depth-wise and causal.
 * state [taps-1, D]: the newest columns of B*x, oldest first; read and brought up to date. */
void ref_short_conv(const float *bcx, const struct tensor *taps, float *state, int n, int D, float *y);

/* gate[i] = silu(gate[i]) * up[i], in place; silu(a) = a / (1 + exp(-a)). */
void ref_swiglu(float *gate, const float *up, int64_t n);

/* Sigmoid router. p [n, E]: logits in, s = sigmoid(logit) out. Chosen are the k largest of s + bias (bias
 * NULL: of s), the lower index first among equals. chosen [n, k] in ascending order of index. */
void ref_router(float *p, const float *bias, int n, int E, int k, int32_t *chosen);

/* weights [n, k]: the chosen s without the bias, divided by (their sum + 1e-6) if normalise, times scale. */
void ref_expert_weights(const float *p, const int32_t *chosen, int n, int E, int k, int normalise,
                        float scale, float *weights);

#endif
