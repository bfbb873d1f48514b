/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_cases: the part that is the same for every op: operands, poison, and the order of the checks. */
#include "tests/kernel_cases.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const pattern_names[PATTERN_COUNT] = {
    "random",      "exact",   "zeros", "equal",       "maximum",  "minimum",
    "alternating", "outlier", "tiny",  "zero_groups", "negative", "nonfinite",
};

static const struct kernel_case *const cases[] = {
    &case_quantize_a8, &case_gemm_q4a8, &case_gemm_q8a8, &case_gemm_q6a8, &case_gemm_f32,   &case_rmsnorm,
    &case_rope,        &case_swiglu,    &case_conv,      &case_attention, &case_attention8, &case_to_f16,
};

const struct kernel_case *kernel_case(enum kernel_op op) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (cases[i]->op == op) return cases[i];
    return NULL;
}

/* --- operands --- */

static const size_t element_size[] = {[ELEMENT_I8] = 1,  [ELEMENT_I16] = 2, [ELEMENT_I32] = 4,
                                      [ELEMENT_F16] = 2, [ELEMENT_F32] = 4, [ELEMENT_BYTES] = 1};

void *operand_add(struct operands *o, const char *name, enum role role, enum element element, int rows,
                  int columns, size_t stride) {
    static _Alignas(64) unsigned char nothing[64]; /* so that prepare need not care */
    struct operand *x = &o->list[o->count];
    *x = (struct operand){name, role, element, rows, columns, stride, {0}};
    size_t bytes = ((size_t)(rows - 1) * stride + (size_t)columns) * element_size[element];
    if (o->no_memory || guarded_take(&x->memory, bytes, o->side) != 0) {
        o->no_memory = 1;
        return nothing;
    }
    o->count++;
    memset(x->memory.data, 0xff, bytes);
    return x->memory.data;
}

int operands_take(struct operands *o, const struct kernel_case *c, const struct shape *s, uint64_t key,
                  enum side side) {
    *o = (struct operands){.shape = *s, .side = side, .rng = {key, 0}};
    c->prepare(o);
    if (!o->no_memory) return 0;
    operands_drop(o);
    return -1;
}

void operands_drop(struct operands *o) {
    for (int i = 0; i < o->count; i++) guarded_drop(&o->list[i].memory);
    o->count = 0;
}

static size_t output_values(const struct operands *o) {
    size_t n = 0;
    for (int i = 0; i < o->count; i++)
        if (o->list[i].role == OUTPUT || o->list[i].role == IN_OUT)
            n += (size_t)o->list[i].rows * (size_t)o->list[i].columns;
    return n;
}

static const unsigned char *element_at(const struct operand *x, int row, int column) {
    return x->memory.data + ((size_t)row * x->stride + (size_t)column) * element_size[x->element];
}

static double element_value(const struct operand *x, int row, int column) {
    const unsigned char *p = element_at(x, row, column);
    int8_t i8;
    int16_t i16;
    int32_t i32;
    uint16_t f16;
    float f32;
    switch (x->element) {
    case ELEMENT_I8:
        return memcpy(&i8, p, sizeof i8), i8;
    case ELEMENT_I16:
        return memcpy(&i16, p, sizeof i16), i16;
    case ELEMENT_I32:
        return memcpy(&i32, p, sizeof i32), i32;
    case ELEMENT_F16:
        return memcpy(&f16, p, sizeof f16), f16_value(f16);
    case ELEMENT_F32:
        return memcpy(&f32, p, sizeof f32), (double)f32;
    case ELEMENT_BYTES:
        return *p;
    }
    return NAN;
}

/* --- one call --- */

static void snapshot_drop(unsigned char **copies) {
    for (int i = 0; copies && i < MAX_OPERANDS; i++) free(copies[i]);
    free(copies);
}

/* A copy of what a call may not change, or must start from again. */
static unsigned char **snapshot(const struct operands *o) {
    unsigned char **copies = calloc(MAX_OPERANDS, sizeof *copies);
    for (int i = 0; copies && i < o->count; i++) {
        const struct guarded *m = &o->list[i].memory;
        copies[i] = malloc(m->bytes ? m->bytes : 1);
        if (!copies[i]) {
            snapshot_drop(copies);
            return NULL;
        }
        memcpy(copies[i], m->data, m->bytes);
    }
    return copies;
}

static void poison(struct operands *o, unsigned char **start, int byte) {
    for (int i = 0; i < o->count; i++) {
        struct guarded *m = &o->list[i].memory;
        if (o->list[i].role == OUTPUT || o->list[i].role == SCRATCH) memset(m->data, byte, m->bytes);
        if (o->list[i].role == IN_OUT) memcpy(m->data, start[i], m->bytes);
    }
}

struct call {
    const struct kernel_case *c;
    void (*fn)(void);
    const struct operands *o;
    struct verdict *v; /* NULL: run; else: rules */
};

static void call_body(void *arg) {
    struct call *call = arg;
    if (call->v)
        call->c->rules(call->fn, call->o, call->v);
    else
        call->c->run(call->fn, call->o);
}

/* Which buffer was left: the one whose end is nearest, since guard pages of neighbours may touch. */
static void name_fault(const struct operands *o, uintptr_t at, int sig, struct verdict *v) {
    const struct operand *nearest = NULL;
    size_t distance = 65536;
    int before = 0;
    for (int i = 0; i < o->count; i++) {
        uintptr_t start = (uintptr_t)o->list[i].memory.data, end = start + o->list[i].memory.bytes;
        size_t away = at < start ? start - at : at - end;
        if ((at >= start && at < end) || away >= distance) continue;
        nearest = &o->list[i];
        distance = away;
        before = at < start;
    }
    if (sig == SIGILL)
        verdict_fail(v, "signal %d: an instruction this CPU lacks", sig);
    else if (nearest)
        verdict_fail(v, "signal %d: touched %s %zu bytes %s", sig, nearest->name, distance,
                     before ? "before its start" : "after its end");
    else
        verdict_fail(v, "signal %d at an address of no operand", sig);
}

/* Returns 0, or -1 after a complaint. */
static int call_kernel(struct call call, struct verdict *v) {
    uintptr_t at;
    int sig = call_guarded(call_body, &call, &at);
    if (sig == 0) return 0;
    name_fault(call.o, at, sig, v);
    return -1;
}

/* Nothing but the outputs' elements was touched. */
static void check_untouched(const struct operands *o, unsigned char **start, int byte, struct verdict *v) {
    for (int i = 0; i < o->count; i++) {
        const struct operand *x = &o->list[i];
        const struct guarded *m = &x->memory;
        if (!guarded_intact(m)) verdict_fail(v, "wrote outside %s", x->name);
        if (x->role == INPUT && memcmp(m->data, start[i], m->bytes) != 0)
            verdict_fail(v, "changed its input %s", x->name);
        if (x->role == INPUT || x->role == SCRATCH) continue;
        size_t size = element_size[x->element], width = (size_t)x->columns * size, stride = x->stride * size;
        for (int row = 0; row + 1 < x->rows; row++)
            for (size_t k = (size_t)row * stride + width; k < (size_t)(row + 1) * stride; k++)
                if (m->data[k] != (x->role == OUTPUT ? byte : start[i][k])) {
                    verdict_fail(v, "wrote between the rows of %s, after row %d", x->name, row);
                    break;
                }
    }
}

/* Outputs of two calls, bit for bit. Before, they held different poisons: an element nobody wrote differs
 * too. */
static void check_same_bits(const struct operands *a, const struct operands *b, const double *bound,
                            const char *how, struct verdict *v) {
    size_t value = 0;
    for (int i = 0; i < a->count; i++) {
        const struct operand *x = &a->list[i], *y = &b->list[i];
        if (x->role != OUTPUT && x->role != IN_OUT) continue;
        size_t size = element_size[x->element];
        for (int row = 0; row < x->rows; row++)
            for (int k = 0; k < x->columns; k++, value++) {
                if (bound && isnan(bound[value])) continue;
                if (memcmp(element_at(x, row, k), element_at(y, row, k), size) == 0) continue;
                double p = element_value(x, row, k), q = element_value(y, row, k);
                if (bound && isnan(p) && isnan(q)) continue;
                verdict_fail(v, "%s[%d][%d] is %.9g and %.9g: %s", x->name, row, k, p, q, how);
                return;
            }
    }
}

static void check_values(const struct operands *o, const double *want, const double *bound,
                         struct verdict *v) {
    size_t value = 0;
    for (int i = 0; i < o->count; i++) {
        const struct operand *x = &o->list[i];
        if (x->role != OUTPUT && x->role != IN_OUT) continue;
        for (int row = 0; row < x->rows; row++)
            for (int k = 0; k < x->columns; k++, value++)
                verdict_value(v, want[value], element_value(x, row, k), bound[value], x->name,
                              (size_t)row * (size_t)x->columns + (size_t)k);
    }
}

enum { POISON_A = 0xff, POISON_B = 0x7b }; /* as floats: NaN, and a large number */

static void check_row(const struct kernel_case *c, const struct kernel *row, struct operands *left,
                      struct operands *right, unsigned char **start, const double *want, const double *bound,
                      struct verdict *v) {
    struct call call = {c, row->fn, left, NULL};
    poison(left, start, POISON_A);
    if (call_kernel(call, v) != 0) return;
    check_untouched(left, start, POISON_A, v);
    call.o = right;
    poison(right, start, POISON_B);
    if (call_kernel(call, v) != 0) return;
    check_untouched(right, start, POISON_B, v);
    check_same_bits(left, right, NULL, "not written, or a repeated call gives other bits", v);
    check_values(left, want, bound, v);
    if (!c->rules) return;
    call = (struct call){c, row->fn, left, v};
    call_kernel(call, v);
}

/* The scalar row's outputs stay in *scalar_out. */
static int scalar_outputs(const struct kernel_case *c, const struct kernel *scalar, struct operands *out,
                          unsigned char **start) {
    struct verdict ignored = {0};
    poison(out, start, POISON_A);
    return call_kernel((struct call){c, scalar->fn, out, NULL}, &ignored);
}

int check_case(const struct kernel_case *c, const struct shape *s, uint64_t key, const struct kernel *scalar,
               const struct kernel *const *rows, int n_rows, struct verdict *verdicts) {
    struct operands left = {0}, right = {0}, plain = {0};
    int status = -1;
    memset(verdicts, 0, (size_t)n_rows * sizeof *verdicts);
    if (operands_take(&left, c, s, key, LEFT) != 0) return -1;
    size_t values = output_values(&left);
    double *want = malloc(values * sizeof *want), *bound = malloc(values * sizeof *bound);
    unsigned char **start = snapshot(&left);
    if (!want || !bound || !start || operands_take(&right, c, s, key, RIGHT) != 0) goto done;
    c->oracle(&left, want, bound);
    int compare = c->bit_equal && operands_take(&plain, c, s, key, LEFT) == 0 &&
                  scalar_outputs(c, scalar, &plain, start) == 0;
    for (int i = 0; i < n_rows; i++) {
        check_row(c, rows[i], &left, &right, start, want, bound, &verdicts[i]);
        if (compare && rows[i] != scalar && !verdicts[i].why[0])
            check_same_bits(&right, &plain, bound, "not the bits of the scalar row", &verdicts[i]);
    }
    status = 0;
done:
    snapshot_drop(start);
    free(want);
    free(bound);
    operands_drop(&left);
    operands_drop(&right);
    operands_drop(&plain);
    return status;
}
