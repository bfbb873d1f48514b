/* test_avxvnni: the 256-bit VNNI kernels on CPUs that have the instruction in its AVX-512VL coding only. The
 * file is compiled a second time with that coding, under other names, and goes through the cases of the
 * kernel table. */
#define LFM2_EVEX_VNNI
#define gemm_q4a8_avxvnni evex_q4
#define gemm_q8a8_avxvnni evex_q8
#define gemm_q6a8_avxvnni evex_q6
#include "optimized/kernels_avxvnni.c"

#include <criterion/criterion.h>

#include "tests/kernel_cases.h"

static const struct kernel *scalar_row(enum kernel_op op) {
    for (int i = 0; i < n_kernels; i++)
        if (kernels[i].op == op) return &kernels[i];
    return NULL;
}

static void check_op(enum kernel_op op, void (*fn)(void)) {
#ifdef __x86_64__
    if ((cpu_features() & CPU_AVX512VNNI) == 0) cr_skip("this CPU has no vpdpbusd in AVX-512VL coding");
#endif
    const struct kernel_case *c = kernel_case(op);
    struct kernel row = *scalar_row(op);
    const struct kernel *rows[] = {&row};
    row.isa = "avxvnni (EVEX)";
    row.fn = fn;
    struct shape shape;
    struct verdict total = {0};
    int cases = 0;
    for (int i = 0; c->shape(i, &shape); i += 3, cases++) {
        struct verdict v = {0};
        cr_assert_eq(check_case(c, &shape, (uint64_t)i, scalar_row(op), rows, 1, &v), 0, "out of memory");
        cr_assert_str_empty(v.why, "case %d: %s", i, v.why);
        total.values += v.values;
    }
    cr_assert_gt(cases, 20);
    cr_assert_gt(total.values, 1000);
}

Test(avxvnni, q4) {
    check_op(OP_gemm_q4a8, (void (*)(void))evex_q4);
}
Test(avxvnni, q8) {
    check_op(OP_gemm_q8a8, (void (*)(void))evex_q8);
}
Test(avxvnni, q6) {
    check_op(OP_gemm_q6a8, (void (*)(void))evex_q6);
}
