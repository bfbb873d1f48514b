/* SPDX-License-Identifier: Apache-2.0 */
/* peak: loops that do nothing but multiply-accumulate, or nothing but read: what this CPU could do at best
 * with each instruction the kernels use. Only for bench/limits; no model runs through here. */
#ifndef OPTIMIZED_PEAK_H
#define OPTIMIZED_PEAK_H

#include <stddef.h>
#include <stdint.h>

struct peak {
    const char *name; /* "int8", "bf16", "fp32" */
    const char *isa;  /* "avx512vnni" */
    unsigned needs;   /* CPU_* bits of optimized/kernels.h */
    int macs;         /* per iteration */
    void (*run)(int64_t iterations);
};
extern const struct peak peaks[];
extern const int n_peaks;

/* Reads bytes (a multiple of 4096, 64-byte aligned) from front to back once. The return value depends on
 * every byte. */
struct reader {
    const char *isa;
    unsigned needs;
    uint64_t (*run)(const void *data, size_t bytes);
};
extern const struct reader readers[]; /* weakest first */
extern const int n_readers;

#endif
