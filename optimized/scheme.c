/* SPDX-License-Identifier: Apache-2.0 */
/* scheme: the roundings of schemes that are not offered, done in float32, so that their price in accuracy can
 * be measured on any CPU. */
#include "optimized/scheme.h"

#include <math.h>

#include "data/quant.h"

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

void scheme_round(enum scheme scheme, float *x, int n) {
    for (int i = 0; scheme == SCHEME_BF16 && i < n; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
    for (int k = 0; scheme == SCHEME_FOLDED && k < n; k += FOLD)
        round_group(x + k, n - k < FOLD ? n - k : FOLD);
}
