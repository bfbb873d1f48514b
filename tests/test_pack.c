/* SPDX-License-Identifier: Apache-2.0 */
/* test_pack: packing moves every weight to its place and loses nothing; the thread team keeps its promises.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/cpus.h"
#include "optimized/pack.h"
#include "optimized/pool.h"
#include "optimized/scheme.h"
#include "tests/check.h"

/* Random blocks of a type as a tensor. Any bytes are a valid block; scales are kept finite. */
static struct tensor random_tensor(enum tensor_type type, int rows, int cols, unsigned char **memory) {
    struct rng rng = {rng_key(7, (uint64_t)type, (uint64_t)(rows * 100000 + cols)), 0};
    float *x = malloc((size_t)cols * sizeof *x);
    size_t row_bytes = type_row_bytes(type, cols);
    *memory = malloc((size_t)rows * row_bytes);
    for (int r = 0; r < rows; r++) {
        for (int k = 0; k < cols; k++) x[k] = (float)rng_uniform(&rng, -1, 1);
        cr_assert_eq(quantize_row(type, x, *memory + (size_t)r * row_bytes, cols), 0);
    }
    free(x);
    return (struct tensor){"t", type, rows, cols, *memory, (size_t)rows * row_bytes};
}

static void check_round_trip(enum tensor_type type, int rows, int cols) {
    unsigned char *memory;
    struct tensor t = random_tensor(type, rows, cols, &memory);
    struct matrix m = matrix_describe(&t);
    void *packed = malloc(matrix_bytes(&m) + 1);
    memset(packed, 0xa5, matrix_bytes(&m));
    if (matrix_bytes(&m)) {
        int half = m.panels / 2; /* two parts, the later one first */
        matrix_pack(&m, packed, half, m.panels);
        matrix_pack(&m, packed, 0, half);
        m.data = packed;
    }
    float *panel = malloc((size_t)cols * PANEL * sizeof *panel), *row = malloc((size_t)cols * sizeof *row);
    float *want = malloc((size_t)cols * sizeof *want);
    int nonzero = 0;
    for (int p = 0; p < m.panels; p++) {
        matrix_unpack(&m, p, panel, row);
        for (int r = 0; r < PANEL; r++) {
            int index = p * PANEL + r;
            memset(want, 0, (size_t)cols * sizeof *want);
            if (index < rows)
                dequantize_row(type, memory + (size_t)index * (t.bytes / (size_t)rows), want, cols);
            for (int k = 0; k < cols; k++) {
                cr_assert_eq(panel[k * PANEL + r], want[k], "type %d row %d weight %d", type, index, k);
                nonzero += want[k] != 0;
            }
        }
    }
    cr_assert_gt(nonzero, rows * cols / 2);
    free(memory), free(packed), free(panel), free(row), free(want);
}

Test(pack, q4_0) {
    check_round_trip(TYPE_Q4_0, 32, 256);
    check_round_trip(TYPE_Q4_0, 19, 96);
}
Test(pack, q8_0) {
    check_round_trip(TYPE_Q8_0, 48, 64);
    check_round_trip(TYPE_Q8_0, 1, 32);
}
Test(pack, q6_k) {
    check_round_trip(TYPE_Q6_K, 16, 512);
    check_round_trip(TYPE_Q6_K, 33, 256);
}
Test(pack, float_types_stay_in_the_file) {
    check_round_trip(TYPE_F16, 17, 40);
    check_round_trip(TYPE_BF16, 16, 33);
    check_round_trip(TYPE_Q4_K, 20, 256);
}

/* Rows of 256 + 64 weights: every group, the short one too, is multiples of its own max / 127, at most half
 * of one away from the file's weights. */
Test(scheme, folded_weights_err_by_half_a_step) {
    enum { ROWS = 20, COLS = 320 };
    unsigned char *memory;
    struct tensor t = random_tensor(TYPE_Q4_0, ROWS, COLS, &memory);
    static float panel[COLS * PANEL], row[COLS], want[COLS];
    struct matrix m = matrix_describe(&t);
    int moved = 0;
    scheme_apply(SCHEME_FOLDED, &m);
    cr_assert_eq(m.kind, MATRIX_FLOAT);
    cr_assert_eq(matrix_bytes(&m), 0);
    for (int i = 0; i < ROWS; i++) {
        matrix_unpack(&m, i / PANEL, panel, row);
        dequantize_row(TYPE_Q4_0, memory + (size_t)i * (t.bytes / ROWS), want, COLS);
        for (int k = 0; k < COLS; k++) {
            float max = 0, got = panel[k * PANEL + i % PANEL];
            for (int j = k / FOLD * FOLD; j < COLS && j < (k / FOLD + 1) * FOLD; j++)
                max = fmaxf(max, fabsf(want[j]));
            double step = (double)max / 127, q = (double)got / step;
            cr_assert_leq(fabs((double)got - (double)want[k]), 0.5001 * step, "row %d weight %d", i, k);
            cr_assert_float_eq(q, round(q), 1e-4, "row %d weight %d is %g steps", i, k, q);
            moved += got != want[k];
        }
    }
    cr_assert_gt(moved, ROWS * COLS / 2);
    free(memory);
}

Test(scheme, folding_leaves_other_types_and_bf16_none) {
    static const enum tensor_type types[] = {TYPE_Q4_0, TYPE_Q8_0, TYPE_Q6_K, TYPE_F16};
    for (int i = 0; i < 4; i++) {
        struct tensor t = {"t", types[i], 16, 256, NULL, 16 * type_row_bytes(types[i], 256)};
        struct matrix m = matrix_describe(&t), folded = m, bf16 = m;
        scheme_apply(SCHEME_FOLDED, &folded);
        scheme_apply(SCHEME_BF16, &bf16);
        cr_expect_eq(folded.scheme, i ? SCHEME_EXACT : SCHEME_FOLDED, "type %d", i);
        cr_expect_eq(folded.kind, i ? m.kind : MATRIX_FLOAT, "type %d", i);
        cr_expect_eq(bf16.scheme, SCHEME_BF16);
        cr_expect_eq(bf16.kind, MATRIX_FLOAT);
    }
}

/* Ties to even; a group with NaN or infinity is NaN where it would be used; the next group is not touched. */
Test(scheme, rounding_by_hand) {
    float x[FOLD + 2] = {127, 0.5f, 1.5f, -2.5f, 3.4f, [FOLD] = 12.7f, 0.04f};
    scheme_round(SCHEME_FOLDED, x, FOLD + 2);
    cr_expect(x[0] == 127 && x[1] == 0 && x[2] == 2 && x[3] == -2 && x[4] == 3 && x[5] == 0);
    cr_expect_float_eq(x[FOLD], 12.7f, 1e-6);
    cr_expect_eq(x[FOLD + 1], 0);
    float bad[FOLD + 1] = {1, INFINITY, [FOLD] = 3}, none[2] = {0, 0}, nan[2] = {NAN, 0};
    scheme_round(SCHEME_FOLDED, bad, FOLD + 1);
    cr_expect(isnan(bad[0]) && isnan(bad[1]) && bad[FOLD] == 3);
    scheme_round(SCHEME_FOLDED, none, 2);
    cr_expect(none[0] == 0 && none[1] == 0);
    scheme_round(SCHEME_FOLDED, nan, 2);
    cr_expect(isnan(nan[0]));
    /* 8 bits: 1 + 2^-8 lies between two and goes to the even one, as does 1 + 3 * 2^-8 */
    float y[4] = {1.00390625f, 1.01171875f, -3.1415927f, INFINITY};
    scheme_round(SCHEME_BF16, y, 4);
    cr_expect(y[0] == 1 && y[1] == 1.015625f && y[2] == -3.140625f && isinf(y[3]));
    float z = 1.2345678f;
    scheme_round(SCHEME_EXACT, &z, 1);
    cr_expect_eq(z, 1.2345678f);
}

enum { STEPS = 300 };
struct team {
    struct pool *pool;
    atomic_int sum;
    int threads, wrong;
};

/* Each step every thread adds 1; between two barriers all must see the same total. */
static void count(void *arg, int thread) {
    struct team *t = arg;
    for (int i = 1; i <= STEPS; i++) {
        atomic_fetch_add(&t->sum, 1);
        pool_barrier(t->pool);
        if (atomic_load(&t->sum) != i * t->threads && thread == 0) t->wrong++;
        pool_barrier(t->pool);
    }
}

static void check_team(int threads) {
    struct error e = {0};
    struct team t = {.threads = threads};
    cr_assert_eq(pool_open(&t.pool, threads, 1, &e), OK, "%s", e.text);
    for (int run = 0; run < 3; run++) {
        atomic_store(&t.sum, 0);
        pool_run(t.pool, count, &t);
        cr_expect_eq(atomic_load(&t.sum), STEPS * threads);
    }
    cr_expect_eq(t.wrong, 0);
    pool_close(t.pool);
}

Test(pool, one_thread) {
    check_team(1);
}
Test(pool, two_threads) {
    check_team(2);
}
Test(pool, more_threads_than_cpus) {
    check_team(2 * usable_cpus() + 1);
}
