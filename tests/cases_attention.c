/* SPDX-License-Identifier: Apache-2.0 */
/* cases_attention: attention over an f16 cache; and the shapes and limits that cases_attention8 shares.
 * Cache entries outside [begin, end) are NaN: nobody may see them. */
#include "tests/cases_attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum { KEYS, VALUES, QUERIES, LIMITS, SCRATCH_FLOATS, OUT, TOP, SUM };

int attention_shape(int i, const int *sizes, int n_sizes, struct shape *s) {
    static const int rows[] = {1, 2, 3, 4, 6, 8, 12, 16, 33, 64};
    static const int ranges[][2] = {{0, 1},       {0, 15},   {0, 16},    {0, 17},   {0, 128},
                                    {0, 129},     {32, 56},  {128, 300}, {96, 257}, {2048, 2049},
                                    {4096, 4300}, {0, 1000}, {0, 4099}};
    int pairs = COUNT(rows) * COUNT(ranges), patterns = PATTERN_COUNT * 3;
    *s = (struct shape){
        .K = sizes[(i + i / 13) % n_sizes], .n = rows[i % COUNT(rows)], .pad = (i + i / 7) % 4};
    s->begin = ranges[i / COUNT(rows) % COUNT(ranges)][0];
    s->end = ranges[i / COUNT(rows) % COUNT(ranges)][1];
    s->pattern = (enum pattern)((i + i / 5) % PATTERN_COUNT);
    if (i >= pairs) {
        s->pattern = (enum pattern)((i - pairs) / 3 % PATTERN_COUNT);
        s->K = sizes[i % n_sizes];
        s->n = 7;
        s->begin = 32;
        s->end = 32 + 261;
        s->pad = i % 2 ? LIMIT_ALL : LIMIT_CAUSAL;
    }
    return pairs + patterns;
}

static int shape(int i, struct shape *s) {
    static const int sizes[] = {32, 64, 128};
    int n = attention_shape(i, sizes, COUNT(sizes), s);
    if (i >= n) *s = (struct shape){.K = 64, .n = 4, .end = 32768, .pad = LIMIT_ALL};
    return i <= n;
}

/* One token (the query heads of one kv head: 4 of LFM2-8B-A1B, 2 of Qwen3-1.7B) and a tile of prefill. */
int attention_bench_shape(int i, struct shape *s) {
    *s = (struct shape){.K = i < 2 ? 64 : 128,
                        .n = i % 2   ? 64
                             : i < 2 ? 4
                                     : 2,
                        .end = 4096,
                        .pad = LIMIT_ALL};
    s->cold = i % 2 == 0;
    return i < 4;
}

void attention_describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "R=%d d=%d [%d,%d)", s->n, s->K, s->begin, s->end);
}

/* Scores of RANDOM reach about +-6. EXACT scores are multiples of 1/4 that float32 holds. */
static double query(struct operands *o, int i) {
    double random = rng_uniform(&o->rng, -1, 1);
    switch (o->shape.pattern) {
    case PATTERN_EXACT:
        return ((int)rng_below(&o->rng, 7) - 3) / 4.0;
    case PATTERN_ZEROS:
        return 0;
    case PATTERN_EQUAL:
    case PATTERN_MAXIMUM:
        return 4;
    case PATTERN_MINIMUM:
        return -4;
    case PATTERN_ALTERNATING:
        return i % 2 ? -2 : 2;
    default:
        return random;
    }
}

static double cached(struct operands *o, int p, int i, int is_key) {
    double random = rng_uniform(&o->rng, -1, 1), sign = i % 2 ? -1 : 1;
    switch (o->shape.pattern) {
    case PATTERN_EXACT:
        return (int)rng_below(&o->rng, 7) - 3;
    case PATTERN_EQUAL:
        return 1.5;
    case PATTERN_MAXIMUM:
    case PATTERN_MINIMUM:
        return is_key ? 4 : 65504 * sign;
    case PATTERN_ALTERNATING:
        return is_key ? 2 : 3 * sign;
    case PATTERN_OUTLIER:
        return p % 37 == 5 ? 60 * random : random; /* the rest may underflow to nothing */
    case PATTERN_TINY:
        return random * 0x1p-15;
    case PATTERN_ZERO_GROUPS:
        return p / 16 % 2 ? random : 0;
    case PATTERN_NEGATIVE:
        return -fabs(random);
    default:
        return 2 * random;
    }
}

int attention_limit(struct operands *o, int r) {
    const struct shape *s = &o->shape;
    switch (s->pad % 4) {
    case LIMIT_CAUSAL:
        return s->end - s->n + 1 + r;
    case LIMIT_ALL:
        return r % 2 ? s->end : s->end + 1000;
    case LIMIT_RANDOM:
        return s->begin - 20 + (int)rng_below(&o->rng, (uint32_t)(s->end - s->begin + 40));
    default:
        return r % 3 == 2 ? s->begin + 1 : s->begin - r; /* most rows see nothing */
    }
}

int attention_spoiled(const struct shape *s, int r) {
    return s->pattern == PATTERN_NONFINITE && r == 1;
}

static void prepare(struct operands *o) {
    const struct shape *s = &o->shape;
    int d = s->K, R = s->n, blocks = (s->end + 31) / 32 * 2;
    size_t q_stride = (size_t)(d + 3 * s->pad);
    uint16_t *k = operand_add(o, "k", INPUT, ELEMENT_F16, blocks, d * KV_BLOCK, (size_t)(d * KV_BLOCK));
    uint16_t *v = operand_add(o, "v", INPUT, ELEMENT_F16, s->end, d, (size_t)d);
    float *q = operand_add(o, "q", INPUT, ELEMENT_F32, R, d, q_stride);
    int32_t *limits = operand_add(o, "limit", INPUT, ELEMENT_I32, 1, R, (size_t)R);
    int scratch = ATTENTION_ROWS * ATTENTION_SPAN;
    operand_add(o, "scratch", SCRATCH, ELEMENT_F32, 1, scratch, (size_t)scratch);
    operand_add(o, "o", OUTPUT, ELEMENT_F32, R, d, (size_t)d);
    operand_add(o, "m", OUTPUT, ELEMENT_F32, 1, R, (size_t)R);
    operand_add(o, "l", OUTPUT, ELEMENT_F32, 1, R, (size_t)R);
    if (o->no_memory) return;
    for (int p = s->begin; p < s->end; p++)
        for (int i = 0; i < d; i++) {
            k[((size_t)(p / KV_BLOCK) * d + i) * KV_BLOCK + p % KV_BLOCK] = f16_nearest(cached(o, p, i, 1));
            v[(size_t)p * d + i] = f16_nearest(cached(o, p, i, 0));
        }
    for (int r = 0; r < R; r++) {
        for (int i = 0; i < d; i++)
            q[(size_t)r * q_stride + i] = attention_spoiled(s, r) ? NAN : (float)query(o, i);
        limits[r] = attention_limit(o, r);
    }
}

static struct attention_task task_of(const struct operands *o) {
    const struct shape *s = &o->shape;
    return (struct attention_task){
        .q = operand_data(o, QUERIES),
        .q_stride = o->list[QUERIES].stride,
        .k = operand_data(o, KEYS),
        .v = operand_data(o, VALUES),
        .limit = operand_data(o, LIMITS),
        .R = s->n,
        .d = s->K,
        .begin = s->begin,
        .end = s->end,
        .o = operand_data(o, OUT),
        .m = operand_data(o, TOP),
        .l = operand_data(o, SUM),
        .scratch = operand_data(o, SCRATCH_FLOATS),
    };
}

static void run(void (*fn)(void), const struct operands *o) {
    struct attention_task task = task_of(o);
    ((attention_fn *)fn)(&task);
}

/* The result of one row does not depend on the others. */
static void rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    struct attention_task all = task_of(o);
    int rows[] = {0, all.R / 2, all.R - 1};
    for (int i = 0; i < 3; i++) {
        struct attention_task one = all;
        int r = rows[i];
        float out[128], m, l;
        one.q += (size_t)r * one.q_stride;
        one.limit += r;
        one.R = 1;
        one.o = out;
        one.m = &m;
        one.l = &l;
        ((attention_fn *)fn)(&one);
        if (attention_spoiled(&o->shape, r)) continue;
        if (memcmp(&m, all.m + r, sizeof m) != 0 || memcmp(&l, all.l + r, sizeof l) != 0 ||
            memcmp(out, all.o + (size_t)r * all.d, (size_t)all.d * sizeof *out) != 0)
            verdict_fail(v, "row %d: other bits when it is computed alone", r);
    }
}

/* --- the oracle --- */

/* Scores of row r and the error float32 may make in each; returns how many positions it sees. */
static int row_scores(const struct attention_task *a, int r, int exact, double *score, double *error) {
    int end = a->limit[r] < a->end ? a->limit[r] : a->end;
    for (int p = a->begin; p < end; p++) {
        double sum = 0, size = 0;
        for (int i = 0; i < a->d; i++) {
            double term = (double)a->q[(size_t)r * a->q_stride + i] *
                          f16_value(a->k[((size_t)(p / KV_BLOCK) * a->d + i) * KV_BLOCK + p % KV_BLOCK]);
            sum += term;
            size += fabs(term);
        }
        score[p - a->begin] = sum;
        error[p - a->begin] = exact ? 0 : (a->d + 1) * UNIT_ROUNDOFF * size + a->d * FLOAT_TINY;
    }
    return end > a->begin ? end - a->begin : 0;
}

/* exp(score - m) of one position may be off, relatively: by the errors of both scores; by the rounding of
 * their difference, taken in one step or in several as the maximum moves; by one exp per rescaling; by the
 * adds. What is below 1e-37 may be lost. */
static void row_oracle(const struct attention_task *a, int n, const double *score, const double *error,
                       double *o, double *o_bound, double *ml, double *ml_bound) {
    double top = -INFINITY, top_error = 0, sum = 0, sum_bound = 0;
    for (int p = 0; p < n; p++) {
        top = fmax(top, score[p]);
        top_error = fmax(top_error, error[p]);
    }
    double rescalings = n / 16.0 + 1;
    double steps = (tolerances[TOL_EXP].limit * (1 + rescalings) + n + 2) * UNIT_ROUNDOFF;
    for (int i = 0; i < a->d; i++) o[i] = o_bound[i] = 0;
    for (int p = 0; p < n; p++) {
        double e = exp(score[p] - top);
        double off = e * expm1(error[p] + top_error + 2 * UNIT_ROUNDOFF * (top - score[p]) + steps) + 1e-37;
        sum += e;
        sum_bound += off;
        for (int i = 0; i < a->d; i++) {
            double v = f16_value(a->v[(size_t)(a->begin + p) * a->d + i]);
            o[i] += e * v;
            o_bound[i] += off * fabs(v);
        }
    }
    ml[0] = top;
    ml_bound[0] = top_error;
    ml[a->R] = sum;
    ml_bound[a->R] = sum_bound;
}

static void oracle(const struct operands *o, double *want, double *bound) {
    enum { MOST = 32768 };
    static _Thread_local double score[MOST], error[MOST];
    struct attention_task a = task_of(o);
    size_t ml = (size_t)a.R * (size_t)a.d;
    for (int r = 0; r < a.R; r++) {
        int n = row_scores(&a, r, o->shape.pattern == PATTERN_EXACT, score, error);
        size_t at = (size_t)r * (size_t)a.d;
        row_oracle(&a, n, score, error, want + at, bound + at, want + ml + r, bound + ml + r);
        if (!attention_spoiled(&o->shape, r)) continue;
        for (int i = 0; i < a.d; i++) bound[at + (size_t)i] = NAN;
        bound[ml + (size_t)r] = bound[ml + (size_t)(a.R + r)] = NAN;
    }
}

static void cost(const struct shape *s, double *bytes, double *macs) {
    *bytes = 4.0 * s->K * (s->end - s->begin);
    *macs = 2.0 * s->K * (s->end - s->begin) * s->n;
}

const struct kernel_case case_attention = {
    .op = OP_attention,
    .shape = shape,
    .bench_shape = attention_bench_shape,
    .describe = attention_describe,
    .prepare = prepare,
    .run = run,
    .oracle = oracle,
    .rules = rules,
    .cost = cost,
};
