/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_cases: what to try on every op of optimized/kernels.h, and how to know the answer. One struct
 * kernel_case per op: its shapes, its operands, how it is called, a float64 oracle written from the contract
 * (never from a kernel), and what a call costs. `lfm2 kernels` checks and times with it, tests/test_kernels.c
 * checks a part. */
#ifndef TESTS_KERNEL_CASES_H
#define TESTS_KERNEL_CASES_H

#include "optimized/kernels.h"
#include "tests/check.h"

/* How inputs look. Every op gives each pattern the meaning that hurts it most, or does not use it. */
enum pattern {
    PATTERN_RANDOM,
    PATTERN_EXACT, /* sums are exact in float32: the answer has no tolerance; rounding ties for quantise */
    PATTERN_ZEROS,
    PATTERN_EQUAL,       /* every value the same */
    PATTERN_MAXIMUM,     /* largest magnitudes, one sign: int8 127 and nibble 15 */
    PATTERN_MINIMUM,     /* the lowest codes: int8 -128 in weights, nibble 0 (= -8) */
    PATTERN_ALTERNATING, /* signs cancel */
    PATTERN_OUTLIER,     /* one huge value among small ones */
    PATTERN_TINY,        /* subnormal values and scales */
    PATTERN_ZERO_GROUPS, /* some blocks have scale 0 */
    PATTERN_NEGATIVE,    /* negative f16 scales, negative inputs */
    PATTERN_NONFINITE,   /* NaN and Inf where the contract says what follows, or only "no crash" */
    PATTERN_COUNT,
};
extern const char *const pattern_names[PATTERN_COUNT];

/* Sizes of one case; an op uses those its comment in kernel_cases.c names. */
struct shape {
    int K;          /* input width, vector length, channels of conv, head size of rope and attention */
    int panels;     /* of a packed matrix: 16 rows each */
    int n;          /* tokens; query rows of attention */
    int pad;        /* strides are larger than minimal by this many steps */
    int begin, end; /* positions of attention; end: the position of rope */
    enum pattern pattern;
    int cold; /* timed with inputs that come from memory, not from a cache */
};

enum role { INPUT, OUTPUT, IN_OUT, SCRATCH };
enum element { ELEMENT_I8, ELEMENT_I16, ELEMENT_I32, ELEMENT_F16, ELEMENT_F32, ELEMENT_BYTES };

/* rows x columns elements, rows stride elements apart; nothing follows the last row. */
struct operand {
    const char *name;
    enum role role;
    enum element element;
    int rows, columns;
    size_t stride;
    struct guarded memory;
};

enum { MAX_OPERANDS = 16 };
struct operands {
    struct shape shape;
    enum side side;
    struct rng rng;
    int count, no_memory;
    struct operand list[MAX_OPERANDS];
};

struct kernel_case {
    enum kernel_op op;
    int bit_equal; /* every row of the table gives the same bits as the scalar row */
    /* Fills case i; returns 0 past the last one. */
    int (*shape)(int i, struct shape *s);
    /* The shapes that matter for speed. Returns 0 past the last one. */
    int (*bench_shape)(int i, struct shape *s);
    void (*describe)(const struct shape *s, char *text, size_t size);
    /* Takes and fills every operand; o->shape, side and rng are set. Inputs depend on shape and rng only. */
    void (*prepare)(struct operands *o);
    void (*run)(void (*fn)(void), const struct operands *o);
    /* The expected value and its bound for each element of each output, in order; see verdict_value. */
    void (*oracle)(const struct operands *o, double *want, double *bound);
    /* Rules that are not about single values; may be NULL. Called after a run whose outputs are in o. */
    void (*rules)(void (*fn)(void), const struct operands *o, struct verdict *v);
    /* Bytes of weights or inputs that must be read once, and multiply-adds (0: not what limits it). */
    void (*cost)(const struct shape *s, double *bytes, double *macs);
};

/* The case of an op. */
const struct kernel_case *kernel_case(enum kernel_op op);

/* Prepared operands of one shape; returns -1 when memory is short. */
int operands_take(struct operands *o, const struct kernel_case *c, const struct shape *s, uint64_t key,
                  enum side side);
void operands_drop(struct operands *o);

/* Runs one case on each of n_rows rows of its op (scalar may be one of them) and fills one verdict per row.
 * scalar is the row that others are compared with. Returns -1 when memory is short. */
int check_case(const struct kernel_case *c, const struct shape *s, uint64_t key, const struct kernel *scalar,
               const struct kernel *const *rows, int n_rows, struct verdict *verdicts);

/* --- for the case files --- */

/* Adds an operand; its memory starts as NaNs so that an input's padding poisons whoever reads it. */
void *operand_add(struct operands *o, const char *name, enum role role, enum element element, int rows,
                  int columns, size_t stride);
static inline void *operand_data(const struct operands *o, int index) {
    return o->list[index].memory.data;
}

void fill_floats(struct operands *o, float *x, int n);
double f16_value(uint16_t h); /* not data/quant's: an oracle shares no code with what it judges */
uint16_t f16_nearest(double v);
uint16_t f16_scale(struct operands *o, int group); /* a scale as files hold them, by pattern */

extern const struct kernel_case case_quantize_a8, case_gemm_q4a8, case_gemm_q8a8, case_gemm_q6a8,
    case_gemm_f32, case_rmsnorm, case_rope, case_swiglu, case_conv, case_attention, case_attention8,
    case_to_f16;

#endif
