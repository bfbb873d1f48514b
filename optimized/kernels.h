/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: the contract of every op the optimized engine is built from, and the one table of its variants.
 *
 * kernels.def is expanded here into declarations (a function-type typedef declares the function, so a wrong
 * signature does not compile) and in kernels.c into kernels[]. Dispatch, tests and micro-benchmarks all walk
 * kernels[]. Kernels allocate nothing, lock nothing and cannot fail; sizes are validated by their callers.
 *
 * Numbers: activations are quantised per 32 values, symmetric int8 (the scheme of ggml's Q8_0, with a float32
 * scale). Weights keep the exact integers and scales of the file. A product is
 *     y = sum over blocks of  w_scale * a_scale * (integer sum of w_q * a_q)
 * with the integer part exact in every variant and the float part rounded once per block.
 *
 * Tried and left out, because it was measured not to pay (2 Zen 4 cores in a virtual machine, gcc 12):
 *     tried                                                   against what is here
 *     AVX2 tiles of 6 tokens, groups unrolled                 slower: 16 registers, the compiler spills
 *     int4 weights prefetched 8 or 16 KB ahead, or into L2    decode 0.65 to 0.95 x; attention gains from it
 *     panels taken from a counter in decode                   0.98 to 1.00 x
 *     real-time priority                                      throttled by the kernel to 95 % of each second
 *     offsets of Q6 taken from the sums of whole blocks       1.00 x
 *     a fifth line prefetched per block, or 2 KB ahead        0.99 to 1.01 x with 8 tokens
 *     exp of degree 5 and one step of reduction               attention 1.01 to 1.05 x, swiglu less exact
 *     99 instead of 173 barriers per LFM2-8B-A1B token        1.00 x (0.3 %) with 2 threads; kept for more
 *     packed weights mapped in 4 KiB pages                    decode 0.70 to 0.84 x of huge pages
 *     counting sort of tokens by expert by all threads        it takes 0.08 to 0.09 ms of a layer's 585 with
 *                                                             2048 tokens: 0.015 %
 *
 * Packed weights: rows are stored in panels of PANEL = 16, and within a panel block by block along K, so that
 * a thread streams its panels front to back. Bytes that belong together in a 4-way dot product are adjacent:
 * "group g" of a block means weights k = 4g .. 4g+3 of all 16 rows, 64 bytes [16 rows][4]. */
#ifndef OPTIMIZED_KERNELS_H
#define OPTIMIZED_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { PANEL = 16, BLOCK = 32, KV_BLOCK = 16 };

/* One block of a panel, 16 rows x 32 weights. Q4_0: 4.5 bits per weight, as in the file.
 * q[g][r][i], g < 4: low nibble = weight 4g+i, high nibble = weight 16+4g+i of row r, both in 0..15 (w + 8).
 */
struct q4_block {
    uint8_t q[4][PANEL][4];
    uint16_t scale[PANEL]; /* f16 */
};
/* Q8_0: q[g][r][i] = weight 4g+i of row r, signed. */
struct q8_block {
    int8_t q[8][PANEL][4];
    uint16_t scale[PANEL];
};
/* Q6_K, 16 rows x 256 weights as 8 parts of 32, each one contiguous run of bytes. low: the low 4 bits, as in
 * q4_block. high[j][r][i]: the top 2 bits, field f (bits 2f, 2f+1) of byte (j, r, i) belongs to group g = 2f
 * + j. w = (low | high << 4) - 32; sub_scale[s] covers weights 16s .. 16s+15 of the part. */
struct q6_block {
    struct q6_part {
        uint8_t low[4][PANEL][4];
        uint8_t high[2][PANEL][4];
        int8_t sub_scale[2][PANEL];
    } part[8];
    uint16_t scale[PANEL]; /* f16 */
};

/* n quantised activation rows of width K (a multiple of 32), row t at q + t*q_stride. x ~ scale * q. */
struct act8 {
    int8_t *q;        /* [n, K], |q| <= 127 */
    float *scale;     /* [n, K/32] */
    int32_t *offset8; /* [n, K/32] -8 * the sum of the block's q: turns a dot product with the unsigned
                       * nibbles w + 8 into one with w, as the start value of an accumulator */
    int16_t *sum16;   /* [n, K/16] sum of each half block */
    size_t q_stride;  /* bytes, a multiple of 64 */
    size_t s_stride;  /* elements of scale and offset8; sum16 rows are 2*s_stride apart */
};

/* One row: scale = max|x| / 127 per block, q = x / scale rounded to nearest even; an all-zero block has scale
 * 0. A block that holds NaN or infinity gets scale NaN and q 0, so that every product with it is NaN: a fault
 * upstream shows instead of being rounded away. q, scale, offset8, sum16 as in one row of act8. */
typedef void quantize_a8_fn(const float *x, int K, int8_t *q, float *scale, int32_t *offset8, int16_t *sum16);

/* y[t*y_stride + p*PANEL + r] = row p*PANEL + r of the packed matrix times activation row t, for p < panels,
 * r < PANEL, t < n. w points at the first panel; panels follow each other. K is a multiple of 32 (Q6: 256).
 * The result of one (row, t) does not depend on n or panels. */
typedef void gemm_q4a8_fn(const struct q4_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                          size_t y_stride);
typedef void gemm_q8a8_fn(const struct q8_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                          size_t y_stride);
typedef void gemm_q6a8_fn(const struct q6_block *w, int K, int panels, const struct act8 *a, int n, float *y,
                          size_t y_stride);

/* Any other weight type, dequantised by the caller into one panel w [K][PANEL]: y[t*y_stride + r] as above.
 */
typedef void gemm_f32_fn(const float *w, int K, const float *x, size_t x_stride, int n, float *y,
                         size_t y_stride);

/* y = x / sqrt(mean(x^2) + eps) * w, all [n]. y may be x. */
typedef void rmsnorm_fn(const float *x, const float *w, int n, float eps, float *y);

/* x [d] in place: pairs (i, i + d/2) rotated by the angle whose cosine and sine are cos[i], sin[i], i < d/2
 * (half-split, "NEOX" order). */
typedef void rope_fn(float *x, const float *cos, const float *sin, int d);

/* y[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)). y may be gate. */
typedef void swiglu_fn(const float *gate, const float *up, int n, float *y);

/* The gated short convolution of n tokens over channels [0, D): with bx = B*x,
 *     y[t][c] = C[t][c] * (taps[0][c]*bx[t-2][c] + taps[1][c]*bx[t-1][c] + taps[2][c]*bx[t][c])
 * bcx: row t at bcx + t*stride holds B at 0, C at gap, x at 2*gap. state [2][D] (row stride gap) holds
 * bx[-2], bx[-1] and is replaced by the last two columns. y row t at y + t*y_stride. */
typedef void conv_fn(const float *bcx, size_t stride, size_t gap, const float *taps /* [3], stride gap */,
                     float *state, int n, int D, float *y, size_t y_stride);

/* Attention of R query rows over cached positions [begin, end) of one kv head. Row r sees positions <
 * limit[r]. K cache: f16 [block of 16 positions][d][16]; V cache: f16 [position][d]. q is already scaled by
 * 1/sqrt(d). Writes for each row m = max score, l = sum exp(score - m), o [d] = sum exp(score - m) * v (not
 * divided by l); a row that sees nothing gets m = -INFINITY, l = 0, o = 0. begin is a multiple of 32; R <=
 * ATTENTION_ROWS. The result of one row does not depend on the others. Two K blocks may be read at once: K is
 * readable up to the next multiple of 32 positions, V up to end; outside [begin, end) both may hold anything,
 * NaN too. */
enum {
    ATTENTION_ROWS = 64,
    ATTENTION_SPAN = 128
}; /* span: positions per inner step, a contract for scratch */
struct attention_task {
    const float *q; /* [R, d], row stride q_stride */
    size_t q_stride;
    const uint16_t *k, *v; /* of this kv head, position 0 first */
    const int32_t *limit;  /* [R] */
    int R, d, begin, end;
    float *o, *m, *l; /* [R, d] dense, [R], [R] */
    float *scratch;   /* at least ATTENTION_ROWS * ATTENTION_SPAN floats, 64-byte aligned */
};
typedef void attention_fn(const struct attention_task *task);

/* The same over an int8 cache, half the bytes: scores are integer dot products with rounded queries, and in
 * each span the weights exp(score - m) * v_scale are rounded to 1/255 of the largest. K cache: unsigned
 * k + 128, |k| <= 127, [block of 16 positions][d/4][16][4] with f16 scales [block][d/32][16]; V cache: signed
 * [group of 4 positions][d][4], |v| <= 127, with one f16 scale per position. q: R rows of act8 of width d (a
 * multiple of 32), 1/sqrt(d) in its scales; sum16 is not read. l stays the unrounded sum. Caches and scales
 * are readable up to the next multiple of 32 positions. Everything else as in attention_task. */
struct attention8_task {
    struct act8 q;
    const uint8_t *k;
    const uint16_t *k_scale;
    const int8_t *v;
    const uint16_t *v_scale;
    const int32_t *limit;
    int R, d, begin, end;
    float *o, *m, *l;
    float *scratch;    /* as above */
    uint8_t *weights8; /* ATTENTION_ROWS * ATTENTION_SPAN, 64-byte aligned */
};
typedef void attention8_fn(const struct attention8_task *task);

/* dst[i] = f16 of src[i] / f32 of src[i]. */
typedef void to_f16_fn(const float *src, uint16_t *dst, int n);

/* CPU features a row may need. */
enum {
    CPU_AVX2 = 1 << 0,    /* AVX2, FMA, F16C */
    CPU_AVXVNNI = 1 << 1, /* VEX-coded 256-bit vpdpbusd */
    CPU_AVX512 = 1 << 2,  /* F, BW, VL, DQ */
    CPU_AVX512VNNI = 1 << 3,
    CPU_AVX512BF16 = 1 << 4,
    CPU_AMX = 1 << 5, /* AMX-TILE, AMX-INT8 and the kernel's permission to use them */
};

#define KERNEL(op, isa, needs) op##_fn op##_##isa;
#include "optimized/kernels.def"
#undef KERNEL

enum kernel_op {
    OP_quantize_a8,
    OP_gemm_q4a8,
    OP_gemm_q8a8,
    OP_gemm_q6a8,
    OP_gemm_f32,
    OP_rmsnorm,
    OP_rope,
    OP_swiglu,
    OP_conv,
    OP_attention,
    OP_attention8,
    OP_to_f16,
    OP_COUNT,
};

struct kernel {
    enum kernel_op op;
    const char *op_name; /* "gemm_q4a8" */
    const char *isa;     /* "avx512vnni" */
    unsigned needs;      /* CPU_* bits */
    void (*fn)(void);    /* cast to the op's typedef */
};
extern const struct kernel kernels[]; /* weakest first within an op */
extern const int n_kernels;

/* The typed functions chosen for one session. */
struct kernel_set {
    quantize_a8_fn *quantize_a8;
    gemm_q4a8_fn *gemm_q4a8;
    gemm_q8a8_fn *gemm_q8a8;
    gemm_q6a8_fn *gemm_q6a8;
    gemm_f32_fn *gemm_f32;
    rmsnorm_fn *rmsnorm;
    rope_fn *rope;
    swiglu_fn *swiglu;
    conv_fn *conv;
    attention_fn *attention;
    attention8_fn *attention8;
    to_f16_fn *to_f16;
    const struct kernel *chosen[OP_COUNT];
};

/* What this CPU (and its operating system) can run. */
unsigned cpu_features(void);

/* The features a name stands for: "scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx" and everything
 * weaker. Returns 0 and sets *mask (never 0: bit 31 is always set), or -1 for an unknown name. */
int cpu_mask_by_name(const char *name, unsigned *mask);
extern const char *const cpu_isa_names; /* "scalar, avx2, ..." for error texts */
/* Can this CPU run what the name stands for? The text gets the names it can, as in cpu_isa_names. */
int cpu_runs(const char *name, char *text, size_t size);

/* For each op the last row of kernels[] that cpu_features() & mask supports; mask 0 means all. */
void kernels_select(struct kernel_set *set, unsigned mask);

#endif
