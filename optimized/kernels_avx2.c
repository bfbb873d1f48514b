/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_avx2: 256-bit columns for CPUs without AVX-512. A panel is handled as two halves of 8 rows.
 *
 * Integer products without VNNI: vpmaddubsw multiplies unsigned by signed bytes and adds neighbours in int16.
 * For Q4_0 the unsigned operand is the nibble 0..15: |pair| <= 2 * 15 * 127 = 3810, and the 8 pairs of a
 * block add up to 30480 < 32767, so a whole block is summed in int16 before one vpmaddwd widens it. For Q8_0
 * and Q6_K the unsigned operand is |w| and the activation takes w's sign: |pair| <= 2 * 128 * 127 = 32512
 * still fits, one pair at a time. */
#include "optimized/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define T256 __attribute__((target("avx2,fma,f16c")))
#define TILE static inline __attribute__((always_inline)) T256
#ifdef __clang__
#define UNROLL /* clang unrolls constant counts without being asked */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { TOKENS = 4, Q4_TOKENS = 5, HALF = 8 }; /* per register tile: tokens, rows */

TILE float max8(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

TILE float sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

TILE int sum8i(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

T256 void quantize_a8_avx2(const float *x, int K, int8_t *q, float *scale, int32_t *offset8, int16_t *sum16) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int b = 0; b < K / BLOCK; b++) {
        __m256 v[4], top = _mm256_setzero_ps(), bad = top;
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + b * BLOCK + 8 * i);
            __m256 zero = _mm256_sub_ps(v[i], v[i]); /* NaN for NaN and infinity */
            bad = _mm256_or_ps(bad, _mm256_cmp_ps(zero, zero, _CMP_UNORD_Q));
            top = _mm256_max_ps(top, _mm256_and_ps(v[i], magnitude));
        }
        int finite = _mm256_movemask_ps(bad) == 0;
        for (int i = 0; i < 4 && !finite; i++) v[i] = _mm256_setzero_ps();
        float amax = finite ? max8(top) : 0;
        float inverse = amax > 1e-30f ? 127.0f / amax : 0.0f;
        scale[b] = !finite ? NAN : amax > 1e-30f ? amax / 127.0f : 0.0f;
        __m256i n[4];
        for (int i = 0; i < 4; i++) n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)));
        /* packs work within 128-bit halves; the permutation restores the order */
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
        _mm256_storeu_si256((__m256i *)(q + b * BLOCK), _mm256_permutevar8x32_epi32(bytes, order));
        int s0 = sum8i(_mm256_add_epi32(n[0], n[1])), s1 = sum8i(_mm256_add_epi32(n[2], n[3]));
        sum16[2 * b] = (int16_t)s0;
        sum16[2 * b + 1] = (int16_t)s1;
        offset8[b] = -8 * (s0 + s1);
    }
}

TILE __m256i broadcast4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

TILE __m256 load_f16(const uint16_t *h) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

/* gcc would regroup a sum of integers, which takes more registers than there are. */
#define IN_ORDER(x) __asm__("" : "+x"(x))

TILE void add_pairs(__m256i dot[2], const __m256i w[2], const int8_t *a) {
    __m256i four = broadcast4(a);
    UNROLL
    for (int h = 0; h < 2; h++) {
        dot[h] = _mm256_add_epi16(dot[h], _mm256_maddubs_epi16(w[h], four));
        IN_ORDER(dot[h]);
    }
}

/* Both halves at once, so that what is broadcast serves twice; their sums stay in memory, one access a block.
 */
TILE void q4_tile(const struct q4_block *w, int blocks, const int8_t *aq, size_t aq_stride, const float *as,
                  const int32_t *off, size_t s_stride, float *y, size_t y_stride, const int N) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    float acc[Q4_TOKENS][2][HALF] __attribute__((aligned(32)));
    memset(acc, 0, (size_t)N * sizeof *acc);
    for (int b = 0; b < blocks; b++, w++, aq += BLOCK) {
        __m256i dot[Q4_TOKENS][2];
        UNROLL
        for (int t = 0; t < N; t++) dot[t][0] = dot[t][1] = _mm256_setzero_si256();
        for (int i = 0; i < 5; i++) _mm_prefetch((const char *)w + 4096 + 64 * i, _MM_HINT_T0);
        UNROLL
        for (int g = 0; g < 4; g++) {
            const __m256i *from = (const __m256i *)w->q[g];
            __m256i raw[2] = {_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
            __m256i four[2] = {_mm256_and_si256(raw[0], low), _mm256_and_si256(raw[1], low)};
            UNROLL
            for (int t = 0; t < N; t++) add_pairs(dot[t], four, aq + t * aq_stride + 4 * g);
            UNROLL
            for (int h = 0; h < 2; h++) four[h] = _mm256_and_si256(_mm256_srli_epi16(raw[h], 4), low);
            UNROLL
            for (int t = 0; t < N; t++) add_pairs(dot[t], four, aq + t * aq_stride + 4 * g + 16);
        }
        __m256 ws[2] = {load_f16(w->scale), load_f16(w->scale + HALF)};
        UNROLL
        for (int t = 0; t < N; t++) {
            __m256i offset = _mm256_set1_epi32(off[t * s_stride + b]);
            __m256 scale = _mm256_set1_ps(as[t * s_stride + b]);
            UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i d = _mm256_add_epi32(_mm256_madd_epi16(dot[t][h], ones), offset);
                __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(d), scale);
                _mm256_store_ps(acc[t][h], _mm256_fmadd_ps(f, ws[h], _mm256_load_ps(acc[t][h])));
            }
        }
    }
    for (int t = 0; t < N; t++) memcpy(y + t * y_stride, acc[t], sizeof acc[t]);
}

/* As below, in tiles of nearly equal size. */
T256 void gemm_q4a8_avx2(const struct q4_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                         size_t y_stride) {
    int blocks = K / BLOCK;
    for (int t = 0, N; t < n; t += N) {
        int tiles = (n - t + Q4_TOKENS - 1) / Q4_TOKENS;
        N = (n - t + tiles - 1) / tiles;
        for (int p = 0; p < panels; p++) {
            switch (N) {
#define TOKENS_CASE(M)                                                                                       \
    case M:                                                                                                  \
        q4_tile(w + (size_t)p * blocks, blocks, a->q + (size_t)t * a->q_stride, a->q_stride,                 \
                a->scale + (size_t)t * a->s_stride, a->offset8 + (size_t)t * a->s_stride, a->s_stride,       \
                y + (size_t)t * y_stride + p * PANEL, y_stride, M);                                          \
        break
                TOKENS_CASE(1);
                TOKENS_CASE(2);
                TOKENS_CASE(3);
                TOKENS_CASE(4);
                TOKENS_CASE(5);
#undef TOKENS_CASE
            }
        }
    }
}

/* dot + w . a for 8 rows x 4 signed weights. */
TILE __m256i dot_signed(__m256i dot, __m256i w, __m256i a) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

TILE void q8_tile(const struct q8_block *w, int blocks, const int8_t *aq, size_t aq_stride, const float *as,
                  const int32_t *off, size_t s_stride, float *y, size_t y_stride, int row, const int N) {
    (void)off;
    __m256 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm256_setzero_ps();
    for (int b = 0; b < blocks; b++, w++, aq += BLOCK) {
        __m256i dot[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) dot[t] = _mm256_setzero_si256();
        for (int g = 0; g < 8; g++) {
            __m256i v = _mm256_loadu_si256((const __m256i *)w->q[g][row]);
            UNROLL
            for (int t = 0; t < N; t++)
                dot[t] = dot_signed(dot[t], v, broadcast4(aq + t * aq_stride + 4 * g));
        }
        __m256 ws = load_f16(w->scale + row);
        UNROLL
        for (int t = 0; t < N; t++) {
            __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[t]), _mm256_set1_ps(as[t * s_stride + b]));
            acc[t] = _mm256_fmadd_ps(f, ws, acc[t]);
        }
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride + row, acc[t]);
}

/* Weights of group g of 8 rows, signed. */
TILE __m256i q6_group(const struct q6_block *w, int b, int g, int row) {
    __m256i low = _mm256_loadu_si256((const __m256i *)w->part[b].low[g % 4][row]);
    __m256i high = _mm256_loadu_si256((const __m256i *)w->part[b].high[g % 2][row]);
    low = _mm256_and_si256(g < 4 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    high = _mm256_and_si256(_mm256_srl_epi16(high, _mm_cvtsi32_si128(g / 2 * 2)), _mm256_set1_epi8(3));
    return _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(high, 4)), _mm256_set1_epi8(32));
}

TILE void q6_tile(const struct q6_block *w, int supers, const int8_t *aq, size_t aq_stride, const float *as,
                  const int32_t *off, size_t s_stride, float *y, size_t y_stride, int row, const int N) {
    (void)off;
    __m256 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm256_setzero_ps();
    for (int s = 0; s < supers; s++, w++) {
        __m256 ws = load_f16(w->scale + row);
        for (int b = 0; b < 8; b++, aq += BLOCK) {
            __m256i both[TOKENS];
            UNROLL
            for (int t = 0; t < N; t++) both[t] = _mm256_setzero_si256();
            if (row == 0)
                for (int i = 0; i < 7; i++)
                    _mm_prefetch((const char *)&w->part[b] + 4096 + 64 * i, _MM_HINT_T0);
            UNROLL
            for (int half = 0; half < 2; half++) {
                __m256i sub = _mm256_cvtepi8_epi32(
                    _mm_loadl_epi64((const __m128i *)(w->part[b].sub_scale[half] + row)));
                __m256i dot[TOKENS];
                UNROLL
                for (int t = 0; t < N; t++) dot[t] = _mm256_setzero_si256();
                UNROLL
                for (int i = 0; i < 4; i++) {
                    int g = 4 * half + i;
                    __m256i v = q6_group(w, b, g, row);
                    UNROLL
                    for (int t = 0; t < N; t++)
                        dot[t] = dot_signed(dot[t], v, broadcast4(aq + t * aq_stride + 4 * g));
                }
                UNROLL
                for (int t = 0; t < N; t++)
                    both[t] = _mm256_add_epi32(both[t], _mm256_mullo_epi32(dot[t], sub));
            }
            UNROLL
            for (int t = 0; t < N; t++) {
                __m256 f =
                    _mm256_mul_ps(_mm256_cvtepi32_ps(both[t]), _mm256_set1_ps(as[t * s_stride + s * 8 + b]));
                acc[t] = _mm256_fmadd_ps(f, ws, acc[t]);
            }
        }
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride + row, acc[t]);
}

#define TILE_CALL(tile, N)                                                                                   \
    tile(wp, blocks, aq, a->q_stride, as, off, a->s_stride, y + (size_t)t * y_stride + p * PANEL, y_stride,  \
         row, N)
#define GEMM(name, block_type, width, tile)                                                                  \
    T256 void name(const block_type *w, int K, int panels, const struct act8 *a, int n, float *y,            \
                   size_t y_stride) {                                                                        \
        int blocks = K / width;                                                                              \
        for (int t = 0; t < n; t += TOKENS) {                                                                \
            const int8_t *aq = a->q + (size_t)t * a->q_stride;                                               \
            const float *as = a->scale + (size_t)t * a->s_stride;                                            \
            const int32_t *off = a->offset8 + (size_t)t * a->s_stride;                                       \
            for (int p = 0; p < panels; p++) {                                                               \
                const block_type *wp = w + (size_t)p * blocks;                                               \
                for (int row = 0; row < PANEL; row += HALF) switch (n - t) {                                 \
                    case 1:                                                                                  \
                        TILE_CALL(tile, 1);                                                                  \
                        break;                                                                               \
                    case 2:                                                                                  \
                        TILE_CALL(tile, 2);                                                                  \
                        break;                                                                               \
                    case 3:                                                                                  \
                        TILE_CALL(tile, 3);                                                                  \
                        break;                                                                               \
                    default:                                                                                 \
                        TILE_CALL(tile, 4);                                                                  \
                    }                                                                                        \
            }                                                                                                \
        }                                                                                                    \
    }
GEMM(gemm_q8a8_avx2, struct q8_block, BLOCK, q8_tile)
GEMM(gemm_q6a8_avx2, struct q6_block, 256, q6_tile)

/* Two sums per token, even and odd k, so that one token alone does not wait for each fma. */
TILE void f32_tile(const float *w, int K, const float *x, size_t x_stride, float *y, size_t y_stride,
                   const int N) {
    __m256 even[TOKENS], odd[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) even[t] = odd[t] = _mm256_setzero_ps();
    int k = 0;
    for (; k + 1 < K; k += 2) {
        __m256 w0 = _mm256_loadu_ps(w + (size_t)k * PANEL), w1 = _mm256_loadu_ps(w + (size_t)(k + 1) * PANEL);
        UNROLL
        for (int t = 0; t < N; t++) {
            even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t * x_stride + k]), even[t]);
            odd[t] = _mm256_fmadd_ps(w1, _mm256_set1_ps(x[t * x_stride + k + 1]), odd[t]);
        }
    }
    if (k < K) {
        __m256 w0 = _mm256_loadu_ps(w + (size_t)k * PANEL);
        UNROLL
        for (int t = 0; t < N; t++)
            even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t * x_stride + k]), even[t]);
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm256_storeu_ps(y + t * y_stride, _mm256_add_ps(even[t], odd[t]));
}

T256 void gemm_f32_avx2(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                        size_t y_stride) {
    for (int row = 0; row < PANEL; row += HALF) {
        int t = 0;
        for (; t + TOKENS <= n; t += TOKENS)
            f32_tile(w + row, K, x + (size_t)t * x_stride, x_stride, y + (size_t)t * y_stride + row, y_stride,
                     TOKENS);
        for (; t < n; t++)
            f32_tile(w + row, K, x + (size_t)t * x_stride, x_stride, y + (size_t)t * y_stride + row, y_stride,
                     1);
    }
}

/* e^x: x = n ln2 + r, |r| <= ln2/2; a degree-6 Taylor sum has a relative error below 2^-23 there. 2^n is
 * built in two factors so that every result down to 2^-149 is reached; below -110 it is 0, which serves x =
 * -infinity too. Of a NaN it is a NaN: of two operands, vmaxps and vminps take the second then. */
TILE __m256 exp8(__m256 x) {
    x = _mm256_min_ps(_mm256_set1_ps(110.0f), _mm256_max_ps(_mm256_set1_ps(-110.0f), x));
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)), 8);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e400p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_set1_ps(1.0f / 720);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256i e = _mm256_cvtps_epi32(n), first = _mm256_srai_epi32(e, 1), second = _mm256_sub_epi32(e, first);
    const __m256i bias = _mm256_set1_epi32(127);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, bias), 23)));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, bias), 23)));
}

T256 void rmsnorm_avx2(const float *x, const float *w, int n, float eps, float *y) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        s0 = _mm256_fmadd_ps(a, a, s0);
        s1 = _mm256_fmadd_ps(b, b, s1);
    }
    float sum = sum8(_mm256_add_ps(s0, s1));
    for (; i < n; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++) y[i] = x[i] * scale * w[i];
}

T256 void rope_avx2(float *x, const float *cos, const float *sin, int d) {
    int half = d / 2, i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

T256 void swiglu_avx2(const float *gate, const float *up, int n, float *y) {
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), g));
        __m256 s = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(s, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

T256 void conv_avx2(const float *bcx, size_t stride, size_t gap, const float *taps, float *state, int n,
                    int D, float *y, size_t y_stride) {
    int c = 0;
    for (; c + 8 <= D; c += 8) {
        __m256 k0 = _mm256_loadu_ps(taps + c), k1 = _mm256_loadu_ps(taps + gap + c);
        __m256 k2 = _mm256_loadu_ps(taps + 2 * gap + c);
        __m256 s0 = _mm256_loadu_ps(state + c), s1 = _mm256_loadu_ps(state + gap + c);
        for (int t = 0; t < n; t++) {
            const float *row = bcx + (size_t)t * stride + c;
            __m256 bx = _mm256_mul_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(row + 2 * gap));
            __m256 sum = _mm256_fmadd_ps(k2, bx, _mm256_fmadd_ps(k1, s1, _mm256_mul_ps(k0, s0)));
            _mm256_storeu_ps(y + (size_t)t * y_stride + c, _mm256_mul_ps(_mm256_loadu_ps(row + gap), sum));
            s0 = s1;
            s1 = bx;
        }
        _mm256_storeu_ps(state + c, s0);
        _mm256_storeu_ps(state + gap + c, s1);
    }
    if (c < D) conv_scalar(bcx + c, stride, gap, taps + c, state + c, n, D - c, y + c, y_stride);
}

T256 void to_f16_avx2(const float *src, uint16_t *dst, int n) {
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), 0));
    if (i < n) to_f16_scalar(src + i, dst + i, n - i);
}

/* score[r][0..15] for N rows and one block of 16 keys. */
TILE void score_tile(const float *q, size_t q_stride, const uint16_t *k, int d, float *score, const int N) {
    __m256 a0[TOKENS], a1[TOKENS];
    UNROLL
    for (int r = 0; r < N; r++) a0[r] = a1[r] = _mm256_setzero_ps();
    for (int i = 0; i < d; i++) {
        __m256 v0 = load_f16(k + (size_t)i * KV_BLOCK), v1 = load_f16(k + (size_t)i * KV_BLOCK + 8);
        UNROLL
        for (int r = 0; r < N; r++) {
            __m256 qi = _mm256_set1_ps(q[r * q_stride + i]);
            a0[r] = _mm256_fmadd_ps(qi, v0, a0[r]);
            a1[r] = _mm256_fmadd_ps(qi, v1, a1[r]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(score + (size_t)r * ATTENTION_SPAN, a0[r]);
        _mm256_storeu_ps(score + (size_t)r * ATTENTION_SPAN + 8, a1[r]);
    }
}

/* o[r][0..15] = o * keep[r] + sum over n positions of e[r][p] * v[p], for N rows. */
TILE void value_tile(const float *e, const float *keep, const uint16_t *v, int d, int n, float *o,
                     const int N) {
    __m256 a0[TOKENS], a1[TOKENS];
    UNROLL
    for (int r = 0; r < N; r++) {
        a0[r] = _mm256_mul_ps(_mm256_loadu_ps(o + (size_t)r * d), _mm256_set1_ps(keep[r]));
        a1[r] = _mm256_mul_ps(_mm256_loadu_ps(o + (size_t)r * d + 8), _mm256_set1_ps(keep[r]));
    }
    for (int p = 0; p < n; p++) {
        __m256 v0 = load_f16(v + (size_t)p * d), v1 = load_f16(v + (size_t)p * d + 8);
        UNROLL
        for (int r = 0; r < N; r++) {
            __m256 er = _mm256_set1_ps(e[(size_t)r * ATTENTION_SPAN + p]);
            a0[r] = _mm256_fmadd_ps(er, v0, a0[r]);
            a1[r] = _mm256_fmadd_ps(er, v1, a1[r]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) {
        _mm256_storeu_ps(o + (size_t)r * d, a0[r]);
        _mm256_storeu_ps(o + (size_t)r * d + 8, a1[r]);
    }
}

/* Turns n scores of one row into e^(score - max), 0 past `visible`; updates m and l, returns the factor for
 * what was summed before. score has room up to a multiple of 16. */
T256 static float softmax_step(float *score, int n, int visible, float *m, float *l) {
    for (int p = visible < 0 ? 0 : visible; p < (n + 15) / 16 * 16; p++) score[p] = -INFINITY;
    __m256 top = _mm256_set1_ps(-INFINITY);
    for (int p = 0; p < n; p += 8) top = _mm256_max_ps(top, _mm256_loadu_ps(score + p));
    float best = fmaxf(*m, max8(top));
    if (best == -INFINITY) { /* nothing visible yet: all weights are 0, not e^(-inf + inf) */
        for (int p = 0; p < (n + 15) / 16 * 16; p++) score[p] = 0;
        return 0;
    }
    __m256 sum = _mm256_setzero_ps();
    for (int p = 0; p < n; p += 8) {
        __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(score + p), _mm256_set1_ps(best)));
        sum = _mm256_add_ps(sum, e);
        _mm256_storeu_ps(score + p, e);
    }
    float keep = *m == -INFINITY ? 0 : expf(*m - best);
    *l = *l * keep + sum8(sum);
    *m = best;
    return keep;
}

T256 static void span_step(const struct attention_task *a, int p0, int n) {
    float keep[ATTENTION_ROWS];
    for (int p = 0; p < n; p += KV_BLOCK) {
        const uint16_t *k = a->k + (size_t)(p0 + p) * a->d;
        int r = 0;
        for (; r + TOKENS <= a->R; r += TOKENS)
            score_tile(a->q + (size_t)r * a->q_stride, a->q_stride, k, a->d,
                       a->scratch + (size_t)r * ATTENTION_SPAN + p, TOKENS);
        for (; r < a->R; r++)
            score_tile(a->q + (size_t)r * a->q_stride, a->q_stride, k, a->d,
                       a->scratch + (size_t)r * ATTENTION_SPAN + p, 1);
    }
    for (int r = 0; r < a->R; r++) {
        int visible = a->limit[r] < p0 + n ? a->limit[r] - p0 : n;
        keep[r] = softmax_step(a->scratch + (size_t)r * ATTENTION_SPAN, n, visible, &a->m[r], &a->l[r]);
    }
    for (int i = 0; i < a->d; i += 16) {
        const uint16_t *v = a->v + (size_t)p0 * a->d + i;
        int r = 0;
        for (; r + TOKENS <= a->R; r += TOKENS)
            value_tile(a->scratch + (size_t)r * ATTENTION_SPAN, keep + r, v, a->d, n,
                       a->o + (size_t)r * a->d + i, TOKENS);
        for (; r < a->R; r++)
            value_tile(a->scratch + (size_t)r * ATTENTION_SPAN, keep + r, v, a->d, n,
                       a->o + (size_t)r * a->d + i, 1);
    }
}

/* Online softmax over spans of ATTENTION_SPAN positions (FlashAttention, arXiv 2205.14135, section 3.1). */
T256 void attention_avx2(const struct attention_task *a) {
    int last = 0;
    for (int r = 0; r < a->R; r++) {
        a->m[r] = -INFINITY, a->l[r] = 0;
        if (a->limit[r] > last) last = a->limit[r];
    }
    memset(a->o, 0, (size_t)a->R * a->d * sizeof *a->o);
    int end = last < a->end ? last : a->end;
    for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN)
        span_step(a, p0, end - p0 < ATTENTION_SPAN ? end - p0 : ATTENTION_SPAN);
}

/* --- the int8 cache --- */

/* Scores of one row and 8 of a block's 16 keys. |q| is the unsigned operand, k with q's sign the signed one:
 * 2 * 127 * 127 does not saturate 16 bits. */
TILE __m256 score8_half(const int8_t *q, const float *qs, const uint8_t *k, const uint16_t *ks, int blocks) {
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < blocks; b++) {
        __m256i dot = _mm256_setzero_si256();
        for (int g = 0; g < 8; g++, k += 64, q += 4) {
            int32_t four;
            memcpy(&four, q, 4);
            __m256i x = _mm256_set1_epi32(four);
            __m256i keys = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)k), _mm256_set1_epi8(-128));
            __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(keys, x));
            dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
        __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(qs[b]));
        acc = _mm256_fmadd_ps(f, load_f16(ks + b * KV_BLOCK), acc);
    }
    return acc;
}

/* Rounds e * v_scale of one row and span to 8 bits, zeros up to a multiple of 8; returns the step, NaN when a
 * weight is NaN. */
T256 static float weights8(const float *e, const uint16_t *v_scale, int n, uint8_t *out) {
    __m256 x[ATTENTION_SPAN / 8], top = _mm256_setzero_ps(), sum = top;
    int vectors = (n + 7) / 8;
    for (int i = 0; i < vectors; i++) {
        __m256 w = _mm256_loadu_ps(e + 8 * i);
        __m256 some = _mm256_cmp_ps(w, _mm256_setzero_ps(), _CMP_NEQ_UQ);
        x[i] = _mm256_and_ps(some, _mm256_mul_ps(w, load_f16(v_scale + 8 * i)));
        top = _mm256_max_ps(top, x[i]);
        sum = _mm256_add_ps(sum, x[i]);
    }
    float most = max8(top), all = sum8(sum);
    __m256 inverse = _mm256_set1_ps(most > 1e-30f ? 255 / most : 0);
    for (int i = 0; i < vectors; i++) {
        __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
        __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
        _mm_storel_epi64((__m128i *)(out + 8 * i), _mm_packus_epi16(half, half));
    }
    return most / 255 + 0 * all;
}

/* o[0..7] = o * keep + step * sum of w[p] * v[p]. Even and odd positions apart: 255 * 127 fits 16 bits once,
 * not twice. */
TILE void value8_tile(const uint8_t *w, float keep, float step, const int8_t *v, int d, int n, float *o) {
    const __m256i even = _mm256_set1_epi16(255), one = _mm256_set1_epi16(1);
    __m256i acc = _mm256_setzero_si256();
    for (int p = 0; p < n; p += 4, v += (size_t)4 * d) {
        int32_t four;
        memcpy(&four, w + p, 4);
        __m256i x = _mm256_set1_epi32(four), values = _mm256_loadu_si256((const __m256i *)v);
        __m256i a = _mm256_maddubs_epi16(_mm256_and_si256(x, even), values);
        __m256i b = _mm256_maddubs_epi16(_mm256_andnot_si256(even, x), values);
        acc = _mm256_add_epi32(acc, _mm256_add_epi32(_mm256_madd_epi16(a, one), _mm256_madd_epi16(b, one)));
    }
    __m256 old = _mm256_mul_ps(_mm256_loadu_ps(o), _mm256_set1_ps(keep));
    _mm256_storeu_ps(o, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(step), old));
}

T256 static void span8_step(const struct attention8_task *a, int r, int p0, int n) {
    int blocks = a->d / BLOCK, visible = a->limit[r] < p0 + n ? a->limit[r] - p0 : n;
    float *e = a->scratch, *o = a->o + (size_t)r * a->d;
    const int8_t *q = a->q.q + (size_t)r * a->q.q_stride;
    const float *qs = a->q.scale + (size_t)r * a->q.s_stride;
    for (int p = 0; p < n; p += 8) {
        size_t block = (size_t)(p0 + p) / KV_BLOCK;
        int half = p % KV_BLOCK;
        const uint8_t *k = a->k + block * (size_t)a->d * KV_BLOCK + 4 * half;
        const uint16_t *ks = a->k_scale + block * (size_t)blocks * KV_BLOCK + half;
        _mm256_storeu_ps(e + p, score8_half(q, qs, k, ks, blocks));
    }
    float keep = softmax_step(e, n, visible, &a->m[r], &a->l[r]);
    float step = weights8(e, a->v_scale + p0, n, a->weights8);
    for (int i = 0; i < a->d; i += 8)
        value8_tile(a->weights8, keep, step, a->v + (size_t)p0 * a->d + 4 * i, a->d, n, o + i);
}

T256 void attention8_avx2(const struct attention8_task *a) {
    memset(a->o, 0, (size_t)a->R * a->d * sizeof *a->o);
    for (int r = 0; r < a->R; r++) {
        a->m[r] = -INFINITY, a->l[r] = 0;
        int end = a->limit[r] < a->end ? a->limit[r] : a->end;
        for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN)
            span8_step(a, r, p0, end - p0 < ATTENTION_SPAN ? end - p0 : ATTENTION_SPAN);
    }
}
#endif
