/* SPDX-License-Identifier: Apache-2.0 */
/* test_sampler: each filter against a second, slower coding that sorts everything; what is drawn against what
 * should be; seeds, penalties and refusals. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/sampler.h"

TestSuite(sampler);

enum { V = 97 };

static uint64_t random_state = 7;
static double uniform(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static void fill_logits(float *x, double width) {
    for (int i = 0; i < V; i++) x[i] = (float)(width * (uniform() - 0.5));
    for (int i = 0; i < 5; i++) x[(int)(uniform() * V)] = x[(int)(uniform() * V)]; /* some are equal */
}

static struct sampler *open_sampler(struct sampler_options o) {
    struct error e = {0};
    struct sampler *s = NULL;
    cr_assert_eq(sampler_open(&s, &o, V, &e), OK, "%s", e.text);
    return s;
}

static const double *sort_key;
static int by_key(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    if (sort_key[x] != sort_key[y]) return sort_key[x] > sort_key[y] ? -1 : 1;
    return x - y;
}

/* The definition, step by step, each on normalised probabilities of all tokens. */
static void define(const struct sampler_options *o, const float *logits, const int *is_seen, double *p) {
    double x[V], sum = 0, highest = -INFINITY;
    int order[V];
    for (int i = 0; i < V; i++) {
        x[i] = logits[i];
        if (is_seen[i]) x[i] = x[i] < 0 ? x[i] * o->repeat_penalty : x[i] / o->repeat_penalty;
        x[i] /= o->temperature;
        order[i] = i;
        highest = fmax(highest, x[i]);
    }
    sort_key = x;
    qsort(order, V, sizeof *order, by_key);
    for (int r = 0; r < V; r++) {
        p[order[r]] = o->top_k && r >= o->top_k ? 0 : exp(x[order[r]] - highest);
        sum += p[order[r]];
    }
    double before = 0;
    for (int r = 0; r < V; r++) { /* a token stays while those before it have not reached top-p */
        double share = p[order[r]] / sum;
        if (before >= o->top_p) p[order[r]] = 0;
        before += share;
    }
    double top = p[order[0]];
    sum = 0;
    for (int i = 0; i < V; i++) sum += p[i] = p[i] < o->min_p * top ? 0 : p[i];
    for (int i = 0; i < V; i++) p[i] /= sum;
}

Test(sampler, every_filter_as_defined) {
    static const double top_ps[] = {1, 0.999, 0.9, 0.5, 0.01}, min_ps[] = {0, 1e-6, 0.05, 0.3, 1};
    static const int top_ks[] = {0, 1, 2, 40, V - 1, V, 1000};
    static const double temperatures[] = {0.05, 0.3, 1, 5}, penalties[] = {1, 1.05, 2, 0.5};
    for (int round = 0; round < 4000; round++) {
        struct sampler_options o = {
            .temperature = temperatures[(int)(uniform() * 4)],
            .top_k = top_ks[(int)(uniform() * 7)],
            .top_p = top_ps[(int)(uniform() * 5)],
            .min_p = min_ps[(int)(uniform() * 5)],
            .repeat_penalty = penalties[(int)(uniform() * 4)],
            .repeat_last_n = (int)(uniform() * 12) - 1,
        };
        float logits[V];
        int32_t history[10];
        int is_seen[V] = {0};
        double want[V], got[V];
        struct error e = {0};
        fill_logits(logits, 12);
        for (int i = 0; i < 10; i++) history[i] = (int32_t)(uniform() * V);
        for (int i = 0; i < 10; i++)
            if (o.repeat_last_n < 0 || i >= 10 - o.repeat_last_n) is_seen[history[i]] = 1;
        define(&o, logits, is_seen, want);
        struct sampler *s = open_sampler(o);
        cr_assert_eq(sampler_distribution(s, logits, history, 10, got, &e), OK, "%s", e.text);
        for (int i = 0; i < V; i++)
            cr_assert(fabs(want[i] - got[i]) <= 1e-12,
                      "round %d, token %d: %g, expected %g (temperature %g, top-k %d, top-p %g, min-p %g, "
                      "penalty %g of the last %d)",
                      round, i, got[i], want[i], o.temperature, o.top_k, o.top_p, o.min_p, o.repeat_penalty,
                      o.repeat_last_n);
        sampler_close(s);
    }
}

/* The draws are seeded, so this passes always or never. The bound is five standard deviations of chi-square.
 */
Test(sampler, draws_follow_the_distribution) {
    enum { DRAWS = 200000 };
    static const struct sampler_options options[] = {
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 0.3,
         .top_p = 1,
         .min_p = 0.15,
         .repeat_penalty = 1.05,
         .repeat_last_n = -1,
         .seed = 1},
        {.temperature = 2, .top_p = 0.9, .top_k = 30, .repeat_penalty = 1, .seed = 99},
    };
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        float logits[V];
        double p[V], chi = 0;
        int count[V] = {0}, kinds = 0;
        int32_t id, seen[] = {3, 4, 5};
        struct error e = {0};
        fill_logits(logits, 4);
        struct sampler *s = open_sampler(options[k]);
        cr_assert_eq(sampler_distribution(s, logits, seen, 3, p, &e), OK);
        for (int i = 0; i < DRAWS; i++) {
            cr_assert_eq(sampler_choose(s, logits, seen, 3, &id, &e), OK);
            count[id]++;
        }
        for (int i = 0; i < V; i++) {
            if (p[i] == 0) cr_assert_eq(count[i], 0, "token %d was cut and drawn", i);
            if (p[i] == 0) continue;
            double d = count[i] - DRAWS * p[i];
            chi += d * d / (DRAWS * p[i]);
            kinds++;
        }
        cr_expect_gt(kinds, 1);
        cr_expect_lt(chi, kinds - 1 + 5 * sqrt(2.0 * (kinds - 1)), "options %zu: chi-square %g of %d", k, chi,
                     kinds);
        sampler_close(s);
    }
}

Test(sampler, greedy_takes_the_first_highest) {
    float logits[V] = {0};
    int32_t id, seen[] = {20};
    struct error e = {0};
    struct sampler *s = open_sampler(sampler_greedy());
    logits[20] = logits[30] = 2;
    logits[0] = -INFINITY;
    cr_assert_eq(sampler_choose(s, logits, NULL, 0, &id, &e), OK);
    cr_expect_eq(id, 20);
    sampler_close(s);
    struct sampler_options o = sampler_greedy();
    o.repeat_penalty = 1.1;
    s = open_sampler(o);
    cr_assert_eq(sampler_choose(s, logits, seen, 1, &id, &e), OK);
    cr_expect_eq(id, 30);
    for (int i = 0; i < V; i++) logits[i] = -1;
    cr_assert_eq(sampler_choose(s, logits, (int32_t[]){0, -5, V, INT32_MAX}, 4, &id, &e), OK);
    cr_expect_eq(id, 1, "a penalty lowers negative logits too, and ids outside the vocabulary do no harm");
    sampler_close(s);
}

static void draw_many(uint64_t seed, int32_t *ids, int n) {
    struct sampler_options o = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = seed};
    struct sampler *s = open_sampler(o);
    struct error e = {0};
    float logits[V] = {0};
    for (int i = 0; i < n; i++) cr_assert_eq(sampler_choose(s, logits, NULL, 0, &ids[i], &e), OK);
    sampler_close(s);
}

Test(sampler, seeds) {
    int32_t a[50], b[50], c[50];
    draw_many(1, a, 50), draw_many(1, b, 50), draw_many(2, c, 50);
    cr_expect_eq(memcmp(a, b, sizeof a), 0);
    cr_expect_neq(memcmp(a, c, sizeof a), 0);
}

/* With equal logits a draw is an id: the first bytes of xoshiro256** seeded by splitmix64, from an
 * implementation in Python that gives the authors' own check values. */
Test(sampler, draws_are_xoshiros) {
    static const struct {
        uint64_t seed;
        int32_t ids[12];
    } want[] = {{0, {153, 191, 26, 106, 187, 255, 108, 137, 219, 235, 29, 17}},
                {1, {179, 133, 146, 100, 178, 36, 18, 97, 221, 141, 238, 245}},
                {12345, {190, 33, 246, 12, 142, 2, 40, 75, 98, 233, 200, 137}}};
    static const float equal[256];
    for (int i = 0; i < 3; i++) {
        struct error e = {0};
        struct sampler *s;
        struct sampler_options o = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = want[i].seed};
        cr_assert_eq(sampler_open(&s, &o, 256, &e), OK, "%s", e.text);
        for (int k = 0; k < 12; k++) {
            int32_t id;
            cr_assert_eq(sampler_choose(s, equal, NULL, 0, &id, &e), OK, "%s", e.text);
            cr_expect_eq(id, want[i].ids[k], "seed %d, draw %d: %d", (int)want[i].seed, k, id);
        }
        sampler_close(s);
    }
}

Test(sampler, refusals) {
    struct error e = {0};
    struct sampler *s = NULL;
    const struct sampler_options good = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};
    struct sampler_options bad[9];
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].temperature = -1, bad[1].temperature = NAN, bad[2].top_k = -1, bad[3].top_p = 0,
    bad[4].top_p = 1.5;
    bad[5].min_p = -0.1, bad[6].repeat_penalty = 0, bad[7].repeat_last_n = -2, bad[8].min_p = NAN;
    for (int i = 0; i < 9; i++) {
        cr_expect_eq(sampler_open(&s, &bad[i], V, &e), ERR_ARG, "%d", i);
        cr_expect_null(s);
    }
    cr_expect_eq(sampler_open(&s, &good, 0, &e), ERR_ARG);
    float logits[V];
    int32_t id;
    s = open_sampler(good);
    for (int i = 0; i < V; i++) logits[i] = -INFINITY;
    cr_expect_eq(sampler_choose(s, logits, NULL, 0, &id, &e), ERR_ARG);
    logits[3] = 1;
    cr_expect_eq(sampler_choose(s, logits, NULL, 0, &id, &e), OK);
    cr_expect_eq(id, 3);
    logits[9] = NAN;
    cr_expect_eq(sampler_choose(s, logits, NULL, 0, &id, &e), ERR_ARG);
    cr_expect(strstr(e.text, "token 9"), "%s", e.text);
    logits[9] = INFINITY;
    cr_expect_eq(sampler_choose(s, logits, NULL, 0, &id, &e), ERR_ARG);
    sampler_close(s);
}

Test(sampler, defaults_of_the_cards) {
    struct sampler_options o = sampler_defaults("lfm2moe");
    cr_expect(o.temperature == 0.3 && o.min_p == 0.15 && o.repeat_penalty == 1.05 && o.repeat_last_n == -1);
    cr_expect(o.top_p == 1 && o.top_k == 0);
    o = sampler_defaults("qwen3");
    cr_expect(o.temperature == 0.6 && o.top_p == 0.95 && o.top_k == 20 && o.repeat_penalty == 1);
    cr_expect_eq(sampler_defaults("other").temperature, 0);
}
