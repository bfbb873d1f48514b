/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_peak: the loops behind peak.h. Each keeps more independent accumulators than latency times issue
 * width, and an empty asm statement that claims to change them keeps the compiler from folding the loop. */
#include "optimized/peak.h"

#include "optimized/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define TIMES_12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

static void fp32_scalar(int64_t iterations) {
    float a = 1.0f, b = 1e-9f;
#define DECLARE(i) float x##i = (float)i;
#define STEP(i)    x##i = x##i * a + b;
#define KEEP(i)    __asm__ volatile("" : "+m"(x##i));
    TIMES_12(DECLARE)
    for (int64_t n = 0; n < iterations; n++) {
        __asm__ volatile("" : "+m"(a), "+m"(b));
        TIMES_12(STEP)
    }
    TIMES_12(KEEP)
#undef DECLARE
#undef STEP
#undef KEEP
}

static void int8_scalar(int64_t iterations) {
    static const int8_t a[12] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12};
    int b = 3;
#define DECLARE(i) int x##i = i;
#define STEP(i)    x##i += a[i] * b;
#define KEEP(i)    __asm__ volatile("" : "+m"(x##i));
    TIMES_12(DECLARE)
    for (int64_t n = 0; n < iterations; n++) {
        __asm__ volatile("" : "+r"(b));
        TIMES_12(STEP)
    }
    TIMES_12(KEEP)
#undef DECLARE
#undef STEP
#undef KEEP
}

static uint64_t read_scalar(const void *data, size_t bytes) {
    const uint64_t *p = data;
    uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t i = 0; i < bytes / 8; i += 4) s0 ^= p[i], s1 ^= p[i + 1], s2 ^= p[i + 2], s3 ^= p[i + 3];
    return s0 ^ s1 ^ s2 ^ s3;
}

#ifdef __x86_64__
/* Twelve accumulators of one vector type, STEP on each, until iterations are done. */
#define VECTOR_LOOP(type, zero, STEP)                                                                        \
    type x0 = zero, x1 = zero, x2 = zero, x3 = zero, x4 = zero, x5 = zero, x6 = zero, x7 = zero, x8 = zero,  \
         x9 = zero, x10 = zero, x11 = zero;                                                                  \
    for (int64_t n = 0; n < iterations; n++) {                                                               \
        TIMES_12(STEP)                                                                                       \
        __asm__ volatile("" : "+v"(x0), "+v"(x1), "+v"(x2), "+v"(x3), "+v"(x4), "+v"(x5));                   \
        __asm__ volatile("" : "+v"(x6), "+v"(x7), "+v"(x8), "+v"(x9), "+v"(x10), "+v"(x11));                 \
    }

/* Opaque operands: a product of known constants would be folded. */
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))

__attribute__((target("avx2,fma"))) static void fp32_avx2(int64_t iterations) {
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1e-3f);
    OPAQUE(a);
    OPAQUE(b);
#define STEP(i) x##i = _mm256_fmadd_ps(x##i, a, b);
    VECTOR_LOOP(__m256, b, STEP)
#undef STEP
}

/* vpmaddubsw, vpaddw: the AVX2 way to 32 products of a nibble and an int8. Sums of eight fit 16 bits; the
 * widening after them is left out, as the scaling after a block is in all of these. */
__attribute__((target("avx2"))) static void int8_avx2(int64_t iterations) {
    __m256i a = _mm256_set1_epi8(3);
#define STEP(i)                                                                                              \
    OPAQUE(a);                                                                                               \
    x##i = _mm256_add_epi16(x##i, _mm256_maddubs_epi16(a, a));
    VECTOR_LOOP(__m256i, _mm256_setzero_si256(), STEP)
#undef STEP
}

__attribute__((target("avx2,avxvnni"))) static void int8_avxvnni(int64_t iterations) {
    __m256i a = _mm256_set1_epi8(3);
    __asm__ volatile("" : "+x"(a));
#define STEP(i) x##i = _mm256_dpbusd_avx_epi32(x##i, a, a);
    VECTOR_LOOP(__m256i, _mm256_setzero_si256(), STEP)
#undef STEP
}

__attribute__((target("avx512f"))) static void fp32_avx512(int64_t iterations) {
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1e-3f);
    OPAQUE(a);
    OPAQUE(b);
#define STEP(i) x##i = _mm512_fmadd_ps(x##i, a, b);
    VECTOR_LOOP(__m512, b, STEP)
#undef STEP
}

__attribute__((target("avx512f,avx512vnni"))) static void int8_avx512vnni(int64_t iterations) {
    __m512i a = _mm512_set1_epi8(3);
    OPAQUE(a);
#define STEP(i) x##i = _mm512_dpbusd_epi32(x##i, a, a);
    VECTOR_LOOP(__m512i, _mm512_setzero_si512(), STEP)
#undef STEP
}

__attribute__((target("avx512f,avx512bf16"))) static void bf16_avx512bf16(int64_t iterations) {
    __m512i bits = _mm512_set1_epi16(0x3c00);
    OPAQUE(bits);
    __m512bh a = (__m512bh)bits;
#define STEP(i) x##i = _mm512_dpbf16_ps(x##i, a, a);
    VECTOR_LOOP(__m512, _mm512_setzero_ps(), STEP)
#undef STEP
}

/* What ldtilecfg reads. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All eight tiles 16 rows of 64 bytes, zero. The operand must be the whole 64-byte struct, or the compiler
 * may drop the stores that fill it. */
__attribute__((target("amx-tile"))) static void tiles_on(void) {
    struct tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
    __asm__ volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3\n\t"
                     "tilezero %tmm4\n\ttilezero %tmm5\n\ttilezero %tmm6\n\ttilezero %tmm7");
}

__attribute__((target("amx-tile"))) static void tiles_off(void) {
    __asm__ volatile("tilerelease");
}

/* Four accumulators, 2 x 2 operands: the tile shape a matrix product uses. */
__attribute__((target("amx-tile,amx-int8"))) static void int8_amx(int64_t iterations) {
    tiles_on();
    for (int64_t n = 0; n < iterations; n++)
        __asm__ volatile("tdpbssd %tmm6, %tmm4, %tmm0\n\ttdpbssd %tmm7, %tmm4, %tmm1\n\t"
                         "tdpbssd %tmm6, %tmm5, %tmm2\n\ttdpbssd %tmm7, %tmm5, %tmm3");
    tiles_off();
}

__attribute__((target("amx-tile,amx-bf16"))) static void bf16_amx(int64_t iterations) {
    tiles_on();
    for (int64_t n = 0; n < iterations; n++)
        __asm__ volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n\ttdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
                         "tdpbf16ps %tmm6, %tmm5, %tmm2\n\ttdpbf16ps %tmm7, %tmm5, %tmm3");
    tiles_off();
}

/* One page of four lines at a time, a page ahead asked for early: hardware prefetchers stop at page ends. */
enum { AHEAD = 4096 };
#define READ_LOOP(type, LOAD, XOR)                                                                           \
    const char *p = data;                                                                                    \
    for (size_t i = 0; i < bytes; i += 4 * sizeof(type)) {                                                   \
        for (size_t line = 0; line < 4 * sizeof(type); line += 64)                                           \
            _mm_prefetch(p + i + line + AHEAD, _MM_HINT_T0);                                                 \
        s0 = XOR(s0, LOAD((const void *)(p + i)));                                                           \
        s1 = XOR(s1, LOAD((const void *)(p + i + sizeof(type))));                                            \
        s2 = XOR(s2, LOAD((const void *)(p + i + 2 * sizeof(type))));                                        \
        s3 = XOR(s3, LOAD((const void *)(p + i + 3 * sizeof(type))));                                        \
    }

__attribute__((target("avx2"))) static uint64_t read_avx2(const void *data, size_t bytes) {
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    READ_LOOP(__m256i, _mm256_load_si256, _mm256_xor_si256)
    uint64_t s[4];
    _mm256_storeu_si256((void *)s, _mm256_xor_si256(_mm256_xor_si256(s0, s1), _mm256_xor_si256(s2, s3)));
    return s[0] ^ s[1] ^ s[2] ^ s[3];
}

__attribute__((target("avx512f"))) static uint64_t read_avx512(const void *data, size_t bytes) {
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    READ_LOOP(__m512i, _mm512_load_si512, _mm512_xor_si512)
    uint64_t s[8], all = 0;
    _mm512_storeu_si512(s, _mm512_xor_si512(_mm512_xor_si512(s0, s1), _mm512_xor_si512(s2, s3)));
    for (int i = 0; i < 8; i++) all ^= s[i];
    return all;
}
#endif

const struct peak peaks[] = {
    {"fp32", "scalar", 0, 12, fp32_scalar},
    {"int8", "scalar", 0, 12, int8_scalar},
#ifdef __x86_64__
    {"fp32", "avx2", CPU_AVX2, 12 * 8, fp32_avx2},
    {"fp32", "avx512", CPU_AVX512, 12 * 16, fp32_avx512},
    {"bf16", "avx512bf16", CPU_AVX512BF16, 12 * 32, bf16_avx512bf16},
    {"bf16", "amx", CPU_AMX, 4 * 16 * 16 * 32, bf16_amx},
    {"int8", "avx2", CPU_AVX2, 12 * 32, int8_avx2},
    {"int8", "avxvnni", CPU_AVXVNNI, 12 * 32, int8_avxvnni},
    {"int8", "avx512vnni", CPU_AVX512VNNI, 12 * 64, int8_avx512vnni},
    {"int8", "amx", CPU_AMX, 4 * 16 * 16 * 64, int8_amx},
#endif
};
const int n_peaks = (int)(sizeof peaks / sizeof *peaks);

const struct reader readers[] = {
    {"scalar", 0, read_scalar},
#ifdef __x86_64__
    {"avx2", CPU_AVX2, read_avx2},
    {"avx512", CPU_AVX512, read_avx512},
#endif
};
const int n_readers = (int)(sizeof readers / sizeof *readers);
