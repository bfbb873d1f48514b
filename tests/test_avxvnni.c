/* SPDX-License-Identifier: Apache-2.0 */
/* test_avxvnni: the 256-bit VNNI kernels on CPUs that have the instruction in its AVX-512VL coding only. */
#define LFM2_EVEX_VNNI
#define gemm_q4a8_avxvnni second_gemm_q4a8_avxvnni
#define gemm_q8a8_avxvnni second_gemm_q8a8_avxvnni
#define gemm_q6a8_avxvnni second_gemm_q6a8_avxvnni
#include "optimized/kernels_avxvnni.c"

#include <criterion/criterion.h>

#include "tests/second_coding.h"

static void check(enum kernel_op op, void (*fn)(void)) {
    if ((cpu_features() & CPU_AVX512VNNI) == 0) cr_skip("this CPU has no vpdpbusd in AVX-512VL coding");
    char why[240] = "";
    int cases;
    long values;
    cr_expect_eq(second_coding_check(op, fn, 3, &cases, &values, why), 0, "%s", why);
    cr_expect(cases > 20 && values > 1000, "%d cases, %ld values", cases, values);
}

Test(avxvnni, q4) {
    check(OP_gemm_q4a8, (void (*)(void))second_gemm_q4a8_avxvnni);
}
Test(avxvnni, q8) {
    check(OP_gemm_q8a8, (void (*)(void))second_gemm_q8a8_avxvnni);
}
Test(avxvnni, q6) {
    check(OP_gemm_q6a8, (void (*)(void))second_gemm_q6a8_avxvnni);
}
