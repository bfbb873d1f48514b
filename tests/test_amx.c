/* SPDX-License-Identifier: Apache-2.0 */
/* test_amx: the AMX kernels with the five tile operations emulated in C, so that everything but the
 * instructions themselves is checked on CPUs without AMX. On a CPU with AMX tests/test_kernels.c checks the
 * real ones too. */
#define LFM2_EMULATE_AMX
#define gemm_q4a8_amx second_gemm_q4a8_amx
#define gemm_q8a8_amx second_gemm_q8a8_amx
#include "optimized/kernels_amx.c"

#include <criterion/criterion.h>

#include "tests/second_coding.h"

static void check(enum kernel_op op, void (*fn)(void)) {
    if ((cpu_features() & CPU_AVX512VNNI) == 0) cr_skip("this CPU has no AVX-512 VNNI");
    char why[240] = "";
    int cases;
    long values;
    cr_expect_eq(second_coding_check(op, fn, 3, &cases, &values, why), 0, "%s", why);
    cr_expect(cases > 20 && values > 1000, "%d cases, %ld values", cases, values);
}

Test(amx, q4) {
    check(OP_gemm_q4a8, (void (*)(void))second_gemm_q4a8_amx);
}
Test(amx, q8) {
    check(OP_gemm_q8a8, (void (*)(void))second_gemm_q8a8_amx);
}
