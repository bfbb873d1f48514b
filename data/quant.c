/* SPDX-License-Identifier: Apache-2.0 */
/* quant: the type table, half-precision conversion and the types with one scale per 32 weights. Plain loops
 * that a compiler can vectorise; no intrinsics, since fast paths are compared with this file. */
#include "data/quant.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "data/quant_k.h"

static const struct type_info types[] = {
    {TYPE_F32, "F32", 1, 4},       {TYPE_F16, "F16", 1, 2},       {TYPE_BF16, "BF16", 1, 2},
    {TYPE_Q4_0, "Q4_0", 32, 18},   {TYPE_Q4_1, "Q4_1", 32, 20},   {TYPE_Q8_0, "Q8_0", 32, 34},
    {TYPE_Q4_K, "Q4_K", 256, 144}, {TYPE_Q5_K, "Q5_K", 256, 176}, {TYPE_Q6_K, "Q6_K", 256, 210},
};
enum { N_TYPES = sizeof types / sizeof *types };

const struct type_info *type_info(int64_t type) {
    for (int i = 0; i < N_TYPES; i++)
        if ((int64_t)types[i].type == type) return &types[i];
    return NULL;
}

const struct type_info *type_by_name(const char *name) {
    for (int i = 0; i < N_TYPES; i++)
        if (strcasecmp(types[i].name, name) == 0) return &types[i];
    return NULL;
}

size_t type_row_bytes(enum tensor_type type, int64_t n) {
    const struct type_info *t = type_info(type);
    return t ? (size_t)(n / t->block) * (size_t)t->bytes : 0;
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Both directions avoid subnormal float32 operands, so that a thread that flushes them gets the same values.
 */
float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    if (magnitude < 0x0400) return float_of(bits_of((float)(int)magnitude * 0x1p-24f) | sign);
    if (magnitude < 0x7c00) return float_of(((magnitude << 13) + 0x38000000) | sign);
    uint32_t quiet = magnitude > 0x7c00 ? 0x00400000 : 0;
    return float_of((magnitude << 13) | 0x7f800000 | quiet | sign);
}

uint16_t f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = (u >> 16) & 0x8000, magnitude = u & 0x7fffffff, h;
    if (magnitude > 0x7f800000) {
        h = 0x7e00 | ((magnitude >> 13) & 0x3ff);
    } else if (magnitude >= 0x477ff000) { /* 65520 and more: halfway past the largest finite value */
        h = 0x7c00;
    } else if (magnitude < 0x38800000) { /* below 2^-14: the unit of 0.5 is 2^-24, so the addition rounds */
        h = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
    } else {
        h = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    }
    return (uint16_t)(sign | h);
}

float bf16_to_f32(uint16_t h) {
    return float_of((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((u >> 16) | 0x40); /* quiet; rounding could make it inf */
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static uint16_t load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static void store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v & 0xff);
    p[1] = (uint8_t)(v >> 8);
}

/* Reading. Each takes n weights, a multiple of the block. */

static void dequantize_f16(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = f16_to_f32(load_u16(src + 2 * i));
}

static void dequantize_bf16(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = bf16_to_f32(load_u16(src + 2 * i));
}

static void dequantize_q4_0(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 18, out += 32) {
        float d = f16_to_f32(load_u16(src));
        for (int i = 0; i < 16; i++) out[i] = (float)((src[2 + i] & 15) - 8) * d;
        for (int i = 0; i < 16; i++) out[16 + i] = (float)((src[2 + i] >> 4) - 8) * d;
    }
}

static void dequantize_q4_1(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 20, out += 32) {
        float d = f16_to_f32(load_u16(src)), m = f16_to_f32(load_u16(src + 2));
        for (int i = 0; i < 16; i++) out[i] = (float)(src[4 + i] & 15) * d + m;
        for (int i = 0; i < 16; i++) out[16 + i] = (float)(src[4 + i] >> 4) * d + m;
    }
}

static void dequantize_q8_0(const uint8_t *restrict src, float *restrict out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 34, out += 32) {
        float d = f16_to_f32(load_u16(src));
        for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)src[2 + i] * d;
    }
}

void dequantize_row(enum tensor_type type, const void *src, float *out, int64_t n) {
    switch (type) {
    case TYPE_F32:
        memcpy(out, src, (size_t)n * sizeof *out);
        return;
    case TYPE_F16:
        dequantize_f16(src, out, n);
        return;
    case TYPE_BF16:
        dequantize_bf16(src, out, n);
        return;
    case TYPE_Q4_0:
        dequantize_q4_0(src, out, n);
        return;
    case TYPE_Q4_1:
        dequantize_q4_1(src, out, n);
        return;
    case TYPE_Q8_0:
        dequantize_q8_0(src, out, n);
        return;
    case TYPE_Q4_K:
        dequantize_q4_k(src, out, n);
        return;
    case TYPE_Q5_K:
        dequantize_q5_k(src, out, n);
        return;
    case TYPE_Q6_K:
        dequantize_q6_k(src, out, n);
        return;
    }
}

/* Writing. The stored scale is rounded to f16 but the weights are divided by the unrounded one: so does ggml.
 * The loops have constant lengths and no branches, so that a compiler makes vector code of them. */

/* The weight of largest magnitude, the first of equals; NaN when there is one. */
static float find_extreme(const float *src) {
    int32_t bits[32], largest = 0;
    memcpy(bits, src, sizeof bits);
    for (int i = 0; i < 32; i++) bits[i] &= 0x7fffffff; /* magnitudes of floats are ordered like their bits */
    for (int i = 0; i < 32; i++) largest = bits[i] > largest ? bits[i] : largest;
    int first = 0;
    while (bits[first] != largest) first++;
    return src[first];
}

/* The factor that takes weights to codes. A scale so small that its reciprocal overflows gets the factor 0
 * and, as ggml's conversion of infinities does, the code 0 everywhere: *bias becomes 0 too. */
static float reciprocal(float d, float *bias) {
    float inverse = d != 0 ? 1 / d : 0;
    if (fabsf(inverse) <= FLT_MAX) return inverse;
    *bias = 0;
    return 0;
}

/* code = (weight - offset) * factor + bias cut to a whole number in 0..15, NaN to 0. */
static void store_nibbles(const float *src, float offset, float factor, float bias, uint8_t *out) {
    int32_t code[32];
    for (int i = 0; i < 32; i++) {
        float v = (src[i] - offset) * factor + bias;
        v = v > 0 ? v : 0;
        v = v < 15 ? v : 15;
        code[i] = (int32_t)v;
    }
    for (int i = 0; i < 16; i++) out[i] = (uint8_t)(code[i] | code[16 + i] << 4);
}

/* The weight of largest magnitude becomes exactly -8, the code that its mirror image does not have. */
static void quantize_q4_0(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 32, out += 18) {
        float d = find_extreme(src) / -8, bias = 8.5f, inverse = reciprocal(d, &bias);
        store_u16(out, f32_to_f16(d));
        store_nibbles(src, 0, inverse, bias, out + 2);
    }
}

static void quantize_q4_1(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 32, out += 20) {
        float min = FLT_MAX, max = -FLT_MAX;
        for (int i = 0; i < 32; i++) {
            if (src[i] < min) min = src[i];
            if (src[i] > max) max = src[i];
        }
        float d = (max - min) / 15, bias = 0.5f, inverse = reciprocal(d, &bias);
        store_u16(out, f32_to_f16(d));
        store_u16(out + 2, f32_to_f16(min));
        store_nibbles(src, min, inverse, bias, out + 4);
    }
}

static void quantize_q8_0(const float *src, uint8_t *out, int64_t n) {
    for (int64_t b = 0; b < n / 32; b++, src += 32, out += 34) {
        float d = fabsf(find_extreme(src)) / 127, unused = 0, inverse = reciprocal(d, &unused);
        store_u16(out, f32_to_f16(d));
        for (int i = 0; i < 32; i++) { /* roundf: halves go away from zero */
            float v = src[i] * inverse;
            v = v == v ? v : 0;
            v = v > -127 ? v : -127;
            v = v < 127 ? v : 127;
            int whole = (int)v;
            float rest = v - (float)whole;
            out[2 + i] = (uint8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
        }
    }
}

int quantize_row(enum tensor_type type, const float *src, void *out, int64_t n) {
    uint8_t *bytes = out;
    switch (type) {
    case TYPE_F32:
        memcpy(out, src, (size_t)n * sizeof *src);
        return 0;
    case TYPE_F16:
        for (int64_t i = 0; i < n; i++) store_u16(bytes + 2 * i, f32_to_f16(src[i]));
        return 0;
    case TYPE_BF16:
        for (int64_t i = 0; i < n; i++) store_u16(bytes + 2 * i, f32_to_bf16(src[i]));
        return 0;
    case TYPE_Q4_0:
        quantize_q4_0(src, bytes, n);
        return 0;
    case TYPE_Q4_1:
        quantize_q4_1(src, bytes, n);
        return 0;
    case TYPE_Q8_0:
        quantize_q8_0(src, bytes, n);
        return 0;
    case TYPE_Q4_K:
        quantize_q4_k(src, bytes, n);
        return 0;
    case TYPE_Q5_K:
        quantize_q5_k(src, bytes, n);
        return 0;
    case TYPE_Q6_K:
        quantize_q6_k(src, bytes, n);
        return 0;
    }
    return -1;
}
