/* SPDX-License-Identifier: Apache-2.0 */
/* scheme: the roundings of schemes that are not offered, done in float32, so that their price in accuracy can
 * be measured on any CPU. */
#include "optimized/scheme.h"

#include <math.h>
#include <string.h>

void scheme_apply(enum scheme scheme, struct matrix *m) {
    if (scheme == SCHEME_EXACT || (scheme == SCHEME_FOLDED && m->kind != MATRIX_Q4)) return;
    m->scheme = scheme;
    m->kind = MATRIX_FLOAT;
    m->panel_bytes = 0;
}

/* Multiples of max|x| / 127. A group that holds NaN or infinity gets NaN in its place, as in quantize_a8. */
static void round_group(float *x, int n) {
    const float nearest = 12582912.0f; /* 1.5 * 2^23: a sum with it has no fraction, ties go to even */
    float max = 0;
    for (int i = 0; i < n; i++) max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    if (max == 0) return;
    float scale = max / 127.0f, inverse = 127.0f / max;
    if (isinf(inverse)) inverse = 0; /* so small that it rounds to 0 */
    for (int i = 0; i < n; i++) x[i] = scale * (x[i] * inverse + nearest - nearest);
}

/* bf16_to_f32(f32_to_bf16(x)) of data/quant.h, inlined: this runs for every product. */
static void round_bf16(float *restrict x, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        uint32_t nan = bits | 0x400000, near = bits + 0x7fffu + (bits >> 16 & 1);
        bits = ((bits & 0x7fffffff) > 0x7f800000 ? nan : near) & 0xffff0000u;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

void scheme_round(enum scheme scheme, float *x, int n) {
    if (scheme == SCHEME_BF16) round_bf16(x, n);
    for (int k = 0; scheme == SCHEME_FOLDED && k < n; k += FOLD)
        round_group(x + k, n - k < FOLD ? n - k : FOLD);
}
