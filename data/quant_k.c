/* SPDX-License-Identifier: Apache-2.0 */
/* quant_k: Q4_K, Q5_K and Q6_K. A block holds 256 weights in groups, each group with its own small integer
 * scale (and offset), and the block with f16 factors for those.
 *
 * Layouts, in bytes:
 *   Q4_K 144: f16 d, f16 dmin, 12 packed 6-bit scales, 128 nibbles
 *   Q5_K 176: f16 d, f16 dmin, 12 packed 6-bit scales, 32 fifth bits, 128 nibbles
 *       8 groups of 32, w = d*scale*q - dmin*offset; nibble byte 32*p+i holds weight 64*p+i (low) and
 * 64*p+32+i (high), whose fifth bits are bits 2p and 2p+1 of byte i Q6_K 210: 128 nibbles, 64 bytes of upper
 * bit pairs, 16 int8 scales, f16 d 16 groups of 16, w = d*scale*(q-32); in each half of 128 weights, lane i <
 * 32 has the quarters i, i+32, i+64, i+96: nibble bytes i (quarters 0 and 2) and 32+i (1 and 3), all upper
 * pairs in one byte
 *
 * The quantisers do ggml's reference searches operation by operation, since the rounding of every sum decides
 * which candidate wins; sums are in index order. */
/* NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result): places in one block of 256 */
#include "data/quant_k.h"

#include <math.h>
#include <string.h>

#include "data/quant.h"
#include "data/quant_fit.h"

enum { BLOCK = 256 };

static float load_f16(const uint8_t *p) {
    return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* The eight 6-bit scales and offsets of Q4_K and Q5_K: bytes 0-3 hold scales 0-3, bytes 4-7 offsets 0-3,
 * bytes 8-11 the low nibbles of scales and offsets 4-7, whose upper two bits fill the tops of bytes 0-3 and
 * 4-7. */
static void unpack_scales(const uint8_t *packed, uint8_t *scale, uint8_t *offset) {
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        offset[j] = packed[4 + j] & 63;
        scale[4 + j] = (uint8_t)((packed[8 + j] & 15) | (packed[j] >> 6) << 4);
        offset[4 + j] = (uint8_t)(packed[8 + j] >> 4 | (packed[4 + j] >> 6) << 4);
    }
}

static void pack_scales(const uint8_t *scale, const uint8_t *offset, uint8_t *packed) {
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | (scale[4 + j] >> 4) << 6);
        packed[4 + j] = (uint8_t)(offset[j] | (offset[4 + j] >> 4) << 6);
        packed[8 + j] = (uint8_t)((scale[4 + j] & 15) | (offset[4 + j] & 15) << 4);
    }
}

void dequantize_q4_k(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += 144) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], offset[8];
        unpack_scales(src + 4, scale, offset);
        const uint8_t *q = src + 16;
        for (int g = 0; g < 8; g += 2, q += 32, out += 64) {
            float d0 = d * scale[g], m0 = dmin * offset[g], d1 = d * scale[g + 1], m1 = dmin * offset[g + 1];
            for (int i = 0; i < 32; i++) out[i] = d0 * (float)(q[i] & 15) - m0;
            for (int i = 0; i < 32; i++) out[32 + i] = d1 * (float)(q[i] >> 4) - m1;
        }
    }
}

void dequantize_q5_k(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += 176) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], offset[8];
        unpack_scales(src + 4, scale, offset);
        const uint8_t *fifth = src + 16, *q = src + 48;
        for (int g = 0; g < 8; g += 2, q += 32, out += 64) {
            float d0 = d * scale[g], m0 = dmin * offset[g], d1 = d * scale[g + 1], m1 = dmin * offset[g + 1];
            for (int i = 0; i < 32; i++) out[i] = d0 * (float)((q[i] & 15) | (fifth[i] >> g & 1) << 4) - m0;
            for (int i = 0; i < 32; i++)
                out[32 + i] = d1 * (float)(q[i] >> 4 | (fifth[i] >> (g + 1) & 1) << 4) - m1;
        }
    }
}

/* One group of 16; the shifts are constants where it is called, so that the loop becomes vector code. */
static inline void dequantize_q6_group(const uint8_t *restrict low, int low_shift,
                                       const uint8_t *restrict high, int high_shift, float d,
                                       float *restrict out) {
    for (int i = 0; i < 16; i++) {
        int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
        out[i] = d * (float)(q - 32);
    }
}

void dequantize_q6_k(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += 210) {
        float d = load_f16(src + 208);
        for (int half = 0; half < 2; half++, out += 128) {
            for (int g = 0; g < 2; g++) { /* lanes 0-15 and 16-31 of each quarter */
                const uint8_t *low = src + 64 * half + 16 * g, *high = src + 128 + 32 * half + 16 * g;
                const int8_t *scale = (const int8_t *)(src + 192 + 8 * half + g);
                dequantize_q6_group(low, 0, high, 0, d * scale[0], out + 16 * g);
                dequantize_q6_group(low + 32, 0, high, 2, d * scale[2], out + 32 + 16 * g);
                dequantize_q6_group(low, 4, high, 4, d * scale[4], out + 64 + 16 * g);
                dequantize_q6_group(low + 32, 4, high, 6, d * scale[6], out + 96 + 16 * g);
            }
        }
    }
}

/* Fits x ~ scale * (code - 32) for 16 weights, errors weighted by x^2. The trials are 20 scales around the
 * one that maps the extreme weight to -32 (trial 10 would repeat trial 0 and is skipped); they run side by
 * side, since their sums are independent. Fills code, returns the scale of least squares for it. */
static float fit_signed(const float *x, uint8_t *code) {
    enum { TRIALS = 20 };
    float extreme = 0, inverse[TRIALS], xq[TRIALS] = {0}, qq[TRIALS] = {0};
    for (int i = 0; i < 16; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    memset(code, 0, 16);
    if (fabsf(extreme) < 1e-15f) return 0;
    inverse[0] = -32 / extreme;
    for (int t = 1; t < TRIALS; t++) inverse[t] = -(32 + 0.1f * (float)(t - 10)) / extreme;
    for (int i = 0; i < 16; i++) {
        float weight = x[i] * x[i], weighted = weight * x[i];
        for (int t = 0; t < TRIALS; t++) {
            float q = inverse[t] * x[i] + QUANT_TO_INTEGER - QUANT_TO_INTEGER;
            q = q > -32 ? q : -32;
            q = q < 31 ? q : 31;
            xq[t] += weighted * q;
            qq[t] += weight * q * q;
        }
    }
    float scale = qq[0] != 0 ? xq[0] / qq[0] : 0, best = scale * xq[0];
    int winner = 0;
    for (int t = 1; t < TRIALS; t++) {
        if (t == 10 || !(qq[t] > 0 && xq[t] * xq[t] > best * qq[t])) continue;
        winner = t;
        scale = xq[t] / qq[t];
        best = scale * xq[t];
    }
    for (int i = 0; i < 16; i++)
        code[i] = (uint8_t)(quant_clamp(quant_round(inverse[winner] * x[i]), -32, 31) + 32);
    return scale;
}

static void pack_q6_k(const uint8_t *code, uint8_t *out) {
    for (int half = 0; half < 2; half++, code += 128) {
        uint8_t *low = out + 64 * half, *high = out + 128 + 32 * half;
        for (int i = 0; i < 32; i++) {
            uint8_t a = code[i], b = code[32 + i], c = code[64 + i], d = code[96 + i];
            low[i] = (uint8_t)((a & 15) | (c & 15) << 4);
            low[32 + i] = (uint8_t)((b & 15) | (d & 15) << 4);
            high[i] = (uint8_t)(a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6);
        }
    }
}

void quantize_q6_k(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += BLOCK, out += 210) {
        uint8_t code[BLOCK];
        float scale[16], extreme = 0;
        for (int g = 0; g < 16; g++) {
            scale[g] = fit_signed(src + 16 * g, code + 16 * g);
            if (fabsf(scale[g]) > fabsf(extreme)) extreme = scale[g];
        }
        memset(out, 0, 210);
        if (fabsf(extreme) < 1e-15f) continue;
        float inverse = -128.0f / extreme;
        quant_store_f16(out + 208, 1 / inverse);
        float d = load_f16(out + 208);
        for (int g = 0; g < 16; g++) {
            int s = quant_round(inverse * scale[g]);
            int8_t stored = (int8_t)(s > 127 ? 127 : s);
            out[192 + g] = (uint8_t)stored;
            float group_d = d * stored;
            if (group_d == 0) continue; /* the codes of the search stay */
            for (int i = 16 * g; i < 16 * g + 16; i++)
                code[i] = (uint8_t)(quant_clamp(quant_round(src[i] / group_d), -32, 31) + 32);
        }
        pack_q6_k(code, out);
    }
}

/* The part that Q4_K and Q5_K share: fills the 16 bytes of scales and the 256 codes. */
static void quantize_offset_block(struct quant_search s, const float *src, uint8_t *out, uint8_t *code) {
    float scale[8], offset[8], max_scale = 0, max_offset = 0;
    for (int g = 0; g < 8; g++) {
        const float *x = src + 32 * g;
        float weight[32], squares = 0;
        for (int i = 0; i < 32; i++) squares += x[i] * x[i];
        float rms = sqrtf(squares / 32);
        for (int i = 0; i < 32; i++) weight[i] = rms + fabsf(x[i]);
        scale[g] = quant_fit_offset(s, x, weight, code + 32 * g, &offset[g]);
        if (scale[g] > max_scale) max_scale = scale[g];
        if (offset[g] > max_offset) max_offset = offset[g];
    }
    float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0;
    float inverse_offset = max_offset > 0 ? 63.0f / max_offset : 0;
    uint8_t small_scale[8], small_offset[8];
    for (int g = 0; g < 8; g++) {
        uint8_t a = (uint8_t)quant_round(inverse_scale * scale[g]);
        uint8_t b = (uint8_t)quant_round(inverse_offset * offset[g]);
        small_scale[g] = a > 63 ? 63 : a;
        small_offset[g] = b > 63 ? 63 : b;
    }
    quant_store_f16(out, max_scale / 63.0f);
    quant_store_f16(out + 2, max_offset / 63.0f);
    pack_scales(small_scale, small_offset, out + 4);
    for (int g = 0; g < 8; g++) {
        float d = load_f16(out) * small_scale[g], m = load_f16(out + 2) * small_offset[g];
        if (d == 0) continue; /* the codes of the search stay */
        for (int i = 32 * g; i < 32 * g + 32; i++)
            code[i] = (uint8_t)quant_clamp(quant_round((src[i] + m) / d), 0, s.max);
    }
}

void quantize_q4_k(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += BLOCK, out += 144) {
        uint8_t code[BLOCK];
        quantize_offset_block((struct quant_search){15, -1.0f, 0.1f, 20}, src, out, code);
        for (int p = 0; p < 4; p++)
            for (int i = 0; i < 32; i++)
                out[16 + 32 * p + i] = (uint8_t)(code[64 * p + i] | code[64 * p + 32 + i] << 4);
    }
}

void quantize_q5_k(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / BLOCK; b++, src += BLOCK, out += 176) {
        uint8_t code[BLOCK], *fifth = out + 16;
        quantize_offset_block((struct quant_search){31, -0.5f, 0.1f, 15}, src, out, code);
        memset(fifth, 0, 32);
        for (int p = 0; p < 4; p++)
            for (int i = 0; i < 32; i++) {
                uint8_t a = code[64 * p + i], c = code[64 * p + 32 + i];
                out[48 + 32 * p + i] = (uint8_t)((a & 15) | (c & 15) << 4);
                fifth[i] = (uint8_t)(fifth[i] | (a >> 4) << 2 * p | (c >> 4) << (2 * p + 1));
            }
    }
}
/* NOLINTEND(bugprone-implicit-widening-of-multiplication-result) */
