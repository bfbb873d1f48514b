/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate: means, standard errors, bootstrap, McNemar. */
#include "eval/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void values_free(struct values *v) {
    free(v->x);
    *v = (struct values){0};
}

int values_add(struct values *v, double x) {
    if (v->n == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 64;
        double *grown = realloc(v->x, capacity * sizeof *grown);
        if (!grown) return 0;
        v->x = grown;
        v->capacity = capacity;
    }
    v->x[v->n++] = x;
    return 1;
}

double values_mean(const struct values *v) {
    double sum = 0;
    for (size_t i = 0; i < v->n; i++) sum += v->x[i];
    return v->n ? sum / (double)v->n : NAN;
}

double values_stderr(const struct values *v) {
    if (v->n < 2) return NAN;
    double mu = values_mean(v), sum = 0;
    for (size_t i = 0; i < v->n; i++) sum += (v->x[i] - mu) * (v->x[i] - mu);
    return sqrt(sum / (double)(v->n - 1)) / sqrt((double)v->n);
}

/* Enough for two digits of an interval's ends, fewer when there are very many values. */
static int resamples(size_t n) {
    double most = 2e8 / (double)(n ? n : 1);
    return most > BOOTSTRAP_RESAMPLES ? BOOTSTRAP_RESAMPLES : most < 200 ? 200 : (int)most;
}

struct interval values_interval(const struct values *const *v, int n, uint64_t seed) {
    struct interval result = {NAN, NAN, NAN};
    size_t all = 0;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        all += v[i]->n;
        for (size_t k = 0; k < v[i]->n; k++) sum += v[i]->x[k];
    }
    int R = resamples(all);
    double *means = all ? malloc((size_t)R * sizeof *means) : NULL;
    if (!means) return result;
    for (int r = 0; r < R; r++) {
        means[r] = 0;
        for (int i = 0; i < n; i++)
            for (size_t k = 0; k < v[i]->n; k++) means[r] += v[i]->x[random_below(&seed, v[i]->n)];
        means[r] /= (double)all;
    }
    result = (struct interval){sum / (double)all, percentile(means, R, 0.025), percentile(means, R, 0.975)};
    free(means);
    return result;
}

struct group_score group_of(const double *means, const double *errors, const size_t *sizes, int n,
                            int macro) {
    struct group_score g = {0};
    double sum = 0, weights = 0, pooled = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double size = (double)sizes[i], weight = macro ? 1 : size;
        g.n += sizes[i];
        sum += means[i] * weight;
        weights += weight;
        pooled += (size - 1) * (errors[i] * errors[i]) * size;
        squares += errors[i] * errors[i];
    }
    g.mean = sum / weights;
    g.error = macro ? sqrt(squares) / n : sqrt(pooled / ((double)g.n - n) / (double)g.n);
    return g;
}

double mcnemar_exact(size_t b, size_t c) {
    size_t n = b + c, k = b < c ? b : c;
    if (n == 0) return 1;
    double p = 0;
    for (size_t i = 0; i <= k; i++)
        p += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                 (double)n * log(2));
    return 2 * p < 1 ? 2 * p : 1;
}

struct interval paired_difference(const double *a, const double *b, size_t n, uint64_t seed) {
    struct interval result = {NAN, NAN, NAN};
    struct values d = {0};
    for (size_t i = 0; i < n; i++)
        if (!values_add(&d, a[i] - b[i])) {
            values_free(&d);
            return result;
        }
    const struct values *all = &d;
    result = values_interval(&all, 1, seed);
    values_free(&d);
    return result;
}
