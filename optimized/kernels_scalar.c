/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_scalar: the definition of every op of the table in plain C. Slow, obvious; every ISA column is
 * compared with it, so it shares no code with the reference engine. */
#include "optimized/kernels.h"

#include <math.h>
#include <string.h>

#include "data/quant.h"

void quantize_a8_scalar(const float *x, int K, int8_t *q, float *scale, int32_t *offset8, int16_t *sum16) {
    for (int b = 0; b < K / BLOCK; b++) {
        const float *xb = x + b * BLOCK;
        float amax = 0;
        int finite = 1;
        for (int i = 0; i < BLOCK; i++) {
            finite &= isfinite(xb[i]) != 0;
            amax = fmaxf(amax, fabsf(xb[i]));
        }
        if (!finite) amax = 0;
        /* A subnormal maximum has no finite inverse: such a block is zero for any purpose. */
        float inverse = amax > 1e-30f ? 127.0f / amax : 0.0f;
        scale[b] = !finite ? NAN : amax > 1e-30f ? amax / 127.0f : 0.0f;
        int half[2] = {0, 0};
        for (int i = 0; i < BLOCK; i++) {
            int v = finite ? (int)rintf(xb[i] * inverse) : 0;
            q[b * BLOCK + i] = (int8_t)v;
            half[i / 16] += v;
        }
        sum16[2 * b] = (int16_t)half[0];
        sum16[2 * b + 1] = (int16_t)half[1];
        offset8[b] = -8 * (half[0] + half[1]);
    }
}

void gemm_q4a8_scalar(const struct q4_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                      size_t y_stride) {
    int blocks = K / BLOCK;
    for (int t = 0; t < n; t++)
        for (int p = 0; p < panels; p++)
            for (int r = 0; r < PANEL; r++) {
                float acc = 0;
                for (int b = 0; b < blocks; b++) {
                    const struct q4_block *wb = w + (size_t)p * blocks + b;
                    const int8_t *q = a->q + (size_t)t * a->q_stride + b * BLOCK;
                    int dot = 0;
                    for (int g = 0; g < 4; g++)
                        for (int i = 0; i < 4; i++) {
                            int byte = wb->q[g][r][i];
                            dot += ((byte & 15) - 8) * q[4 * g + i] + ((byte >> 4) - 8) * q[16 + 4 * g + i];
                        }
                    acc += (float)dot * (f16_to_f32(wb->scale[r]) * a->scale[(size_t)t * a->s_stride + b]);
                }
                y[(size_t)t * y_stride + p * PANEL + r] = acc;
            }
}

void gemm_q8a8_scalar(const struct q8_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                      size_t y_stride) {
    int blocks = K / BLOCK;
    for (int t = 0; t < n; t++)
        for (int p = 0; p < panels; p++)
            for (int r = 0; r < PANEL; r++) {
                float acc = 0;
                for (int b = 0; b < blocks; b++) {
                    const struct q8_block *wb = w + (size_t)p * blocks + b;
                    const int8_t *q = a->q + (size_t)t * a->q_stride + b * BLOCK;
                    int dot = 0;
                    for (int g = 0; g < 8; g++)
                        for (int i = 0; i < 4; i++) dot += wb->q[g][r][i] * q[4 * g + i];
                    acc += (float)dot * (f16_to_f32(wb->scale[r]) * a->scale[(size_t)t * a->s_stride + b]);
                }
                y[(size_t)t * y_stride + p * PANEL + r] = acc;
            }
}

/* Weight k (0..31) of block b, row r. */
static int q6_weight(const struct q6_block *w, int b, int k, int r) {
    int g = k / 4, i = k % 4;
    int low = w->part[b].low[g % 4][r][i] >> (g < 4 ? 0 : 4) & 15;
    int high = w->part[b].high[g % 2][r][i] >> (g / 2 * 2) & 3;
    return (low | high << 4) - 32;
}

void gemm_q6a8_scalar(const struct q6_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                      size_t y_stride) {
    int supers = K / 256;
    for (int t = 0; t < n; t++)
        for (int p = 0; p < panels; p++)
            for (int r = 0; r < PANEL; r++) {
                float acc = 0;
                for (int s = 0; s < supers; s++) {
                    const struct q6_block *wb = w + (size_t)p * supers + s;
                    for (int b = 0; b < 8; b++) {
                        const int8_t *q = a->q + (size_t)t * a->q_stride + s * 256 + b * BLOCK;
                        int dot[2] = {0, 0};
                        for (int k = 0; k < BLOCK; k++) dot[k / 16] += q6_weight(wb, b, k, r) * q[k];
                        /* |dot| * |sub_scale| <= 16*32*127 * 128 < 2^24: exact in int and in float */
                        int both =
                            dot[0] * wb->part[b].sub_scale[0][r] + dot[1] * wb->part[b].sub_scale[1][r];
                        float scale =
                            f16_to_f32(wb->scale[r]) * a->scale[(size_t)t * a->s_stride + s * 8 + b];
                        acc += (float)both * scale;
                    }
                }
                y[(size_t)t * y_stride + p * PANEL + r] = acc;
            }
}

void gemm_f32_scalar(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                     size_t y_stride) {
    for (int t = 0; t < n; t++)
        for (int r = 0; r < PANEL; r++) {
            float acc = 0;
            for (int k = 0; k < K; k++) acc += w[(size_t)k * PANEL + r] * x[(size_t)t * x_stride + k];
            y[(size_t)t * y_stride + r] = acc;
        }
}

void rmsnorm_scalar(const float *x, const float *w, int n, float eps, float *y) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(sum / n + eps));
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

void rope_scalar(float *x, const float *cos, const float *sin, int d) {
    for (int i = 0; i < d / 2; i++) {
        float a = x[i], b = x[i + d / 2];
        x[i] = a * cos[i] - b * sin[i];
        x[i + d / 2] = b * cos[i] + a * sin[i];
    }
}

void swiglu_scalar(const float *gate, const float *up, int n, float *y) {
    for (int i = 0; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void conv_scalar(const float *bcx, size_t stride, size_t gap, const float *taps, float *state, int n, int D,
                 float *y, size_t y_stride) {
    for (int c = 0; c < D; c++) {
        float before2 = state[c], before1 = state[gap + c];
        for (int t = 0; t < n; t++) {
            const float *row = bcx + (size_t)t * stride + c;
            float bx = row[0] * row[2 * gap];
            float sum = taps[c] * before2 + taps[gap + c] * before1 + taps[2 * gap + c] * bx;
            y[(size_t)t * y_stride + c] = row[gap] * sum;
            before2 = before1;
            before1 = bx;
        }
        state[c] = before2;
        state[gap + c] = before1;
    }
}

void attention_scalar(const struct attention_task *a) {
    for (int r = 0; r < a->R; r++) {
        const float *q = a->q + (size_t)r * a->q_stride;
        float *o = a->o + (size_t)r * a->d, *score = a->scratch;
        int end = a->limit[r] < a->end ? a->limit[r] : a->end;
        float m = -INFINITY, l = 0;
        memset(o, 0, (size_t)a->d * sizeof *o);
        for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN) {
            int p1 = p0 + ATTENTION_SPAN < end ? p0 + ATTENTION_SPAN : end;
            float top = m;
            for (int p = p0; p < p1; p++) {
                const uint16_t *k = a->k + (size_t)(p / KV_BLOCK) * a->d * KV_BLOCK + p % KV_BLOCK;
                float s = 0;
                for (int i = 0; i < a->d; i++) s += q[i] * f16_to_f32(k[(size_t)i * KV_BLOCK]);
                score[p - p0] = s;
                top = fmaxf(top, s);
            }
            float keep = expf(m - top); /* 0 the first time: m = -inf */
            l *= keep;
            for (int i = 0; i < a->d; i++) o[i] *= keep;
            for (int p = p0; p < p1; p++) {
                float e = expf(score[p - p0] - top);
                const uint16_t *v = a->v + (size_t)p * a->d;
                l += e;
                for (int i = 0; i < a->d; i++) o[i] += e * f16_to_f32(v[i]);
            }
            m = top;
        }
        a->m[r] = m;
        a->l[r] = l;
    }
}

/* Score of query row r and one cached position. */
static float score8(const struct attention8_task *a, int r, int p) {
    const int8_t *q = a->q.q + (size_t)r * a->q.q_stride;
    const uint8_t *k = a->k + (size_t)(p / KV_BLOCK) * a->d * KV_BLOCK + p % KV_BLOCK * 4;
    float s = 0;
    for (int b = 0; b < a->d / BLOCK; b++) {
        int dot = 16 * a->q.offset8[(size_t)r * a->q.s_stride + b];
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) dot += q[i] * k[(size_t)(i / 4) * 64 + i % 4];
        float scale =
            f16_to_f32(a->k_scale[((size_t)(p / KV_BLOCK) * (a->d / BLOCK) + b) * KV_BLOCK + p % KV_BLOCK]);
        s += (float)dot * a->q.scale[(size_t)r * a->q.s_stride + b] * scale;
    }
    return s;
}

/* Rounds the n weights e * v_scale of one span to 8 bits; returns the step, NaN when one of them is. */
static float weights8(const float *e, const uint16_t *v_scale, int n, uint8_t *out) {
    float top = 0, sum = 0;
    for (int p = 0; p < n; p++) {
        float x = e[p] != 0 ? e[p] * f16_to_f32(v_scale[p]) : 0;
        top = x > top ? x : top;
        sum += x;
    }
    float inverse = top > 1e-30f ? 255 / top : 0;
    for (int p = 0; p < n; p++) {
        float x = e[p] != 0 ? e[p] * f16_to_f32(v_scale[p]) * inverse : 0;
        out[p] = x >= 0 && x < 256 ? (uint8_t)lrintf(x) : 0;
    }
    return top / 255 + 0 * sum;
}

void attention8_scalar(const struct attention8_task *a) {
    for (int r = 0; r < a->R; r++) {
        float *o = a->o + (size_t)r * a->d, *score = a->scratch;
        int end = a->limit[r] < a->end ? a->limit[r] : a->end;
        float m = -INFINITY, l = 0;
        memset(o, 0, (size_t)a->d * sizeof *o);
        for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN) {
            int n = p0 + ATTENTION_SPAN < end ? ATTENTION_SPAN : end - p0;
            float top = m;
            for (int p = 0; p < n; p++) {
                score[p] = score8(a, r, p0 + p);
                top = fmaxf(top, score[p]);
            }
            float keep = expf(m - top); /* 0 the first time: m = -inf */
            l *= keep;
            for (int p = 0; p < n; p++) {
                score[p] = expf(score[p] - top);
                l += score[p];
            }
            float step = weights8(score, a->v_scale + p0, n, a->weights8);
            for (int i = 0; i < a->d; i++) {
                int sum = 0;
                for (int p = 0; p < n; p++)
                    sum += a->weights8[p] * a->v[((size_t)((p0 + p) / 4) * a->d + i) * 4 + (p0 + p) % 4];
                o[i] = o[i] * keep + (float)sum * step;
            }
            m = top;
        }
        a->m[r] = m;
        a->l[r] = l;
    }
}

void to_f16_scalar(const float *src, uint16_t *dst, int n) {
    for (int i = 0; i < n; i++) dst[i] = f32_to_f16(src[i]);
}
