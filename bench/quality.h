/* SPDX-License-Identifier: Apache-2.0 */
/* quality: how well a model predicts a text, and how far its predictions are from another model's. Pure
 * arithmetic on distributions, with llama-perplexity's definitions: perplexity is e^(mean negative
 * log-likelihood), standard errors are those of a mean over the scored positions. No engine, no file. */
#ifndef BENCH_QUALITY_H
#define BENCH_QUALITY_H

#include <stddef.h>
#include <stdint.h>

#include "bench/stats.h"

/* One scored position. The base's figures are 0 when there is none. */
struct quality_point {
    double nll, nll_base; /* -log p of the token that came, nats */
    double kl;            /* of this model's distribution from the base's, nats */
    double dp;            /* p(token) of this model minus the base's */
    int same_top1;
};

/* base_log_p [n]: NULL for none. Base probabilities below e^-16 are left out of kl, as llama-perplexity does:
 * a base file does not hold them. */
struct quality_point quality_point(const float *logits, const float *base_log_p, int n, int32_t token);
/* log-softmax, for a base that is in memory. */
void quality_log_p(const float *logits, int n, float *log_p);

/* Zero-initialise; free with quality_free. */
struct quality {
    struct quality_point *points;
    size_t n, capacity;
};
int quality_add(struct quality *q, struct quality_point p); /* 0, or -1 without memory */
void quality_free(struct quality *q);

struct estimate {
    double value, se; /* se 0 for 10 positions or fewer */
};
struct quality_summary {
    int64_t positions;
    struct estimate ppl, ppl_base, log_ratio; /* log_ratio: ln(ppl / ppl_base), paired */
    struct estimate kl;
    double kl_median, kl_p90, kl_p99, kl_p999, kl_max, kl_min;
    struct estimate same_top1, dp_mean, dp_rms; /* shares of 1 */
    double dp_median, dp_p1, dp_p99, dp_max, dp_min;
};
/* Mean KL divergence of b minus that of a, both of the same positions, and its 95 % interval: windows
 * [n_windows], of equally many positions each, are resampled in pairs, since neighbouring positions are no
 * independent draws. All NAN without memory. */
struct interval quality_kl_difference(const struct quality *a, const struct quality *b, int n_windows);

/* Returns 0, or -1 without memory. All zero without positions. */
int quality_summarise(const struct quality *q, struct quality_summary *out);

#endif
