/* SPDX-License-Identifier: Apache-2.0 */
/* check: what every test of numbers here stands on: buffers whose neighbours cannot be touched, inputs that
 * replay from a seed, and one table of all tolerances with the reason of each. No test framework and no
 * kernels. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Counter-based: value i of a stream is a hash of (key, i), so a case replays whatever ran before it. */
struct rng {
    uint64_t key, counter;
};
uint64_t rng_key(uint64_t seed, uint64_t op, uint64_t index);
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t limit); /* 0 .. limit-1 */
double rng_uniform(struct rng *r, double low, double high);
void rng_bytes(struct rng *r, void *dst, size_t bytes);

/* A buffer between two pages that cannot be accessed. LEFT puts its first byte on the first accessible byte,
 * RIGHT its last byte on the last one: an overrun or an underrun by one byte faults on one of the two. The
 * unused rest of the accessible pages holds a canary. */
enum side { LEFT, RIGHT };
struct guarded {
    unsigned char *data;
    size_t bytes;
    unsigned char *body; /* the accessible pages, body_bytes of them */
    size_t body_bytes;
};
int guarded_take(struct guarded *g, size_t bytes, enum side side); /* -1: no memory */
void guarded_drop(struct guarded *g);
int guarded_intact(const struct guarded *g); /* 0: something wrote outside [data, data + bytes) */

/* Calls body(arg) and returns 0, or the signal (SIGSEGV, SIGBUS, SIGILL) that ended it, with the address in
 * *fault. body must hold no resource: it is left by a jump. */
int call_guarded(void (*body)(void *), void *arg, uintptr_t *fault);

/* Every tolerance of this project's tests. limit is in the unit that `what` names; u = 2^-24, the rounding
 * unit of float32. */
enum tolerance_id {
    TOL_GEMM_A8,
    TOL_GEMM_F32,
    TOL_QUANTIZE_Q,
    TOL_QUANTIZE_SCALE,
    TOL_RMSNORM,
    TOL_ROPE,
    TOL_SWIGLU,
    TOL_CONV,
    TOL_EXP,
    TOL_NMSE_REFERENCE,
    TOL_NMSE_REFERENCE_SPLIT,
    TOL_NMSE_FLOAT_WEIGHTS,
    TOL_NMSE_INT8_ACTIVATIONS,
    TOL_NMSE_INT8_CACHE,
    TOL_NMSE_INT8_FLIPS,
    TOL_NMSE_FOLDED,
    TOL_NMSE_BF16,
    TOL_ROUTER_MARGIN,
    TOL_COUNT,
};
struct tolerance {
    const char *what;
    double limit;
    const char *why;
};
extern const struct tolerance tolerances[TOL_COUNT];

#define UNIT_ROUNDOFF 0x1p-24
#define FLOAT_TINY    0x1p-149 /* the smallest step of float32: an absolute floor where products underflow */

/* The outcome of comparing values: how near the worst one came to its bound, and the first thing that was
 * wrong. */
struct verdict {
    double worst;  /* largest |got - want| / bound; 1 is the limit */
    long values;   /* compared */
    long zeros;    /* of them, expected to be exactly 0 */
    char why[240]; /* empty: all is well so far */
};

/* Keeps the first complaint. */
__attribute__((format(printf, 2, 3))) void verdict_fail(struct verdict *v, const char *fmt, ...);

/* |got - want| <= bound; bound 0: equal. A want of NaN or Inf must be met by NaN or the same Inf, a finite
 * want by a finite value. bound NaN: unspecified, nothing is compared. what and index name the value in a
 * complaint. */
void verdict_value(struct verdict *v, double want, double got, double bound, const char *what, size_t index);

#endif
