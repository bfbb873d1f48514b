/* SPDX-License-Identifier: Apache-2.0 */
/* cases_conv: the gated short convolution and the float product. conv: K channels, n tokens; gemm_f32: K
 * width, n tokens, one panel. */
#include "tests/kernel_cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* --- conv --- */

enum { CONV_BCX, CONV_TAPS, CONV_STATE, CONV_Y };

static int conv_shape(int i, struct shape *s) {
    static const int tokens[] = {1, 2, 3, 4, 17, 64},
                     channels[] = {1, 3, 8, 15, 16, 17, 24, 31, 40, 100, 333, 2048};
    int pairs = COUNT(tokens) * COUNT(channels), patterns = PATTERN_COUNT * 6;
    *s = (struct shape){.pad = (i + i / 3) % 3, .pattern = (enum pattern)((i + i / 12) % PATTERN_COUNT)};
    if (i < pairs) {
        s->n = tokens[i % COUNT(tokens)];
        s->K = channels[i / COUNT(tokens)];
    } else {
        s->n = tokens[i % 4];
        s->K = i % 2 ? 19 : 64;
        s->pattern = (enum pattern)((i - pairs) / 6 % PATTERN_COUNT);
    }
    return i < pairs + patterns;
}

static int conv_bench(int i, struct shape *s) {
    *s = (struct shape){.K = 2048, .n = i == 0 ? 1 : 128};
    return i < 2;
}

static void conv_describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "D=%d n=%d", s->K, s->n);
}

/* bcx is described as 3n rows of D, gap apart: B, C, x of token 0, then of token 1. What lies between is NaN.
 */
static void conv_prepare(struct operands *o) {
    int D = o->shape.K, n = o->shape.n;
    size_t gap = (size_t)(D + 3 * o->shape.pad);
    float *bcx = operand_add(o, "bcx", INPUT, ELEMENT_F32, 3 * n, D, gap);
    float *taps = operand_add(o, "taps", INPUT, ELEMENT_F32, 3, D, gap);
    float *state = operand_add(o, "state", IN_OUT, ELEMENT_F32, 2, D, gap);
    operand_add(o, "y", OUTPUT, ELEMENT_F32, n, D, (size_t)(D + o->shape.pad));
    if (o->no_memory) return;
    for (int r = 0; r < 3 * n; r++) fill_floats(o, bcx + (size_t)r * gap, D);
    for (int r = 0; r < 3; r++) fill_floats(o, taps + (size_t)r * gap, D);
    for (int r = 0; r < 2; r++) fill_floats(o, state + (size_t)r * gap, D);
}

static void conv_call(void (*fn)(void), const struct operands *o, int t, int n, float *state, float *y) {
    size_t gap = o->list[CONV_BCX].stride;
    ((conv_fn *)fn)((const float *)operand_data(o, CONV_BCX) + (size_t)t * 3 * gap, 3 * gap, gap,
                    operand_data(o, CONV_TAPS), state, n, o->shape.K, y, o->list[CONV_Y].stride);
}

static void conv_run(void (*fn)(void), const struct operands *o) {
    conv_call(fn, o, 0, o->shape.n, operand_data(o, CONV_STATE), operand_data(o, CONV_Y));
}

/* The state is one rounded product, or an old column as it was: exact. */
static void conv_oracle(const struct operands *o, double *want, double *bound) {
    const float *bcx = operand_data(o, CONV_BCX), *taps = operand_data(o, CONV_TAPS);
    const float *state = operand_data(o, CONV_STATE);
    int D = o->shape.K, n = o->shape.n;
    size_t gap = o->list[CONV_BCX].stride;
    double steps = tolerances[TOL_CONV].limit * UNIT_ROUNDOFF;
    for (int c = 0; c < D; c++) {
        double column[2 + 64];
        column[0] = (double)state[c];
        column[1] = (double)state[gap + c];
        for (int t = 0; t < n; t++) {
            const float *row = bcx + (size_t)t * 3 * gap + c;
            double out = (double)row[gap], sum = 0, size = 0, gates = 1;
            column[t + 2] = (double)row[0] * (double)row[2 * gap];
            for (int j = 0; j < 3; j++) {
                double tap = (double)taps[(size_t)j * gap + c];
                sum += tap * column[t + j];
                size += fabs(tap * column[t + j]);
                gates += fabs(tap);
            }
            size_t i = (size_t)(2 * D) + (size_t)t * D + c;
            want[i] = out * sum;
            bound[i] = steps * fabs(out) * size + 4 * FLOAT_TINY * (1 + fabs(out) * gates);
            if (!isfinite(want[i])) bound[i] = 0;
        }
        for (int j = 0; j < 2; j++) {
            want[j * D + c] = (double)(float)column[n + j];
            bound[j * D + c] = 0;
        }
    }
}

/* Tokens one by one through the same state give the same bits: prefill and decode agree. */
static void conv_rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    int D = o->shape.K, n = o->shape.n;
    size_t gap = o->list[CONV_BCX].stride;
    static _Thread_local float state[2 * (2048 + 64)], y[2048 + 64];
    struct rng saved = {o->rng.key, 0};
    struct operands again = {.shape = o->shape, .side = LEFT, .rng = saved};
    conv_prepare(&again);
    if (again.no_memory) {
        operands_drop(&again);
        return;
    }
    memcpy(state, operand_data(&again, CONV_STATE), o->list[CONV_STATE].memory.bytes);
    operands_drop(&again);
    for (int t = 0; t < n; t++) {
        conv_call(fn, o, t, 1, state, y);
        if (memcmp(y, (float *)operand_data(o, CONV_Y) + (size_t)t * o->list[CONV_Y].stride, (size_t)D * 4) !=
            0)
            verdict_fail(v, "token %d: other bits when tokens come one by one", t);
    }
    for (int j = 0; j < 2; j++)
        if (memcmp(state + (size_t)j * gap, (float *)operand_data(o, CONV_STATE) + (size_t)j * gap,
                   (size_t)D * 4) != 0)
            verdict_fail(v, "state: other bits when tokens come one by one");
}

static void conv_cost(const struct shape *s, double *bytes, double *macs) {
    *bytes = 12.0 * s->K * s->n;
    *macs = 0;
}

const struct kernel_case case_conv = {
    .op = OP_conv,
    .shape = conv_shape,
    .bench_shape = conv_bench,
    .describe = conv_describe,
    .prepare = conv_prepare,
    .run = conv_run,
    .oracle = conv_oracle,
    .rules = conv_rules,
    .cost = conv_cost,
};

/* --- gemm_f32 --- */

enum { F32_W, F32_X, F32_Y };

static int f32_shape(int i, struct shape *s) {
    static const int tokens[] = {1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 17, 25, 33, 64};
    static const int widths[] = {1, 2, 7, 32, 33, 64, 192, 1000, 2048};
    int pairs = COUNT(tokens) * COUNT(widths);
    *s = (struct shape){.pad = (i + i / 3) % 3, .panels = 1, .K = widths[i % COUNT(widths)]};
    s->n = tokens[i / COUNT(widths) % COUNT(tokens)];
    s->pattern = (enum pattern)((i + i / 12) % PATTERN_COUNT);
    if (i >= pairs) {
        s->K = i % 2 ? 33 : 192;
        s->pattern = (enum pattern)((i - pairs) / 4 % PATTERN_COUNT);
    }
    return i < pairs + 4 * PATTERN_COUNT;
}

static int f32_bench(int i, struct shape *s) {
    *s = (struct shape){.K = 2048, .panels = 1, .n = i == 0 ? 1 : 128};
    return i < 2;
}

static void f32_describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "%dx%d n=%d", PANEL, s->K, s->n);
}

/* EXACT: half-integers up to 127 times small integers: K * 127 * 4 in steps of 1/2 stays below 2^24 of them.
 */
static void f32_prepare(struct operands *o) {
    int K = o->shape.K, n = o->shape.n;
    size_t stride = (size_t)(K + 3 * o->shape.pad);
    float *w = operand_add(o, "w", INPUT, ELEMENT_F32, 1, K * PANEL, (size_t)(K * PANEL));
    float *x = operand_add(o, "x", INPUT, ELEMENT_F32, n, K, stride);
    operand_add(o, "y", OUTPUT, ELEMENT_F32, n, PANEL, (size_t)(PANEL + 5 * o->shape.pad));
    if (o->no_memory) return;
    fill_floats(o, w, K * PANEL);
    for (int t = 0; t < n; t++) fill_floats(o, x + (size_t)t * stride, K);
    for (int t = 0; t < n && o->shape.pattern == PATTERN_EXACT; t++)
        for (int k = 0; k < K; k++) x[(size_t)t * stride + k] = (float)((int)rng_below(&o->rng, 9) - 4);
}

static void f32_run(void (*fn)(void), const struct operands *o) {
    ((gemm_f32_fn *)fn)(operand_data(o, F32_W), o->shape.K, operand_data(o, F32_X), o->list[F32_X].stride,
                        o->shape.n, operand_data(o, F32_Y), o->list[F32_Y].stride);
}

static void f32_oracle(const struct operands *o, double *want, double *bound) {
    const float *w = operand_data(o, F32_W), *x = operand_data(o, F32_X);
    int K = o->shape.K;
    double steps = (K + tolerances[TOL_GEMM_F32].limit) * UNIT_ROUNDOFF;
    for (int t = 0; t < o->shape.n; t++)
        for (int r = 0; r < PANEL; r++) {
            double sum = 0, size = 0;
            for (int k = 0; k < K; k++) {
                double term =
                    (double)w[(size_t)k * PANEL + r] * (double)x[(size_t)t * o->list[F32_X].stride + k];
                sum += term;
                size += fabs(term);
            }
            want[t * PANEL + r] = sum;
            bound[t * PANEL + r] =
                o->shape.pattern == PATTERN_EXACT || !isfinite(sum) ? 0 : steps * size + (K + 1) * FLOAT_TINY;
        }
}

/* As for the packed products: the result of one token does not depend on n. */
static void f32_rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    int tokens[] = {0, o->shape.n / 2, o->shape.n - 1};
    for (int i = 0; i < 3; i++) {
        float alone[PANEL];
        int t = tokens[i];
        ((gemm_f32_fn *)fn)(operand_data(o, F32_W), o->shape.K,
                            (const float *)operand_data(o, F32_X) + (size_t)t * o->list[F32_X].stride, 1, 1,
                            alone, PANEL);
        if (memcmp(alone, (float *)operand_data(o, F32_Y) + (size_t)t * o->list[F32_Y].stride,
                   sizeof alone) != 0)
            verdict_fail(v, "token %d: other bits when it is computed alone", t);
    }
}

static void f32_cost(const struct shape *s, double *bytes, double *macs) {
    *bytes = 4.0 * PANEL * s->K;
    *macs = (double)PANEL * s->K * s->n;
}

const struct kernel_case case_gemm_f32 = {
    .op = OP_gemm_f32,
    .shape = f32_shape,
    .bench_shape = f32_bench,
    .describe = f32_describe,
    .prepare = f32_prepare,
    .run = f32_run,
    .oracle = f32_oracle,
    .rules = f32_rules,
    .cost = f32_cost,
};
