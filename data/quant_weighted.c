/* SPDX-License-Identifier: Apache-2.0 */
/* quant_weighted: ggml's searches with an importance matrix, operation by operation (ggml-quants.c,
 * make_qx_quants and make_qkx3_quants): the rounding of every sum decides which candidate wins. */
#include "data/quant_weighted.h"

#include <math.h>
#include <string.h>

#include "data/quant_fit.h"

enum { BLOCK = 32 };

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
        code[i] = quant_clamp(quant_round(inverse * x[i]), -8, 7);
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
    float square = mean_square(src, n), weight[BLOCK], offset;
    int code[BLOCK];
    uint8_t small[BLOCK];
    uint8_t *to = out;
    for (int64_t b = 0; b < n; b += BLOCK) {
        importance(src + b, weights + b, square, weight);
        if (type == TYPE_Q4_0) {
            quant_store_f16(to, fit_signed(src + b, weight, code));
            store_nibbles(code, 8, to + 2);
            to += 18;
        } else {
            quant_store_f16(to, quant_fit_offset((struct quant_search){15, -0.9f, 0.05f, 36}, src + b, weight,
                                                 small, &offset));
            quant_store_f16(to + 2, -offset);
            for (int i = 0; i < BLOCK; i++) code[i] = small[i];
            store_nibbles(code, 0, to + 4);
            to += 20;
        }
    }
    return 0;
}
