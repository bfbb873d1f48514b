/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_avx512: AVX-512 columns, with VNNI for the integer products.
 *
 * Why these shapes. One panel is 16 rows, so a 64-byte load is "4 weights of each of 16 rows" and one
 * vpdpbusd adds 4 products to each of 16 sums; the activation's 4 bytes come from memory as a broadcast,
 * which costs a load and no arithmetic port. With 12 tokens per tile there are 12 integer and 12 float
 * accumulators, which leaves 8 of the 32 registers for weights, and every unpacked weight is used 12 times.
 * Per 16 rows x 32 weights x token: 8 vpdpbusd + convert, multiply, fma, so at most 8/10 of the VNNI peak
 * where the conversion has its own port (Zen 4), 8/11 elsewhere; the exact per-32 scheme costs the rest. */
#include "optimized/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define T512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))
#define TILE static inline __attribute__((always_inline)) T512

#ifdef __clang__
#define UNROLL /* clang unrolls constant counts without being asked */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { TOKENS = 12 }; /* per register tile */

T512 void quantize_a8_avx512(const float *x, int K, int8_t *q, float *scale, int32_t *offset8,
                             int16_t *sum16) {
    for (int b = 0; b < K / BLOCK; b++) {
        __m512 x0 = _mm512_loadu_ps(x + b * BLOCK), x1 = _mm512_loadu_ps(x + b * BLOCK + 16);
        /* 0x99: NaN of either kind, infinity of either sign. Such a block is computed as zeros. */
        int finite = (_mm512_fpclass_ps_mask(x0, 0x99) | _mm512_fpclass_ps_mask(x1, 0x99)) == 0;
        if (!finite) x0 = x1 = _mm512_setzero_ps();
        float amax = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1)));
        float inverse = amax > 1e-30f ? 127.0f / amax : 0.0f;
        scale[b] = !finite ? NAN : amax > 1e-30f ? amax / 127.0f : 0.0f;
        __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, _mm512_set1_ps(inverse)));
        __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(q + b * BLOCK), _mm512_cvtepi32_epi8(q0));
        _mm_storeu_si128((__m128i *)(q + b * BLOCK + 16), _mm512_cvtepi32_epi8(q1));
        int s0 = _mm512_reduce_add_epi32(q0), s1 = _mm512_reduce_add_epi32(q1);
        sum16[2 * b] = (int16_t)s0;
        sum16[2 * b + 1] = (int16_t)s1;
        offset8[b] = -8 * (s0 + s1);
    }
}

TILE __m512i broadcast4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

TILE __m512 load_scale(const uint16_t *h) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
}

/* N tokens x one panel. Full unrolling over N keeps every accumulator in a register. */
TILE void q4_tile(const struct q4_block *w, int blocks, const int8_t *aq, size_t aq_stride, const float *as,
                  const int32_t *off, size_t s_stride, float *y, size_t y_stride, const int N) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b++, w++, aq += BLOCK) {
        __m512i dot[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) dot[t] = _mm512_set1_epi32(off[t * s_stride + b]);
        _mm_prefetch((const char *)w + 4096, _MM_HINT_T0);
        _mm_prefetch((const char *)w + 4096 + 64, _MM_HINT_T0);
        _mm_prefetch((const char *)w + 4096 + 128, _MM_HINT_T0);
        _mm_prefetch((const char *)w + 4096 + 192, _MM_HINT_T0);
        for (int g = 0; g < 4; g++) {
            __m512i raw = _mm512_loadu_si512(w->q[g]);
            __m512i lo = _mm512_and_si512(raw, low);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(raw, 4), low);
            UNROLL
            for (int t = 0; t < N; t++) {
                dot[t] = _mm512_dpbusd_epi32(dot[t], lo, broadcast4(aq + t * aq_stride + 4 * g));
                dot[t] = _mm512_dpbusd_epi32(dot[t], hi, broadcast4(aq + t * aq_stride + 16 + 4 * g));
            }
        }
        __m512 ws = load_scale(w->scale);
        UNROLL
        for (int t = 0; t < N; t++) {
            __m512 f = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[t]), _mm512_set1_ps(as[t * s_stride + b]));
            acc[t] = _mm512_fmadd_ps(f, ws, acc[t]);
        }
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm512_storeu_ps(y + t * y_stride, acc[t]);
}

/* Weights become unsigned by flipping the sign bit: w + 128. The excess is 128 * sum = -16 * offset8. */
TILE void q8_tile(const struct q8_block *w, int blocks, const int8_t *aq, size_t aq_stride, const float *as,
                  const int32_t *off, size_t s_stride, float *y, size_t y_stride, const int N) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b++, w++, aq += BLOCK) {
        __m512i dot[TOKENS];
        UNROLL
        for (int t = 0; t < N; t++) dot[t] = _mm512_slli_epi32(_mm512_set1_epi32(off[t * s_stride + b]), 4);
        for (int g = 0; g < 8; g++) {
            __m512i u = _mm512_xor_si512(_mm512_loadu_si512(w->q[g]), flip);
            UNROLL
            for (int t = 0; t < N; t++)
                dot[t] = _mm512_dpbusd_epi32(dot[t], u, broadcast4(aq + t * aq_stride + 4 * g));
        }
        __m512 ws = load_scale(w->scale);
        UNROLL
        for (int t = 0; t < N; t++) {
            __m512 f = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[t]), _mm512_set1_ps(as[t * s_stride + b]));
            acc[t] = _mm512_fmadd_ps(f, ws, acc[t]);
        }
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm512_storeu_ps(y + t * y_stride, acc[t]);
}

/* Weights of group g, 0..63 (w + 32). */
TILE __m512i q6_group(const struct q6_block *w, int b, int g) {
    __m512i low = _mm512_loadu_si512(w->part[b].low[g % 4]),
            high = _mm512_loadu_si512(w->part[b].high[g % 2]);
    low = _mm512_and_si512(g < 4 ? low : _mm512_srli_epi16(low, 4), _mm512_set1_epi8(15));
    switch (g / 2) { /* field f to bits 4, 5; what crosses byte borders is masked away */
    case 0:
        high = _mm512_slli_epi16(high, 4);
        break;
    case 1:
        high = _mm512_slli_epi16(high, 2);
        break;
    case 2:
        break;
    default:
        high = _mm512_srli_epi16(high, 2);
    }
    return _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
}

/* Each half block has its own 8-bit scale: (dot0*s0 + dot1*s1) stays below 2^24, exact in int32 and in float.
 */
TILE void q6_tile(const struct q6_block *w, int supers, const int8_t *aq, size_t aq_stride, const float *as,
                  const int16_t *sum16, size_t s_stride, float *y, size_t y_stride, const int N) {
    __m512 acc[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) acc[t] = _mm512_setzero_ps();
    for (int s = 0; s < supers; s++, w++) {
        __m512 ws = load_scale(w->scale);
        for (int b = 0; b < 8; b++, aq += BLOCK) {
            __m512i dot[TOKENS], both[TOKENS];
            const char *ahead = (const char *)&w->part[b] + 4096;
            UNROLL
            for (int i = 0; i < 7; i++) _mm_prefetch(ahead + 64 * i, _MM_HINT_T0);
            UNROLL
            for (int t = 0; t < N; t++) both[t] = _mm512_setzero_si512();
            UNROLL /* the shifts of q6_group become constants */
                for (int half = 0; half < 2; half++) {
                __m512i sub =
                    _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)w->part[b].sub_scale[half]));
                UNROLL
                for (int t = 0; t < N; t++)
                    dot[t] =
                        _mm512_set1_epi32(-32 * sum16[t * 2 * s_stride + (size_t)(s * 8 + b) * 2 + half]);
                UNROLL
                for (int i = 0; i < 4; i++) {
                    int g = 4 * half + i;
                    __m512i u = q6_group(w, b, g);
                    UNROLL
                    for (int t = 0; t < N; t++)
                        dot[t] = _mm512_dpbusd_epi32(dot[t], u, broadcast4(aq + t * aq_stride + 4 * g));
                }
                UNROLL
                for (int t = 0; t < N; t++) {
                    __m512i scaled = _mm512_mullo_epi32(dot[t], sub);
                    both[t] = _mm512_add_epi32(both[t], scaled);
                }
            }
            UNROLL
            for (int t = 0; t < N; t++) {
                __m512 f =
                    _mm512_mul_ps(_mm512_cvtepi32_ps(both[t]), _mm512_set1_ps(as[t * s_stride + s * 8 + b]));
                acc[t] = _mm512_fmadd_ps(f, ws, acc[t]);
            }
        }
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm512_storeu_ps(y + t * y_stride, acc[t]);
}

/* Walks tokens in tiles of TOKENS, and for each all panels: the tile's activations stay in L1 while the
 * panels stream from L2 or memory. n is cut into tiles of nearly equal size. */
#define GEMM(name, block_type, width, tile, sums, sums_stride, most)                                         \
    T512 void name(const block_type *w, int K, int panels, const struct act8 *a, int n, float *y,            \
                   size_t y_stride) {                                                                        \
        int blocks = K / width;                                                                              \
        for (int t = 0; t < n;) {                                                                            \
            const int8_t *aq = a->q + (size_t)t * a->q_stride;                                               \
            const float *as = a->scale + (size_t)t * a->s_stride;                                            \
            int tiles = (n - t + most - 1) / most, left = (n - t + tiles - 1) / tiles;                       \
            for (int p = 0; p < panels; p++) {                                                               \
                const block_type *wp = w + (size_t)p * blocks;                                               \
                float *yp = y + (size_t)t * y_stride + p * PANEL;                                            \
                switch (left) {                                                                              \
                case 1:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 1);                                                   \
                    break;                                                                                   \
                case 2:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 2);                                                   \
                    break;                                                                                   \
                case 3:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 3);                                                   \
                    break;                                                                                   \
                case 4:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 4);                                                   \
                    break;                                                                                   \
                case 5:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 5);                                                   \
                    break;                                                                                   \
                case 6:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 6);                                                   \
                    break;                                                                                   \
                case 7:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 7);                                                   \
                    break;                                                                                   \
                case 8:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 8);                                                   \
                    break;                                                                                   \
                case 9:                                                                                      \
                    TILE_CALL(tile, sums, sums_stride, 9);                                                   \
                    break;                                                                                   \
                case 10:                                                                                     \
                    TILE_CALL(tile, sums, sums_stride, 10);                                                  \
                    break;                                                                                   \
                case 11:                                                                                     \
                    TILE_CALL(tile, sums, sums_stride, 11);                                                  \
                    break;                                                                                   \
                default:                                                                                     \
                    TILE_CALL(tile, sums, sums_stride, 12);                                                  \
                }                                                                                            \
            }                                                                                                \
            t += left;                                                                                       \
        }                                                                                                    \
    }
#define TILE_CALL(tile, sums, sums_stride, N)                                                                \
    tile(wp, blocks, aq, a->q_stride, as, a->sums + (size_t)t * (sums_stride), a->s_stride, yp, y_stride, N)

GEMM(gemm_q4a8_avx512vnni, struct q4_block, BLOCK, q4_tile, offset8, a->s_stride, TOKENS)
GEMM(gemm_q8a8_avx512vnni, struct q8_block, BLOCK, q8_tile, offset8, a->s_stride, TOKENS)
/* 3 registers per token instead of 2 */
GEMM(gemm_q6a8_avx512vnni, struct q6_block, 256, q6_tile, sum16, 2 * a->s_stride, 8)

/* Two sums per token, even and odd k, so that one token alone does not wait for each fma. */
TILE void f32_tile(const float *w, int K, const float *x, size_t x_stride, float *y, size_t y_stride,
                   const int N) {
    __m512 even[TOKENS], odd[TOKENS];
    UNROLL
    for (int t = 0; t < N; t++) even[t] = odd[t] = _mm512_setzero_ps();
    int k = 0;
    for (; k + 1 < K; k += 2) {
        __m512 w0 = _mm512_loadu_ps(w + (size_t)k * PANEL), w1 = _mm512_loadu_ps(w + (size_t)(k + 1) * PANEL);
        UNROLL
        for (int t = 0; t < N; t++) {
            even[t] = _mm512_fmadd_ps(w0, _mm512_set1_ps(x[t * x_stride + k]), even[t]);
            odd[t] = _mm512_fmadd_ps(w1, _mm512_set1_ps(x[t * x_stride + k + 1]), odd[t]);
        }
    }
    if (k < K) {
        __m512 w0 = _mm512_loadu_ps(w + (size_t)k * PANEL);
        UNROLL
        for (int t = 0; t < N; t++)
            even[t] = _mm512_fmadd_ps(w0, _mm512_set1_ps(x[t * x_stride + k]), even[t]);
    }
    UNROLL
    for (int t = 0; t < N; t++) _mm512_storeu_ps(y + t * y_stride, _mm512_add_ps(even[t], odd[t]));
}

T512 void gemm_f32_avx512(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                          size_t y_stride) {
    int t = 0;
    for (; t + TOKENS <= n; t += TOKENS)
        f32_tile(w, K, x + (size_t)t * x_stride, x_stride, y + (size_t)t * y_stride, y_stride, TOKENS);
    for (; t + 4 <= n; t += 4)
        f32_tile(w, K, x + (size_t)t * x_stride, x_stride, y + (size_t)t * y_stride, y_stride, 4);
    for (; t < n; t++)
        f32_tile(w, K, x + (size_t)t * x_stride, x_stride, y + (size_t)t * y_stride, y_stride, 1);
}

/* e^x: x = n ln2 + r, |r| <= ln2/2; a degree-6 Taylor sum has a relative error below 2^-23 there. Below -110
 * the result is 0, which also serves x = -infinity. Of a NaN it is a NaN: of two operands, vmaxps and vminps
 * take the second then. */
TILE __m512 exp512(__m512 x) {
    x = _mm512_min_ps(_mm512_set1_ps(110.0f), _mm512_max_ps(_mm512_set1_ps(-110.0f), x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), 8);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e400p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(1.0f / 720);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

TILE __mmask16 tail(int left) {
    unsigned lanes = left >= 16 ? 0xffffu : (1u << left) - 1;
    return (__mmask16)lanes;
}

T512 void rmsnorm_avx512(const float *x, const float *w, int n, float eps, float *y) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
        s0 = _mm512_fmadd_ps(a, a, s0);
        s1 = _mm512_fmadd_ps(b, b, s1);
    }
    for (; i < n; i += 16) {
        __m512 a = _mm512_maskz_loadu_ps(tail(n - i), x + i);
        s0 = _mm512_fmadd_ps(a, a, s0);
    }
    float mean = _mm512_reduce_add_ps(_mm512_add_ps(s0, s1)) / (float)n;
    __m512 scale = _mm512_set1_ps(1.0f / sqrtf(mean + eps));
    for (i = 0; i < n; i += 16) {
        __mmask16 m = tail(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

T512 void swiglu_avx512(const float *gate, const float *up, int n, float *y) {
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = tail(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i), one = _mm512_set1_ps(1.0f);
        __m512 e = exp512(_mm512_sub_ps(_mm512_setzero_ps(), g));
        __m512 s = _mm512_div_ps(g, _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(s, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

T512 void conv_avx512(const float *bcx, size_t stride, size_t gap, const float *taps, float *state, int n,
                      int D, float *y, size_t y_stride) {
    for (int c = 0; c < D; c += 16) {
        __mmask16 m = tail(D - c);
        __m512 k0 = _mm512_maskz_loadu_ps(m, taps + c), k1 = _mm512_maskz_loadu_ps(m, taps + gap + c);
        __m512 k2 = _mm512_maskz_loadu_ps(m, taps + 2 * gap + c);
        __m512 s0 = _mm512_maskz_loadu_ps(m, state + c), s1 = _mm512_maskz_loadu_ps(m, state + gap + c);
        for (int t = 0; t < n; t++) {
            const float *row = bcx + (size_t)t * stride + c;
            __m512 bx = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, row), _mm512_maskz_loadu_ps(m, row + 2 * gap));
            __m512 sum = _mm512_fmadd_ps(k2, bx, _mm512_fmadd_ps(k1, s1, _mm512_mul_ps(k0, s0)));
            _mm512_mask_storeu_ps(y + (size_t)t * y_stride + c, m,
                                  _mm512_mul_ps(_mm512_maskz_loadu_ps(m, row + gap), sum));
            s0 = s1;
            s1 = bx;
        }
        _mm512_mask_storeu_ps(state + c, m, s0);
        _mm512_mask_storeu_ps(state + gap + c, m, s1);
    }
}

T512 void to_f16_avx512(const float *src, uint16_t *dst, int n) {
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = tail(n - i);
        _mm256_mask_storeu_epi16(dst + i, m, _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, src + i), 0));
    }
}

/* score[r][0..31] for N rows and two blocks of 16 keys. */
TILE void score_tile(const float *q, size_t q_stride, const uint16_t *k, int d, float *score, const int N) {
    __m512 a0[8], a1[8];
    UNROLL
    for (int r = 0; r < N; r++) a0[r] = a1[r] = _mm512_setzero_ps();
    const uint16_t *k1 = k + (size_t)d * KV_BLOCK;
    for (int i = 0; i < d; i++) {
        __m512 v0 = load_scale(k + (size_t)i * KV_BLOCK), v1 = load_scale(k1 + (size_t)i * KV_BLOCK);
        if (N <= 4) /* decode: each key is used too few times to hide where it comes from */
            _mm_prefetch((const char *)(k + ((size_t)16 * d + 2 * (size_t)i) * KV_BLOCK), _MM_HINT_T1);
        UNROLL
        for (int r = 0; r < N; r++) {
            __m512 qi = _mm512_set1_ps(q[r * q_stride + i]);
            a0[r] = _mm512_fmadd_ps(qi, v0, a0[r]);
            a1[r] = _mm512_fmadd_ps(qi, v1, a1[r]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) {
        _mm512_storeu_ps(score + (size_t)r * ATTENTION_SPAN, a0[r]);
        _mm512_storeu_ps(score + (size_t)r * ATTENTION_SPAN + 16, a1[r]);
    }
}

/* o[r][0 .. 16*V) = o * keep[r] + sum over n positions of e[r][p] * v[p]; N rows, V vectors. */
TILE void value_tile(const float *e, const float *keep, const uint16_t *v, int d, int n, float *o,
                     const int N, const int V) {
    __m512 acc[4][4];
    UNROLL
    for (int r = 0; r < N; r++) {
        UNROLL
        for (int j = 0; j < V; j++)
            acc[r][j] = _mm512_mul_ps(_mm512_loadu_ps(o + (size_t)r * d + 16 * j), _mm512_set1_ps(keep[r]));
    }
    for (int p = 0; p < n; p++) {
        __m512 x[4];
        UNROLL
        for (int j = 0; j < V; j++) x[j] = load_scale(v + (size_t)p * d + 16 * j);
        UNROLL
        for (int j = 0; j < V; j += 2)
            _mm_prefetch((const char *)(v + (size_t)(p + 128) * d + 16 * j), _MM_HINT_T1);
        UNROLL
        for (int r = 0; r < N; r++) {
            __m512 er = _mm512_set1_ps(e[(size_t)r * ATTENTION_SPAN + p]);
            UNROLL
            for (int j = 0; j < V; j++) acc[r][j] = _mm512_fmadd_ps(er, x[j], acc[r][j]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) {
        UNROLL
        for (int j = 0; j < V; j++) _mm512_storeu_ps(o + (size_t)r * d + 16 * j, acc[r][j]);
    }
}

/* Turns n scores of one row into e^(score - max), masked past `visible`; updates m and l, returns the factor
 * for what was summed before. */
T512 static float softmax_step(float *score, int n, int visible, float *m, float *l) {
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 top = none;
    for (int p = 0; p < n; p += 16) {
        __m512 s = _mm512_mask_loadu_ps(none, visible > p ? tail(visible - p) : 0, score + p);
        top = _mm512_max_ps(top, s);
        _mm512_storeu_ps(score + p, s);
    }
    float best = fmaxf(*m, _mm512_reduce_max_ps(top));
    if (best == -INFINITY) { /* nothing visible yet: all weights are 0, not e^(-inf + inf) */
        for (int p = 0; p < n; p += 16) _mm512_storeu_ps(score + p, _mm512_setzero_ps());
        return 0;
    }
    __m512 sum = _mm512_setzero_ps();
    for (int p = 0; p < n; p += 16) {
        __m512 e = exp512(_mm512_sub_ps(_mm512_loadu_ps(score + p), _mm512_set1_ps(best)));
        sum = _mm512_add_ps(sum, e);
        _mm512_storeu_ps(score + p, e);
    }
    float keep = *m == -INFINITY ? 0 : expf(*m - best);
    *l = *l * keep + _mm512_reduce_add_ps(sum);
    *m = best;
    return keep;
}

T512 static void score_rows(const struct attention_task *a, const uint16_t *k, int p) {
    for (int r = 0; r < a->R;) {
        const float *q = a->q + (size_t)r * a->q_stride;
        float *s = a->scratch + (size_t)r * ATTENTION_SPAN + p;
        int left = a->R - r;
        if (left >= 8) {
            score_tile(q, a->q_stride, k, a->d, s, 8), r += 8;
        } else if (left >= 4) {
            score_tile(q, a->q_stride, k, a->d, s, 4), r += 4;
        } else if (left >= 2) {
            score_tile(q, a->q_stride, k, a->d, s, 2), r += 2;
        } else {
            score_tile(q, a->q_stride, k, a->d, s, 1), r += 1;
        }
    }
}

#define VALUE_TILE(N, V)                                                                                     \
    value_tile(e + (size_t)r * ATTENTION_SPAN, keep + r, v + i, d, n, o + (size_t)r * d + i, N, V)
#define VALUE_ROWS(V)                                                                                        \
    for (r = 0; r + 4 <= a->R; r += 4) VALUE_TILE(4, V);                                                     \
    for (; r + 2 <= a->R; r += 2) VALUE_TILE(2, V);                                                          \
    for (; r < a->R; r++) VALUE_TILE(1, V)

T512 static void value_rows(const struct attention_task *a, const uint16_t *v, const float *keep, int n) {
    const float *e = a->scratch;
    float *o = a->o;
    int d = a->d, i = 0, r;
    for (; i + 64 <= d; i += 64) {
        VALUE_ROWS(4);
    }
    for (; i + 32 <= d; i += 32) {
        VALUE_ROWS(2);
    }
    for (; i < d; i += 16) {
        VALUE_ROWS(1);
    }
}

/* Online softmax over spans of ATTENTION_SPAN positions (FlashAttention, arXiv 2205.14135, section 3.1).
 * Spans are anchored at begin, so one row's sums are added in the same order whatever the other rows are. */
T512 void attention_avx512(const struct attention_task *a) {
    float keep[ATTENTION_ROWS];
    int last = 0;
    for (int r = 0; r < a->R; r++) {
        a->m[r] = -INFINITY, a->l[r] = 0;
        if (a->limit[r] > last) last = a->limit[r];
    }
    memset(a->o, 0, (size_t)a->R * a->d * sizeof *a->o);
    int end = last < a->end ? last : a->end;
    for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN) {
        int n = end - p0 < ATTENTION_SPAN ? end - p0 : ATTENTION_SPAN;
        for (int p = 0; p < n; p += 2 * KV_BLOCK) score_rows(a, a->k + (size_t)(p0 + p) * a->d, p);
        for (int r = 0; r < a->R; r++) {
            int visible = a->limit[r] < p0 + n ? a->limit[r] - p0 : n;
            keep[r] = softmax_step(a->scratch + (size_t)r * ATTENTION_SPAN, n, visible, &a->m[r], &a->l[r]);
        }
        value_rows(a, a->v + (size_t)p0 * a->d, keep, n);
    }
}

/* --- the int8 cache --- */

/* Scores of N rows and one block of 16 keys. Keys are the unsigned operand: k + 128, and offset8 * 16 takes
 * the excess back. */
TILE void score8_tile(const struct attention8_task *a, int r0, const uint8_t *k, const uint16_t *ks,
                      float *score, const int N) {
    const int8_t *q = a->q.q + (size_t)r0 * a->q.q_stride;
    const float *qs = a->q.scale + (size_t)r0 * a->q.s_stride;
    const int32_t *off = a->q.offset8 + (size_t)r0 * a->q.s_stride;
    __m512 acc[8];
    UNROLL
    for (int r = 0; r < N; r++) acc[r] = _mm512_setzero_ps();
    for (int b = 0; b < a->d / BLOCK; b++, q += BLOCK) {
        __m512i dot[8];
        UNROLL
        for (int r = 0; r < N; r++) dot[r] = _mm512_set1_epi32(16 * off[r * a->q.s_stride + b]);
        UNROLL
        for (int g = 0; g < 8; g++, k += 64) {
            __m512i keys = _mm512_loadu_si512(k);
            if (N <= 4) _mm_prefetch((const char *)k + 16384, _MM_HINT_T1);
            UNROLL
            for (int r = 0; r < N; r++)
                dot[r] = _mm512_dpbusd_epi32(dot[r], keys, broadcast4(q + r * a->q.q_stride + 4 * g));
        }
        __m512 scale = load_scale(ks + b * KV_BLOCK);
        UNROLL
        for (int r = 0; r < N; r++) {
            __m512 f = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[r]), _mm512_set1_ps(qs[r * a->q.s_stride + b]));
            acc[r] = _mm512_fmadd_ps(f, scale, acc[r]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) _mm512_storeu_ps(score + (size_t)r * ATTENTION_SPAN, acc[r]);
}

T512 static void score8_rows(const struct attention8_task *a, int block, int p) {
    const uint8_t *k = a->k + (size_t)block * a->d * KV_BLOCK;
    const uint16_t *ks = a->k_scale + (size_t)block * (a->d / BLOCK) * KV_BLOCK;
    for (int r = 0; r < a->R;) {
        float *s = a->scratch + (size_t)r * ATTENTION_SPAN + p;
        int left = a->R - r;
        if (left >= 8) {
            score8_tile(a, r, k, ks, s, 8), r += 8;
        } else if (left >= 4) {
            score8_tile(a, r, k, ks, s, 4), r += 4;
        } else if (left >= 2) {
            score8_tile(a, r, k, ks, s, 2), r += 2;
        } else {
            score8_tile(a, r, k, ks, s, 1), r += 1;
        }
    }
}

/* Rounds e * v_scale of one row and span to 8 bits, zeros up to a multiple of 16; returns the step, NaN when
 * a weight is NaN. */
T512 static float weights8(const float *e, const uint16_t *v_scale, int n, uint8_t *out) {
    __m512 x[ATTENTION_SPAN / 16], top = _mm512_setzero_ps(), sum = top;
    int vectors = (n + 15) / 16;
    for (int i = 0; i < vectors; i++) {
        __m512 w = _mm512_loadu_ps(e + 16 * i);
        __mmask16 some = _mm512_cmp_ps_mask(w, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        x[i] = _mm512_maskz_mul_ps(some, w, load_scale(v_scale + 16 * i));
        top = _mm512_max_ps(top, x[i]);
        sum = _mm512_add_ps(sum, x[i]);
    }
    float most = _mm512_reduce_max_ps(top), all = _mm512_reduce_add_ps(sum);
    __m512 inverse = _mm512_set1_ps(most > 1e-30f ? 255 / most : 0);
    for (int i = 0; i < vectors; i++)
        _mm_storeu_si128((__m128i *)(out + 16 * i),
                         _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x[i], inverse))));
    return most / 255 + 0 * all;
}

/* o[r][0 .. 16*V) = o * keep[r] + step[r] * sum over n positions of w[r][p] * v[p]. A span's integer sum
 * stays below 255 * 127 * 128 < 2^23: exact in int32 and in float. */
TILE void value8_tile(const uint8_t *w, const float *keep, const float *step, const int8_t *v, int d, int n,
                      float *o, const int N, const int V) {
    __m512i acc[4][4];
    UNROLL
    for (int r = 0; r < N; r++) {
        UNROLL
        for (int j = 0; j < V; j++) acc[r][j] = _mm512_setzero_si512();
    }
    for (int p = 0; p < n; p += 4, v += (size_t)4 * d) {
        __m512i x[4];
        UNROLL
        for (int j = 0; j < V; j++) {
            x[j] = _mm512_loadu_si512(v + 64 * j);
            if (N <= 4) _mm_prefetch((const char *)v + (size_t)256 * d + 64 * j, _MM_HINT_T1);
        }
        UNROLL
        for (int r = 0; r < N; r++) {
            __m512i four = broadcast4((const int8_t *)w + (size_t)r * ATTENTION_SPAN + p);
            UNROLL
            for (int j = 0; j < V; j++) acc[r][j] = _mm512_dpbusd_epi32(acc[r][j], four, x[j]);
        }
    }
    UNROLL
    for (int r = 0; r < N; r++) {
        UNROLL
        for (int j = 0; j < V; j++) {
            float *to = o + (size_t)r * d + 16 * j;
            __m512 old = _mm512_mul_ps(_mm512_loadu_ps(to), _mm512_set1_ps(keep[r]));
            _mm512_storeu_ps(to,
                             _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][j]), _mm512_set1_ps(step[r]), old));
        }
    }
}

#define VALUE8_TILE(N, V)                                                                                    \
    value8_tile(a->weights8 + (size_t)r * ATTENTION_SPAN, keep + r, step + r, v + 4 * i, d, n,               \
                a->o + (size_t)r * d + i, N, V)
#define VALUE8_ROWS(V)                                                                                       \
    for (r = 0; r + 4 <= a->R; r += 4) VALUE8_TILE(4, V);                                                    \
    for (; r + 2 <= a->R; r += 2) VALUE8_TILE(2, V);                                                         \
    for (; r < a->R; r++) VALUE8_TILE(1, V)

T512 void attention8_avx512vnni(const struct attention8_task *a) {
    float keep[ATTENTION_ROWS], step[ATTENTION_ROWS];
    int last = 0, d = a->d;
    for (int r = 0; r < a->R; r++) {
        a->m[r] = -INFINITY, a->l[r] = 0;
        if (a->limit[r] > last) last = a->limit[r];
    }
    memset(a->o, 0, (size_t)a->R * d * sizeof *a->o);
    int end = last < a->end ? last : a->end;
    for (int p0 = a->begin; p0 < end; p0 += ATTENTION_SPAN) {
        int n = end - p0 < ATTENTION_SPAN ? end - p0 : ATTENTION_SPAN;
        for (int p = 0; p < n; p += KV_BLOCK) score8_rows(a, (p0 + p) / KV_BLOCK, p);
        for (int r = 0; r < a->R; r++) {
            int visible = a->limit[r] < p0 + n ? a->limit[r] - p0 : n;
            float *e = a->scratch + (size_t)r * ATTENTION_SPAN;
            keep[r] = softmax_step(e, n, visible, &a->m[r], &a->l[r]);
            step[r] = weights8(e, a->v_scale + p0, n, a->weights8 + (size_t)r * ATTENTION_SPAN);
        }
        const int8_t *v = a->v + (size_t)p0 * d;
        int i = 0, r;
        for (; i + 64 <= d; i += 64) {
            VALUE8_ROWS(4);
        }
        for (; i + 32 <= d; i += 32) {
            VALUE8_ROWS(2);
        }
    }
}
#endif
