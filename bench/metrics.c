/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: how far one vector is from another. */
#include "bench/metrics.h"

#include <math.h>

void difference_add(struct difference *d, const float *got, const float *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i])) {
            d->bad++;
            continue;
        }
        double delta = (double)got[i] - want[i];
        d->error2 += delta * delta;
        d->want2 += (double)want[i] * want[i];
        d->max_abs = fmax(d->max_abs, fabs(delta));
    }
}

void difference_merge(struct difference *d, const struct difference *other) {
    d->error2 += other->error2;
    d->want2 += other->want2;
    d->max_abs = fmax(d->max_abs, other->max_abs);
    d->bad += other->bad;
}

double difference_nmse(const struct difference *d) {
    if (d->error2 == 0) return 0;
    return d->want2 > 0 ? d->error2 / d->want2 : INFINITY;
}

/* log(sum exp(x)), shifted by the maximum so that nothing overflows. */
static double log_sum_exp(const float *x, int n) {
    double max = x[argmax(x, n)], sum = 0;
    for (int i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

double kl_divergence(const float *got, const float *want, int n) {
    for (int i = 0; i < n; i++)
        if (!isfinite(got[i]) || !isfinite(want[i])) return NAN;
    double got_norm = log_sum_exp(got, n), want_norm = log_sum_exp(want, n), sum = 0;
    for (int i = 0; i < n; i++) {
        double log_want = want[i] - want_norm, log_got = got[i] - got_norm;
        sum += exp(log_want) * (log_want - log_got);
    }
    return fmax(sum, 0); /* rounding can leave -1e-17 */
}

int argmax(const float *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
