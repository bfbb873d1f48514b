/* SPDX-License-Identifier: Apache-2.0 */
/* stats: what is said about repeated timings. Medians, and intervals by the percentile bootstrap: nothing is
 * assumed about how the noise is distributed. Seeded, so that a report can be redrawn byte for byte. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdint.h>

enum { BOOTSTRAP_RESAMPLES = 10000 };

struct interval {
    double mid, lo, hi; /* the statistic and its 95 % interval; all NAN without samples or memory */
};

double mean(const double *x, int n);
/* Of a sample (n - 1); 0 for n < 2. */
double stddev(const double *x, int n);
/* 0 <= p <= 1, linear between order statistics; percentile(x, n, 0.5) is the median. NAN for n < 1. */
double percentile(const double *x, int n, double p);
double median(const double *x, int n);

/* The median and the 2.5th and 97.5th percentile of the medians of resamples. */
struct interval median_interval(const double *x, int n, uint64_t seed);

/* The same of the mean. */
struct interval mean_interval(const double *x, int n, uint64_t seed);

/* median(a) / median(b), pairs (a[i], b[i]) resampled together: what disturbed both measurements of a pair
 * cancels. */
struct interval ratio_interval(const double *a, const double *b, int n, uint64_t seed);

/* The same of two lists that have nothing to do with each other: each is resampled on its own. */
struct interval unpaired_ratio_interval(const double *a, int n_a, const double *b, int n_b, uint64_t seed);

/* One step of splitmix64: the generator of resamples and of random token ids. */
uint64_t random_next(uint64_t *state);
/* Uniform in [0, n), n >= 1. */
uint64_t random_below(uint64_t *state, uint64_t n);

#endif
