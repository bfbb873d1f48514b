/* quant_weighted: ggml's searches with an importance matrix, operation by operation (ggml-quants.c,
 * make_qx_quants and make_qkx3_quants): the rounding of every sum decides which candidate wins. */
#include "data/quant_weighted.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 32 };

static int clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

/* To the nearest, ties to even; 1.5 * 2^23 has a unit of 1. Larger values and NaN give some integer. */
static int round_even(float v) {
    float shifted = v + 12582912.0f;
    uint32_t u;
    memcpy(&u, &shifted, sizeof u);
    return (int)(u & 0x7fffff) - 0x400000;
}

static void store_f16(uint8_t *p, float f) {
    uint16_t h = f32_to_f16(f);
    p[0] = (uint8_t)(h & 0xff);
    p[1] = (uint8_t)(h >> 8);
}

/* A column that sees large inputs counts by them; a weight that is large itself by its size, the more so the
 * more it stands out of its row. */
static void importance(const float *x, const float *column, float mean_square, float *out) {
    for (int i = 0; i < BLOCK; i++) out[i] = column[i] * sqrtf(mean_square + x[i] * x[i]);
}

/* The sums of the least-squares scale for codes round(inverse * x), and the codes. */
struct sums {
    float xq, qq;
};
static struct sums try_signed(const float *x, const float *weight, float inverse, int *code) {
    struct sums s = {0, 0};
    for (int i = 0; i < BLOCK; i++) {
        code[i] = clamp(round_even(inverse * x[i]), -8, 7);
        s.xq += weight[i] * x[i] * (float)code[i];
        s.qq += weight[i] * (float)code[i] * (float)code[i];
    }
    return s;
}

/* Returns the scale of x ~ scale * code. */
static float fit_signed(const float *x, const float *weight, int *code) {
    float extreme = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    memset(code, 0, BLOCK * sizeof *code);
    if (fabsf(extreme) < 1e-15f) {
        for (int i = 0; i < BLOCK; i++) code[i] = -8; /* as ggml stores a block of zeros: nibbles 0 */
        return 0;
    }
    struct sums s = try_signed(x, weight, -8.0f / extreme, code);
    float scale = s.qq != 0 ? s.xq / s.qq : 0, best = scale * s.xq;
    for (int t = -9; t <= 9; t++) {
        int trial[BLOCK];
        if (t == 0) continue;
        s = try_signed(x, weight, -(8.0f + 0.1f * (float)t) / extreme, trial);
        if (!(s.qq > 0 && s.xq * s.xq > best * s.qq)) continue;
        memcpy(code, trial, sizeof trial);
        scale = s.xq / s.qq;
        best = scale * s.xq;
    }
    return scale;
}

static float weighted_error(const float *x, const float *weight, const int *code, float scale, float min) {
    float sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        float diff = scale * (float)code[i] + min - x[i];
        sum += weight[i] * (diff * diff);
    }
    return sum;
}

/* Returns the scale of x ~ scale * code + *low, with codes 0..15 and *low <= 0. */
static float fit_offset(const float *x, const float *weight, int *code, float *low) {
    float min = x[0], max = x[0], sum_w = weight[0], sum_x = weight[0] * x[0];
    for (int i = 1; i < BLOCK; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        sum_w += weight[i];
        sum_x += weight[i] * x[i];
    }
    min = min > 0 ? 0 : min;
    *low = min;
    memset(code, 0, BLOCK * sizeof *code);
    if (max <= min) return 0;
    float inverse = 15.0f / (max - min), scale = 1 / inverse;
    for (int i = 0; i < BLOCK; i++) code[i] = clamp(round_even(inverse * (x[i] - min)), 0, 15);
    float best = weighted_error(x, weight, code, scale, min);
    for (int t = 0; t <= 36; t++) {
        int trial[BLOCK];
        float sum_q = 0, sum_qq = 0, sum_xq = 0;
        inverse = (-0.9f + 0.05f * (float)t + 15.0f) / (max - min); /* min: the best so far, as in ggml */
        for (int i = 0; i < BLOCK; i++) {
            trial[i] = clamp(round_even(inverse * (x[i] - min)), 0, 15);
            float wq = weight[i] * (float)trial[i];
            sum_q += wq;
            sum_qq += wq * (float)trial[i];
            sum_xq += wq * x[i];
        }
        float det = sum_w * sum_qq - sum_q * sum_q;
        if (!(det > 0)) continue;
        float trial_scale = (sum_w * sum_xq - sum_x * sum_q) / det;
        float trial_min = (sum_qq * sum_x - sum_q * sum_xq) / det;
        if (trial_min > 0) {
            trial_min = 0;
            trial_scale = sum_xq / sum_qq;
        }
        float error = weighted_error(x, weight, trial, trial_scale, trial_min);
        if (!(error < best)) continue;
        memcpy(code, trial, sizeof trial);
        best = error;
        scale = trial_scale;
        *low = min = trial_min;
    }
    return scale;
}

static float mean_square(const float *x, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum / (float)n;
}

static void store_nibbles(const int *code, int shift, uint8_t *out) {
    for (int i = 0; i < BLOCK / 2; i++)
        out[i] = (uint8_t)((code[i] + shift) | (code[BLOCK / 2 + i] + shift) << 4);
}

int quantize_row_weighted(enum tensor_type type, const float *src, const float *weights, void *out,
                          int64_t n) {
    if (!weights || (type != TYPE_Q4_0 && type != TYPE_Q4_1)) return quantize_row(type, src, out, n);
    float square = mean_square(src, n), weight[BLOCK], low;
    int code[BLOCK];
    uint8_t *to = out;
    for (int64_t b = 0; b < n; b += BLOCK) {
        importance(src + b, weights + b, square, weight);
        if (type == TYPE_Q4_0) {
            store_f16(to, fit_signed(src + b, weight, code));
            store_nibbles(code, 8, to + 2);
            to += 18;
        } else {
            store_f16(to, fit_offset(src + b, weight, code, &low));
            store_f16(to + 2, low);
            store_nibbles(code, 0, to + 4);
            to += 20;
        }
    }
    return 0;
}
