/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate: many values to a score and its uncertainty, with lm-eval's formulas; and intervals, which
 * lm-eval does not give. */
#ifndef EVAL_AGGREGATE_H
#define EVAL_AGGREGATE_H

#include <stddef.h>
#include <stdint.h>

#include "bench/stats.h"

struct values {
    double *x;
    size_t n, capacity;
};
void values_free(struct values *v);
/* 0: no memory. */
int values_add(struct values *v, double x);

/* Sum from left to right / n; NAN for none. */
double values_mean(const struct values *v);
/* lm-eval's mean_stderr: of a sample; NAN for fewer than two. */
double values_stderr(const struct values *v);

/* 95 % by the percentile bootstrap of the mean over all members of v[0..n), each list resampled on its own
 * with its own size: strata, as the tasks of a group are. */
struct interval values_interval(const struct values *const *v, int n, uint64_t seed);

/* What lm-eval says of a group: by size, or each task alike (macro). stderr NAN when one of its tasks has
 * none.
 */
struct group_score {
    double mean, error;
    size_t n;
};
struct group_score group_of(const double *means, const double *errors, const size_t *sizes, int n, int macro);

/* McNemar's exact test, two-sided: how likely a split of the b + c pairs that differ is as uneven as this, if
 * each were a fair coin. 1 without such pairs. */
double mcnemar_exact(size_t b, size_t c);

/* mean(a - b) with its 95 % interval, pairs resampled together. */
struct interval paired_difference(const double *a, const double *b, size_t n, uint64_t seed);

#endif
