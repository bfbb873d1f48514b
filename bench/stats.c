/* SPDX-License-Identifier: Apache-2.0 */
/* stats: order statistics by selection, since a bootstrap takes many medians of short lists. */
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t n) {
    return (uint64_t)((unsigned __int128)random_next(state) * n >> 64);
}

double mean(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return n > 0 ? sum / n : NAN;
}

double stddev(const double *x, int n) {
    double m = mean(x, n), sum = 0;
    for (int i = 0; i < n; i++) sum += (x[i] - m) * (x[i] - m);
    return n > 1 ? sqrt(sum / (n - 1)) : 0;
}

/* Moves the k-th smallest to x[k], nothing greater before it and nothing smaller behind it. */
static double select_kth(double *x, int n, int k) {
    int lo = 0, hi = n - 1;
    while (lo < hi) {
        double pivot = x[lo + (hi - lo) / 2];
        int i = lo, j = hi;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i <= j) {
                double t = x[i];
                x[i++] = x[j];
                x[j--] = t;
            }
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return x[k];
}

/* Reorders x. */
static double percentile_of(double *x, int n, double p) {
    double at = p * (n - 1);
    int k = (int)at;
    double low = select_kth(x, n, k);
    if (at <= k || k + 1 >= n) return low;
    double high = x[k + 1];
    for (int i = k + 2; i < n; i++) high = fmin(high, x[i]);
    return low + (at - k) * (high - low);
}

static double *copy_of(const double *x, int n) {
    double *copy = n > 0 ? malloc((size_t)n * sizeof *copy) : NULL;
    if (copy) memcpy(copy, x, (size_t)n * sizeof *copy);
    return copy;
}

double percentile(const double *x, int n, double p) {
    double *copy = copy_of(x, n);
    double v = copy ? percentile_of(copy, n, p) : NAN;
    free(copy);
    return v;
}

double median(const double *x, int n) {
    return percentile(x, n, 0.5);
}

/* b NULL: the median of a; else the ratio of medians, of pairs or of two lists on their own. */
static struct interval bootstrap(const double *a, int n_a, const double *b, int n_b, int paired,
                                 uint64_t seed) {
    struct interval none = {NAN, NAN, NAN}, r = none;
    double *draw_a = copy_of(a, n_a), *draw_b = copy_of(b ? b : a, n_b);
    double *results = malloc(BOOTSTRAP_RESAMPLES * sizeof *results);
    if (draw_a && draw_b && results) {
        r.mid = percentile_of(draw_a, n_a, 0.5) / (b ? percentile_of(draw_b, n_b, 0.5) : 1);
        for (int i = 0; i < BOOTSTRAP_RESAMPLES; i++) {
            for (int k = 0; k < n_a; k++) {
                uint64_t pick = random_below(&seed, (uint64_t)n_a);
                draw_a[k] = a[pick];
                if (b && paired) draw_b[k] = b[pick];
            }
            for (int k = 0; b && !paired && k < n_b; k++) draw_b[k] = b[random_below(&seed, (uint64_t)n_b)];
            results[i] = percentile_of(draw_a, n_a, 0.5) / (b ? percentile_of(draw_b, n_b, 0.5) : 1);
        }
        r.lo = percentile_of(results, BOOTSTRAP_RESAMPLES, 0.025);
        r.hi = percentile_of(results, BOOTSTRAP_RESAMPLES, 0.975);
    }
    free(draw_a);
    free(draw_b);
    free(results);
    return r;
}

struct interval median_interval(const double *x, int n, uint64_t seed) {
    return bootstrap(x, n, NULL, n, 0, seed);
}

struct interval mean_interval(const double *x, int n, uint64_t seed) {
    struct interval r = {NAN, NAN, NAN};
    double *means = n > 0 ? malloc(BOOTSTRAP_RESAMPLES * sizeof *means) : NULL;
    if (!means) return r;
    for (int i = 0; i < BOOTSTRAP_RESAMPLES; i++) {
        double sum = 0;
        for (int k = 0; k < n; k++) sum += x[random_below(&seed, (uint64_t)n)];
        means[i] = sum / n;
    }
    r = (struct interval){mean(x, n), percentile_of(means, BOOTSTRAP_RESAMPLES, 0.025),
                          percentile_of(means, BOOTSTRAP_RESAMPLES, 0.975)};
    free(means);
    return r;
}

struct interval ratio_interval(const double *a, const double *b, int n, uint64_t seed) {
    return bootstrap(a, n, b, n, 1, seed);
}

struct interval unpaired_ratio_interval(const double *a, int n_a, const double *b, int n_b, uint64_t seed) {
    return bootstrap(a, n_a, b, n_b, 0, seed);
}
