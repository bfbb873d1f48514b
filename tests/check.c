/* SPDX-License-Identifier: Apache-2.0 */
/* check: guarded buffers, seeded inputs, tolerances and verdicts. */
#include "tests/check.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct tolerance tolerances[TOL_COUNT] = {
    [TOL_GEMM_A8] =
        {"gemm_q*a8: roundings beyond one add per block, in u * sum of |block terms|", 3,
         "integers are exact; a block rounds the product of scales, its product with the integer, and "
         "one add: blocks + 1 roundings in any order, doubled for second-order terms"},
    [TOL_GEMM_F32] = {"gemm_f32: roundings beyond one add per element, in u * sum |w x|", 2,
                      "one product and K - 1 adds in any order"},
    [TOL_QUANTIZE_Q] = {"quantize_a8: |q - x/scale| beyond 1/2, in u * 127", 4,
                        "x * (127/amax) has two roundings where x/scale has one; only near-ties can move"},
    [TOL_QUANTIZE_SCALE] = {"quantize_a8: scale, in ulp", 1, "a division, or a product with 1/127"},
    [TOL_RMSNORM] =
        {"rmsnorm: roundings beyond n/2, in u * |y|", 6,
         "a float sum of n squares errs by n u at most and the root halves that; then the division, the "
         "root and two products"},
    [TOL_ROPE] = {"rope: in u * (|a cos| + |b sin|)", 3, "two products and a sum"},
    [TOL_SWIGLU] = {"swiglu: in u * |y|", 12,
                    "a polynomial exp within 4 u, then 1 + e, a division and two products, "
                    "where a reciprocal may stand for the division"},
    [TOL_CONV] = {"conv: in u * |C| * sum |tap bx|", 6, "B*x, tap product, two adds, product with C"},
    [TOL_EXP] = {"attention: error of one exp, in u", 8,
                 "a polynomial exp within 4 u, twice where the maximum moved"},
    [TOL_NMSE_REFERENCE] = {"reference logits against the oracle, NMSE", 1e-8,
                            "float32 rounding leaves 1e-13 to 1e-12 on tiny models; a router choice turned "
                            "by it would leave 1e-3"},
    [TOL_NMSE_REFERENCE_SPLIT] =
        {"reference logits, the same tokens fed in other pieces, NMSE", 1e-10,
         "BLAS adds in another order for another number of rows: float32 rounding, twice"},
    [TOL_NMSE_FLOAT_WEIGHTS] = {"optimized logits against the oracle, F32 and F16 weights, NMSE", 1e-5,
                                "float products; keys and values in f16 leave 1e-9 to 1e-7"},
    [TOL_NMSE_INT8_ACTIVATIONS] =
        {"optimized logits against the oracle on the same experts, quantised weights, NMSE", 1.2e-3,
         "the oracle with activations rounded to int8 in blocks of 32 before each matrix, as ggml does, "
         "leaves 3e-4 (attention) to 9e-4 (convolutions, whose products square the error) on such models"},
    [TOL_NMSE_INT8_CACHE] = {"optimized logits against the oracle: what an int8 KV cache may add, NMSE", 6e-4,
                             "float models of one to three attention layers show 2e-5 to 3e-4, most where "
                             "every layer is attention"},
    [TOL_NMSE_INT8_FLIPS] =
        {"optimized logits against the oracle with experts of its own, quantised weights, NMSE", 8e-3,
         "near-ties of the router go the other way and change a quarter of a token's ffn; the oracle rounded "
         "like ggml leaves up to 3e-3 on tiny random models, which have many"},
    [TOL_NMSE_FOLDED] =
        {"optimized logits, scheme folded, on the same experts, NMSE", 6e-3,
         "five times int8 per 32: the largest of 256 normal values is 1.3 times that of 32, so activations "
         "err by 1.7 times the power, and re-rounded weights, 7 bits for 4, err by as much again"},
    [TOL_NMSE_BF16] =
        {"optimized logits, scheme bf16, on the same experts, NMSE", 1.2e-4,
         "a rounding to 8 bits errs by 2.4e-6 of the power, weights and activations by 5e-6 per product: a "
         "sixth of int8 per 32's 2.9e-5; with room, a tenth of its limit and no less"},
    [TOL_ROUTER_MARGIN] =
        {"optimized: s + bias of an expert left out, above that of one chosen", 0.03,
         "int8 activations move router logits of about 1 by 2 %, s by a quarter of that; extremes of "
         "some thousand choices"},
};

/* --- seeded inputs --- */

static uint64_t mix(uint64_t x) { /* the finaliser of splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t rng_key(uint64_t seed, uint64_t op, uint64_t index) {
    return mix(mix(mix(seed + 1) + op) + index);
}

uint64_t rng_u64(struct rng *r) {
    return mix(r->key + ++r->counter * 0x9e3779b97f4a7c15u);
}

uint32_t rng_below(struct rng *r, uint32_t limit) {
    return (uint32_t)((rng_u64(r) >> 32) * limit >> 32);
}

double rng_uniform(struct rng *r, double low, double high) {
    return low + (high - low) * ((double)(rng_u64(r) >> 11) * 0x1p-53);
}

void rng_bytes(struct rng *r, void *dst, size_t bytes) {
    unsigned char *p = dst;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t v = rng_u64(r);
        memcpy(p + i, &v, bytes - i < 8 ? bytes - i : 8);
    }
}

/* --- guarded buffers --- */

enum { CANARY = 0xa5 };

int guarded_take(struct guarded *g, size_t bytes, enum side side) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (bytes + page - 1) / page * page;
    if (body == 0) body = page;
    unsigned char *map = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return -1;
    g->body = map + page;
    g->body_bytes = body;
    g->bytes = bytes;
    g->data = side == LEFT ? g->body : g->body + (body - bytes);
    if (mprotect(g->body, body, PROT_READ | PROT_WRITE) != 0) {
        guarded_drop(g);
        return -1;
    }
    memset(side == LEFT ? g->body + bytes : g->body, CANARY, body - bytes);
    return 0;
}

void guarded_drop(struct guarded *g) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->body) munmap(g->body - page, g->body_bytes + 2 * page);
    *g = (struct guarded){0};
}

int guarded_intact(const struct guarded *g) {
    const unsigned char *end = g->body + g->body_bytes;
    for (const unsigned char *p = g->body; p < g->data; p++)
        if (*p != CANARY) return 0;
    for (const unsigned char *p = g->data + g->bytes; p < end; p++)
        if (*p != CANARY) return 0;
    return 1;
}

static _Thread_local sigjmp_buf escape;
static _Thread_local uintptr_t fault_address;

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)context;
    fault_address = (uintptr_t)info->si_addr;
    siglongjmp(escape, sig);
}

int call_guarded(void (*body)(void *), void *arg, uintptr_t *fault) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL};
    enum { N = sizeof signals / sizeof *signals };
    struct sigaction old[N], act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < N; i++) sigaction(signals[i], &act, &old[i]);
    int sig = sigsetjmp(escape, 1);
    if (sig == 0) body(arg);
    for (int i = 0; i < N; i++) sigaction(signals[i], &old[i], NULL);
    *fault = fault_address;
    return sig;
}

/* --- verdicts --- */

void verdict_fail(struct verdict *v, const char *fmt, ...) {
    if (v->why[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->why, sizeof v->why, fmt, args);
    va_end(args);
}

void verdict_value(struct verdict *v, double want, double got, double bound, const char *what, size_t index) {
    if (isnan(bound)) return;
    v->values++;
    v->zeros += want == 0;
    if (!isfinite(want)) {
        if (isnan(want) ? !isnan(got) : got != want)
            verdict_fail(v, "%s[%zu] is %.9g, expected %g", what, index, got, want);
        return;
    }
    if (!isfinite(got)) {
        v->worst = INFINITY;
        verdict_fail(v, "%s[%zu] is %g, expected %.9g", what, index, got, want);
        return;
    }
    double error = fabs(got - want);
    if (error == 0) return;
    double share = bound > 0 ? error / bound : INFINITY;
    if (share > v->worst) v->worst = share;
    if (share > 1) verdict_fail(v, "%s[%zu] is %.9g, expected %.9g +- %.3g", what, index, got, want, bound);
}
