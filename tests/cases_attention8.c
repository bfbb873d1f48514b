/* SPDX-License-Identifier: Apache-2.0 */
/* cases_attention8: as cases_attention, over an int8 cache. The oracle knows the cache's integers and scales
 * and does not round the weights; its bound holds what rounding them to 1/255 of a span's largest may change.
 */
#include "tests/cases_attention.h"

#include <math.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum {
    KEYS,
    KEY_SCALES,
    VALUES,
    VALUE_SCALES,
    QUERIES,
    QUERY_SCALES,
    OFFSETS,
    LIMITS,
    SCRATCH_FLOATS,
    SCRATCH_WEIGHTS,
    OUT,
    TOP,
    SUM
};

static int shape(int i, struct shape *s) {
    static const int sizes[] = {32, 64, 96, 128};
    return i < attention_shape(i, sizes, COUNT(sizes), s);
}

static int integer(struct operands *o, int i) {
    int random = (int)rng_below(&o->rng, 255) - 127;
    switch (o->shape.pattern) {
    case PATTERN_ZEROS:
        return 0;
    case PATTERN_EQUAL:
        return 50;
    case PATTERN_MAXIMUM:
        return 127;
    case PATTERN_MINIMUM:
        return -127;
    case PATTERN_ALTERNATING:
        return i % 2 ? -127 : 127;
    default:
        return random;
    }
}

/* EXACT: one position takes all, and every product is a float. */
static double scale(struct operands *o, int p, double size) {
    double random = rng_uniform(&o->rng, 0.2, 1);
    switch (o->shape.pattern) {
    case PATTERN_OUTLIER:
        return size * (p % 37 == 5 ? 20 : random);
    case PATTERN_TINY:
        return 0x1p-24 * (1 + (int)(3 * random));
    case PATTERN_ZERO_GROUPS:
        return p / 16 % 2 ? size * random : 0;
    default:
        return size * random;
    }
}

static void prepare_cache(struct operands *o) {
    const struct shape *s = &o->shape;
    int d = s->K, whole = (s->end + 31) / 32 * 32;
    uint8_t *k = operand_add(o, "k", INPUT, ELEMENT_BYTES, 1, whole * d, (size_t)(whole * d));
    uint16_t *ks =
        operand_add(o, "k_scale", INPUT, ELEMENT_F16, 1, whole * (d / BLOCK), (size_t)(whole * (d / BLOCK)));
    int8_t *v = operand_add(o, "v", INPUT, ELEMENT_I8, 1, whole * d, (size_t)(whole * d));
    uint16_t *vs = operand_add(o, "v_scale", INPUT, ELEMENT_F16, 1, whole, (size_t)whole);
    if (o->no_memory) return;
    for (int p = s->begin; p < s->end; p++) {
        vs[p] = f16_nearest(scale(o, p, 0.02));
        for (int b = 0; b < d / BLOCK; b++)
            ks[((size_t)(p / 16) * (size_t)(d / BLOCK) + (size_t)b) * 16 + (size_t)(p % 16)] =
                f16_nearest(scale(o, p, 0.02));
        for (int i = 0; i < d; i++) {
            k[((size_t)(p / 16) * (size_t)(d / 4) + (size_t)(i / 4)) * 64 + (size_t)(p % 16 * 4 + i % 4)] =
                (uint8_t)(128 + integer(o, i));
            v[((size_t)(p / 4) * (size_t)d + (size_t)i) * 4 + (size_t)(p % 4)] = (int8_t)integer(o, i + p);
        }
    }
}

static void prepare(struct operands *o) {
    const struct shape *s = &o->shape;
    int d = s->K, R = s->n, blocks = d / BLOCK;
    size_t q_stride = (size_t)(d + 63) / 64 * 64, s_stride = (size_t)(blocks + s->pad);
    prepare_cache(o);
    int8_t *q = operand_add(o, "q", INPUT, ELEMENT_I8, R, d, q_stride);
    float *qs = operand_add(o, "q scale", INPUT, ELEMENT_F32, R, blocks, s_stride);
    int32_t *offset8 = operand_add(o, "offset8", INPUT, ELEMENT_I32, R, blocks, s_stride);
    int32_t *limits = operand_add(o, "limit", INPUT, ELEMENT_I32, 1, R, (size_t)R);
    int scratch = ATTENTION_ROWS * ATTENTION_SPAN;
    operand_add(o, "scratch", SCRATCH, ELEMENT_F32, 1, scratch, (size_t)scratch);
    operand_add(o, "weights8", SCRATCH, ELEMENT_BYTES, 1, scratch, (size_t)scratch);
    operand_add(o, "o", OUTPUT, ELEMENT_F32, R, d, (size_t)d);
    operand_add(o, "m", OUTPUT, ELEMENT_F32, 1, R, (size_t)R);
    operand_add(o, "l", OUTPUT, ELEMENT_F32, 1, R, (size_t)R);
    if (o->no_memory) return;
    for (int r = 0; r < R; r++) {
        for (int b = 0; b < blocks; b++) {
            int sum = 0;
            for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++) {
                int value = attention_spoiled(s, r) ? 0 : integer(o, i);
                q[(size_t)r * q_stride + (size_t)i] = (int8_t)value;
                sum += value;
            }
            qs[(size_t)r * s_stride + (size_t)b] = attention_spoiled(s, r) ? NAN : (float)scale(o, r, 0.002);
            offset8[(size_t)r * s_stride + (size_t)b] = -8 * sum;
        }
        limits[r] = attention_limit(o, r);
    }
}

static struct attention8_task task_of(const struct operands *o) {
    const struct shape *s = &o->shape;
    return (struct attention8_task){
        .q = {.q = operand_data(o, QUERIES),
              .scale = operand_data(o, QUERY_SCALES),
              .offset8 = operand_data(o, OFFSETS),
              .q_stride = o->list[QUERIES].stride,
              .s_stride = o->list[OFFSETS].stride},
        .k = operand_data(o, KEYS),
        .k_scale = operand_data(o, KEY_SCALES),
        .v = operand_data(o, VALUES),
        .v_scale = operand_data(o, VALUE_SCALES),
        .limit = operand_data(o, LIMITS),
        .R = s->n,
        .d = s->K,
        .begin = s->begin,
        .end = s->end,
        .o = operand_data(o, OUT),
        .m = operand_data(o, TOP),
        .l = operand_data(o, SUM),
        .scratch = operand_data(o, SCRATCH_FLOATS),
        .weights8 = operand_data(o, SCRATCH_WEIGHTS),
    };
}

static void run(void (*fn)(void), const struct operands *o) {
    struct attention8_task task = task_of(o);
    ((attention8_fn *)fn)(&task);
}

/* The result of one row does not depend on the others. */
static void rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    struct attention8_task all = task_of(o);
    int rows[] = {0, all.R / 2, all.R - 1};
    for (int i = 0; i < 3; i++) {
        struct attention8_task one = all;
        int r = rows[i];
        float out[128], m, l;
        one.q.q += (size_t)r * one.q.q_stride;
        one.q.scale += (size_t)r * one.q.s_stride;
        one.q.offset8 += (size_t)r * one.q.s_stride;
        one.limit += r;
        one.R = 1;
        one.o = out;
        one.m = &m;
        one.l = &l;
        ((attention8_fn *)fn)(&one);
        if (attention_spoiled(&o->shape, r)) continue;
        if (memcmp(&m, all.m + r, sizeof m) != 0 || memcmp(&l, all.l + r, sizeof l) != 0 ||
            memcmp(out, all.o + (size_t)r * (size_t)all.d, (size_t)all.d * sizeof *out) != 0)
            verdict_fail(v, "row %d: other bits when it is computed alone", r);
    }
}

/* --- the oracle --- */

/* Scores of row r and the error float32 may make in each; returns how many positions it sees. Integer sums
 * are exact; two roundings per block and one per add remain. */
static int row_scores(const struct attention8_task *a, int r, double *score, double *error) {
    int end = a->limit[r] < a->end ? a->limit[r] : a->end, blocks = a->d / BLOCK;
    for (int p = a->begin; p < end; p++) {
        double sum = 0, size = 0;
        for (int b = 0; b < blocks; b++) {
            int dot = 0;
            for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++)
                dot +=
                    a->q.q[(size_t)r * a->q.q_stride + (size_t)i] *
                    (a->k[(size_t)(p / 16) * (size_t)a->d * 16 + (size_t)(i / 4 * 64 + p % 16 * 4 + i % 4)] -
                     128);
            double term = dot * (double)a->q.scale[(size_t)r * a->q.s_stride + (size_t)b] *
                          f16_value(a->k_scale[(size_t)(p / 16 * blocks + b) * 16 + (size_t)(p % 16)]);
            sum += term;
            size += fabs(term);
        }
        score[p - a->begin] = sum;
        error[p - a->begin] = (blocks + 3) * UNIT_ROUNDOFF * size + blocks * FLOAT_TINY;
    }
    return end > a->begin ? end - a->begin : 0;
}

/* Weights as in cases_attention; then half a step of 1/255 of the largest e * v_scale of the span so far
 * seen, which is below that of the final maximum times e^(final - then) and is scaled back by the same. */
static void row_oracle(const struct attention8_task *a, int n, const double *score, const double *error,
                       double *o, double *o_bound, double *ml, double *ml_bound) {
    double top = -INFINITY, top_error = 0, sum = 0, sum_bound = 0;
    for (int p = 0; p < n; p++) {
        top = fmax(top, score[p]);
        top_error = fmax(top_error, error[p]);
    }
    double steps = (tolerances[TOL_EXP].limit * (2 + n / 16.0) + n + 8) * UNIT_ROUNDOFF;
    for (int i = 0; i < a->d; i++) o[i] = o_bound[i] = 0;
    for (int p0 = 0; p0 < n; p0 += ATTENTION_SPAN) {
        int p1 = p0 + ATTENTION_SPAN < n ? p0 + ATTENTION_SPAN : n;
        double most = 0;
        for (int p = p0; p < p1; p++)
            most = fmax(most, exp(score[p] - top) * f16_value(a->v_scale[a->begin + p]));
        for (int p = p0; p < p1; p++) {
            double e = exp(score[p] - top), vs = f16_value(a->v_scale[a->begin + p]);
            double off =
                e * expm1(error[p] + top_error + 2 * UNIT_ROUNDOFF * (top - score[p]) + steps) + 1e-37;
            double half = (most * (0.5 + 1e-3) / 255) * (1 + steps) + 1e-30;
            sum += e;
            sum_bound += off;
            for (int i = 0; i < a->d; i++) {
                double v = a->v[((size_t)((a->begin + p) / 4) * (size_t)a->d + (size_t)i) * 4 +
                                (size_t)((a->begin + p) % 4)];
                o[i] += e * vs * v;
                o_bound[i] += (off * vs + half) * fabs(v);
            }
        }
    }
    ml[0] = top;
    ml_bound[0] = top_error;
    ml[a->R] = sum;
    ml_bound[a->R] = sum_bound;
}

static void oracle(const struct operands *o, double *want, double *bound) {
    enum { MOST = 8192 };
    static _Thread_local double score[MOST], error[MOST];
    struct attention8_task a = task_of(o);
    size_t ml = (size_t)a.R * (size_t)a.d;
    for (int r = 0; r < a.R; r++) {
        int n = row_scores(&a, r, score, error);
        size_t at = (size_t)r * (size_t)a.d;
        row_oracle(&a, n, score, error, want + at, bound + at, want + ml + (size_t)r, bound + ml + (size_t)r);
        if (!attention_spoiled(&o->shape, r)) continue;
        for (int i = 0; i < a.d; i++) bound[at + (size_t)i] = NAN;
        bound[ml + (size_t)r] = bound[ml + (size_t)(a.R + r)] = NAN;
    }
}

static void cost(const struct shape *s, double *bytes, double *macs) {
    *bytes = (2.0 * s->K + 2.0 * s->K / BLOCK + 2) * (s->end - s->begin);
    *macs = 2.0 * s->K * (s->end - s->begin) * s->n;
}

const struct kernel_case case_attention8 = {
    .op = OP_attention8,
    .shape = shape,
    .bench_shape = attention_bench_shape,
    .describe = attention_describe,
    .prepare = prepare,
    .run = run,
    .oracle = oracle,
    .rules = rules,
    .cost = cost,
};
