/* SPDX-License-Identifier: Apache-2.0 */
/* generate: the loop, the text that is held back, and prompt lookup. */
#include "bench/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "data/buffer.h"

enum {
    MIN_MATCH = 2, /* tokens that must agree before what followed them is proposed */
    MAX_MATCH = 4,
    MAX_PENDING = 8,  /* to be fed after wrong guesses; above, one feed without proposals clears them */
    FIRST_PAUSE = 32, /* tokens without proposals after too many wrong ones; doubled each time */
    MAX_ENDS = 16,    /* tokens that end an answer; vocabularies have up to four */
};

struct run {
    struct generator *g;
    const struct generate_options *o;
    struct generate_result *r;
    struct error *e;
    int ended;
    struct token_stream stream;
    struct buffer held;     /* text that may yet be part of a stop text */
    int32_t ends[MAX_ENDS]; /* tokens never to be chosen */
    int n_ends;
    /* prompt lookup */
    int marked;            /* position of the session's mark; -1: not set here */
    int draft;             /* tokens to propose next time */
    double rate;           /* of accepted among proposed, recent ones count more */
    int pause, next_pause; /* tokens left without proposals */
};

void generator_free(struct generator *g) {
    tokens_free(&g->timeline);
    free(g->logits);
    g->logits = NULL;
}

static void end(struct run *r, enum generate_end why) {
    r->ended = 1;
    r->r->end = why;
}

static void send(struct run *r, size_t n) {
    if (!n) return;
    if (r->o->text(r->o->arg, r->held.data, n)) end(r, END_READER);
    r->held.n -= n;
    memmove(r->held.data, r->held.data + n, r->held.n);
}

/* The longest end of the held text that a stop text begins with. */
static size_t unsure(const struct run *r) {
    size_t longest = 0;
    for (int i = 0; i < r->o->n_stop; i++)
        for (size_t n = strlen(r->o->stop[i]); n > longest; n--)
            if (n <= r->held.n && memcmp(r->held.data + r->held.n - n, r->o->stop[i], n) == 0) longest = n;
    return longest;
}

size_t generate_stop_at(const struct generate_options *o, const char *text, size_t n) {
    size_t first = n;
    for (int i = 0; n && i < o->n_stop; i++) {
        const char *at = memmem(text, n, o->stop[i], strlen(o->stop[i]));
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

/* Sends what is safe of the held text; a stop text ends the answer. */
static void release(struct run *r) {
    size_t at = generate_stop_at(r->o, r->held.data, r->held.n);
    if (at == r->held.n) {
        send(r, r->held.n - unsure(r));
        return;
    }
    send(r, at);
    r->held.n = 0;
    end(r, END_STOP);
}

/* Appends one chosen token to the timeline and its text to the answer. */
static enum status take(struct run *r, int32_t id) {
    struct generator *g = r->g;
    unsigned flags = r->o->special ? TOKENS_SPECIAL : 0;
    TRY(tokens_add(&g->timeline, id, r->e));
    r->r->tokens++;
    int last = tokenizer_ends(g->tokenizer, id);
    if (!last || r->o->special) TRY(tokenizer_stream(g->tokenizer, &r->stream, id, flags, &r->held, r->e));
    if (r->held.n) release(r);
    if (r->ended) return OK;
    if (last)
        end(r, END_MODEL);
    else if (r->r->tokens == r->o->n_predict)
        end(r, END_LENGTH);
    else if (g->timeline.n > (size_t)g->max_tokens)
        end(r, END_CONTEXT);
    return OK;
}

static enum status choose(struct run *r, int row) {
    struct generator *g = r->g;
    float *logits = g->logits + (size_t)row * g->n_vocab;
    int32_t id;
    for (int i = 0; i < r->n_ends; i++) logits[r->ends[i]] = -INFINITY;
    TRY(sampler_choose(g->sampler, logits, g->timeline.ids, g->timeline.n, &id, r->e));
    return take(r, id);
}

static void find_ends(struct run *r) {
    struct generator *g = r->g;
    for (int32_t id = 0; id < g->n_vocab && r->n_ends < MAX_ENDS; id++)
        if (tokenizer_ends(g->tokenizer, id)) r->ends[r->n_ends++] = id;
}

static int interrupted(struct run *r) {
    if (!r->ended && r->o->interrupt && *r->o->interrupt) end(r, END_INTERRUPT);
    return r->ended;
}

static enum status prefill(struct run *r) {
    struct generator *g = r->g;
    int first = g->engine->position(g->session), total = (int)g->timeline.n - first;
    int piece = r->o->batch > 0 ? r->o->batch : GENERATE_BATCH;
    for (int done = 0; done < total && !interrupted(r);) {
        if (r->o->progress) r->o->progress(r->o->arg, done, total);
        int n = total - done < piece ? total - done : piece;
        TRY(g->engine->feed(g->session, g->timeline.ids + first + done, n, g->logits, done + n == total,
                            r->e));
        r->r->prompt_tokens = done += n;
    }
    if (r->o->progress) r->o->progress(r->o->arg, total, total);
    if (r->ended) return OK;
    if (r->o->n_predict != 0) return choose(r, 0);
    end(r, END_LENGTH);
    return OK;
}

/* k tokens that may follow: those after the latest earlier place where the longest match ends. A match that
 * runs into the end of the timeline goes round. Returns k, or 0 when there is no such place. */
static int propose(const struct tokens *t, int k, int32_t *out) {
    for (size_t m = MAX_MATCH; m >= MIN_MATCH; m--) {
        if (t->n <= m) continue;
        const int32_t *tail = t->ids + t->n - m;
        for (size_t j = t->n - m; j-- > 0;) {
            if (t->ids[j] != tail[0] || memcmp(t->ids + j, tail, m * sizeof *tail) != 0) continue;
            size_t period = t->n - m - j;
            for (int i = 0; i < k; i++)
                out[i] = (size_t)i < period ? t->ids[j + m + (size_t)i] : out[(size_t)i - period];
            return k;
        }
    }
    return 0;
}

/* Proposes to *ids after what is still to be fed; 0 when it is not worth trying. */
static int draft(struct run *r, int pending, int32_t *ids) {
    struct generator *g = r->g;
    int k = r->draft, room = g->max_tokens - (int)g->timeline.n;
    if (r->o->n_predict > 0 && r->o->n_predict - r->r->tokens - 1 < room)
        room = r->o->n_predict - r->r->tokens - 1;
    if (k > room) k = room;
    if (r->o->lookup <= 0 || pending > MAX_PENDING || k <= 0) return 0;
    if (r->pause > 0) {
        r->pause--;
        return 0;
    }
    return propose(&g->timeline, k, ids);
}

/* Longer proposals while they are right, shorter ones when not; a pause when few were right. */
static void adapt(struct run *r, int proposed, int accepted) {
    r->r->proposed += proposed;
    r->r->accepted += accepted;
    r->draft = accepted == proposed ? 2 * r->draft : accepted + 1;
    if (r->draft > r->o->lookup) r->draft = r->o->lookup;
    r->rate += 0.2 * ((double)accepted / proposed - r->rate);
    if (r->rate >= 0.25) return;
    r->pause = r->next_pause;
    r->next_pause *= 2;
    r->rate = 0.5;
}

/* One feed after the prompt: what is pending (usually the last token) and proposals. */
static enum status step(struct run *r) {
    struct generator *g = r->g;
    int first = g->engine->position(g->session), pending = (int)g->timeline.n - first;
    int32_t ids[MAX_PENDING + 2 * LOOKUP_MAX + 1], *guess = ids + pending;
    int k = draft(r, pending, guess), accepted = 0;
    memcpy(ids, g->timeline.ids + first, (size_t)pending * sizeof *ids);
    if (k > 0 && r->marked != first) {
        g->engine->mark(g->session);
        r->marked = first;
    }
    TRY(g->engine->feed(g->session, ids, pending + k, g->logits, k + 1, r->e));
    r->r->steps++;
    for (int row = 0; row <= k && !r->ended; row++) {
        TRY(choose(r, row));
        if (row == k || g->timeline.ids[g->timeline.n - 1] != guess[row]) break;
        accepted++;
    }
    if (k > 0) adapt(r, k, accepted);
    return accepted < k ? g->engine->rollback(g->session, r->e) : OK;
}

static enum status check(struct generator *g, const struct generate_options *o, struct error *e) {
    size_t n = g->timeline.n, first = (size_t)g->engine->position(g->session);
    if (n <= first) return fail(e, ERR_ARG, "there is no text to go on from: the prompt is empty");
    if (n > (size_t)g->max_tokens)
        return fail(e, ERR_ARG, "the context is too small: %zu tokens of text (expected at most %d)", n,
                    g->max_tokens);
    for (int i = 0; i < o->n_stop; i++)
        if (!*o->stop[i]) return fail(e, ERR_ARG, "a stop text is empty");
    if (o->lookup < 0 || o->lookup > LOOKUP_MAX)
        return fail(e, ERR_ARG, "prompt lookup: cannot propose %d tokens (expected 0 to %d)", o->lookup,
                    LOOKUP_MAX);
    if (!g->logits) g->logits = malloc((LOOKUP_MAX + 1) * (size_t)g->n_vocab * sizeof *g->logits);
    return g->logits ? OK : fail(e, ERR_MEMORY, "out of memory for %d logits", g->n_vocab);
}

enum status generate(struct generator *g, const struct generate_options *o, struct generate_result *result,
                     struct error *e) {
    *result = (struct generate_result){0};
    TRY(check(g, o, e));
    struct run r = {.g = g,
                    .o = o,
                    .r = result,
                    .e = e,
                    .marked = -1,
                    .draft = o->lookup,
                    .rate = 0.5,
                    .next_pause = FIRST_PAUSE};
    if (o->ignore_eos) find_ends(&r);
    int64_t start = now_ns();
    enum status status = prefill(&r);
    result->prompt_ns = now_ns() - start;
    start = now_ns();
    while (status == OK && !interrupted(&r)) status = step(&r);
    result->eval_ns = now_ns() - start;
    if (status == OK && result->end != END_STOP && result->end != END_READER) {
        tokenizer_stream_end(&r.stream, &r.held);
        if (r.held.n) release(&r);
        if (result->end != END_STOP && result->end != END_READER) send(&r, r.held.n);
        status = buffer_check(&r.held, e);
    }
    buffer_free(&r.held);
    return status;
}
