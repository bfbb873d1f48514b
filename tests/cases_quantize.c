/* SPDX-License-Identifier: Apache-2.0 */
/* cases_quantize: activations to int8. K: width. */
#include "tests/kernel_cases.h"

#include <math.h>
#include <stdio.h>

enum { X, Q, SCALE, OFFSET8, SUM16 };

static int shape(int i, struct shape *s) {
    static const int widths[] = {32, 64, 96, 160, 192, 224, 256, 512, 1792, 2048, 6144, 7168};
    int n = (int)(sizeof widths / sizeof *widths);
    *s = (struct shape){.K = widths[i % n], .n = 1, .pattern = (enum pattern)(i / n % PATTERN_COUNT)};
    return i < n * PATTERN_COUNT;
}

static int bench_shape(int i, struct shape *s) {
    *s = (struct shape){.K = i == 0 ? 2048 : 7168, .n = 1};
    return i < 2;
}

static void describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "K=%d", s->K);
}

static void prepare(struct operands *o) {
    int K = o->shape.K, blocks = K / BLOCK;
    float *x = operand_add(o, "x", INPUT, ELEMENT_F32, 1, K, (size_t)K);
    operand_add(o, "q", OUTPUT, ELEMENT_I8, 1, K, (size_t)K);
    operand_add(o, "scale", OUTPUT, ELEMENT_F32, 1, blocks, (size_t)blocks);
    operand_add(o, "offset8", OUTPUT, ELEMENT_I32, 1, blocks, (size_t)blocks);
    operand_add(o, "sum16", OUTPUT, ELEMENT_I16, 1, 2 * blocks, (size_t)(2 * blocks));
    if (!o->no_memory) fill_floats(o, x, K);
}

static void run(void (*fn)(void), const struct operands *o) {
    ((quantize_a8_fn *)fn)(operand_data(o, X), o->shape.K, operand_data(o, Q), operand_data(o, SCALE),
                           operand_data(o, OFFSET8), operand_data(o, SUM16));
}

/* A block with NaN or Inf has scale NaN and q 0 (see rules). A block whose maximum has no useful float32
 * inverse (below 1e-30) is zero. Where the scale is a power of two nothing rounds but q itself: ties go to
 * even, exactly. */
static void oracle(const struct operands *o, double *want, double *bound) {
    int K = o->shape.K, blocks = K / BLOCK;
    const float *x = operand_data(o, X);
    double slack = 127 * tolerances[TOL_QUANTIZE_Q].limit * UNIT_ROUNDOFF;
    for (int b = 0; b < blocks; b++) {
        double top = 0, scale;
        int specified = 1, exponent;
        for (int i = 0; i < BLOCK; i++)
            if (!isfinite(x[b * BLOCK + i])) specified = 0;
        for (int i = 0; i < BLOCK && specified; i++) top = fmax(top, fabs((double)x[b * BLOCK + i]));
        scale = (float)top > 1e-30f ? top / 127 : 0;
        int exact = frexp(scale, &exponent) == 0.5;
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
            double v = scale > 0 ? (double)x[i] / scale : 0;
            int near_tie = !exact && 0.5 - fabs(v - nearbyint(v)) <= slack; /* either neighbour will do */
            want[i] = near_tie ? v : nearbyint(v);
            bound[i] = !specified ? NAN : near_tie ? 1 : 0;
        }
        want[K + b] = scale;
        bound[K + b] = !specified ? NAN : tolerances[TOL_QUANTIZE_SCALE].limit * 2 * UNIT_ROUNDOFF * scale;
        /* offset8 and sum16 follow from q: see rules. */
        want[K + blocks + b] = bound[K + blocks + b] = NAN;
        for (int h = 0; h < 2; h++)
            want[K + 2 * blocks + 2 * b + h] = bound[K + 2 * blocks + 2 * b + h] = NAN;
    }
}

/* |q| <= 127, and the sums are those of the q that was written. */
static void rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    (void)fn;
    const float *x = operand_data(o, X);
    const int8_t *q = operand_data(o, Q);
    const int32_t *offset8 = operand_data(o, OFFSET8);
    const int16_t *sum16 = operand_data(o, SUM16);
    for (int b = 0; b < o->shape.K / BLOCK; b++) {
        int half[2] = {0, 0}, specified = 1;
        for (int i = 0; i < BLOCK; i++) {
            int value = q[b * BLOCK + i];
            if (!isfinite(x[b * BLOCK + i])) specified = 0;
            if (value == -128) verdict_fail(v, "q[%d] is -128", b * BLOCK + i);
            half[i / 16] += value;
        }
        const float *scale = operand_data(o, SCALE);
        if (!specified && !isnan(scale[b]))
            verdict_fail(v, "scale[%d] is %g for a block with NaN or Inf", b, (double)scale[b]);
        for (int i = 0; i < BLOCK && !specified; i++)
            if (q[b * BLOCK + i]) verdict_fail(v, "q[%d] is not 0 in a block with NaN or Inf", b * BLOCK + i);
        for (int h = 0; h < 2; h++)
            if (sum16[2 * b + h] != half[h])
                verdict_fail(v, "sum16[%d] is %d, its q add up to %d", 2 * b + h, sum16[2 * b + h], half[h]);
        if (offset8[b] != -8 * (half[0] + half[1]))
            verdict_fail(v, "offset8[%d] is %d, -8 times the sum of its q is %d", b, offset8[b],
                         -8 * (half[0] + half[1]));
    }
}

static void cost(const struct shape *s, double *bytes, double *macs) {
    *bytes = s->K * 4.0;
    *macs = 0;
}

const struct kernel_case case_quantize_a8 = {
    .op = OP_quantize_a8,
    .bit_equal = 1,
    .shape = shape,
    .bench_shape = bench_shape,
    .describe = describe,
    .prepare = prepare,
    .run = run,
    .oracle = oracle,
    .rules = rules,
    .cost = cost,
};
