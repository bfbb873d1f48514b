/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_amx: AMX int8 columns of the integer products, exact like all others.
 *
 * One tile product is 16 tokens x 16 rows x 32 weights: exactly one quantisation block, so its int32 sums are
 * scaled and added to float accumulators as in the AVX-512 column, in the same order: the two columns give
 * the same bits, and the tokens that do not fill a tile are left to the AVX-512 column. Half-depth tiles cost
 * the price of full ones, and the scaling costs 48 vector operations per 8192 products; that is still about
 * three times fewer cycles than vpdpbusd needs, without a second quantisation scheme.
 *
 * The tile instructions are inline assembly: with GCC 12's _tile_loadconfig the compiler may drop the stores
 * to the configuration it loads. */
#include "optimized/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

enum { TOKENS = 16, K_BLOCKS = 64 }; /* per tile; blocks unpacked at once: 32 KiB of int8 weights */

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Tiles 0 and 1: sums [16 tokens][16 rows] int32. Tile 2: activations [16 tokens][32]. Tile 3: weights, as
 * [8 groups of 4][16 rows][4]. */
static const struct tile_config config = {
    .palette = 1, .row_bytes = {64, 64, 32, 64}, .rows = {TOKENS, TOKENS, TOKENS, BLOCK / 4}};

#ifdef LFM2_EMULATE_AMX
/* The same five operations in C, so that this file's logic can be tested on CPUs without AMX
 * (tests/test_amx.c). */
#define TAMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
static _Thread_local int32_t emulated_sum[2][16][16];
static _Thread_local int8_t emulated_a[16][32], emulated_b[8][16][4];
static void tile_begin(void) {
    memset(emulated_sum, 0x55, sizeof emulated_sum);
}
static void tile_end(void) {}
static void tile_load_a(const int8_t *p, size_t stride) {
    for (int i = 0; i < TOKENS; i++) memcpy(emulated_a[i], p + i * stride, 32);
}
static void tile_load_b(const void *p) {
    memcpy(emulated_b, p, sizeof emulated_b);
}
static void tile_dot(int c, int32_t *sums) {
    memset(emulated_sum[c], 0, sizeof emulated_sum[c]);
    for (int t = 0; t < 16; t++)
        for (int r = 0; r < 16; r++)
            for (int k = 0; k < 32; k++)
                emulated_sum[c][t][r] += emulated_a[t][k] * emulated_b[k / 4][r][k % 4];
    memcpy(sums, emulated_sum[c], sizeof emulated_sum[c]);
}
#else
#define TAMX    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,amx-tile,amx-int8")))
#define TILE_OP static inline __attribute__((always_inline)) TAMX
TILE_OP void tile_begin(void) {
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
}
TILE_OP void tile_end(void) {
    __asm__ volatile("tilerelease");
}
TILE_OP void tile_load_a(const int8_t *p, size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm2" ::"r"(p), "r"(stride) : "memory");
}
TILE_OP void tile_load_b(const void *p) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm3" ::"r"(p), "r"((size_t)64) : "memory");
}
/* sums [16][16] = A x B through sum tile c. */
TILE_OP void tile_dot(int c, int32_t *sums) {
    if (c)
        __asm__ volatile(
            "tilezero %%tmm1\n\ttdpbssd %%tmm3, %%tmm2, %%tmm1\n\ttilestored %%tmm1, (%0,%1,1)" ::"r"(sums),
            "r"((size_t)64)
            : "memory");
    else
        __asm__ volatile(
            "tilezero %%tmm0\n\ttdpbssd %%tmm3, %%tmm2, %%tmm0\n\ttilestored %%tmm0, (%0,%1,1)" ::"r"(sums),
            "r"((size_t)64)
            : "memory");
}
#endif

/* int8 weights and scales of up to K_BLOCKS blocks of one panel. */
struct unpacked {
    int8_t q[K_BLOCKS][8][PANEL][4];
    float scale[K_BLOCKS][PANEL];
};

TAMX static void load_scales(struct unpacked *u, int b, const uint16_t *scale) {
    _mm512_storeu_ps(u->scale[b], _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scale)));
}

TAMX static void unpack_q4(struct unpacked *u, const struct q4_block *w, int blocks) {
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int b = 0; b < blocks; b++) {
        for (int g = 0; g < 4; g++) {
            __m512i raw = _mm512_loadu_si512(w[b].q[g]);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(raw, 4), low);
            _mm512_storeu_si512(u->q[b][g], _mm512_sub_epi8(_mm512_and_si512(raw, low), eight));
            _mm512_storeu_si512(u->q[b][g + 4], _mm512_sub_epi8(hi, eight));
        }
        load_scales(u, b, w[b].scale);
    }
}

TAMX static void unpack_q8(struct unpacked *u, const struct q8_block *w, int blocks) {
    for (int b = 0; b < blocks; b++) {
        memcpy(u->q[b], w[b].q, sizeof u->q[b]);
        load_scales(u, b, w[b].scale);
    }
}

/* y [16 tokens][16 rows] = or += the products of `blocks` blocks. The tile product of the next block is under
 * way while the sums of this one are scaled. */
TAMX static void panel_tile(const struct unpacked *u, int blocks, const int8_t *aq, size_t aq_stride,
                            const float *as, size_t s_stride, float *y, size_t y_stride, int add) {
    _Alignas(64) int32_t sums[2][TOKENS * PANEL];
    __m512 acc[TOKENS];
#pragma GCC unroll 16
    for (int t = 0; t < TOKENS; t++) acc[t] = add ? _mm512_loadu_ps(y + t * y_stride) : _mm512_setzero_ps();
    tile_load_a(aq, aq_stride);
    tile_load_b(u->q[0]);
    tile_dot(0, sums[0]);
    for (int b = 0; b < blocks; b++) {
        if (b + 1 < blocks) {
            tile_load_a(aq + (size_t)(b + 1) * BLOCK, aq_stride);
            tile_load_b(u->q[b + 1]);
            tile_dot((b + 1) & 1, sums[(b + 1) & 1]);
        }
        const int32_t *s = sums[b & 1];
        __m512 ws = _mm512_loadu_ps(u->scale[b]);
#pragma GCC unroll 16
        for (int t = 0; t < TOKENS; t++) {
            __m512 f = _mm512_cvtepi32_ps(_mm512_load_si512(s + t * PANEL));
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(f, _mm512_set1_ps(as[t * s_stride + b])), ws, acc[t]);
        }
    }
#pragma GCC unroll 16
    for (int t = 0; t < TOKENS; t++) _mm512_storeu_ps(y + t * y_stride, acc[t]);
}

/* Whole tiles of tokens here, the rest by the AVX-512 column. */
#define GEMM(name, block_type, unpack, rest)                                                                 \
    TAMX void name(const block_type *w, int K, int panels, const struct act8 *a, int n, float *y,            \
                   size_t y_stride) {                                                                        \
        struct unpacked u;                                                                                   \
        int blocks = K / BLOCK, whole = n / TOKENS * TOKENS;                                                 \
        if (whole) tile_begin();                                                                             \
        for (int p = 0; p < panels && whole; p++)                                                            \
            for (int b = 0; b < blocks; b += K_BLOCKS) {                                                     \
                int now = blocks - b < K_BLOCKS ? blocks - b : K_BLOCKS;                                     \
                unpack(&u, w + (size_t)p * blocks + b, now);                                                 \
                for (int t = 0; t < whole; t += TOKENS)                                                      \
                    panel_tile(&u, now, a->q + (size_t)t * a->q_stride + (size_t)b * BLOCK, a->q_stride,     \
                               a->scale + (size_t)t * a->s_stride + b, a->s_stride,                          \
                               y + (size_t)t * y_stride + p * PANEL, y_stride, b > 0);                       \
            }                                                                                                \
        if (whole) tile_end();                                                                               \
        if (whole == n) return;                                                                              \
        struct act8 tail = *a;                                                                               \
        tail.q += (size_t)whole * a->q_stride;                                                               \
        tail.scale += (size_t)whole * a->s_stride;                                                           \
        tail.offset8 += (size_t)whole * a->s_stride;                                                         \
        tail.sum16 += (size_t)whole * 2 * a->s_stride;                                                       \
        rest(w, K, panels, &tail, n - whole, y + (size_t)whole * y_stride, y_stride);                        \
    }
GEMM(gemm_q4a8_amx, struct q4_block, unpack_q4, gemm_q4a8_avx512vnni)
GEMM(gemm_q8a8_amx, struct q8_block, unpack_q8, gemm_q8a8_avx512vnni)
#endif
