/* SPDX-License-Identifier: Apache-2.0 */
/* compare: is what was timed now faster or slower than then? The ratio of medians with a 95 % bootstrap
 * interval, and a verdict only where the whole interval lies beyond a threshold that comes from how much this
 * host differs from itself (A/A noise). "inconclusive" is an answer: neither difference nor equality is
 * shown.
 *
 * Samples stay in the order they were taken. Their A/A noise is the mean log ratio between medians of
 * consecutive thirds (halves below 9 samples): what a whole run would see again, slow drift included, which
 * neighbouring samples share. A row's threshold is max(1 %, 3 x noise), where the noise is the largest of
 * this row's and of the median of all rows, then and now: a row that was quiet by luck gets no finer
 * threshold than its host. "Worse" takes 1 + threshold times as long, "better" is that many times as fast, so
 * that a ruinous change is seen on a host of any noise. */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include <stdio.h>

#include "bench/records.h"

enum { COMPARE_MIN_SAMPLES = 5, COMPARE_MAX_PAIRS = 1000 };

/* One timed thing; the name says all that makes it comparable. */
struct timed {
    char name[256];
    const struct sample_row *samples; /* [n] of the list's run */
    int n;
    double noise; /* NAN below 4 samples */
};
struct timed_list {
    struct timed *v;
    int n;
    double noise; /* median of the rows'; 0 when none has one */
};

/* Of one run's tables (samples must outlive the list). Rows that were not timed are left out, so are peers.
 * Rows out of a file are checked: samples that are not there or not positive are ERR_FORMAT. */
enum status timed_kernels(struct timed_list *l, const struct rows *kernels, const struct rows *samples,
                          struct error *e);
enum status timed_throughput(struct timed_list *l, const struct rows *throughput, const struct rows *models,
                             const struct rows *samples, struct error *e);
void timed_free(struct timed_list *l);

double aa_noise(const double *ns, int n);

/* Appends one comparison_row for each name of either list; missing ones only when `missing` is set. */
enum status compare(struct rows *rows, const struct timed_list *then, const struct timed_list *now,
                    int missing, uint64_t seed, struct error *e);

/* The same for samples taken in turns: the ratio is the median of the pairs' ratios, so that what disturbed
 * both of a pair cancels, and the noise is that of the ratios. */
struct comparison_row compare_pairs(const char *name, const double *then, const double *now, int n,
                                    uint64_t seed);

/* How many rows have this verdict. */
int compare_count(const struct rows *rows, const char *verdict);

/* title: with what it was compared; one line. As a table and a sentence, or as one JSON object. */
void compare_print(FILE *to, const char *title, const struct rows *rows);
void compare_print_json(FILE *to, const char *title, const struct rows *rows);

#endif
