/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: CPU detection, the mask, selection. */
#include "optimized/kernels.h"

#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define KERNEL(op, isa, needs) {OP_##op, #op, #isa, needs, (void (*)(void))op##_##isa},
const struct kernel kernels[] = {
#include "optimized/kernels.def"
};
#undef KERNEL
const int n_kernels = (int)(sizeof kernels / sizeof *kernels);

#ifdef __x86_64__
static unsigned long long xcr0(void) {
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (unsigned long long)hi << 32 | lo;
}

static unsigned detect(void) {
    unsigned a, b, c, d, mask = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    int osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave) return 0;
    unsigned long long x = xcr0();
    int ymm = (x & 0x6) == 0x6, zmm = (x & 0xe6) == 0xe6, tiles = (x & 0x60000) == 0x60000;
    unsigned a1 = 0, b1, c1, d1;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (a >= 1) __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
    if (ymm && fma && f16c && (b >> 5 & 1)) mask |= CPU_AVX2;
    if (mask && (a1 >> 4 & 1)) mask |= CPU_AVXVNNI;
    int f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1;
    if (mask && zmm && f && dq && bw && vl) {
        mask |= CPU_AVX512;
        if (c >> 11 & 1) mask |= CPU_AVX512VNNI;
        if (a1 >> 5 & 1) mask |= CPU_AVX512BF16;
        /* Linux grants the 8 KiB of tile state on request only: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA).
         */
        if (tiles && (d >> 24 & 1) && (d >> 25 & 1) && syscall(SYS_arch_prctl, 0x1023, 18) == 0)
            mask |= CPU_AMX;
    }
    return mask;
}
#else
static unsigned detect(void) {
    return 0;
}
#endif

unsigned cpu_features(void) {
    static unsigned cached;
    unsigned f = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (f) return f & ~(1u << 31);
    f = detect();
    __atomic_store_n(&cached, f | 1u << 31, __ATOMIC_RELAXED);
    return f;
}

/* Comes along with a name where the CPU has it. */
enum { EXTRAS = CPU_AVX512BF16 };

static const struct {
    const char *name;
    unsigned mask;
} isas[] = {
    {"scalar", 0},
    {"avx2", CPU_AVX2},
    {"avxvnni", CPU_AVX2 | CPU_AVXVNNI},
    {"avx512", CPU_AVX2 | CPU_AVX512},
    {"avx512vnni", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512BF16},
    {"amx", CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_AVX512BF16 | CPU_AMX},
};
const char *const cpu_isa_names = "scalar, avx2, avxvnni, avx512, avx512vnni, amx";

int cpu_mask_by_name(const char *name, unsigned *mask) {
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (strcmp(isas[i].name, name) == 0) {
            *mask = isas[i].mask | 1u << 31;
            return 0;
        }
    return -1;
}

int cpu_runs(const char *name, char *text, size_t size) {
    int found = 0;
    size_t used = 0;
    *text = 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (isas[i].mask & ~(unsigned)EXTRAS & ~cpu_features()) continue;
        found |= strcmp(isas[i].name, name) == 0;
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", isas[i].name);
    }
    return found;
}

void kernels_select(struct kernel_set *set, unsigned mask) {
    unsigned have = cpu_features() & (mask ? mask : ~0u);
    for (int i = 0; i < n_kernels; i++)
        if ((kernels[i].needs & ~have) == 0) set->chosen[kernels[i].op] = &kernels[i];
#define CHOOSE(op) set->op = (op##_fn *)set->chosen[OP_##op]->fn
    CHOOSE(quantize_a8);
    CHOOSE(gemm_q4a8);
    CHOOSE(gemm_q8a8);
    CHOOSE(gemm_q6a8);
    CHOOSE(gemm_f32);
    CHOOSE(rmsnorm);
    CHOOSE(rope);
    CHOOSE(swiglu);
    CHOOSE(conv);
    CHOOSE(attention);
    CHOOSE(attention8);
    CHOOSE(to_f16);
#undef CHOOSE
}
