/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: how far one vector is from another. Pure functions of numbers, in double; no engine, no file. */
#ifndef BENCH_METRICS_H
#define BENCH_METRICS_H

#include <stdint.h>

/* Sums over any number of values, so that partial results can be added up. Zero-initialise. */
struct difference {
    double error2;  /* sum of (got - want)^2 */
    double want2;   /* sum of want^2 */
    double max_abs; /* max of |got - want| */
    int64_t bad;    /* NaN or Inf on either side; such pairs enter no other field */
};
void difference_add(struct difference *d, const float *got, const float *want, int64_t n);
void difference_merge(struct difference *d, const struct difference *other);

/* Normalised mean squared error, sum (got-want)^2 / sum want^2. 0 when both are all zero (or nothing was
 * added), INFINITY when only the wanted values are. */
double difference_nmse(const struct difference *d);

/* Kullback-Leibler divergence of softmax(got) from softmax(want), in nats: sum p_want (log p_want - log
 * p_got). Never negative. NaN when a logit is not finite. */
double kl_divergence(const float *got, const float *want, int n);

/* Index of the largest value, the first among equals. n >= 1. */
int argmax(const float *x, int n);

#endif
