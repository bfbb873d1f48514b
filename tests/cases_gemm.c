/* SPDX-License-Identifier: Apache-2.0 */
/* cases_gemm: the integer matrix products. K: width, panels: of 16 rows, n: activation rows. Weights are
 * random codes in the packed layout (every bit pattern is legal), decoded here from the layout's comment in
 * kernels.h. */
#include "tests/kernel_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W, Q, SCALE, OFFSET8, SUM16, Y };

/* Large enough for many panels, small enough that a float64 oracle of every case takes seconds in all. */
enum { MAX_MACS = 4 << 20 };

static const int widths[] = {32, 64, 96, 160, 192, 256, 512, 1792, 2048, 6144, 7168};
static const int widths_q6[] = {256, 512, 768, 1792, 2048, 6144, 7168};
static const int tokens[] = {1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 64, 128};
static const int panel_counts[] = {1, 2, 3, 5, 8};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* {rows, width}: LFM2-8B-A1B and Qwen3-1.7B: projections, dense and expert feed-forward, the head. */
static const int model_shapes[][2] = {{512, 2048},  {2048, 2048}, {6144, 2048}, {1792, 2048}, {2048, 1792},
                                      {7168, 2048}, {2048, 7168}, {2048, 6144}, {65536, 2048}};

/* Cases: every (n, K) with panels and pattern changing along; every pattern at the narrowest and a wide K;
 * the model's matrices whole, for one token. */
static int gemm_shape(int i, struct shape *s, const int *K, int n_K) {
    *s = (struct shape){.pad = (i + i / 3) % 3};
    int pairs = COUNT(tokens) * n_K, patterns = 2 * 3 * PATTERN_COUNT;
    if (i < pairs) {
        s->n = tokens[i / n_K];
        s->K = K[i % n_K];
        s->panels = panel_counts[(i + i / 5) % COUNT(panel_counts)];
        s->pattern = (enum pattern)((i + i / 7) % PATTERN_COUNT);
        while (s->panels > 1 && (long)s->panels * PANEL * s->K * s->n > MAX_MACS) s->panels--;
    } else if (i < pairs + patterns) {
        int j = i - pairs;
        s->pattern = (enum pattern)(j / 6);
        s->K = j % 2 ? K[0] : 2048;
        s->n = j % 6 < 2 ? 1 : j % 6 < 4 ? 6 : 19;
        s->panels = 2;
    } else if (i < pairs + patterns + COUNT(model_shapes)) {
        int j = i - pairs - patterns;
        s->n = 1;
        s->K = model_shapes[j][1];
        s->panels = model_shapes[j][0] / PANEL;
    } else
        return 0;
    return 1;
}

static int shape_any(int i, struct shape *s) {
    return gemm_shape(i, s, widths, COUNT(widths));
}
static int shape_q6(int i, struct shape *s) {
    return gemm_shape(i, s, widths_q6, COUNT(widths_q6));
}

/* Decode of one token reads its weights from memory; prefill of 128 has them in a cache. */
static int bench_any(int i, struct shape *s) {
    static const int decode[] = {0, 1, 2, 3, 4, 5, 6}, prefill[] = {3, 4, 5};
    int is_decode = i < COUNT(decode);
    if (i >= COUNT(decode) + COUNT(prefill)) return 0;
    int which = is_decode ? decode[i] : prefill[i - COUNT(decode)];
    *s = (struct shape){.K = model_shapes[which][1], .n = is_decode ? 1 : 128, .cold = is_decode};
    s->panels = model_shapes[which][0] / PANEL;
    return 1;
}

/* The head for one token; a smaller matrix for a whole prompt. */
static int bench_q6(int i, struct shape *s) {
    *s = (struct shape){.K = 2048, .n = i ? 128 : 1, .cold = i == 0};
    s->panels = (i ? 2048 : 65536) / PANEL;
    return i < 2;
}

static void describe(const struct shape *s, char *text, size_t size) {
    snprintf(text, size, "%dx%d n=%d", s->panels * PANEL, s->K, s->n);
}

/* --- operands --- */

static int half_sum(const int8_t *q) {
    int sum = 0;
    for (int i = 0; i < 16; i++) sum += q[i];
    return sum;
}

/* EXACT: small integers and powers of two, so that no sum of K products reaches 2^24. */
static int activation(struct operands *o, int k) {
    switch (o->shape.pattern) {
    case PATTERN_EXACT:
        return (int)rng_below(&o->rng, 15) - 7;
    case PATTERN_ZEROS:
        return 0;
    case PATTERN_EQUAL:
        return 77;
    case PATTERN_MAXIMUM:
        return 127;
    case PATTERN_MINIMUM:
        return -127;
    case PATTERN_ALTERNATING:
        return k % 2 ? -127 : 127;
    case PATTERN_OUTLIER:
        return k % BLOCK == 5 ? 127 : (int)rng_below(&o->rng, 3) - 1;
    default:
        return (int)rng_below(&o->rng, 255) - 127;
    }
}

static float activation_scale(struct operands *o, int t, int block) {
    double random = rng_uniform(&o->rng, 0.001, 0.1);
    switch (o->shape.pattern) {
    case PATTERN_EXACT:
        return ldexpf(1, t % 5 - 2);
    case PATTERN_OUTLIER:
        return block == 0 ? 1e6f : (float)random;
    case PATTERN_TINY:
        return (float)(random * 1e-36);
    case PATTERN_ZERO_GROUPS:
        return block % 2 ? 0.0f : (float)random;
    default:
        return (float)random;
    }
}

static void add_activations(struct operands *o) {
    int K = o->shape.K, n = o->shape.n, blocks = K / BLOCK, pad = o->shape.pad;
    size_t q_stride = (size_t)((K + 63) / 64 + pad) * 64, s_stride = (size_t)(blocks + pad);
    int8_t *q = operand_add(o, "q", INPUT, ELEMENT_I8, n, K, q_stride);
    float *scale = operand_add(o, "scale", INPUT, ELEMENT_F32, n, blocks, s_stride);
    int32_t *offset8 = operand_add(o, "offset8", INPUT, ELEMENT_I32, n, blocks, s_stride);
    int16_t *sum16 = operand_add(o, "sum16", INPUT, ELEMENT_I16, n, 2 * blocks, 2 * s_stride);
    for (int t = 0; t < n && !o->no_memory; t++) {
        int8_t *row = q + (size_t)t * q_stride;
        for (int b = 0; b < blocks; b++) {
            scale[(size_t)t * s_stride + b] = activation_scale(o, t, b);
            int empty = scale[(size_t)t * s_stride + b] == 0; /* a block of scale 0 holds zeros */
            for (int k = b * BLOCK; k < (b + 1) * BLOCK; k++) row[k] = empty ? 0 : (int8_t)activation(o, k);
            int first = half_sum(row + b * BLOCK), second = half_sum(row + b * BLOCK + 16);
            sum16[(size_t)t * 2 * s_stride + 2 * b] = (int16_t)first;
            sum16[(size_t)t * 2 * s_stride + 2 * b + 1] = (int16_t)second;
            offset8[(size_t)t * s_stride + b] = -8 * (first + second);
        }
    }
}

static void add_output(struct operands *o) {
    int rows = o->shape.panels * PANEL;
    operand_add(o, "y", OUTPUT, ELEMENT_F32, o->shape.n, rows, (size_t)(rows + 5 * o->shape.pad));
}

/* Codes of 4 or 8 bits, bytes at a time. low_zero: the code 0 is the lowest value. */
static void fill_codes(struct operands *o, void *codes, size_t bytes, int high, int low, int equal) {
    switch (o->shape.pattern) {
    case PATTERN_EQUAL:
        memset(codes, equal, bytes);
        return;
    case PATTERN_MAXIMUM:
    case PATTERN_ALTERNATING:
        memset(codes, high, bytes);
        return;
    case PATTERN_MINIMUM:
        memset(codes, low, bytes);
        return;
    default:
        rng_bytes(&o->rng, codes, bytes);
    }
}

static void prepare_q4(struct operands *o) {
    int count = o->shape.panels * (o->shape.K / BLOCK);
    struct q4_block *w =
        operand_add(o, "w", INPUT, ELEMENT_BYTES, 1, count * (int)sizeof *w, (size_t)count * sizeof *w);
    for (int b = 0; b < count && !o->no_memory; b++) {
        fill_codes(o, w[b].q, sizeof w[b].q, 0xff, 0x00, 0x33);
        for (int r = 0; r < PANEL; r++) w[b].scale[r] = f16_scale(o, b + r);
    }
    add_activations(o);
    add_output(o);
}

static void prepare_q8(struct operands *o) {
    int count = o->shape.panels * (o->shape.K / BLOCK);
    struct q8_block *w =
        operand_add(o, "w", INPUT, ELEMENT_BYTES, 1, count * (int)sizeof *w, (size_t)count * sizeof *w);
    for (int b = 0; b < count && !o->no_memory; b++) {
        fill_codes(o, w[b].q, sizeof w[b].q, 0x7f, 0x80, 0x33);
        for (int r = 0; r < PANEL; r++) w[b].scale[r] = f16_scale(o, b + r);
    }
    add_activations(o);
    add_output(o);
}

static void prepare_q6(struct operands *o) {
    int count = o->shape.panels * (o->shape.K / 256);
    struct q6_block *w =
        operand_add(o, "w", INPUT, ELEMENT_BYTES, 1, count * (int)sizeof *w, (size_t)count * sizeof *w);
    for (int b = 0; b < count && !o->no_memory; b++) {
        for (int c = 0; c < 8; c++) {
            struct q6_part *part = &w[b].part[c];
            fill_codes(o, part->low, sizeof part->low, 0xff, 0x00, 0x33);
            fill_codes(o, part->high, sizeof part->high, 0xff, 0x00, 0x33);
            fill_codes(o, part->sub_scale, sizeof part->sub_scale, 0x7f, 0x80, 0x11);
            if (o->shape.pattern == PATTERN_EXACT)
                for (int i = 0; i < 2 * PANEL; i++) part->sub_scale[i / PANEL][i % PANEL] %= 8;
        }
        for (int r = 0; r < PANEL; r++) w[b].scale[r] = f16_scale(o, b + r);
    }
    add_activations(o);
    add_output(o);
}

/* --- calls --- */

static struct act8 act8_of(const struct operands *o, int t) {
    const struct operand *q = &o->list[Q], *scale = &o->list[SCALE];
    return (struct act8){
        .q = (int8_t *)operand_data(o, Q) + (size_t)t * q->stride,
        .scale = (float *)operand_data(o, SCALE) + (size_t)t * scale->stride,
        .offset8 = (int32_t *)operand_data(o, OFFSET8) + (size_t)t * scale->stride,
        .sum16 = (int16_t *)operand_data(o, SUM16) + (size_t)t * 2 * scale->stride,
        .q_stride = q->stride,
        .s_stride = scale->stride,
    };
}

typedef void gemm_fn(const void *w, int K, int panels, const struct act8 *a, int n, float *y,
                     size_t y_stride);

static void run(void (*fn)(void), const struct operands *o) {
    struct act8 a = act8_of(o, 0);
    ((gemm_fn *)fn)(operand_data(o, W), o->shape.K, o->shape.panels, &a, o->shape.n, operand_data(o, Y),
                    o->list[Y].stride);
}

/* The result of one (row, t) does not depend on n or panels: some single ones, and a part of the tokens. */
static void rules(void (*fn)(void), const struct operands *o, struct verdict *v) {
    const struct shape *s = &o->shape;
    size_t panel_bytes = o->list[W].memory.bytes / (size_t)s->panels;
    const float *y = operand_data(o, Y);
    int panels[] = {0, s->panels / 2, s->panels - 1}, first[] = {0, s->n / 3, s->n - 1};
    for (int i = 0; i < 3; i++) {
        int p = panels[i], t = first[i], n = i == 1 ? (s->n - t + 1) / 2 : 1;
        struct act8 a = act8_of(o, t);
        float alone[128][PANEL];
        ((gemm_fn *)fn)((char *)operand_data(o, W) + (size_t)p * panel_bytes, s->K, 1, &a, n, alone[0],
                        PANEL);
        for (int j = 0; j < n; j++)
            if (memcmp(alone[j], y + (size_t)(t + j) * o->list[Y].stride + p * PANEL, sizeof alone[j]) != 0)
                verdict_fail(v, "panel %d, token %d: other bits when %d token(s) and 1 panel are computed", p,
                             t + j, n);
    }
}

/* --- the oracle --- */

/* One row of weights as a file holds them: integers, and per 16 weights an integer and a real factor. */
struct row {
    int w[7168], sub[7168 / 16];
    double scale[7168 / 16];
};

static void decode_nibbles(const uint8_t q[4][PANEL][4], int r, int *w) {
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 4; i++) {
            w[4 * g + i] = q[g][r][i] % 16;
            w[16 + 4 * g + i] = q[g][r][i] / 16;
        }
}

static void decode_q4(const void *weights, int blocks, int r, struct row *row) {
    const struct q4_block *w = weights;
    for (int b = 0; b < blocks; b++) {
        decode_nibbles(w[b].q, r, row->w + b * BLOCK);
        for (int k = 0; k < BLOCK; k++) row->w[b * BLOCK + k] -= 8;
        for (int h = 0; h < 2; h++) {
            row->sub[2 * b + h] = 1;
            row->scale[2 * b + h] = f16_value(w[b].scale[r]);
        }
    }
}

static void decode_q8(const void *weights, int blocks, int r, struct row *row) {
    const struct q8_block *w = weights;
    for (int b = 0; b < blocks; b++) {
        for (int k = 0; k < BLOCK; k++) row->w[b * BLOCK + k] = w[b].q[k / 4][r][k % 4];
        for (int h = 0; h < 2; h++) {
            row->sub[2 * b + h] = 1;
            row->scale[2 * b + h] = f16_value(w[b].scale[r]);
        }
    }
}

static void decode_q6(const void *weights, int blocks, int r, struct row *row) {
    const struct q6_block *super = weights;
    for (int b = 0; b < blocks; b++) {
        const struct q6_block *w = super + b / 8;
        int *out = row->w + b * BLOCK, c = b % 8;
        decode_nibbles(w->part[c].low, r, out);
        for (int j = 0; j < 2; j++)
            for (int i = 0; i < 4; i++)
                for (int f = 0; f < 4; f++)
                    out[4 * (2 * f + j) + i] += (w->part[c].high[j][r][i] >> 2 * f) % 4 * 16;
        for (int k = 0; k < BLOCK; k++) out[k] -= 32;
        for (int h = 0; h < 2; h++) {
            row->sub[2 * b + h] = w->part[c].sub_scale[h][r];
            row->scale[2 * b + h] = f16_value(w->scale[r]);
        }
    }
}

/* Sums of half blocks bound every order of summation the contract allows. */
static void oracle(const struct operands *o, void (*decode)(const void *, int, int, struct row *),
                   double *want, double *bound) {
    const struct shape *s = &o->shape;
    int blocks = s->K / BLOCK, rows = s->panels * PANEL;
    size_t panel_bytes = o->list[W].memory.bytes / (size_t)s->panels;
    static _Thread_local struct row row;
    for (int i = 0; i < rows; i++) {
        decode((const char *)operand_data(o, W) + (size_t)(i / PANEL) * panel_bytes, blocks, i % PANEL, &row);
        for (int t = 0; t < s->n; t++) {
            struct act8 a = act8_of(o, t);
            double sum = 0, size = 0, floor = 0;
            for (int h = 0; h < 2 * blocks; h++) {
                int dot = 0;
                for (int k = 0; k < 16; k++) dot += row.w[h * 16 + k] * a.q[h * 16 + k];
                double term = row.scale[h] * (double)a.scale[h / 2] * ((double)dot * row.sub[h]);
                sum += term;
                size += fabs(term);
                floor += fabs((double)dot * row.sub[h]) + 1;
            }
            want[(size_t)t * rows + i] = sum;
            bound[(size_t)t * rows + i] =
                s->pattern == PATTERN_EXACT
                    ? 0
                    : (blocks + tolerances[TOL_GEMM_A8].limit) * UNIT_ROUNDOFF * size + floor * FLOAT_TINY;
            if (!isfinite(sum)) bound[(size_t)t * rows + i] = 0;
        }
    }
}

static void oracle_q4(const struct operands *o, double *want, double *bound) {
    oracle(o, decode_q4, want, bound);
}
static void oracle_q8(const struct operands *o, double *want, double *bound) {
    oracle(o, decode_q8, want, bound);
}
static void oracle_q6(const struct operands *o, double *want, double *bound) {
    oracle(o, decode_q6, want, bound);
}

static void cost(const struct shape *s, double bits, double *bytes, double *macs) {
    double weights = (double)s->K * s->panels * PANEL;
    *bytes = weights * bits / 8;
    *macs = weights * s->n;
}
static void cost_q4(const struct shape *s, double *bytes, double *macs) {
    cost(s, 4.5, bytes, macs);
}
static void cost_q8(const struct shape *s, double *bytes, double *macs) {
    cost(s, 8.5, bytes, macs);
}
static void cost_q6(const struct shape *s, double *bytes, double *macs) {
    cost(s, 6.5625, bytes, macs);
}

const struct kernel_case case_gemm_q4a8 = {
    .op = OP_gemm_q4a8,
    .shape = shape_any,
    .bench_shape = bench_any,
    .describe = describe,
    .prepare = prepare_q4,
    .run = run,
    .oracle = oracle_q4,
    .rules = rules,
    .cost = cost_q4,
};
const struct kernel_case case_gemm_q8a8 = {
    .op = OP_gemm_q8a8,
    .shape = shape_any,
    .bench_shape = bench_any,
    .describe = describe,
    .prepare = prepare_q8,
    .run = run,
    .oracle = oracle_q8,
    .rules = rules,
    .cost = cost_q8,
};
const struct kernel_case case_gemm_q6a8 = {
    .op = OP_gemm_q6a8,
    .shape = shape_q6,
    .bench_shape = bench_q6,
    .describe = describe,
    .prepare = prepare_q6,
    .run = run,
    .oracle = oracle_q6,
    .rules = rules,
    .cost = cost_q6,
};
