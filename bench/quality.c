/* SPDX-License-Identifier: Apache-2.0 */
/* quality: sums over scored positions, in double. */
#include "bench/quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/metrics.h"

static double log_sum_exp(const float *x, int n) {
    double max = x[argmax(x, n)], sum = 0;
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - max);
    return max + log(sum);
}

void quality_log_p(const float *logits, int n, float *log_p) {
    double norm = log_sum_exp(logits, n);
    for (int i = 0; i < n; i++) log_p[i] = (float)((double)logits[i] - norm);
}

struct quality_point quality_point(const float *logits, const float *base_log_p, int n, int32_t token) {
    double norm = log_sum_exp(logits, n);
    struct quality_point p = {.nll = norm - (double)logits[token]};
    if (!base_log_p) return p;
    p.nll_base = -(double)base_log_p[token];
    for (int i = 0; i < n; i++)
        if (base_log_p[i] > -16)
            p.kl += exp((double)base_log_p[i]) * ((double)base_log_p[i] - ((double)logits[i] - norm));
    p.dp = exp(-p.nll) - exp(-p.nll_base);
    p.same_top1 = argmax(logits, n) == argmax(base_log_p, n);
    return p;
}

int quality_add(struct quality *q, struct quality_point p) {
    if (q->n == q->capacity) {
        size_t more = q->capacity ? 2 * q->capacity : 1024;
        struct quality_point *points = realloc(q->points, more * sizeof *points);
        if (!points) return -1;
        q->points = points;
        q->capacity = more;
    }
    q->points[q->n++] = p;
    return 0;
}

void quality_free(struct quality *q) {
    free(q->points);
    memset(q, 0, sizeof *q);
}

/* The mean of x [n], and its standard error. */
static struct estimate mean_of(const double *x, size_t n) {
    double m = mean(x, (int)n), squares = 0;
    for (size_t i = 0; i < n; i++) squares += (x[i] - m) * (x[i] - m);
    double count = (double)n;
    return (struct estimate){m, n > 10 ? sqrt(squares / count / (count - 1)) : 0};
}

/* One double of every point: offset says which. */
static void take(const struct quality *q, size_t offset, double *x) {
    for (size_t i = 0; i < q->n; i++) memcpy(&x[i], (const char *)&q->points[i] + offset, sizeof *x);
}

static struct estimate perplexity_of(struct estimate nll) {
    double ppl = exp(nll.value);
    return (struct estimate){ppl, ppl * nll.se};
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* p of sorted x. */
static double at(const double *x, size_t n, double p) {
    double where = p * (double)(n - 1);
    size_t low = (size_t)where, high = low + 1 < n ? low + 1 : low;
    return x[low] + (where - (double)low) * (x[high] - x[low]);
}

static void summarise_dp(const struct quality *q, struct quality_summary *s, double *x) {
    size_t n = q->n;
    take(q, offsetof(struct quality_point, dp), x);
    s->dp_mean = mean_of(x, n);
    qsort(x, n, sizeof *x, compare);
    s->dp_median = at(x, n, 0.5), s->dp_p1 = at(x, n, 0.01), s->dp_p99 = at(x, n, 0.99);
    s->dp_min = x[0], s->dp_max = x[n - 1];
    for (size_t i = 0; i < n; i++) x[i] *= x[i];
    struct estimate square = mean_of(x, n);
    double rms = sqrt(square.value);
    s->dp_rms = (struct estimate){rms, rms > 0 ? 0.5 / rms * square.se : 0};
}

static void summarise_kl(const struct quality *q, struct quality_summary *s, double *x) {
    size_t n = q->n, same = 0;
    take(q, offsetof(struct quality_point, kl), x);
    s->kl = mean_of(x, n);
    qsort(x, n, sizeof *x, compare);
    s->kl_median = at(x, n, 0.5), s->kl_p90 = at(x, n, 0.9), s->kl_p99 = at(x, n, 0.99);
    s->kl_p999 = at(x, n, 0.999), s->kl_max = x[n - 1], s->kl_min = x[0];
    for (size_t i = 0; i < n; i++) same += q->points[i].same_top1 != 0;
    double share = (double)same / (double)n;
    s->same_top1 = (struct estimate){share, n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0};
}

int quality_summarise(const struct quality *q, struct quality_summary *out) {
    memset(out, 0, sizeof *out);
    if (!q->n) return 0;
    double *x = malloc(q->n * sizeof *x);
    if (!x) return -1;
    out->positions = (int64_t)q->n;
    take(q, offsetof(struct quality_point, nll), x);
    out->ppl = perplexity_of(mean_of(x, q->n));
    take(q, offsetof(struct quality_point, nll_base), x);
    out->ppl_base = perplexity_of(mean_of(x, q->n));
    for (size_t i = 0; i < q->n; i++) x[i] = q->points[i].nll - q->points[i].nll_base;
    out->log_ratio = mean_of(x, q->n);
    summarise_kl(q, out, x);
    summarise_dp(q, out, x);
    free(x);
    return 0;
}

struct interval quality_kl_difference(const struct quality *a, const struct quality *b, int n_windows) {
    struct interval r = {NAN, NAN, NAN};
    double *d = n_windows > 0 && a->n == b->n ? calloc((size_t)n_windows, sizeof *d) : NULL;
    if (!d) return r;
    size_t each = a->n / (size_t)n_windows;
    for (size_t i = 0; i < each * (size_t)n_windows; i++)
        d[i / each] += (b->points[i].kl - a->points[i].kl) / (double)each;
    r = mean_interval(d, n_windows, 1);
    free(d);
    return r;
}
