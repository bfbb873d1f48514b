/* SPDX-License-Identifier: Apache-2.0 */
/* quant_fit: what the searching quantisers of quant_k and quant_weighted share. Operation by operation
 * ggml's, since the rounding of every sum decides which candidate wins. Private to them. */
#ifndef DATA_QUANT_FIT_H
#define DATA_QUANT_FIT_H

#include <stdint.h>
#include <string.h>

#include "data/quant.h"

/* 1.5 * 2^23 has a unit of 1, so adding it to |v| < 2^22 rounds to the nearest integer, ties to even. */
#define QUANT_TO_INTEGER 12582912.0f

/* Larger values and NaN give some integer, which callers clamp. */
static inline int quant_round(float v) {
    float shifted = v + QUANT_TO_INTEGER;
    uint32_t u;
    memcpy(&u, &shifted, sizeof u);
    return (int)(u & 0x7fffff) - 0x400000;
}

static inline int quant_clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

static inline void quant_store_f16(uint8_t *p, float f) {
    uint16_t h = f32_to_f16(f);
    p[0] = (uint8_t)(h & 0xff);
    p[1] = (uint8_t)(h >> 8);
}

/* What a search tries: codes 0..max, scales (first + step*t + max) / range for t = 0..steps. */
struct quant_search {
    int max;
    float first, step;
    int steps;
};

/* Fits x ~ scale * code - *offset for 32 weights with scale >= 0 and *offset >= 0, for the least error
 * weighted by weight [32]. Returns the scale. */
float quant_fit_offset(struct quant_search s, const float *x, const float *weight, uint8_t *code,
                       float *offset);

#endif
