/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant: the tensor types against blocks worked out by hand and bytes written by ggml's quantisers. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "data/quant.h"

#define N(array) (sizeof(array) / sizeof *(array))

static const enum tensor_type all[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16, TYPE_Q4_0, TYPE_Q4_1,
                                       TYPE_Q8_0, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K};

/* Bell-shaped, exact in float32, eight magnitudes from 2^8 to 2^-6 in runs of 512. */
static void fill_inputs(float *x, int n) {
    uint32_t s = 2024;
    for (int i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        int a = (int)(s >> 20 & 0xfff);
        s = s * 1664525u + 1013904223u;
        int b = (int)(s >> 20 & 0xfff);
        x[i] = (float)(a + b - 4095) / (float)(1 << (4 + 2 * (i / 512 % 8)));
    }
}

static void expect_values(const float *found, const float *expected, int n, const char *what) {
    for (int i = 0; i < n; i++)
        cr_assert(found[i] == expected[i], "%s: weight %d is %g, expected %g", what, i, (double)found[i],
                  (double)expected[i]);
}

Test(quant, table_is_consistent) {
    for (size_t i = 0; i < N(all); i++) {
        const struct type_info *t = type_info(all[i]);
        cr_assert_not_null(t);
        cr_assert_eq(t->type, all[i]);
        cr_assert_eq(type_by_name(t->name), t);
        cr_assert_eq(type_row_bytes(all[i], 3 * t->block), (size_t)(3 * t->bytes));
    }
    cr_assert_eq(type_by_name("q6_k"), type_info(TYPE_Q6_K));
    cr_assert_null(type_by_name("q3_k"));
    cr_assert_null(type_by_name(""));
    const int64_t unknown[] = {-1, 4, 6, 31, 1000, INT64_MAX, INT64_MIN, (INT64_C(1) << 32) + 2};
    for (size_t i = 0; i < N(unknown); i++) cr_assert_null(type_info(unknown[i]));
}

/* By the definition of binary16: sign, 5 bits of exponent with bias 15, 10 bits of fraction. */
static double f16_by_definition(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction ? NAN : INFINITY)
                                : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

Test(quant, f16_reads_all_values_and_writes_them_back) {
    for (int h = 0; h < 0x10000; h++) {
        double expected = f16_by_definition((uint16_t)h);
        float found = f16_to_f32((uint16_t)h);
        if (isnan(expected)) {
            cr_assert(isnan(found) && isnan(f16_to_f32(f32_to_f16(found))), "%04x", (unsigned)h);
            continue;
        }
        cr_assert((double)found == expected && !signbit(found) == !(h & 0x8000), "%04x: %g", (unsigned)h,
                  (double)found);
        cr_assert_eq(f32_to_f16(found), h, "%04x", (unsigned)h);
    }
}

/* Between neighbours: the middle goes to the even one, anything beyond it to the nearer one. */
Test(quant, f16_rounds_to_nearest_even) {
    for (int h = 0; h < 0x7c00; h++) {
        float low = f16_to_f32((uint16_t)h);
        float high = h + 1 < 0x7c00 ? f16_to_f32((uint16_t)(h + 1)) : 65536.0f; /* where 0x7c00 would stand */
        float middle = (low + high) / 2;
        int even = h & 1 ? h + 1 : h;
        cr_assert_eq(f32_to_f16(middle), even, "%04x", (unsigned)h);
        cr_assert_eq(f32_to_f16(-middle), even | 0x8000, "%04x", (unsigned)h);
        cr_assert_eq(f32_to_f16(nextafterf(middle, 0)), h, "%04x", (unsigned)h);
        cr_assert_eq(f32_to_f16(nextafterf(middle, INFINITY)), h + 1, "%04x", (unsigned)h);
    }
    cr_assert_eq(f32_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(f32_to_f16(3e38f), 0x7c00);
    cr_assert_eq(f32_to_f16(-1e-40f), 0x8000);
}

Test(quant, bf16_rounds_to_nearest_even) {
    cr_assert_eq(f32_to_bf16(1.0f), 0x3f80);
    cr_assert_eq(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);                   /* middle, to even */
    cr_assert_eq(f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);         /* middle, to even */
    cr_assert_eq(f32_to_bf16(nextafterf(1.0f + 0x1p-8f, 2.0f)), 0x3f81); /* just past the middle */
    cr_assert_eq(f32_to_bf16(3.4028235e38f), 0x7f80);                    /* largest float: to infinity */
    cr_assert_eq(f32_to_bf16(-INFINITY), 0xff80);
    cr_assert_eq(f32_to_bf16(0x1p-133f), 0x0001); /* a subnormal stays */
    cr_assert(isnan(bf16_to_f32(f32_to_bf16(NAN))));
    for (int h = 0; h < 0x10000; h++)
        if (!isnan(bf16_to_f32((uint16_t)h))) cr_assert_eq(f32_to_bf16(bf16_to_f32((uint16_t)h)), h);
}

/* d = 0x3800 = 0.5. Byte 2 (index 0) 0x1f: weight 0 = (15-8)/2 = 3.5, weight 16 = (1-8)/2 = -3.5. Byte 3
 * (index 1) 0x80: weight 1 = (0-8)/2 = -4, weight 17 = (8-8)/2 = 0. The others 0x88: 0. */
Test(quant, q4_0_block_by_hand) {
    uint8_t block[18] = {0x00, 0x38, 0x1f, 0x80};
    memset(block + 4, 0x88, 14);
    float out[32], expected[32] = {[0] = 3.5f, [16] = -3.5f, [1] = -4.0f};
    dequantize_row(TYPE_Q4_0, block, out, 32);
    expect_values(out, expected, 32, "Q4_0");
    uint8_t again[18]; /* the extreme weight is -4 = -8 d, so the block is its own quantisation */
    cr_assert_eq(quantize_row(TYPE_Q4_0, out, again, 32), 0);
    cr_assert_arr_eq(again, block, 18);
}

/* d = 0x3c00 = 1, m = 0xc000 = -2. Index 0: 0xf0: weight 0 = 0-2 = -2, weight 16 = 15-2 = 13; others 0x22: 0.
 */
Test(quant, q4_1_block_by_hand) {
    uint8_t block[20] = {0x00, 0x3c, 0x00, 0xc0, 0xf0};
    memset(block + 5, 0x22, 15);
    float out[32], expected[32] = {[0] = -2.0f, [16] = 13.0f};
    dequantize_row(TYPE_Q4_1, block, out, 32);
    expect_values(out, expected, 32, "Q4_1");
    uint8_t again[20]; /* range 15 = 15 d and minimum m: its own quantisation */
    cr_assert_eq(quantize_row(TYPE_Q4_1, out, again, 32), 0);
    cr_assert_arr_eq(again, block, 20);
}

/* d = 0x3400 = 0.25: codes 127, -128, 1, 0 ... give 31.75, -32, 0.25, 0. */
Test(quant, q8_0_block_by_hand) {
    uint8_t block[34] = {0x00, 0x34, 0x7f, 0x80, 0x01};
    float out[32], expected[32] = {31.75f, -32.0f, 0.25f};
    dequantize_row(TYPE_Q8_0, block, out, 32);
    expect_values(out, expected, 32, "Q8_0");
    /* Written: the largest is 127 d. 63.5 d goes away from zero: 64. */
    float in[32] = {127.0f, -127.0f, 63.5f, -63.5f, 0.5f, 0.49999997f};
    const uint8_t codes[7] = {0x7f, 0x81, 0x40, 0xc0, 0x01, 0x00, 0x00};
    cr_assert_eq(quantize_row(TYPE_Q8_0, in, block, 32), 0);
    cr_assert(block[0] == 0x00 && block[1] == 0x3c);
    cr_assert_arr_eq(block + 2, codes, 7);
}

/* The scale bytes that Q4_K and Q5_K share. Scales 1 2 3 4 17 34 51 63 and offsets 5 6 7 8 16 32 48 63:
 *   bytes 0-3: scale j + 64 * (scale 4+j >> 4): 1+64*1=41h 2+64*2=82h 3+64*3=c3h 4+64*3=c4h
 *   bytes 4-7: the same of the offsets:         5+64=45h   6+128=86h  7+192=c7h  8+192=c8h
 *   bytes 8-11: low nibbles of scales 4-7 and, above, of offsets 4-7: 01h 02h 03h ffh */
static const uint8_t packed_scales[12] = {0x41, 0x82, 0xc3, 0xc4, 0x45, 0x86,
                                          0xc7, 0xc8, 0x01, 0x02, 0x03, 0xff};
static const int scales[8] = {1, 2, 3, 4, 17, 34, 51, 63}, offsets[8] = {5, 6, 7, 8, 16, 32, 48, 63};

/* d = 1, dmin = 0.5, all nibbles 3 (low) and 12 (high): even groups are scale*3 - offset/2, odd ones
 * scale*12 - offset/2. */
Test(quant, q4_k_block_by_hand) {
    uint8_t block[144] = {0x00, 0x3c, 0x00, 0x38};
    memcpy(block + 4, packed_scales, 12);
    memset(block + 16, 0xc3, 128);
    block[16 + 32 * 2 + 5] = 0xa9; /* weight 128+5 has code 9, weight 160+5 code 10 */
    float out[256], expected[256];
    for (int i = 0; i < 256; i++)
        expected[i] = (float)scales[i / 32] * (i / 32 % 2 ? 12.0f : 3.0f) - 0.5f * (float)offsets[i / 32];
    expected[133] = 17 * 9 - 8;   /* group 4 */
    expected[165] = 34 * 10 - 16; /* group 5 */
    dequantize_row(TYPE_Q4_K, block, out, 256);
    expect_values(out, expected, 256, "Q4_K");
}

/* As above; fifth bits: byte i of them 0x81 gives +16 to lane i of groups 0 and 7. */
Test(quant, q5_k_block_by_hand) {
    uint8_t block[176] = {0x00, 0x3c, 0x00, 0x38};
    memcpy(block + 4, packed_scales, 12);
    memset(block + 48, 0xc3, 128);
    block[16 + 9] = 0x81;
    float out[256], expected[256];
    for (int i = 0; i < 256; i++)
        expected[i] = (float)scales[i / 32] * (i / 32 % 2 ? 12.0f : 3.0f) - 0.5f * (float)offsets[i / 32];
    expected[9] += 16.0f * 1;
    expected[7 * 32 + 9] += 16.0f * 63;
    dequantize_row(TYPE_Q5_K, block, out, 256);
    expect_values(out, expected, 256, "Q5_K");
}

/* d = 2; group g has scale g-8. Nibbles 5 (low) and 10 (high), upper pairs 0xe4 = quarters 0 1 2 3 get 0 1 2
 * 3: quarter 0 code 5-32 = -27, quarter 1 (low nibble of the second 32 bytes) 5+16-32 = -11, quarter 2 (high
 * nibbles of the first) 10+32-32 = 10, quarter 3 10+48-32 = 26. */
Test(quant, q6_k_block_by_hand) {
    uint8_t block[210];
    memset(block, 0xa5, 128);
    memset(block + 128, 0xe4, 64);
    for (int g = 0; g < 16; g++) block[192 + g] = (uint8_t)(g - 8);
    block[208] = 0x00, block[209] = 0x40;
    block[64 + 32 + 17] =
        0x07; /* second half, lane 17: quarter 1 code 7+16-32 = -9, quarter 3 0+48-32 = 16 */
    const float codes[4] = {-27, -11, 10, 26};
    float out[256], expected[256];
    for (int i = 0; i < 256; i++) expected[i] = 2.0f * (float)(i / 16 - 8) * codes[i % 128 / 32];
    expected[128 + 32 + 17] = 2.0f * 3 * -9; /* group 11 */
    expected[128 + 96 + 17] = 2.0f * 7 * 16; /* group 15 */
    dequantize_row(TYPE_Q6_K, block, out, 256);
    expect_values(out, expected, 256, "Q6_K");
}

/* What ggml's reference quantisers (as in llama-cpp-python 0.3.36, without floating-point contraction) write
 * for fill_inputs: CRC-32 of 8192 weights, and the first bytes of them, which show where a difference begins.
 */
static const struct {
    enum tensor_type type;
    unsigned long crc;
    const char *start;
} from_ggml[] = {
    {TYPE_Q4_0, 0xd551d6dc, "734e673bab4fd8376958266ad8bb8950ba9e"},
    {TYPE_Q4_1, 0x7c1ed9c0, "694e73da674bab4fd8376958266ad8bb8950ba9e"},
    {TYPE_Q8_0, 0xaf3acb78, "803eee292f6e01f61705dc21ff3512811b65e5b822b94fb2e1d69ce74b3304ca3514"},
    {TYPE_Q4_K, 0x2ac702f3,
     "e236e642fcfffcfffafcf4f31babfb7e878adb6fb86769e8553ad88b690089aec6c3ca831d2386359136cc4b98f44be9"},
    {TYPE_Q5_K, 0x0c1052e6,
     "cb328442fafbfdfffefdfdf66cfaf97e16233395cbbc6193b83dcf730df0ab53367a83e65504d260ba005fd92f829ddb"},
    {TYPE_Q6_K, 0xcbfc58f2,
     "6b3acceb70dd56f1070880ed9501b7b9c7195be9e947f63370e81800b12f711661a307c72e37fa6c550cd621c9f1c15b"},
};

Test(quant, quantisers_write_the_bytes_that_ggml_writes) {
    static float in[8192];
    static uint8_t out[16384];
    fill_inputs(in, 8192);
    for (size_t k = 0; k < N(from_ggml); k++) {
        const char *name = type_info(from_ggml[k].type)->name, *hex = from_ggml[k].start;
        cr_assert_eq(quantize_row(from_ggml[k].type, in, out, 8192), 0);
        for (size_t i = 0; i < strlen(hex) / 2; i++) {
            unsigned expected;
            sscanf(hex + 2 * i, "%2x", &expected);
            cr_assert_eq(out[i], expected, "%s: byte %zu is %02x, expected %02x", name, i, out[i], expected);
        }
        unsigned long crc = crc32(0, out, (uInt)type_row_bytes(from_ggml[k].type, 8192));
        cr_assert_eq(crc, from_ggml[k].crc, "%s: CRC %08lx, expected %08lx", name, crc, from_ggml[k].crc);
    }
}

/* No type may be further off than its step allows: half a step of the block's range, plus what rounding the
 * scale to f16 (2^-11) and, for K-quants, the small scales (1/63 or 1/127 of the largest group's) can add.
 * The share is of the largest magnitude in the block of 256. */
static const struct {
    enum tensor_type type;
    double share;
} errors[] = {
    {TYPE_F32, 0},
    {TYPE_F16, 0x1p-11},
    {TYPE_BF16, 0x1p-8},
    {TYPE_Q4_0, 1.0 / 8 + 0x1p-10}, /* +8 does not exist: a mirror image of the extreme loses a whole step */
    {TYPE_Q4_1, 1.0 / 15 + 0x1p-9},
    {TYPE_Q8_0, 0.5 / 127 + 0x1p-10},
    {TYPE_Q4_K, 1.0 / 15 + 2.0 / 63},
    {TYPE_Q5_K, 1.0 / 31 + 2.0 / 63},
    {TYPE_Q6_K, 1.0 / 32 + 1.0 / 127},
};

Test(quant, round_trip_stays_within_a_step) {
    static float in[8192], out[8192];
    static uint8_t bytes[8192 * 4];
    fill_inputs(in, 8192);
    for (size_t k = 0; k < N(errors); k++) {
        quantize_row(errors[k].type, in, bytes, 8192);
        dequantize_row(errors[k].type, bytes, out, 8192);
        for (int b = 0; b < 8192; b += 256) {
            double largest = 0, worst = 0;
            for (int i = b; i < b + 256; i++) {
                largest = fmax(largest, fabs((double)in[i]));
                worst = fmax(worst, fabs((double)in[i] - (double)out[i]));
            }
            cr_assert(worst <= errors[k].share * largest, "%s: error %g of %g, expected at most the share %g",
                      type_info(errors[k].type)->name, worst, largest, errors[k].share);
        }
    }
}

Test(quant, zeros_come_back_as_zeros) {
    float in[256] = {0}, out[256];
    uint8_t bytes[1024];
    for (size_t k = 0; k < N(all); k++) {
        memset(bytes, 0xff, sizeof bytes);
        quantize_row(all[k], in, bytes, 256);
        dequantize_row(all[k], bytes, out, 256);
        for (int i = 0; i < 256; i++)
            cr_assert(out[i] == 0, "%s: weight %d is %g", type_info(all[k])->name, i, (double)out[i]);
    }
}

/* Values whose scales overflow or vanish in f16 give some block without undefined behaviour (the sanitizer
 * builds watch); vanishing ones must not come back large. */
Test(quant, extremes_are_survived) {
    const float scale[] = {1e-45f, 1e-38f, 1e-20f, 1e-9f, 1e4f, 1e30f, 3e38f, INFINITY, NAN};
    float in[256], out[256];
    uint8_t bytes[1024];
    for (size_t s = 0; s < N(scale); s++)
        for (size_t k = 0; k < N(all); k++) {
            for (int i = 0; i < 256; i++)
                in[i] = i % 7 ? (i % 2 ? scale[s] : -scale[s]) * (float)(i % 5) / 4 : 0;
            cr_assert_eq(quantize_row(all[k], in, bytes, 256), 0);
            dequantize_row(all[k], bytes, out, 256);
            for (int i = 0; i < 256 && scale[s] < 1e-8f; i++)
                cr_assert(fabsf(out[i]) < 2e-8f, "%s: %g came back as %g", type_info(all[k])->name,
                          (double)in[i], (double)out[i]);
        }
}

Test(quant, unknown_types_are_not_written) {
    float in[32] = {0};
    uint8_t out[64];
    cr_assert_eq(quantize_row((enum tensor_type)6, in, out, 32), -1);
    cr_assert_eq(type_row_bytes((enum tensor_type)6, 32), 0);
}
