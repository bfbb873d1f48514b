/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: checks and times rows of the kernel table with the cases of tests/kernel_cases.h. Prints nothing
 * but the complaints handed to a callback; bench/cmd_kernels.c does the talking. */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include "bench/records.h"
#include "tests/kernel_cases.h"

enum kernel_state { KERNEL_PASS, KERNEL_FAIL, KERNEL_SKIP, KERNEL_MISTRUSTED };
extern const char *const kernel_state_names[]; /* "PASS" ... */

/* What a check found about one row. MISTRUSTED: nothing failed, but nothing was compared, or mostly zeros in
 * several cases. */
struct kernel_result {
    int selected;
    enum kernel_state state;
    int cases, failures;
    double worst; /* largest error as a share of its bound */
    double values, zeros;
};

/* The rows named by two comma-separated lists of names with * and ?; NULL: all. Sets results[i].selected for
 * the n_kernels rows, and state SKIP for those this CPU cannot run. Returns how many were selected. */
int kernels_pick(const char *ops, const char *isas, struct kernel_result *results);

/* "AVX512VNNI AMX": the features row k needs and this CPU lacks. */
void kernel_missing(const struct kernel *k, char *text, size_t size);

struct failure {
    const struct kernel *kernel;
    int index; /* of the case */
    const struct shape *shape;
    const char *shape_text;
    const char *why;
};
typedef void failure_fn(const struct failure *f, void *user);

/* Checks every selected row on every case (only >= 0: on that case alone; rows
 * of ops that have no such case are no longer selected). Returns 0, or -1 when memory is
 * short. */
int kernels_check(uint64_t seed, int only, struct kernel_result *results, failure_fn *on_failure, void *user);

/* Times every selected row that passed, on the shapes that matter for speed, and appends one kernel_row for
 * each with its samples. Weights and caches of cold shapes rotate through more memory than the last-level
 * cache holds. */
struct kernels_time_options {
    int threads;               /* each on operands of its own */
    int passes;                /* how often all shapes are timed, on fresh operands; 0: once, at most 5 */
    unsigned cpu_mask;         /* as for kernels_select: which rows count as chosen */
    const struct rows *limits; /* of limits_measure with as many threads */
    void (*progress)(void *arg, const char *what, double share);
    void *progress_arg;
};
enum status kernels_time(const struct kernels_time_options *o, uint64_t seed,
                         const struct kernel_result *results, struct rows *timed, struct rows *samples,
                         struct error *e);

/* One kernel_row without times for each checked row of the table. */
enum status kernels_checked_rows(uint64_t seed, unsigned cpu_mask, const struct kernel_result *results,
                                 struct rows *rows, struct error *e);

/* What a record says of row k before it is timed. */
struct kernel_row kernel_row_of(int k, uint64_t seed, unsigned cpu_mask, const struct kernel_result *r);

/* Worst, values and verdict of one more case. */
void kernel_result_add(struct kernel_result *r, const struct verdict *v);
void kernel_result_close(struct kernel_result *r);

#endif
