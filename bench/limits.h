/* SPDX-License-Identifier: Apache-2.0 */
/* limits: what this machine can do at best: read bandwidth from memory and multiply-accumulate peaks. The
 * speeds of models and kernels are shown as a share of these. Measured with pinned threads, each repetition
 * kept. */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "bench/records.h"

struct limits_options {
    int threads; /* 0: one per CPU. The full measurement adds one thread alone */
    int quick;   /* 1: only `threads` threads, 0.9 GB, the strongest row of each peak: about two seconds */
    int repetitions;   /* 0: 7 (quick: 5) */
    unsigned cpu_mask; /* CPU_* features that may be used; 0: all */
    /* Called before each row; NULL: not. */
    void (*progress)(void *arg, const char *what, int done, int total);
    void *progress_arg;
};

/* Appends limits_row and sample_row rows. Reading a set larger than the free memory allows is left out. */
enum status limits_measure(const struct limits_options *o, struct rows *limits, struct rows *samples,
                           struct error *e);

/* The best median of a name ("read", "int8", "bf16", "fp32") with this many threads; 0 when it was not
 * measured. For "read" the largest set counts. */
double limits_best(const struct rows *limits, const char *name, int threads);

/* The same loops to be run again and again: 0.9 GB to read and the strongest int8 row, on `threads` pinned
 * threads. ERR_MEMORY also when that much memory is not free. limits_stand_run takes about `seconds` and at
 * least one pass. */
struct limits_stand;
enum status limits_stand_open(struct limits_stand **out, int threads, unsigned cpu_mask, struct error *e);
void limits_stand_run(struct limits_stand *s, double seconds, double *read_gb_s, double *int8_gmac_s);

#endif
