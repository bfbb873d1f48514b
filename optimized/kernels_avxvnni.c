/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_avxvnni: 256-bit VNNI columns of the integer products, for CPUs with vpdpbusd and no AVX-512
 * (VEX-coded AVX-VNNI). A panel is handled as two halves of 8 rows. vpdpbusd multiplies unsigned by signed
 * bytes and adds four products to an int32, so weights are made unsigned (w + 8, w + 128, w + 32) and the
 * accumulator starts at minus the excess. */
#include "optimized/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

/* LFM2_EVEX_VNNI: the same kernels with the AVX-512VL coding of the instruction, so that this file's
 * arithmetic can be tested on CPUs that have only that one (tests/test_avxvnni.c). */
#ifdef LFM2_EVEX_VNNI
#define TVNNI  __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")))
#define DPBUSD _mm256_dpbusd_epi32
#else
#define TVNNI  __attribute__((target("avx2,fma,f16c,avxvnni")))
#define DPBUSD _mm256_dpbusd_avx_epi32
#endif
#define TILE static inline __attribute__((always_inline)) TVNNI
#ifdef __clang__
#define UNROLL /* clang unrolls constant counts without being asked */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { TOKENS = 4, HALF = 8 }; /* 4 + 4 accumulators leave 8 of 16 registers for weights */

TILE __m256i broadcast4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

TILE __m256 load_f16(const uint16_t *h) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

TILE __m256i load_half(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* acc += dot * activation scale * weight scale */
TILE __m256 add_block(__m256 acc, __m256i dot, float as, __m256 ws) {
    return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(as)), ws, acc);
}

TILE void q4_tile(const struct q4_block *w, int blocks, const struct act8 *a, float *y, size_t y_stride,
                  int row, const int N) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm256_setzero_ps();
    for (int b = 0; b < blocks; b++, w++) {
        __m256i dot[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) dot[t] = _mm256_set1_epi32(a->offset8[t * a->s_stride + b]);
        for (int g = 0; g < 4; g++) {
            __m256i raw = load_half(w->q[g][row]);
            __m256i lo = _mm256_and_si256(raw, low), hi = _mm256_and_si256(_mm256_srli_epi16(raw, 4), low);
            UNROLL
            for (int t = 0; t < N; t++) {
                const int8_t *at = a->q + t * a->q_stride + b * BLOCK + 4 * g;
                dot[t] = DPBUSD(dot[t], lo, broadcast4(at));
                dot[t] = DPBUSD(dot[t], hi, broadcast4(at + 16));
            }
        }
        __m256 ws = load_f16(w->scale + row);
        UNROLL
        for (int t = 0; t < N; t++) acc[t] = add_block(acc[t], dot[t], a->scale[t * a->s_stride + b], ws);
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride + row, acc[t]);
}

TILE void q8_tile(const struct q8_block *w, int blocks, const struct act8 *a, float *y, size_t y_stride,
                  int row, const int N) {
    __m256 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm256_setzero_ps();
    for (int b = 0; b < blocks; b++, w++) {
        __m256i dot[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) dot[t] = _mm256_set1_epi32(16 * a->offset8[t * a->s_stride + b]);
        for (int g = 0; g < 8; g++) {
            __m256i u = _mm256_xor_si256(load_half(w->q[g][row]), _mm256_set1_epi8(-128));
            UNROLL
            for (int t = 0; t < N; t++)
                dot[t] = DPBUSD(dot[t], u, broadcast4(a->q + t * a->q_stride + b * BLOCK + 4 * g));
        }
        __m256 ws = load_f16(w->scale + row);
        UNROLL
        for (int t = 0; t < N; t++) acc[t] = add_block(acc[t], dot[t], a->scale[t * a->s_stride + b], ws);
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride + row, acc[t]);
}

/* Weights of group g of 8 rows, 0..63 (w + 32). */
TILE __m256i q6_group(const struct q6_block *w, int b, int g, int row) {
    __m256i low = load_half(w->part[b].low[g % 4][row]), high = load_half(w->part[b].high[g % 2][row]);
    low = _mm256_and_si256(g < 4 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    high = _mm256_and_si256(_mm256_srl_epi16(high, _mm_cvtsi32_si128(g / 2 * 2)), _mm256_set1_epi8(3));
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
}

TILE void q6_tile(const struct q6_block *w, int supers, const struct act8 *a, float *y, size_t y_stride,
                  int row, const int N) {
    __m256 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm256_setzero_ps();
    for (int i = 0; i < 8 * supers; i++) { /* block i of the row, b within its 256 weights */
        const struct q6_block *ws = w + i / 8;
        int b = i % 8;
        __m256i both[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) both[t] = _mm256_setzero_si256();
        for (int half = 0; half < 2; half++) {
            __m256i dot[TOKENS];
            UNROLL
            for (int t = 0; t < N; t++)
                dot[t] = _mm256_set1_epi32(-32 * a->sum16[t * 2 * a->s_stride + (size_t)(2 * i + half)]);
            for (int g = 4 * half; g < 4 * half + 4; g++) {
                __m256i u = q6_group(ws, b, g, row);
                UNROLL
                for (int t = 0; t < N; t++)
                    dot[t] = DPBUSD(dot[t], u, broadcast4(a->q + t * a->q_stride + i * BLOCK + 4 * g));
            }
            __m256i sub =
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(ws->part[b].sub_scale[half] + row)));
            UNROLL
            for (int t = 0; t < N; t++) both[t] = _mm256_add_epi32(both[t], _mm256_mullo_epi32(dot[t], sub));
        }
        __m256 scale = load_f16(ws->scale + row);
        UNROLL
        for (int t = 0; t < N; t++) acc[t] = add_block(acc[t], both[t], a->scale[t * a->s_stride + i], scale);
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride + row, acc[t]);
}

#define GEMM(name, block_type, width, tile)                                                                  \
    TVNNI void name(const block_type *w, int K, int panels, const struct act8 *a, int n, float *y,           \
                    size_t y_stride) {                                                                       \
        for (int t = 0; t < n; t += TOKENS) {                                                                \
            struct act8 at = *a;                                                                             \
            at.q += (size_t)t * a->q_stride;                                                                 \
            at.scale += (size_t)t * a->s_stride;                                                             \
            at.offset8 += (size_t)t * a->s_stride;                                                           \
            at.sum16 += (size_t)t * 2 * a->s_stride;                                                         \
            for (int p = 0; p < panels; p++) {                                                               \
                const block_type *wp = w + (size_t)p * (K / width);                                          \
                float *yp = y + (size_t)t * y_stride + p * PANEL;                                            \
                for (int row = 0; row < PANEL; row += HALF) switch (n - t) {                                 \
                    case 1:                                                                                  \
                        tile(wp, K / width, &at, yp, y_stride, row, 1);                                      \
                        break;                                                                               \
                    case 2:                                                                                  \
                        tile(wp, K / width, &at, yp, y_stride, row, 2);                                      \
                        break;                                                                               \
                    case 3:                                                                                  \
                        tile(wp, K / width, &at, yp, y_stride, row, 3);                                      \
                        break;                                                                               \
                    default:                                                                                 \
                        tile(wp, K / width, &at, yp, y_stride, row, 4);                                      \
                    }                                                                                        \
            }                                                                                                \
        }                                                                                                    \
    }
GEMM(gemm_q4a8_avxvnni, struct q4_block, BLOCK, q4_tile)
GEMM(gemm_q8a8_avxvnni, struct q8_block, BLOCK, q8_tile)
GEMM(gemm_q6a8_avxvnni, struct q6_block, 256, q6_tile)
#endif
