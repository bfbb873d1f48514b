/* SPDX-License-Identifier: Apache-2.0 */
/* compare: noise, intervals and verdicts; nothing here measures. */
#include "bench/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"

static const double least_threshold = 0.01, noise_multiple = 3, hopeless = 0.5;

/* ---- what was timed ---- */

static double *times_of(const struct timed *t) {
    double *ns = malloc(((size_t)t->n + 1) * sizeof *ns);
    for (int i = 0; ns && i < t->n; i++) ns[i] = sample_ns(&t->samples[i]);
    return ns;
}

/* Adds the samples [first, first + count) of a run under the name already in t. */
static enum status add_timed(struct timed_list *l, struct timed *t, const struct rows *samples, int64_t first,
                             int64_t count, struct error *e) {
    if (first < 0 || count < 0 || (uint64_t)first > samples->n ||
        (uint64_t)count > samples->n - (size_t)first || count > 1 << 20)
        return fail(e, ERR_FORMAT, "%s: samples %lld to %lld are not there (found %zu)", t->name,
                    (long long)first, (long long)first + (long long)count, samples->n);
    t->samples = (const struct sample_row *)samples->data + first;
    t->n = (int)count;
    for (int i = 0; i < t->n; i++)
        if (!(sample_ns(&t->samples[i]) > 0))
            return fail(e, ERR_FORMAT, "%s: found a sample of %lld ns (expected more)", t->name,
                        (long long)t->samples[i].ns);
    double *ns = times_of(t);
    if (!ns) return fail(e, ERR_MEMORY, "compare: out of memory");
    t->noise = aa_noise(ns, t->n);
    free(ns);
    l->v[l->n++] = *t;
    return OK;
}

static enum status take(struct timed_list *l, size_t most, struct error *e) {
    *l = (struct timed_list){.v = calloc(most + 1, sizeof *l->v)};
    return l->v ? OK : fail(e, ERR_MEMORY, "compare: out of memory");
}

static enum status close_list(struct timed_list *l, struct error *e) {
    double *noise = malloc(((size_t)l->n + 1) * sizeof *noise);
    int n = 0;
    if (!noise) return fail(e, ERR_MEMORY, "compare: out of memory");
    for (int i = 0; i < l->n; i++)
        if (isfinite(l->v[i].noise)) noise[n++] = l->v[i].noise;
    l->noise = n ? median(noise, n) : 0;
    free(noise);
    return OK;
}

enum status timed_kernels(struct timed_list *l, const struct rows *kernels, const struct rows *samples,
                          struct error *e) {
    const struct kernel_row *r = kernels->data;
    TRY(take(l, kernels->n, e));
    for (size_t i = 0; i < kernels->n; i++, r++) {
        struct timed t = {0};
        if (r->samples_count == 0) continue;
        snprintf(t.name, sizeof t.name, "%s_%s %s, -t %d", r->op, r->isa, r->shape, (int)r->threads);
        TRY(add_timed(l, &t, samples, r->samples_first, r->samples_count, e));
    }
    return close_list(l, e);
}

static const char *recipe_of(const struct rows *models, const char *name) {
    const struct model_row *m = models->data;
    for (size_t i = 0; i < models->n; i++)
        if (strcmp(m[i].name, name) == 0) return m[i].recipe;
    return "";
}

enum status timed_throughput(struct timed_list *l, const struct rows *throughput, const struct rows *models,
                             const struct rows *samples, struct error *e) {
    const struct throughput_row *r = throughput->data;
    TRY(take(l, throughput->n, e));
    for (size_t i = 0; i < throughput->n; i++, r++) {
        struct timed t = {0};
        if (r->samples_count == 0 || !r->output_sha256[0]) continue; /* a peer has no hash */
        snprintf(t.name, sizeof t.name, "%s %s, %s, %s, -t %d -b %d", r->model, recipe_of(models, r->model),
                 r->engine, r->test, (int)r->threads, (int)r->n_batch);
        TRY(add_timed(l, &t, samples, r->samples_first, r->samples_count, e));
    }
    return close_list(l, e);
}

void timed_free(struct timed_list *l) {
    free(l->v);
    *l = (struct timed_list){0};
}

/* ---- what it says ---- */

double aa_noise(const double *ns, int n) {
    int parts = n >= 9 ? 3 : 2, pairs = 0;
    double level[3], sum = 0;
    if (n < 4) return NAN;
    for (int i = 0; i < parts; i++) {
        int first = i * n / parts, end = (i + 1) * n / parts;
        level[i] = log(median(ns + first, end - first));
        for (int k = 0; k < i; k++, pairs++) sum += fabs(level[i] - level[k]);
    }
    return sum / pairs;
}

/* Fills verdict and why from the numbers. */
static void decide(struct comparison_row *r) {
    const char *verdict = "inconclusive", *why = "";
    r->threshold = fmax(least_threshold, noise_multiple * r->noise);
    if (r->n_then < COMPARE_MIN_SAMPLES || r->n_now < COMPARE_MIN_SAMPLES)
        why = "too few samples";
    else if (!(r->ratio > 0))
        why = "no memory for the interval";
    else if (r->hi < 1 / (1 + r->threshold)) /* below 1 - threshold there is nothing on a noisy host */
        verdict = "worse";
    else if (r->lo > 1 + r->threshold)
        verdict = "better";
    else if (r->threshold > hopeless)
        why = "this host was too noisy";
    else
        why = fmax(r->ratio, 1 / r->ratio) <= 1 + r->threshold ? "difference within the threshold"
                                                               : "interval reaches the threshold";
    snprintf(r->verdict, sizeof r->verdict, "%s", verdict);
    snprintf(r->why, sizeof r->why, "%s", why);
}

static double largest(double a, double b, double c, double d) {
    return fmax(fmax(a, b), fmax(c, d)); /* NANs drop out */
}

static enum status compare_one(struct comparison_row *r, const struct timed *then, const struct timed *now,
                               double noise, uint64_t seed, struct error *e) {
    double *a = times_of(then), *b = times_of(now);
    if (a && b) {
        struct interval ratio = unpaired_ratio_interval(a, then->n, b, now->n, seed);
        *r = (struct comparison_row){.n_then = then->n,
                                     .n_now = now->n,
                                     .then_ns = median(a, then->n),
                                     .now_ns = median(b, now->n),
                                     .ratio = ratio.mid,
                                     .lo = ratio.lo,
                                     .hi = ratio.hi,
                                     .noise = noise};
        memcpy(r->name, now->name, sizeof r->name);
        decide(r);
    }
    free(a);
    free(b);
    return a && b && r->ratio > 0 ? OK : fail(e, ERR_MEMORY, "compare: out of memory");
}

static double median_of(const struct timed *t) {
    double *ns = times_of(t), m = ns ? median(ns, t->n) : 0;
    free(ns);
    return m;
}

static const struct timed *find(const struct timed_list *l, const char *name) {
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->v[i].name, name) == 0) return &l->v[i];
    return NULL;
}

enum status compare(struct rows *rows, const struct timed_list *then, const struct timed_list *now,
                    int missing, uint64_t seed, struct error *e) {
    for (int i = 0; i < now->n; i++) {
        const struct timed *b = &now->v[i], *a = find(then, b->name);
        struct comparison_row r = {.n_now = b->n, .now_ns = median_of(b), .verdict = "new"};
        memcpy(r.name, b->name, sizeof r.name);
        if (a) TRY(compare_one(&r, a, b, largest(a->noise, b->noise, then->noise, now->noise), seed, e));
        if (rows_add(rows, &comparison_table, &r)) return fail(e, ERR_MEMORY, "compare: out of memory");
    }
    for (int i = 0; missing && i < then->n; i++) {
        struct comparison_row r = {
            .n_then = then->v[i].n, .then_ns = median_of(&then->v[i]), .verdict = "missing"};
        if (find(now, then->v[i].name)) continue;
        memcpy(r.name, then->v[i].name, sizeof r.name);
        if (rows_add(rows, &comparison_table, &r)) return fail(e, ERR_MEMORY, "compare: out of memory");
    }
    return OK;
}

struct comparison_row compare_pairs(const char *name, const double *then, const double *now, int n,
                                    uint64_t seed) {
    struct comparison_row r = {.n_then = n, .n_now = n, .then_ns = median(then, n), .now_ns = median(now, n)};
    double *each = malloc(((size_t)n + 1) * sizeof *each);
    for (int i = 0; each && i < n; i++) each[i] = then[i] / now[i];
    if (each) {
        struct interval ratio = median_interval(each, n, seed);
        r.ratio = ratio.mid, r.lo = ratio.lo, r.hi = ratio.hi;
        r.noise = aa_noise(each, n);
    }
    if (!(r.noise >= 0)) r.noise = 0; /* then there are too few samples for a verdict, too */
    free(each);
    snprintf(r.name, sizeof r.name, "%s", name);
    decide(&r);
    return r;
}

int compare_count(const struct rows *rows, const char *verdict) {
    const struct comparison_row *r = rows->data;
    int n = 0;
    for (size_t i = 0; i < rows->n; i++) n += strcmp(r[i].verdict, verdict) == 0;
    return n;
}
