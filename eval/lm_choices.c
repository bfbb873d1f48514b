/* SPDX-License-Identifier: Apache-2.0 */
/* lm_choices: the log-likelihoods of a prompt's continuations, from one pass over what they share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/lm_parts.h"

void choices_end(struct slot *s) {
    for (int i = 0; i < s->n_branches; i++) tokens_free(&s->branches[i].ids);
    free(s->branches);
    s->branches = NULL;
    s->n_branches = 0;
}

/* Cuts the beginning off so that the last token but one still fits into the context, as lm-eval does. */
static enum status encode(struct lm *lm, struct slot *s, struct branch *b, const struct buffer *continuation,
                          struct error *e) {
    size_t n = 0, most = (size_t)lm->max_length + 1;
    TRY(lm_encode_pair(lm, s->job->prompt, continuation, &b->ids, &n, e));
    if (n > (size_t)lm->max_length)
        return fail(e, ERR_ARG,
                    "a continuation is longer than the context (found %zu tokens, expected at most %d)", n,
                    lm->max_length);
    if (b->ids.n > most) {
        size_t cut = b->ids.n - most;
        memmove(b->ids.ids, b->ids.ids + cut, most * sizeof *b->ids.ids);
        b->ids.n = most;
        if ((int)cut > s->job->truncated) s->job->truncated = (int)cut;
    }
    b->first = b->ids.n - n - 1;
    b->greedy = 1;
    return OK;
}

/* Tokens that are fed for b: all but the last. */
static size_t inputs(const struct branch *b) {
    return b->ids.n - 1;
}

static size_t common(const struct branch *a, const struct branch *b, size_t most) {
    size_t n = inputs(b) < most ? inputs(b) : most;
    for (size_t i = 0; i < n; i++)
        if (a->ids.ids[i] != b->ids.ids[i]) return i;
    return n;
}

/* Goes on with the next continuation that has something left to feed; the mark at the end of the trunk is
 * taken when there is one. */
static enum status next_branch(struct lm *lm, struct slot *s, struct error *e) {
    int first = s->at < 0;
    do s->at++;
    while (s->at < s->n_branches && inputs(&s->branches[s->at]) == s->trunk);
    if (s->at == s->n_branches) return OK;
    s->fed = s->trunk;
    if (!first) return lm->engine->rollback(s->session, e);
    lm->engine->mark(s->session);
    s->version = 0;
    return OK;
}

enum status choices_begin(struct lm *lm, struct slot *s, struct error *e) {
    const struct item *item = s->job->item;
    int n = item->n_continuations;
    s->branches = calloc((size_t)(n > 0 ? n : 1), sizeof *s->branches);
    s->job->responses = calloc((size_t)(n > 0 ? n : 1), sizeof *s->job->responses);
    if (!s->branches || !s->job->responses) return fail(e, ERR_MEMORY, "out of memory");
    s->n_branches = n;
    if (n < 1) fail(&s->job->failed, ERR_ARG, "there are no choices");
    for (int i = 0; i < n && s->job->failed.code == OK; i++)
        encode(lm, s, &s->branches[i], &item->continuations[i], &s->job->failed);
    if (s->job->failed.code == ERR_MEMORY) *e = s->job->failed;
    if (s->job->failed.code != OK) return s->job->failed.code == ERR_MEMORY ? ERR_MEMORY : OK;
    s->trunk = inputs(&s->branches[0]);
    size_t first = s->branches[0].first;
    for (int i = 1; i < n; i++) {
        s->trunk = common(&s->branches[0], &s->branches[i], s->trunk);
        if (s->branches[i].first < first) first = s->branches[i].first;
    }
    s->at = -1;
    TRY(slot_start(lm, s, &s->branches[0].ids, first < s->trunk ? first : s->trunk, &s->fed, e));
    /* Continuations of different lengths, cut to the context's length, may share nothing. */
    return s->fed == s->trunk ? next_branch(lm, s, e) : OK;
}

/* The first input of the current sequence whose logits are wanted. */
static size_t first_row(const struct slot *s) {
    if (s->at >= 0) return s->branches[s->at].first;
    size_t first = s->branches[0].first;
    for (int i = 1; i < s->n_branches; i++)
        if (s->branches[i].first < first) first = s->branches[i].first;
    return first;
}

enum status choices_piece(struct lm *lm, struct slot *s, struct part *p, struct error *e) {
    (void)lm, (void)e;
    const struct branch *b = &s->branches[s->at < 0 ? 0 : s->at];
    size_t end = s->at < 0 ? s->trunk : inputs(b), first = first_row(s);
    if (first < s->fed) first = s->fed;
    if (end > first + LM_ROWS) end = first + LM_ROWS;
    p->ids = b->ids.ids + s->fed;
    p->n = (int)(end - s->fed);
    p->n_logits = end > first ? (int)(end - first) : 0;
    return OK;
}

/* One row of logits as every continuation that it concerns sees it. */
struct row {
    const float *logits;
    int best;
    double log_sum; /* log of the sum of exp */
};

static struct row read_row(const float *logits, int V) {
    struct row r = {.logits = logits};
    for (int v = 1; v < V; v++)
        if (logits[v] > logits[r.best]) r.best = v;
    double sum = 0, top = logits[r.best];
    for (int v = 0; v < V; v++) sum += exp(logits[v] - top);
    r.log_sum = top + log(sum);
    return r;
}

static void count(struct branch *b, size_t at, const struct row *r) {
    if (at < b->first || at >= inputs(b)) return;
    int32_t next = b->ids.ids[at + 1];
    b->sum += r->logits[next] - r->log_sum;
    if (next != r->best) b->greedy = 0;
}

enum status choices_take(struct lm *lm, struct slot *s, const struct part *p, int *over, struct error *e) {
    s->fed += (size_t)p->n;
    for (int i = 0; i < p->n_logits; i++) {
        struct row r = read_row(p->logits + (size_t)i * (size_t)lm->n_vocab, lm->n_vocab);
        size_t at = s->fed - (size_t)(p->n_logits - i);
        if (isnan(r.log_sum)) return fail(e, ERR_ARG, "the model's logits are not numbers");
        for (int k = 0; k < s->n_branches; k++)
            if (s->at < 0 || k == s->at) count(&s->branches[k], at, &r);
    }
    if (s->fed < (s->at < 0 ? s->trunk : inputs(&s->branches[s->at]))) return OK;
    TRY(next_branch(lm, s, e));
    *over = s->at == s->n_branches;
    /* lm-eval's sums are float32; the last digits say no more here either. */
    for (int i = 0; *over && i < s->n_branches; i++)
        s->job->responses[i] =
            (struct response){.loglikelihood = (float)s->branches[i].sum, .is_greedy = s->branches[i].greedy};
    if (*over) s->job->n_responses = s->n_branches;
    return OK;
}
