/* SPDX-License-Identifier: Apache-2.0 */
/* engine_parts: the cases about several sessions of one family: feeds of many parts, forks, and going back to
 * a mark. Everything is compared, bit for bit, with each timeline fed alone. */
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"
#include "tests/engine_cases.h"

enum {
    MOST = 16,   /* sessions of a family */
    ROOM = 96,   /* positions of each */
    ROUNDS = 6,  /* feeds of a mixture */
    DEEP = 1100, /* positions: more than one chunk of attention (KV_CHUNK) */
    THREADS = 2,
};

/* A family; of each timeline its tokens and its logits at every position, fed alone and in company. */
struct family {
    const struct engine *engine;
    int n, room, V;
    struct session *sessions[MOST];
    int32_t *ids;      /* [n, room] */
    float *want, *got; /* [n, room, V]; zeros where nobody asked */
};

static int32_t *ids_at(const struct family *f, int i, int position) {
    return f->ids + (size_t)i * (size_t)f->room + position;
}

static size_t row_of(const struct family *f, int i, int position) {
    return ((size_t)i * (size_t)f->room + (size_t)position) * (size_t)f->V;
}

static void family_close(struct family *f) {
    while (f->n > 0)
        if (f->sessions[--f->n]) f->engine->close(f->sessions[f->n]);
    free(f->ids);
    free(f->want);
    free(f->got);
}

/* n sessions: the one opened first, forks of it, and forks of forks. */
static enum status family_open(struct family *f, const struct engine *engine, const struct model *m,
                               const struct engine_options *o, int n, struct error *e) {
    struct rng r = {rng_key(11, (uint32_t)n, 0), 0};
    size_t tokens = (size_t)n * (size_t)o->max_tokens;
    *f = (struct family){.engine = engine, .n = n, .room = o->max_tokens, .V = m->config.n_vocab};
    f->ids = calloc(tokens, sizeof *f->ids);
    f->want = calloc(tokens * (size_t)f->V, sizeof *f->want);
    f->got = calloc(tokens * (size_t)f->V, sizeof *f->got);
    enum status status = f->ids && f->want && f->got ? OK : fail(e, ERR_MEMORY, "engine case: out of memory");
    for (size_t i = 0; status == OK && i < tokens; i++) f->ids[i] = (int32_t)rng_below(&r, (uint32_t)f->V);
    if (status == OK) status = engine->open(&f->sessions[0], m, o, e);
    for (int i = 1; i < n && status == OK; i++)
        status = engine->fork(&f->sessions[i], f->sessions[i / 2], i % 3 ? 0 : f->room, e);
    if (status != OK) family_close(f);
    return status;
}

static struct engine_options options_for(const struct engine_bounds *b, int room, int max_batch) {
    return (struct engine_options){.threads = THREADS,
                                   .max_tokens = room,
                                   .max_batch = max_batch,
                                   .cpu_mask = b->cpu_mask,
                                   .kv_type = b->kv_type,
                                   .no_pin = 1};
}

static enum status expect(const struct family *f, int condition, const char *what, int detail,
                          struct error *e) {
    return condition ? OK : fail(e, ERR_ARG, "%s: %s (%d)", f->engine->name, what, detail);
}

static enum status same(const struct family *f, const char *what, struct error *e) {
    for (int i = 0; i < f->n; i++)
        for (int t = 0; t < f->room; t++)
            if (memcmp(f->want + row_of(f, i, t), f->got + row_of(f, i, t), (size_t)f->V * sizeof *f->got))
                return fail(e, ERR_ARG, "%s: %s: session %d of %d differs at position %d", f->engine->name,
                            what, i, f->n, t);
    return OK;
}

/* The next n tokens of session i; logits of the last n_logits of them to their places in out. */
static struct part next_part(const struct family *f, int i, int n, int n_logits, float *out) {
    int position = f->engine->position(f->sessions[i]);
    return (struct part){f->sessions[i], ids_at(f, i, position), n,
                         n_logits ? out + row_of(f, i, position + n - n_logits) : NULL, n_logits};
}

static enum status feed_alone(const struct family *f, int i, int n, int n_logits, struct error *e) {
    struct part p = next_part(f, i, n, n_logits, f->want);
    return f->engine->feed(p.session, p.ids, p.n, p.logits, p.n_logits, e);
}

static void reset_all(struct family *f) {
    for (int i = 0; i < f->n; i++) f->engine->reset(f->sessions[i]);
}

/* ---- mixtures ---- */

/* What each session gets in each round: 0 for nothing, then it is left out. */
struct plan {
    int n[ROUNDS][MOST], n_logits[ROUNDS][MOST];
};

/* Mostly single tokens, some prompts; the sum stays within ROOM. */
static void draw_plan(struct rng *r, int n, struct plan *p) {
    static const int sizes[] = {1, 1, 1, 1, 0, 2, 3, 5, 13, 16};
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++) {
            p->n[round][i] = sizes[rng_below(r, round < 2 ? 10 : 6)];
            p->n_logits[round][i] = (int)rng_below(r, (uint32_t)p->n[round][i] + 1);
        }
}

static enum status feed_plan(struct family *f, const struct plan *plan, struct error *e) {
    struct part parts[MOST];
    for (int round = 0; round < ROUNDS; round++) {
        int used = 0;
        for (int k = 0; k < f->n; k++) {
            int i = (k + round) % f->n; /* in another order each time */
            if (plan->n[round][i])
                parts[used++] = next_part(f, i, plan->n[round][i], plan->n_logits[round][i], f->got);
        }
        if (used) TRY(f->engine->feed_many(parts, used, e));
    }
    return OK;
}

static enum status one_mixture(struct family *f, struct rng *r, struct error *e) {
    struct plan plan;
    size_t values = (size_t)f->n * (size_t)f->room * (size_t)f->V;
    memset(f->want, 0, values * sizeof *f->want);
    memset(f->got, 0, values * sizeof *f->got);
    draw_plan(r, f->n, &plan);
    reset_all(f);
    for (int i = 0; i < f->n; i++)
        for (int round = 0; round < ROUNDS; round++)
            if (plan.n[round][i]) TRY(feed_alone(f, i, plan.n[round][i], plan.n_logits[round][i], e));
    reset_all(f);
    TRY(feed_plan(f, &plan, e));
    return same(f, "a mixture of parts", e);
}

enum status case_mixtures(const struct engine *engine, const struct model *m, const struct engine_bounds *b,
                          struct error *e) {
    static const struct {
        int n, max_batch;
    } shapes[] = {{1, 0}, {2, 0}, {3, 5}, {5, 1}, {8, 0}, {MOST, 0}, {MOST, 7}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct family f;
        struct rng r = {rng_key(12, (uint32_t)i, 0), 0};
        struct engine_options o = options_for(b, ROOM, shapes[i].max_batch);
        TRY(family_open(&f, engine, m, &o, shapes[i].n, e));
        enum status status = OK;
        for (int j = 0; j < 2 && status == OK; j++) status = one_mixture(&f, &r, e);
        family_close(&f);
        TRY(status);
    }
    return OK;
}

/* Beyond one chunk of attention, where a single row alone is computed in another way than a row in company.
 */
static enum status run_deep(struct family *f, struct error *e) {
    int most = DEEP - 3;
    for (int i = 0; i < f->n; i++) {
        TRY(feed_alone(f, i, i ? 5 : most, 0, e));
        for (int t = 0; t < 3; t++) TRY(feed_alone(f, i, 1, 1, e));
    }
    reset_all(f);
    for (int i = 0; i < f->n; i++) {
        struct part p = next_part(f, i, i ? 5 : most, 0, f->got);
        TRY(f->engine->feed_many(&p, 1, e));
    }
    for (int t = 0; t < 3; t++) {
        struct part parts[MOST];
        for (int i = 0; i < f->n; i++) parts[i] = next_part(f, i, 1, 1, f->got);
        TRY(f->engine->feed_many(parts, f->n, e));
    }
    return same(f, "a long and a short session", e);
}

enum status case_deep(const struct engine *engine, const struct model *m, const struct engine_bounds *b,
                      struct error *e) {
    struct family f;
    struct engine_options o = options_for(b, DEEP, 0);
    TRY(family_open(&f, engine, m, &o, 2, e));
    enum status status = run_deep(&f, e);
    family_close(&f);
    return status;
}

/* ---- a prefix computed once, and going back ---- */

/* All sessions begin with session 0's first tokens. */
static void share_prefix(struct family *f, int n) {
    for (int i = 1; i < f->n; i++) memcpy(ids_at(f, i, 0), ids_at(f, 0, 0), (size_t)n * sizeof *f->ids);
}

static enum status run_prefix(struct family *f, struct snapshot *shot, struct error *e) {
    const int prefix = 21, tail = 4;
    struct part parts[MOST];
    share_prefix(f, prefix);
    for (int i = 0; i < f->n; i++) {
        TRY(feed_alone(f, i, prefix, 0, e));
        TRY(feed_alone(f, i, tail + i, tail + i, e));
    }
    f->engine->reset(f->sessions[0]);
    struct part p = next_part(f, 0, prefix, 0, f->got);
    TRY(f->engine->feed_many(&p, 1, e));
    TRY(f->engine->save(f->sessions[0], shot, e));
    for (int i = f->n - 1; i >= 0; i--) {
        TRY(f->engine->restore(f->sessions[i], shot, e)); /* over what it was left with */
        TRY(expect(f, f->engine->position(f->sessions[i]) == prefix, "position after restore", i, e));
        parts[i] = next_part(f, i, tail + i, tail + i, f->got);
    }
    TRY(f->engine->feed_many(parts, f->n, e));
    return same(f, "one prefix restored in all forks", e);
}

enum status case_prefix(const struct engine *engine, const struct model *m, const struct engine_bounds *b,
                        struct error *e) {
    struct family f;
    struct snapshot shot = {0};
    struct engine_options o = options_for(b, ROOM, 0);
    TRY(family_open(&f, engine, m, &o, 5, e));
    enum status status = run_prefix(&f, &shot, e);
    snapshot_free(&shot);
    family_close(&f);
    return status;
}

/* Marks at every offset around the window of the convolution; wrong turns of every length before the right
 * way, both sessions at once. */
static enum status one_mark(struct family *f, int offset, struct error *e) {
    const int tail = 6;
    struct part parts[2];
    for (int i = 0; i < 2; i++) {
        if (offset) TRY(feed_alone(f, i, offset, offset, e));
        TRY(feed_alone(f, i, tail, tail, e));
    }
    reset_all(f);
    for (int i = 0; i < 2; i++) {
        parts[i] = next_part(f, i, offset, offset, f->got);
        if (offset) TRY(f->engine->feed_many(&parts[i], 1, e));
        f->engine->mark(f->sessions[i]);
    }
    for (int wrong = 1; wrong <= 5; wrong++) {
        for (int i = 0; i < 2; i++) {
            parts[i] = next_part(f, i, wrong, 0, f->got);
            parts[i].ids = ids_at(f, 1 - i, 40); /* somebody else's */
        }
        TRY(f->engine->feed_many(parts, 2, e));
        for (int i = 0; i < 2; i++) {
            TRY(f->engine->rollback(f->sessions[i], e));
            TRY(expect(f, f->engine->position(f->sessions[i]) == offset, "position after rollback", offset,
                       e));
            parts[i] = next_part(f, i, tail, tail, f->got);
        }
        TRY(f->engine->feed_many(parts, 2, e));
        TRY(same(f, "after going back to a mark", e));
        for (int i = 0; i < 2; i++) TRY(f->engine->rollback(f->sessions[i], e));
    }
    reset_all(f);
    return OK;
}

/* reset and restore forget a mark. */
static enum status forgotten(struct family *f, struct snapshot *shot, struct error *e) {
    struct error said = {0};
    struct session *s = f->sessions[1];
    TRY(expect(f, f->engine->rollback(s, &said) == ERR_ARG && said.text[0], "rollback without a mark", 0, e));
    TRY(feed_alone(f, 1, 7, 0, e));
    TRY(f->engine->save(s, shot, e));
    f->engine->mark(s);
    TRY(f->engine->restore(s, shot, e));
    TRY(expect(f, f->engine->rollback(s, &said) == ERR_ARG, "a mark outlived restore", 0, e));
    TRY(expect(f, f->engine->position(s) == 7, "position changed by a refusal", 0, e));
    f->engine->mark(s);
    f->engine->reset(s);
    return expect(f, f->engine->rollback(s, &said) == ERR_ARG, "a mark outlived reset", 0, e);
}

enum status case_marks(const struct engine *engine, const struct model *m, const struct engine_bounds *b,
                       struct error *e) {
    struct family f;
    struct snapshot shot = {0};
    struct engine_options o = options_for(b, ROOM, 0);
    TRY(family_open(&f, engine, m, &o, 2, e));
    enum status status = forgotten(&f, &shot, e);
    for (int offset = 0; offset <= 5 && status == OK; offset++) status = one_mark(&f, offset, e);
    if (status == OK) status = one_mark(&f, 33, e); /* past two blocks of keys */
    snapshot_free(&shot);
    family_close(&f);
    return status;
}

/* ---- refusals ---- */

/* The feed is refused and no session moves. */
static enum status refuse(struct family *f, const struct part *parts, int n, const char *what,
                          struct error *e) {
    struct error said = {0};
    int position[MOST];
    for (int i = 0; i < f->n; i++) position[i] = f->engine->position(f->sessions[i]);
    enum status status = f->engine->feed_many(parts, n, &said);
    TRY(expect(f, status == ERR_ARG && said.text[0], what, status, e));
    for (int i = 0; i < f->n; i++)
        TRY(expect(f, f->engine->position(f->sessions[i]) == position[i], "a refusal moved session", i, e));
    return OK;
}

static enum status run_part_refusals(struct family *f, struct session *stranger, struct error *e) {
    struct error said = {0};
    struct session *s;
    for (int i = 0; i < f->n; i++) TRY(feed_alone(f, i, 9, 9, e));
    for (int i = 0; i < f->n; i++) TRY(feed_alone(f, i, 3, 3, e));
    reset_all(f);
    struct part good[3], bad[3];
    for (int i = 0; i < 3; i++) good[i] = next_part(f, i, 9, 9, f->got);
    TRY(f->engine->feed_many(good, 3, e));
    for (int i = 0; i < 3; i++) good[i] = next_part(f, i, 3, 3, f->got);
    int32_t ids[] = {0, f->V, 0};
    float *none = NULL;
    const struct {
        struct part last;
        const char *what;
    } cases[] = {{{good[2].session, ids, 3, good[2].logits, 3}, "an id outside the vocabulary"},
                 {{good[2].session, good[2].ids, 0, none, 0}, "a part without tokens"},
                 {{good[2].session, good[2].ids, 3, good[2].logits, 4}, "more logits than tokens"},
                 {{good[2].session, good[2].ids, 3, none, 1}, "logits to nowhere"},
                 {{good[2].session, f->ids, ROOM - 8, none, 0}, "more tokens than fit"},
                 {{good[0].session, good[2].ids, 3, good[2].logits, 3}, "a session twice"},
                 {{stranger, good[2].ids, 3, good[2].logits, 3}, "a session of another family"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bad, good, sizeof bad);
        bad[2] = cases[i].last;
        TRY(refuse(f, bad, 3, cases[i].what, e));
    }
    TRY(refuse(f, good, 0, "no parts", e));
    TRY(expect(f, f->engine->fork(&s, f->sessions[1], ROOM + 1, &said) == ERR_ARG && !s, "a fork too long", 0,
               e));
    TRY(expect(f, f->engine->fork(&s, f->sessions[1], -1, &said) == ERR_ARG && !s, "a negative fork", 0, e));
    TRY(f->engine->feed_many(good, 3, e));
    return same(f, "after refusals", e);
}

enum status case_part_refusals(const struct engine *engine, const struct model *m,
                               const struct engine_bounds *b, struct error *e) {
    struct family f;
    struct session *stranger;
    struct engine_options o = options_for(b, ROOM, 0);
    TRY(engine->open(&stranger, m, &o, e));
    enum status status = family_open(&f, engine, m, &o, 3, e);
    if (status == OK) {
        status = run_part_refusals(&f, stranger, e);
        family_close(&f);
    }
    engine->close(stranger);
    return status;
}

/* ---- taps ---- */

/* Per session the sum of every tapped value, and the rows seen. */
struct tapped {
    const struct family *f;
    double sum[MOST][TAP_COUNT];
    int rows[MOST][TAP_COUNT], first[MOST], wrong;
};

static void add_tapped(void *arg, const struct tap_event *v) {
    struct tapped *t = arg;
    int i = 0;
    while (i < t->f->n && t->f->sessions[i] != v->session) i++;
    if (i == t->f->n) {
        t->wrong++;
        return;
    }
    if (v->point != TAP_FINAL_NORM && v->position != t->first[i]) t->wrong++;
    t->rows[i][v->point] += v->n;
    for (size_t j = 0; j < (size_t)v->n * (size_t)v->dim; j++)
        t->sum[i][v->point] += v->x[j] * (double)(j % 97 + 1) * (v->layer + 2);
    for (int j = 0; v->experts && j < v->n * v->k; j++) t->sum[i][v->point] += v->experts[j] * (j + 1);
}

static enum status run_part_taps(struct family *f, struct tapped *alone, struct tapped *many,
                                 struct tapped *now, struct error *e) {
    static const int first[] = {0, 4, 2}, n[] = {3, 1, 2};
    struct part parts[3];
    for (int pass = 0; pass < 2; pass++) {
        reset_all(f);
        for (int i = 0; i < 3; i++)
            if (first[i]) TRY(feed_alone(f, i, first[i], 0, e));
        *now = (struct tapped){.f = f};
        memcpy(now->first, first, sizeof first);
        for (int i = 0; i < 3; i++) parts[i] = next_part(f, i, n[i], n[i], pass ? f->got : f->want);
        for (int i = 0; i < 3 && !pass; i++) TRY(f->engine->feed_many(&parts[i], 1, e));
        if (pass) TRY(f->engine->feed_many(parts, 3, e));
        *(pass ? many : alone) = *now;
    }
    TRY(expect(f, alone->wrong == 0 && many->wrong == 0, "taps with a wrong session or position", many->wrong,
               e));
    for (int i = 0; i < 3; i++)
        for (int p = 0; p < TAP_COUNT; p++)
            TRY(expect(f, alone->rows[i][p] == many->rows[i][p] && alone->sum[i][p] == many->sum[i][p],
                       "a tap point saw other values in company", p, e));
    TRY(expect(f, many->rows[0][TAP_LAYER_OUT] > 0, "nothing was tapped", 0, e));
    return same(f, "tapped parts", e);
}

enum status case_part_taps(const struct engine *engine, const struct model *m, const struct engine_bounds *b,
                           struct error *e) {
    struct family f;
    struct tapped alone, many, now = {.f = &f};
    struct engine_options o = options_for(b, ROOM, 0);
    o.tap = add_tapped;
    o.tap_arg = &now;
    TRY(family_open(&f, engine, m, &o, 3, e));
    enum status status = run_part_taps(&f, &alone, &many, &now, e);
    family_close(&f);
    return status;
}

enum status engine_state_cases(const struct engine *engine, const struct model *m,
                               const struct engine_bounds *bounds, struct error *e) {
    static const char *const about_state[] = {"repeat", "snapshots", "ties", "prefix", "marks"};
    for (size_t i = 0; i < sizeof about_state / sizeof *about_state; i++)
        for (int k = 0; k < n_engine_cases; k++)
            if (strcmp(engine_cases[k].name, about_state[i]) == 0)
                TRY(engine_cases[k].run(engine, m, bounds, e));
    return OK;
}
