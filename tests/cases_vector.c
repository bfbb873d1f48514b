/* SPDX-License-Identifier: Apache-2.0 */
/* cases_vector: rmsnorm, rope, swiglu, conversion to f16. K: elements of the vector, head size of rope; end:
 * the position of rope. Lengths are no multiples of any vector width. */
#include "tests/kernel_cases.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static const int lengths[] = {1,  2,  3,  5,  7,   8,   9,   15,  16,   17,   31,   32,
                              33, 47, 63, 64, 100, 127, 128, 513, 1792, 2048, 7168, 7169};

/* Every length with every pattern that has a meaning for float vectors. */
static int vector_shape(int i, struct shape *s) {
    *s = (struct shape){.K = lengths[i % COUNT(lengths)], .n = 1};
    s->pattern = (enum pattern)(i / COUNT(lengths) % PATTERN_COUNT);
    return i < COUNT(lengths) * PATTERN_COUNT;
}

static int vector_bench(int i, struct shape *s) {
    *s = (struct shape){.K = i == 0 ? 2048 : 7168, .n = 1};
    return i < 2;
}

static void describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "n=%d", s->K);
}

static void no_cost(const struct shape *s, double floats, double *bytes, double *macs) {
    *bytes = s->K * 4.0 * floats;
    *macs = 0;
}

/* --- rmsnorm --- */

enum { NORM_X, NORM_W, NORM_Y };

static float norm_eps(const struct operands *o) {
    return o->shape.K % 2 ? 1e-5f : 1e-6f;
}

static void norm_prepare(struct operands *o) {
    int n = o->shape.K;
    float *x = operand_add(o, "x", INPUT, ELEMENT_F32, 1, n, (size_t)n);
    float *w = operand_add(o, "w", INPUT, ELEMENT_F32, 1, n, (size_t)n);
    operand_add(o, "y", OUTPUT, ELEMENT_F32, 1, n, (size_t)n);
    if (o->no_memory) return;
    fill_floats(o, x, n);
    for (int i = 0; i < n; i++) w[i] = (float)rng_uniform(&o->rng, -2, 2);
}

static void norm_run(void (*fn)(void), const struct operands *o) {
    ((rmsnorm_fn *)fn)(operand_data(o, NORM_X), operand_data(o, NORM_W), o->shape.K, norm_eps(o),
                       operand_data(o, NORM_Y));
}

/* One NaN makes every output NaN; beside an Inf the others become 0 or NaN: unspecified. */
static void norm_oracle(const struct operands *o, double *want, double *bound) {
    const float *x = operand_data(o, NORM_X), *w = operand_data(o, NORM_W);
    int n = o->shape.K, infinite = 0;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
        infinite |= isinf(x[i]) != 0;
    }
    double root = sqrt(sum / n + (double)norm_eps(o));
    double steps = (n / 2.0 + tolerances[TOL_RMSNORM].limit) * UNIT_ROUNDOFF;
    for (int i = 0; i < n; i++) {
        want[i] = (double)x[i] / root * (double)w[i];
        if (isnan(want[i])) {
            bound[i] = isnan(sum) ? 0 : NAN;
            continue;
        }
        bound[i] = infinite ? NAN : steps * fabs(want[i]) + 8 * FLOAT_TINY * (1 + fabs((double)w[i]) / root);
    }
}

static void same_in_place(const float *apart, const float *in_place, int n, const char *alias,
                          struct verdict *v) {
    if (memcmp(apart, in_place, (size_t)n * sizeof *apart) != 0)
        verdict_fail(v, "other bits when y is %s", alias);
}

/* y may be x. The bytes of x are put back: they are an input. */
static void norm_rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    int n = o->shape.K;
    float *x = operand_data(o, NORM_X), kept[7169];
    memcpy(kept, x, (size_t)n * sizeof *x);
    ((rmsnorm_fn *)fn)(x, operand_data(o, NORM_W), n, norm_eps(o), x);
    same_in_place(operand_data(o, NORM_Y), x, n, "x", v);
    memcpy(x, kept, (size_t)n * sizeof *x);
}

static void norm_cost(const struct shape *s, double *bytes, double *macs) {
    no_cost(s, 2, bytes, macs);
}

const struct kernel_case case_rmsnorm = {
    .op = OP_rmsnorm,
    .shape = vector_shape,
    .bench_shape = vector_bench,
    .describe = describe,
    .prepare = norm_prepare,
    .run = norm_run,
    .oracle = norm_oracle,
    .rules = norm_rules,
    .cost = norm_cost,
};

/* --- rope --- */

enum { ROPE_X, ROPE_COS, ROPE_SIN };

static int rope_shape(int i, struct shape *s) {
    static const int sizes[] = {2, 4, 6, 14, 16, 32, 34, 64, 80, 96, 128, 256};
    static const int positions[] = {0, 1, 2, 17, 4095, 32767};
    int all = COUNT(sizes) * COUNT(positions);
    *s = (struct shape){.K = sizes[i % COUNT(sizes)], .n = 1};
    s->end = positions[i / COUNT(sizes) % COUNT(positions)];
    s->pattern = (enum pattern)(i < all ? PATTERN_RANDOM : i / COUNT(sizes) % PATTERN_COUNT);
    return i < all + COUNT(sizes) * PATTERN_COUNT;
}

static int rope_bench(int i, struct shape *s) {
    *s = (struct shape){.K = i == 0 ? 64 : 128, .n = 1, .end = 4095};
    return i < 2;
}

static void rope_describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "d=%d position %d", s->K, s->end);
}

static void rope_prepare(struct operands *o) {
    int d = o->shape.K;
    float *x = operand_add(o, "x", IN_OUT, ELEMENT_F32, 1, d, (size_t)d);
    float *c = operand_add(o, "cos", INPUT, ELEMENT_F32, 1, d / 2, (size_t)(d / 2));
    float *s = operand_add(o, "sin", INPUT, ELEMENT_F32, 1, d / 2, (size_t)(d / 2));
    if (o->no_memory) return;
    fill_floats(o, x, d);
    for (int i = 0; i < d / 2; i++) {
        double angle = o->shape.end * pow(1e6, -2.0 * i / d);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
}

static void rope_run(void (*fn)(void), const struct operands *o) {
    ((rope_fn *)fn)(operand_data(o, ROPE_X), operand_data(o, ROPE_COS), operand_data(o, ROPE_SIN),
                    o->shape.K);
}

static void rope_oracle(const struct operands *o, double *want, double *bound) {
    const float *x = operand_data(o, ROPE_X), *c = operand_data(o, ROPE_COS), *s = operand_data(o, ROPE_SIN);
    int d = o->shape.K;
    double steps = tolerances[TOL_ROPE].limit * UNIT_ROUNDOFF;
    for (int i = 0; i < d; i++) {
        int pair = i % (d / 2);
        double here = (double)x[i] * (double)c[pair];
        double other = (double)x[i < d / 2 ? i + d / 2 : i - d / 2] * (double)s[pair];
        want[i] = i < d / 2 ? here - other : here + other;
        bound[i] = steps * (fabs(here) + fabs(other)) + 4 * FLOAT_TINY;
        if (!isfinite(want[i])) bound[i] = 0;
    }
}

static void rope_cost(const struct shape *s, double *bytes, double *macs) {
    no_cost(s, 2, bytes, macs);
}

const struct kernel_case case_rope = {
    .op = OP_rope,
    .shape = rope_shape,
    .bench_shape = rope_bench,
    .describe = rope_describe,
    .prepare = rope_prepare,
    .run = rope_run,
    .oracle = rope_oracle,
    .cost = rope_cost,
};

/* --- swiglu --- */

enum { GLU_GATE, GLU_UP, GLU_Y };

static void glu_prepare(struct operands *o) {
    int n = o->shape.K;
    float *gate = operand_add(o, "gate", INPUT, ELEMENT_F32, 1, n, (size_t)n);
    float *up = operand_add(o, "up", INPUT, ELEMENT_F32, 1, n, (size_t)n);
    operand_add(o, "y", OUTPUT, ELEMENT_F32, 1, n, (size_t)n);
    if (o->no_memory) return;
    fill_floats(o, gate, n);
    /* RANDOM reaches both ends, where exp overflows or vanishes. */
    for (int i = 0; i < n && o->shape.pattern == PATTERN_RANDOM; i++)
        gate[i] = (float)rng_uniform(&o->rng, -1, 1) * (i % 3 ? 8.0f : 120.0f);
    for (int i = 0; i < n; i++) up[i] = (float)rng_uniform(&o->rng, -4, 4);
}

static void glu_run(void (*fn)(void), const struct operands *o) {
    ((swiglu_fn *)fn)(operand_data(o, GLU_GATE), operand_data(o, GLU_UP), o->shape.K, operand_data(o, GLU_Y));
}

/* silu of -inf is -inf/inf: unspecified. The floor: below -87 exp(-x) leaves float32, what is lost is under
 * 1e-35. */
static void glu_oracle(const struct operands *o, double *want, double *bound) {
    const float *gate = operand_data(o, GLU_GATE), *up = operand_data(o, GLU_UP);
    double steps = tolerances[TOL_SWIGLU].limit * UNIT_ROUNDOFF;
    for (int i = 0; i < o->shape.K; i++) {
        double x = (double)gate[i];
        want[i] = x / (1 + exp(-x)) * (double)up[i];
        bound[i] = isinf(x) ? NAN : steps * fabs(want[i]) + 1e-35 * fabs((double)up[i]) + FLOAT_TINY;
        if (isnan(x)) bound[i] = 0;
    }
}

static void glu_rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    int n = o->shape.K;
    float *gate = operand_data(o, GLU_GATE), kept[7169];
    memcpy(kept, gate, (size_t)n * sizeof *gate);
    ((swiglu_fn *)fn)(gate, operand_data(o, GLU_UP), n, gate);
    same_in_place(operand_data(o, GLU_Y), gate, n, "gate", v);
    memcpy(gate, kept, (size_t)n * sizeof *gate);
}

const struct kernel_case case_swiglu = {
    .op = OP_swiglu,
    .shape = vector_shape,
    .bench_shape = vector_bench,
    .describe = describe,
    .prepare = glu_prepare,
    .run = glu_run,
    .oracle = glu_oracle,
    .rules = glu_rules,
    .cost = norm_cost,
};

/* --- to_f16 --- */

enum { F16_SRC, F16_DST };

static void f16_prepare(struct operands *o) {
    int n = o->shape.K;
    float *src = operand_add(o, "src", INPUT, ELEMENT_F32, 1, n, (size_t)n);
    operand_add(o, "dst", OUTPUT, ELEMENT_F16, 1, n, (size_t)n);
    if (o->no_memory) return;
    fill_floats(o, src, n);
    for (int i = 0; i < n; i++) {
        double step = f16_value((uint16_t)rng_below(&o->rng, 0x7c00));
        if (o->shape.pattern == PATTERN_EXACT) { /* halfway between two neighbours, or a hair beside it */
            uint16_t h = (uint16_t)rng_below(&o->rng, 0x7bff);
            float tie = (float)((f16_value(h) + f16_value((uint16_t)(h + 1))) / 2);
            src[i] = i % 3 == 0 ? tie : nextafterf(tie, i % 3 == 1 ? 0 : FLT_MAX);
        }
        if (o->shape.pattern == PATTERN_TINY) src[i] = (float)rng_uniform(&o->rng, -0x1p-13, 0x1p-13);
        if (o->shape.pattern == PATTERN_MAXIMUM) src[i] = (float)rng_uniform(&o->rng, 65470, 65560);
        if (o->shape.pattern == PATTERN_NEGATIVE) src[i] = -(float)step;
    }
}

static void f16_run(void (*fn)(void), const struct operands *o) {
    ((to_f16_fn *)fn)(operand_data(o, F16_SRC), operand_data(o, F16_DST), o->shape.K);
}

/* Exact: there is one nearest value, ties to even; NaN stays some NaN. */
static void f16_oracle(const struct operands *o, double *want, double *bound) {
    const float *src = operand_data(o, F16_SRC);
    for (int i = 0; i < o->shape.K; i++) {
        want[i] = f16_value(f16_nearest((double)src[i]));
        bound[i] = 0;
    }
}

static void f16_cost(const struct shape *s, double *bytes, double *macs) {
    no_cost(s, 1, bytes, macs);
}

const struct kernel_case case_to_f16 = {
    .op = OP_to_f16,
    .bit_equal = 1,
    .shape = vector_shape,
    .bench_shape = vector_bench,
    .describe = describe,
    .prepare = f16_prepare,
    .run = f16_run,
    .oracle = f16_oracle,
    .cost = f16_cost,
};
