/* SPDX-License-Identifier: Apache-2.0 */
/* sampler: candidates are logits with their ids; every filter keeps a prefix of their order by probability.
 */
#include "eval/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    double logit;  /* after penalty and temperature */
    double weight; /* exp(logit - highest): its share, up to one factor */
    int32_t id;
};

struct sampler {
    struct sampler_options o;
    int n_vocab;
    struct candidate *list; /* [n_vocab] */
    uint8_t *is_seen;       /* [n_vocab], 0 between calls */
    uint64_t state[4];
};

struct sampler_options sampler_greedy(void) {
    return (struct sampler_options){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = -1};
}

struct sampler_options sampler_defaults(const char *arch) {
    struct sampler_options o = sampler_greedy();
    if (strncmp(arch, "lfm2", 4) == 0)
        o.temperature = 0.3, o.min_p = 0.15, o.repeat_penalty = 1.05;
    else if (strcmp(arch, "qwen3") == 0)
        o.temperature = 0.6, o.top_p = 0.95, o.top_k = 20;
    return o;
}

/* splitmix64: spreads a seed over the state of the generator. */
static uint64_t spread(uint64_t *x) {
    uint64_t z = *x += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

/* xoshiro256**: a number in [0, 1) with 53 random bits. */
static double draw(uint64_t s[4]) {
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

static enum status check_options(const struct sampler_options *o, int n_vocab, struct error *e) {
    if (n_vocab <= 0) return fail(e, ERR_ARG, "sampling: a vocabulary of %d tokens", n_vocab);
    if (!(o->temperature >= 0 && o->temperature <= 100))
        return fail(e, ERR_ARG, "sampling: temperature (found %g, expected 0 to 100)", o->temperature);
    if (o->top_k < 0) return fail(e, ERR_ARG, "sampling: top-k (found %d, expected 0 or more)", o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return fail(e, ERR_ARG, "sampling: top-p (found %g, expected more than 0, at most 1)", o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return fail(e, ERR_ARG, "sampling: min-p (found %g, expected 0 to 1)", o->min_p);
    if (!(o->repeat_penalty > 0 && o->repeat_penalty <= 100))
        return fail(e, ERR_ARG, "sampling: repetition penalty (found %g, expected more than 0, at most 100)",
                    o->repeat_penalty);
    if (o->repeat_last_n < -1)
        return fail(e, ERR_ARG, "sampling: tokens to penalise (found %d, expected -1 or more)",
                    o->repeat_last_n);
    return OK;
}

enum status sampler_open(struct sampler **out, const struct sampler_options *o, int n_vocab,
                         struct error *e) {
    *out = NULL;
    TRY(check_options(o, n_vocab, e));
    struct sampler *s = calloc(1, sizeof *s);
    if (s) {
        s->o = *o, s->n_vocab = n_vocab;
        s->list = malloc((size_t)n_vocab * sizeof *s->list);
        s->is_seen = calloc((size_t)n_vocab, sizeof *s->is_seen);
        uint64_t seed = o->seed;
        for (int i = 0; i < 4; i++) s->state[i] = spread(&seed);
    }
    if (!s || !s->list || !s->is_seen) {
        sampler_close(s);
        return fail(e, ERR_MEMORY, "sampling: out of memory for %d candidates", n_vocab);
    }
    *out = s;
    return OK;
}

void sampler_close(struct sampler *s) {
    if (!s) return;
    free(s->list), free(s->is_seen), free(s);
}

static int is_before(const struct candidate *a, const struct candidate *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static int compare_candidates(const void *a, const void *b) {
    return is_before(a, b) ? -1 : 1;
}

/* Fills the list with all tokens that are not forbidden; *n is how many, *highest their greatest logit. */
static enum status collect(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                           size_t *n, double *highest, struct error *e) {
    size_t window = s->o.repeat_last_n < 0 ? n_seen : (size_t)s->o.repeat_last_n;
    const int32_t *from = seen + (n_seen > window ? n_seen - window : 0), *end = seen + n_seen;
    int penalised = s->o.repeat_penalty != 1 && n_seen > 0;
    if (!penalised) from = end;
    for (const int32_t *p = from; p < end; p++)
        if (*p >= 0 && *p < s->n_vocab) s->is_seen[*p] = 1;
    double scale = s->o.temperature > 0 ? 1 / s->o.temperature : 1;
    int bad = -1;
    *n = 0, *highest = -INFINITY;
    for (int32_t id = 0; id < s->n_vocab; id++) {
        double x = logits[id];
        if (isnan(x) || x == INFINITY) bad = id;
        if (s->is_seen[id]) x = x > 0 ? x / s->o.repeat_penalty : x * s->o.repeat_penalty;
        if (x == -INFINITY) continue;
        x *= scale;
        if (x > *highest) *highest = x;
        s->list[(*n)++] = (struct candidate){x, 0, id};
    }
    for (const int32_t *p = from; p < end; p++)
        if (*p >= 0 && *p < s->n_vocab) s->is_seen[*p] = 0;
    if (bad >= 0) return fail(e, ERR_ARG, "sampling: the logit of token %d is not a finite number", bad);
    if (*n == 0) return fail(e, ERR_ARG, "sampling: no token is left to choose from");
    return OK;
}

/* Moves the k first in order to the front of list[0..n), in any order (quickselect). */
static void select_first(struct candidate *list, size_t n, size_t k) {
    size_t low = 0, high = n; /* the border between kept and not lies in [low, high] */
    while (high - low > 1) {
        struct candidate pivot = list[low + (high - low) / 2];
        size_t i = low, j = high - 1;
        for (;;) {
            while (is_before(&list[i], &pivot)) i++;
            while (is_before(&pivot, &list[j])) j--;
            if (i >= j) break;
            struct candidate t = list[i];
            list[i++] = list[j], list[j--] = t;
        }
        size_t cut = j + 1; /* list[low..cut) is not after list[cut..high) */
        if (cut == high) cut--;
        if (k <= cut)
            high = cut;
        else
            low = cut;
    }
}

static size_t keep_at_least(struct candidate *list, size_t n, double weight) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].weight >= weight) list[kept++] = list[i];
    return kept;
}

/* Leaves list[0..n) as what may be drawn, with weights; *sum is their sum. */
static size_t filter(struct sampler *s, size_t n, double highest, double *sum) {
    struct candidate *list = s->list;
    if (s->o.top_k > 0 && (size_t)s->o.top_k < n) {
        select_first(list, n, (size_t)s->o.top_k);
        n = (size_t)s->o.top_k;
    }
    double total = 0;
    for (size_t i = 0; i < n; i++) total += list[i].weight = exp(list[i].logit - highest);
    if (s->o.min_p > 0) n = keep_at_least(list, n, s->o.min_p);
    if (s->o.top_p < 1) {
        /* All that weigh less than this reach at most 1 - p together: they cannot be needed, nor sorted. */
        n = keep_at_least(list, n, total * (1 - s->o.top_p) / (2.0 * s->n_vocab));
        qsort(list, n, sizeof *list, compare_candidates);
        double reached = 0;
        for (size_t i = 0; i < n; i++)
            if ((reached += list[i].weight) >= s->o.top_p * total) n = i + 1;
    }
    *sum = 0;
    for (size_t i = 0; i < n; i++) *sum += list[i].weight;
    return n;
}

static enum status prepare(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                           size_t *n, double *sum, struct error *e) {
    double highest;
    TRY(collect(s, logits, seen, n_seen, n, &highest, e));
    if (s->o.temperature > 0) {
        *n = filter(s, *n, highest, sum);
        return OK;
    }
    size_t best = 0;
    while (s->list[best].logit < highest) best++;
    s->list[0] = s->list[best];
    s->list[0].weight = *sum = 1;
    *n = 1;
    return OK;
}

enum status sampler_choose(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                           int32_t *id, struct error *e) {
    size_t n;
    double sum;
    TRY(prepare(s, logits, seen, n_seen, &n, &sum, e));
    double target = s->o.temperature > 0 ? draw(s->state) * sum : 0, reached = 0;
    size_t i = 0, last = 0;
    for (; i < n && reached <= target; i++) {
        reached += s->list[i].weight;
        if (s->list[i].weight > 0) last = i; /* also where rounding lets the target reach the sum */
    }
    *id = s->list[last].id;
    return OK;
}

enum status sampler_distribution(struct sampler *s, const float *logits, const int32_t *seen, size_t n_seen,
                                 double *p, struct error *e) {
    size_t n;
    double sum;
    TRY(prepare(s, logits, seen, n_seen, &n, &sum, e));
    memset(p, 0, (size_t)s->n_vocab * sizeof *p);
    for (size_t i = 0; i < n; i++) p[s->list[i].id] = s->list[i].weight / sum;
    return OK;
}
