/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels: every row of the kernel table on a part of its cases (`lfm2 kernels` runs them all), and
 * proof that the harness notices a kernel that is wrong: one broken kernel per op, and one per rule. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "data/quant.h"
#include "tests/kernel_cases.h"

enum { SEED = 7, ONE_IN = 3 };
static const double most_macs = 20e6;

static const struct kernel *scalar_row(enum kernel_op op) {
    for (int k = 0; k < n_kernels; k++)
        if (kernels[k].op == op) return &kernels[k];
    return NULL;
}

/* Runs a third of the op's cases, chosen by hash so that no list is met at one stride only. Returns how many;
 * stops at the first complaint, which total->why then holds. */
static int check_some(const struct kernel *row, struct verdict *total) {
    const struct kernel_case *c = kernel_case(row->op);
    struct shape s;
    int cases = 0;
    cr_assert_not_null(c, "op %s has no case", row->op_name);
    for (int i = 0; c->shape(i, &s) && !total->why[0]; i++) {
        double bytes, macs;
        struct verdict v;
        c->cost(&s, &bytes, &macs);
        if (macs > most_macs || rng_key(SEED, 0, (uint64_t)i) % ONE_IN != 0) continue;
        int status = check_case(c, &s, rng_key(SEED, row->op, (uint64_t)i), scalar_row(row->op), &row, 1, &v);
        cr_assert_eq(status, 0, "out of memory");
        total->values += v.values;
        total->zeros += v.zeros;
        if (v.why[0]) verdict_fail(total, "case %d: %.200s", i, v.why);
        cases++;
    }
    return cases;
}

/* --- every row of the table --- */

ParameterizedTestParameters(kernels, row) {
    int *rows = cr_malloc((size_t)n_kernels * sizeof *rows);
    for (int k = 0; k < n_kernels; k++) rows[k] = k;
    return cr_make_param_array(int, rows, (size_t)n_kernels, NULL);
}

ParameterizedTest(int *k, kernels, row) {
    const struct kernel *row = &kernels[*k];
    if (row->needs & ~cpu_features()) cr_skip("%s_%s: not on this CPU", row->op_name, row->isa);
    struct verdict total = {0};
    int cases = check_some(row, &total);
    cr_assert_str_empty(total.why, "%s_%s seed %d %s", row->op_name, row->isa, SEED, total.why);
    cr_assert_gt(cases, 20, "%s_%s: only %d cases ran", row->op_name, row->isa, cases);
    cr_assert_lt(total.zeros * 2, total.values, "%s_%s: most expected values are 0", row->op_name, row->isa);
}

/* Rows see 1, 8, 9 and 100 of 100 positions, of which the ninth has a key that is not a number. */
Test(kernels, attention_hides_no_key_that_is_not_a_number) {
    enum { D = 64, N = 128, R = 4, BAD = 8 };
    static _Alignas(64) uint16_t k[N * D], v[N * D];
    static _Alignas(64) float q[R * D], o[R * D], scratch[ATTENTION_ROWS * ATTENTION_SPAN];
    const int32_t limit[R] = {1, BAD, BAD + 1, 100};
    float m[R], l[R];
    for (int i = 0; i < N * D; i++) k[i] = v[i] = f32_to_f16((float)(i % 7) - 3);
    for (int i = 0; i < R * D; i++) q[i] = 0.01f * (float)(i % 5);
    k[BAD] = 0x7e00; /* the first dimension's, of the first block of 16 */
    for (int i = 0; i < n_kernels; i++) {
        const struct attention_task task = {q, D, k, v, limit, R, D, 0, 100, o, m, l, scratch};
        if (kernels[i].op != OP_attention || kernels[i].needs & ~cpu_features()) continue;
        ((attention_fn *)kernels[i].fn)(&task);
        for (int r = 0; r < R; r++)
            cr_expect_eq(isnan(l[r]) != 0, limit[r] > BAD, "attention_%s row %d: l %g", kernels[i].isa, r,
                         (double)l[r]);
    }
}

Test(kernels, every_op_has_a_case_and_a_scalar_row) {
    for (int op = 0; op < OP_COUNT; op++) {
        cr_assert_not_null(kernel_case((enum kernel_op)op), "op %d has no case", op);
        cr_assert_not_null(scalar_row((enum kernel_op)op), "op %d has no row", op);
        cr_assert_str_eq(scalar_row((enum kernel_op)op)->isa, "scalar");
    }
}

Test(kernels, every_tolerance_says_why) {
    for (int i = 0; i < TOL_COUNT; i++) {
        cr_assert_not_null(tolerances[i].what, "tolerance %d", i);
        cr_assert_gt(strlen(tolerances[i].why), 10u, "%s", tolerances[i].what);
        cr_assert_gt(tolerances[i].limit, 0, "%s", tolerances[i].what);
    }
}

/* --- kernels that are wrong in one value --- */

static void off_quantize(const float *x, int K, int8_t *q, float *scale, int32_t *offset8, int16_t *sum16) {
    quantize_a8_scalar(x, K, q, scale, offset8, sum16);
    q[K - 1] = (int8_t)(q[K - 1] > 0 ? q[K - 1] - 1 : q[K - 1] + 1);
}
static void off_sum16(const float *x, int K, int8_t *q, float *scale, int32_t *offset8, int16_t *sum16) {
    quantize_a8_scalar(x, K, q, scale, offset8, sum16);
    sum16[K / 16 - 1]++;
}
/* Row 15 of every panel is off by one unit of its last block's integer sum, whatever n and panels are: only
 * its value can give it away. */
#define OFF_GEMM(name, scalar, block, width)                                                                 \
    static void name(const struct block *w, int K, int panels, const struct act8 *a, int n, float *y,        \
                     size_t y_stride) {                                                                      \
        scalar(w, K, panels, a, n, y, y_stride);                                                             \
        for (int p = 0; p < panels; p++)                                                                     \
            for (int t = 0; t < n; t++)                                                                      \
                y[(size_t)t * y_stride + p * PANEL + 15] +=                                                  \
                    (float)f16_value(w[(size_t)(p + 1) * (K / width) - 1].scale[15]) *                       \
                    a->scale[(size_t)t * a->s_stride + K / 32 - 1];                                          \
    }
OFF_GEMM(off_q4, gemm_q4a8_scalar, q4_block, 32)
OFF_GEMM(off_q8, gemm_q8a8_scalar, q8_block, 32)
OFF_GEMM(off_q6, gemm_q6a8_scalar, q6_block, 256)
static void off_f32(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                    size_t y_stride) {
    gemm_f32_scalar(w, K, x, x_stride, n, y, y_stride);
    for (int t = 0; t < n; t++) y[(size_t)t * y_stride + 15] -= w[15] * x[(size_t)t * x_stride];
}
static void off_rmsnorm(const float *x, const float *w, int n, float eps, float *y) {
    rmsnorm_scalar(x, w, n, 2 * eps, y); /* only small inputs show it */
}
static void off_rope(float *x, const float *cos, const float *sin, int d) {
    rope_scalar(x, cos, sin, d);
    x[d - 1] *= 1 + 0x1p-19f;
}
static void off_swiglu(const float *gate, const float *up, int n, float *y) {
    float last = gate[n - 1];
    swiglu_scalar(gate, up, n, y);
    y[n - 1] = last / (1 + expf(-last)) * up[n - 1] * (1 + 0x1p-18f);
}
static void off_conv(const float *bcx, size_t stride, size_t gap, const float *taps, float *state, int n,
                     int D, float *y, size_t y_stride) {
    conv_scalar(bcx, stride, gap, taps, state, n, D, y, y_stride);
    state[gap + D - 1] = nextafterf(state[gap + D - 1], 1e30f); /* one ulp of the state */
}
static void off_attention(const struct attention_task *a) {
    struct attention_task one_more = *a; /* every row sees one position too many */
    int32_t limit[ATTENTION_ROWS];
    for (int r = 0; r < a->R; r++) limit[r] = a->limit[r] + 1;
    one_more.limit = limit;
    attention_scalar(&one_more);
}
static void off_attention8(const struct attention8_task *a) {
    struct attention8_task one_more = *a;
    int32_t limit[ATTENTION_ROWS];
    for (int r = 0; r < a->R; r++) limit[r] = a->limit[r] + 1;
    one_more.limit = limit;
    attention8_scalar(&one_more);
}
static void off_to_f16(const float *src, uint16_t *dst, int n) {
    to_f16_scalar(src, dst, n);
    dst[n - 1] ^= 1;
}

/* --- kernels that break a rule --- */

static void writes_past_the_end(const float *src, uint16_t *dst, int n) {
    to_f16_scalar(src, dst, n);
    dst[n] = 0;
}
static volatile float sink;
static void reads_past_the_end(const float *gate, const float *up, int n, float *y) {
    swiglu_scalar(gate, up, n, y);
    sink = up[n];
}
static void reads_before_the_start(const float *gate, const float *up, int n, float *y) {
    swiglu_scalar(gate, up, n, y);
    sink = gate[-1];
}
static void leaves_one_unwritten(const float *src, uint16_t *dst, int n) {
    to_f16_scalar(src, dst, n - 1);
}
static void changes_its_input(const float *x, const float *w, int n, float eps, float *y) {
    rmsnorm_scalar(x, w, n, eps, y);
    ((float *)(uintptr_t)w)[0] += 1;
}
static void writes_between_rows(const struct q4_block *w, int K, int panels, const struct act8 *a, int n,
                                float *y, size_t y_stride) {
    gemm_q4a8_scalar(w, K, panels, a, n, y, y_stride);
    if (n > 1 && y_stride > (size_t)panels * PANEL) y[panels * PANEL] = 0;
}
static void depends_on_n(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                         size_t y_stride) {
    gemm_f32_scalar(w, K, x, x_stride, n, y, y_stride);
    if (n > 1 && K > 1) y[0] = nextafterf(y[0], 1e30f); /* within the bound, but other bits than alone */
}
static void differs_between_calls(const float *gate, const float *up, int n, float *y) {
    static int calls;
    swiglu_scalar(gate, up, n, y);
    if (calls++ % 2) y[0] = nextafterf(y[0], 1e30f);
}
static void swallows_nan(const float *gate, const float *up, int n, float *y) {
    swiglu_scalar(gate, up, n, y);
    for (int i = 0; i < n; i++)
        if (isnan(y[i])) y[i] = 0;
}
static void not_the_scalar_bits(const float *x, int K, int8_t *q, float *scale, int32_t *offset8,
                                int16_t *sum16) {
    quantize_a8_scalar(x, K, q, scale, offset8, sum16);
    if (scale[0] > 0) scale[0] = nextafterf(scale[0], 0); /* within its ulp of freedom */
}
static void illegal_instruction(float *x, const float *cos, const float *sin, int d) {
    rope_scalar(x, cos, sin, d);
    raise(SIGILL);
}

static const struct {
    enum kernel_op op;
    const char *name;
    void (*fn)(void);
    const char *complaint; /* part of what must be said */
} broken[] = {
#define BROKEN(op, fn, complaint)                                                                            \
    { OP_##op, #fn, (void (*)(void))fn, complaint }
    BROKEN(quantize_a8, off_quantize, "q["),
    BROKEN(quantize_a8, off_sum16, "sum16["),
    BROKEN(gemm_q4a8, off_q4, "y["),
    BROKEN(gemm_q8a8, off_q8, "y["),
    BROKEN(gemm_q6a8, off_q6, "y["),
    BROKEN(gemm_f32, off_f32, "y["),
    BROKEN(rmsnorm, off_rmsnorm, "y["),
    BROKEN(rope, off_rope, "x["),
    BROKEN(swiglu, off_swiglu, "y["),
    BROKEN(conv, off_conv, "state["),
    BROKEN(attention, off_attention, "o["),
    BROKEN(attention8, off_attention8, "["),
    BROKEN(to_f16, off_to_f16, "dst["),
    BROKEN(to_f16, writes_past_the_end, "dst"),
    BROKEN(swiglu, reads_past_the_end, "touched up 0 bytes after its end"),
    BROKEN(swiglu, reads_before_the_start, "touched gate 4 bytes before its start"),
    BROKEN(to_f16, leaves_one_unwritten, "not written"),
    BROKEN(rmsnorm, changes_its_input, "changed its input w"),
    BROKEN(gemm_q4a8, writes_between_rows, "wrote between the rows of y"),
    BROKEN(gemm_f32, depends_on_n, "other bits when it is computed alone"),
    BROKEN(swiglu, differs_between_calls, "a repeated call gives other bits"),
    BROKEN(swiglu, swallows_nan, "expected nan"),
    BROKEN(quantize_a8, not_the_scalar_bits, "not the bits of the scalar row"),
    BROKEN(rope, illegal_instruction, "signal 4"),
#undef BROKEN
};
enum { N_BROKEN = sizeof broken / sizeof *broken };

ParameterizedTestParameters(kernels, a_broken_kernel_is_caught) {
    int *which = cr_malloc(N_BROKEN * sizeof *which);
    for (int i = 0; i < N_BROKEN; i++) which[i] = i;
    return cr_make_param_array(int, which, N_BROKEN, NULL);
}

ParameterizedTest(int *i, kernels, a_broken_kernel_is_caught) {
    struct kernel row = *scalar_row(broken[*i].op);
    struct verdict total = {0};
    row.isa = broken[*i].name;
    row.fn = broken[*i].fn;
    check_some(&row, &total);
    cr_assert(total.why[0], "%s_%s went through", row.op_name, row.isa);
    cr_assert_not_null(strstr(total.why, broken[*i].complaint), "%s_%s: \"%s\" does not say \"%s\"",
                       row.op_name, row.isa, total.why, broken[*i].complaint);
}

Test(kernels, every_op_has_a_broken_kernel) {
    for (int op = 0; op < OP_COUNT; op++) {
        int found = 0;
        for (int i = 0; i < N_BROKEN; i++) found |= broken[i].op == (enum kernel_op)op;
        cr_assert(found, "op %s", scalar_row((enum kernel_op)op)->op_name);
    }
}

/* --- the generator and the oracle's binary16 --- */

Test(kernels, inputs_replay_from_their_key) {
    struct rng a = {rng_key(1, 2, 3), 0}, b = {rng_key(1, 2, 3), 0}, c = {rng_key(1, 2, 4), 0};
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        cr_assert_eq(x, rng_u64(&b));
        differ += x != rng_u64(&c);
    }
    cr_assert_gt(differ, 98);
}

Test(kernels, binary16_of_the_oracle) {
    cr_assert_eq(f16_value(0x3c00), 1);
    cr_assert_eq(f16_value(0xfbff), -65504);
    cr_assert_eq(f16_value(1), 0x1p-24);
    cr_assert_eq(f16_nearest(65519.9), 0x7bff);
    cr_assert_eq(f16_nearest(65520), 0x7c00);
    cr_assert_eq(f16_nearest(0x1p-25), 0); /* a tie, to even */
    cr_assert_eq(f16_nearest(0x1.8p-24), 2);
    cr_assert_eq(f16_nearest(-0.0), 0x8000);
    for (int h = 0; h < 0x7c00; h++) cr_assert_eq(f16_nearest(f16_value((uint16_t)h)), h);
}
