/* SPDX-License-Identifier: Apache-2.0 */
/* quant: the tensor types of weight files, in scalar C. This is the definition of each format; fast paths are
 * compared with it. Formats and the rounding of the quantisers follow ggml's documented block layouts
 * (https://github.com/ggml-org/ggml, ggml-common.h / ggml-quants.c reference quantisers).
 * All multi-byte fields are little-endian, as in GGUF. */
#ifndef DATA_QUANT_H
#define DATA_QUANT_H

#include <stddef.h>
#include <stdint.h>

/* Values are the type ids of GGUF. */
enum tensor_type {
    TYPE_F32 = 0,
    TYPE_F16 = 1,
    TYPE_Q4_0 = 2, /* 32 weights: f16 d; 16 bytes, byte i holds weight i (low) and i+16 (high); w = (q-8)*d */
    TYPE_Q4_1 = 3, /* 32 weights: f16 d, f16 m; w = q*d + m */
    TYPE_Q8_0 = 8, /* 32 weights: f16 d, 32 int8; w = q*d */
    TYPE_Q4_K = 12,
    TYPE_Q5_K = 13,
    TYPE_Q6_K = 14,
    TYPE_BF16 = 30,
};

struct type_info {
    enum tensor_type type;
    const char *name; /* "Q4_0", as llama.cpp prints it */
    int block;        /* weights per block */
    int bytes;        /* bytes per block */
};

/* NULL when the id is unknown or not supported. Any integer may be given. */
const struct type_info *type_info(int64_t type);

/* By name, any case ("q4_0"); NULL when unknown. */
const struct type_info *type_by_name(const char *name);

/* Bytes of one row of n weights; n must be a multiple of the block (callers check). */
size_t type_row_bytes(enum tensor_type type, int64_t n);

/* out[i] = weight i, for n weights (a multiple of the block). The type must be a supported one. */
void dequantize_row(enum tensor_type type, const void *src, float *out, int64_t n);

/* The inverse with ggml's reference rounding, for F32 F16 BF16 Q4_0 Q4_1 Q8_0 Q6_K Q4_K Q5_K.
 * Returns 0, or -1 when this type cannot be written. */
int quantize_row(enum tensor_type type, const float *src, void *out, int64_t n);

/* IEEE binary16 and bfloat16, round to nearest even; NaN stays NaN. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif
