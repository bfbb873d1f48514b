/* SPDX-License-Identifier: Apache-2.0 */
/* engine_cases: the contract of an engine as checks (see engine_cases.h). */
#include "tests/engine_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"
#include "tests/oracle.h"

enum {
    LONG = 70, /* tokens: beyond one block of 64 queries, not a multiple of anything */
    SHORT = 8, /* tokens whose every split is tried; more than twice the window of the convolution */
    ROOM = 96, /* max_tokens of the sessions here */
    EXTRA = 2, /* tokens fed after a split, to compare the states it left */
    THREADS = 2,
};

/* What the cases work with: an engine on a model, tokens, room for two sets of logits. */
struct bench {
    const struct engine *engine;
    const struct model *model;
    const struct engine_bounds *bounds;
    struct session *s;
    int V;
    int32_t ids[ROOM];
    float *want, *got; /* [ROOM, V] */
};

static void bench_close(struct bench *b) {
    if (b->s) b->engine->close(b->s);
    free(b->want);
    free(b->got);
}

static struct engine_options options_for(const struct engine_bounds *bounds, int threads) {
    return (struct engine_options){.threads = threads,
                                   .max_tokens = ROOM,
                                   .cpu_mask = bounds->cpu_mask,
                                   .kv_type = bounds->kv_type,
                                   .no_pin = 1};
}

static enum status bench_open(struct bench *b, const struct engine *engine, const struct model *m,
                              const struct engine_bounds *bounds, int threads, int max_batch,
                              struct error *e) {
    struct rng r = {rng_key(7, 0, 0), 0};
    struct engine_options options = options_for(bounds, threads);
    options.max_batch = max_batch;
    *b = (struct bench){.engine = engine, .model = m, .bounds = bounds, .V = m->config.n_vocab};
    for (int i = 0; i < ROOM; i++) b->ids[i] = (int32_t)rng_below(&r, (uint32_t)b->V);
    b->want = calloc((size_t)ROOM * (size_t)b->V, sizeof *b->want);
    b->got = calloc((size_t)ROOM * (size_t)b->V, sizeof *b->got);
    enum status status = b->want && b->got ? engine->open(&b->s, m, &options, e)
                                           : fail(e, ERR_MEMORY, "engine case: out of memory");
    if (status != OK) bench_close(b);
    return status;
}

/* Feeds ids [from, to) in one call; logits of all of them to their place in out. */
static enum status feed(struct bench *b, int from, int to, float *out, struct error *e) {
    return b->engine->feed(b->s, b->ids + from, to - from, out + (size_t)from * (size_t)b->V, to - from, e);
}

static enum status feed_singly(struct bench *b, int from, int to, float *out, struct error *e) {
    for (int t = from; t < to; t++) TRY(feed(b, t, t + 1, out, e));
    return OK;
}

/* NaN or Inf anywhere gives INFINITY. */
static double nmse_f32(const float *want, const float *got, size_t n) {
    double difference = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += (double)want[i] * want[i];
    }
    if (!isfinite(difference) || !isfinite(power)) return INFINITY;
    return power > 0 ? difference / power : difference > 0 ? INFINITY : 0;
}

/* Tokens [0, n) of got against want. */
static enum status compare(const struct bench *b, int n, double bound, const char *what, int detail,
                           struct error *e) {
    size_t values = (size_t)n * (size_t)b->V;
    double error = nmse_f32(b->want, b->got, values);
    int same = memcmp(b->want, b->got, values * sizeof *b->want) == 0;
    if (bound > 0 ? error <= bound : same) return OK;
    return fail(e, ERR_ARG, "%s: %s (%d): NMSE %.3g exceeds %.3g", b->engine->name, what, detail, error,
                bound);
}

static enum status expect(int condition, const struct bench *b, const char *what, int detail,
                          struct error *e) {
    return condition ? OK : fail(e, ERR_ARG, "%s: %s (%d)", b->engine->name, what, detail);
}

/* ---- the right numbers ---- */

static double nmse_f64(const double *want, const float *got, size_t n) {
    double difference = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        power += want[i] * want[i];
    }
    return isfinite(difference) && isfinite(power) && power > 0 ? difference / power : INFINITY;
}

/* NMSE of all positions at once and token by token; on the engine's own choices of experts; and how far these
 * are from the best (negative: they are the best). */
struct accuracy {
    double prefill, decode, routed, margin;
};

/* Keeps the choices of every layer as [L, n, k]. */
static void keep_experts(void *arg, const struct tap_event *v) {
    int32_t *experts = arg;
    size_t layer = (size_t)LONG * (size_t)v->k, row = (size_t)v->position * (size_t)v->k;
    if (v->point == TAP_ROUTER)
        memcpy(experts + (size_t)v->layer * layer + row, v->experts,
               (size_t)v->n * (size_t)v->k * sizeof *experts);
}

/* Logits of LONG tokens with the experts behind them, and what the oracle makes of those. */
static enum status measure_routed(struct bench *b, double *oracle, int32_t *experts, struct accuracy *out,
                                  struct error *e) {
    struct oracle_routing routing = {.experts = experts};
    struct engine_options options = options_for(b->bounds, THREADS);
    options.tap = keep_experts;
    options.tap_arg = experts;
    struct session *s;
    TRY(b->engine->open(&s, b->model, &options, e));
    enum status status = b->engine->feed(s, b->ids, LONG, b->got, LONG, e);
    b->engine->close(s);
    TRY(status);
    TRY(oracle_logits(b->model, b->ids, LONG, &routing, oracle, e));
    out->routed = nmse_f64(oracle, b->got, (size_t)LONG * (size_t)b->V);
    out->margin = routing.margin;
    return OK;
}

static enum status measure(struct bench *b, double *oracle, int32_t *experts, struct accuracy *out,
                           struct error *e) {
    size_t values = (size_t)LONG * (size_t)b->V;
    TRY(oracle_logits(b->model, b->ids, LONG, NULL, oracle, e));
    TRY(feed(b, 0, LONG, b->got, e));
    out->prefill = nmse_f64(oracle, b->got, values);
    b->engine->reset(b->s);
    TRY(feed_singly(b, 0, LONG, b->got, e));
    out->decode = nmse_f64(oracle, b->got, values);
    return measure_routed(b, oracle, experts, out, e);
}

static enum status judge(const struct bench *b, const struct accuracy *a, struct error *e) {
    const struct engine_bounds *bounds = b->bounds;
    if (!(a->prefill <= bounds->oracle && a->decode <= bounds->oracle))
        return fail(e, ERR_ARG, "%s: against the oracle: NMSE %.3g (prefill) and %.3g (decode), bound %.3g",
                    b->engine->name, a->prefill, a->decode, bounds->oracle);
    if (!(a->routed <= bounds->routed && a->margin <= bounds->margin))
        return fail(
            e, ERR_ARG,
            "%s: on its own choices of experts: NMSE %.3g (bound %.3g), choices off by %.3g (bound %.3g)",
            b->engine->name, a->routed, bounds->routed, a->margin, bounds->margin);
    return OK;
}

static enum status run_oracle(struct bench *b, struct error *e) {
    struct accuracy a = {0};
    const struct config *c = &b->model->config;
    double *oracle = calloc((size_t)LONG * (size_t)b->V, sizeof *oracle);
    int32_t *experts = calloc((size_t)c->n_layers * LONG * (size_t)c->n_experts_used + 1, sizeof *experts);
    enum status status = oracle && experts ? measure(b, oracle, experts, &a, e)
                                           : fail(e, ERR_MEMORY, "engine case: out of memory");
    free(oracle);
    free(experts);
    return status == OK ? judge(b, &a, e) : status;
}

/* ---- one timeline, however it is cut ---- */

/* n tokens as a + (n - a), or one by one, against n at once in want; then the tokens after them, which see
 * the state that was left. */
static enum status one_split(struct bench *b, int n, int a, double bound, struct error *e) {
    b->engine->reset(b->s);
    if (a > 0) {
        TRY(feed(b, 0, a, b->got, e));
        TRY(feed(b, a, n, b->got, e));
    } else {
        TRY(feed_singly(b, 0, n, b->got, e));
    }
    TRY(expect(b->engine->position(b->s) == n, b, "position after a split", n, e));
    TRY(feed_singly(b, n, n + EXTRA, b->got, e));
    return compare(b, n + EXTRA, bound, a ? "split of 100 n + a" : "single steps of 100 n", 100 * n + a, e);
}

static enum status unsplit(struct bench *b, int n, struct error *e) {
    b->engine->reset(b->s);
    TRY(feed(b, 0, n, b->want, e));
    return feed_singly(b, n, n + EXTRA, b->want, e);
}

static enum status run_splits(struct bench *b, struct error *e) {
    for (int n = 1; n <= SHORT; n++) {
        TRY(unsplit(b, n, e));
        for (int a = 0; a < n; a++) TRY(one_split(b, n, a, b->bounds->split, e));
    }
    TRY(unsplit(b, LONG, e));
    return one_split(b, LONG, LONG / 2, b->bounds->split, e);
}

/* In batches of max_batch, against one batch. */
static enum status run_batches(struct bench *b, struct error *e) {
    struct bench whole;
    TRY(bench_open(&whole, b->engine, b->model, b->bounds, THREADS, 0, e));
    enum status status = feed(&whole, 0, LONG, whole.want, e);
    if (status == OK) {
        memcpy(b->want, whole.want, (size_t)LONG * (size_t)b->V * sizeof *b->want);
        status = feed(b, 0, LONG, b->got, e);
    }
    if (status == OK) status = compare(b, LONG, b->bounds->split, "in batches of 7", LONG, e);
    bench_close(&whole);
    return status;
}

/* n_logits: which rows are written, and no others. */
static enum status run_n_logits(struct bench *b, struct error *e) {
    const float untouched = -12345.0f;
    TRY(feed(b, 0, SHORT, b->want, e));
    for (int wanted = 0; wanted <= SHORT; wanted++) {
        size_t first = (size_t)(SHORT - wanted) * (size_t)b->V, all = (size_t)SHORT * (size_t)b->V;
        b->engine->reset(b->s);
        memcpy(b->got, b->want, first * sizeof *b->got);
        for (size_t i = first; i < all + (size_t)b->V; i++) b->got[i] = untouched;
        TRY(b->engine->feed(b->s, b->ids, SHORT, wanted ? b->got + first : NULL, wanted, e));
        TRY(compare(b, SHORT, b->bounds->split, "logits of the last n tokens only", wanted, e));
        for (size_t i = all; i < all + (size_t)b->V; i++)
            TRY(expect(b->got[i] == untouched, b, "logits written past the end", wanted, e));
    }
    return OK;
}

/* Repeats are the same bits: after reset, and in another session. */
static enum status run_repeat(struct bench *b, struct error *e) {
    TRY(feed(b, 0, LONG, b->want, e));
    TRY(feed_singly(b, LONG, LONG + EXTRA, b->want, e));
    for (int i = 0; i < 3; i++) {
        b->engine->reset(b->s);
        TRY(expect(b->engine->position(b->s) == 0, b, "position after reset", i, e));
        TRY(feed(b, 0, LONG, b->got, e));
        TRY(feed_singly(b, LONG, LONG + EXTRA, b->got, e));
        TRY(compare(b, LONG + EXTRA, 0, "repeated after reset", i, e));
    }
    return OK;
}

/* ---- snapshots ---- */

/* Saved at an offset, taken up again: in the same session after it has gone on, and in a fresh one. */
static enum status one_snapshot(struct bench *b, struct bench *fresh, struct snapshot *shot, int offset,
                                struct error *e) {
    int end = SHORT + EXTRA;
    size_t row = (size_t)b->V;
    b->engine->reset(b->s);
    if (offset > 0) TRY(feed(b, 0, offset, b->want, e));
    TRY(b->engine->save(b->s, shot, e));
    TRY(expect(shot->position == offset, b, "position of a snapshot", offset, e));
    TRY(feed_singly(b, offset, end, b->want, e));
    memcpy(b->got, b->want, (size_t)offset * row * sizeof *b->got);
    for (int i = 0; i < 2; i++) {
        TRY(b->engine->restore(b->s, shot, e));
        TRY(expect(b->engine->position(b->s) == offset, b, "position after restore", offset, e));
        TRY(feed_singly(b, offset, end, b->got, e));
        TRY(compare(b, end, 0, "restored at an offset", offset, e));
    }
    /* Leave something in the other session that restore must replace. */
    fresh->engine->reset(fresh->s);
    TRY(feed(fresh, 3, 3 + SHORT, fresh->got, e));
    TRY(b->engine->restore(fresh->s, shot, e));
    TRY(feed_singly(fresh, offset, end, fresh->got, e));
    memcpy(b->got + (size_t)offset * row, fresh->got + (size_t)offset * row,
           (size_t)(end - offset) * row * sizeof *b->got);
    return compare(b, end, 0, "restored in another session", offset, e);
}

static enum status run_snapshots(struct bench *b, struct error *e) {
    struct bench fresh;
    struct snapshot shot = {0};
    TRY(bench_open(&fresh, b->engine, b->model, b->bounds, 1, 0, e));
    enum status status = OK;
    for (int offset = 0; offset <= SHORT && status == OK; offset++)
        status = one_snapshot(b, &fresh, &shot, offset, e);
    snapshot_free(&shot);
    bench_close(&fresh);
    return status;
}

/* ---- ties of the router ---- */

/* The experts that every token must choose when all logits are 0 and only the last expert has a bias: that
 * one and, among equals, the lowest. */
struct tie_check {
    const struct config *c;
    long seen, wrong;
};

static void check_ties(void *arg, const struct tap_event *v) {
    struct tie_check *t = arg;
    if (v->point != TAP_ROUTER) return;
    for (int i = 0; i < v->n * v->k; i++) {
        t->seen++;
        t->wrong += v->experts[i] != (i % v->k == v->k - 1 ? t->c->n_experts - 1 : i % v->k);
    }
}

static enum status feed_ties(struct bench *b, const struct model *tied, struct error *e) {
    struct tie_check check = {.c = &tied->config};
    struct engine_options options = options_for(b->bounds, 1);
    struct session *s;
    options.tap = check_ties;
    options.tap_arg = &check;
    TRY(b->engine->open(&s, tied, &options, e));
    enum status status = b->engine->feed(s, b->ids, SHORT, NULL, 0, e);
    if (status == OK) status = b->engine->feed(s, b->ids, 1, NULL, 0, e);
    b->engine->close(s);
    TRY(status);
    TRY(expect(check.seen > 0, b, "no router was tapped", 0, e));
    return expect(check.wrong == 0, b, "among equal experts not the lowest were chosen", (int)check.wrong, e);
}

/* On a copy of the model whose routers are all zero. */
static enum status run_ties(struct bench *b, struct error *e) {
    const struct config *c = &b->model->config;
    if (!c->n_experts) return OK;
    struct model tied = *b->model;
    size_t cells = (size_t)c->n_experts * (size_t)c->n_embd;
    float *zeros = calloc(cells + (size_t)c->n_experts, sizeof *zeros), *bias = zeros + cells;
    tied.layers = calloc((size_t)c->n_layers, sizeof *tied.layers);
    enum status status = zeros && tied.layers ? OK : fail(e, ERR_MEMORY, "engine case: out of memory");
    if (status == OK) {
        bias[c->n_experts - 1] = 1;
        memcpy(tied.layers, b->model->layers, (size_t)c->n_layers * sizeof *tied.layers);
        for (int i = 0; i < c->n_layers; i++)
            tied.layers[i].router.data = zeros, tied.layers[i].router_bias.data = bias;
        status = feed_ties(b, &tied, e);
    }
    free(zeros);
    free(tied.layers);
    return status;
}

/* ---- refusals that change nothing ---- */

static enum status refused(struct bench *b, enum status status, const struct error *said, const char *what,
                           int position, struct error *e) {
    TRY(expect(status == ERR_ARG && said->code == ERR_ARG && said->text[0], b, what, status, e));
    return expect(b->engine->position(b->s) == position, b, "position changed by a refusal", position, e);
}

static enum status refuse_feeds(struct bench *b, int position, struct error *e) {
    struct error said = {0};
    const struct engine *g = b->engine;
    int32_t bad[] = {-1, b->V, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        int32_t ids[] = {1, 2, bad[i]};
        TRY(refused(b, g->feed(b->s, ids, 3, b->got, 1, &said), &said, "an id outside the vocabulary",
                    position, e));
    }
    int room = ROOM - position;
    TRY(refused(b, g->feed(b->s, b->ids, room + 1, b->got, 0, &said), &said, "more tokens than fit", position,
                e));
    TRY(refused(b, g->feed(b->s, b->ids, 0, b->got, 0, &said), &said, "no tokens", position, e));
    TRY(refused(b, g->feed(b->s, b->ids, 2, b->got, 3, &said), &said, "more logits than tokens", position,
                e));
    TRY(refused(b, g->feed(b->s, b->ids, 2, b->got, -1, &said), &said, "fewer than no logits", position, e));
    return OK;
}

static enum status refuse_snapshots(struct bench *b, struct snapshot *shot, int position, struct error *e) {
    struct error said = {0};
    const struct engine *g = b->engine;
    struct engine other = *g;
    struct snapshot empty = {0}, foreign = *shot, cut = *shot, moved = *shot;
    foreign.engine = &other;
    cut.size--;
    moved.position++;
    TRY(refused(b, g->restore(b->s, &empty, &said), &said, "an empty snapshot", position, e));
    TRY(refused(b, g->restore(b->s, &foreign, &said), &said, "a foreign snapshot", position, e));
    TRY(refused(b, g->restore(b->s, &cut, &said), &said, "a snapshot cut short", position, e));
    return refused(b, g->restore(b->s, &moved, &said), &said, "a snapshot of another position", position, e);
}

/* A snapshot longer than the session has room for. */
static enum status refuse_long_snapshot(struct bench *b, const struct snapshot *shot, struct error *e) {
    struct engine_options options = options_for(b->bounds, 1);
    options.max_tokens = shot->position - 1;
    struct error said = {0};
    struct session *small;
    TRY(b->engine->open(&small, b->model, &options, e));
    enum status status = b->engine->restore(small, shot, &said);
    int position = b->engine->position(small);
    b->engine->close(small);
    return expect(status == ERR_ARG && position == 0, b, "a snapshot too long for the session", status, e);
}

static enum status run_refusals(struct bench *b, struct error *e) {
    struct snapshot shot = {0};
    TRY(feed(b, 0, SHORT, b->want, e));
    TRY(feed_singly(b, SHORT, SHORT + EXTRA, b->want, e));
    b->engine->reset(b->s);
    TRY(refuse_feeds(b, 0, e));
    TRY(feed(b, 0, SHORT, b->got, e));
    enum status status = b->engine->save(b->s, &shot, e);
    if (status == OK) status = refuse_snapshots(b, &shot, SHORT, e);
    if (status == OK) status = refuse_long_snapshot(b, &shot, e);
    snapshot_free(&shot);
    TRY(status);
    TRY(refuse_feeds(b, SHORT, e));
    memcpy(b->got, b->want, (size_t)SHORT * (size_t)b->V * sizeof *b->got); /* refusals used it */
    TRY(feed_singly(b, SHORT, SHORT + EXTRA, b->got, e));
    return compare(b, SHORT + EXTRA, 0, "after refusals", SHORT, e);
}

/* ---- taps ---- */

struct tap_check {
    const struct model *model;
    int n, position; /* expected of every event */
    int final_rows;  /* TAP_FINAL_NORM: rows seen */
    int layer;       /* expected next */
    enum tap_point point;
    float *h, *mixer, *ffn; /* [n, D] copies, to add up */
    struct error e;
};

static enum tap_point after(const struct model *m, enum tap_point point, int *layer) {
    int L = m->config.n_layers;
    if (point == TAP_EMBEDDING || point == TAP_LAYER_OUT) {
        *layer += 1;
        return *layer < L ? TAP_MIXER_OUT : TAP_FINAL_NORM;
    }
    if (point == TAP_MIXER_OUT) return m->layers[*layer].ffn == FFN_MOE ? TAP_ROUTER : TAP_FFN_OUT;
    if (point == TAP_ROUTER) return TAP_FFN_OUT;
    return point == TAP_FFN_OUT ? TAP_LAYER_OUT : TAP_FINAL_NORM; /* in pieces, if the engine likes */
}

/* The chosen experts are distinct, ascending, and none left out has more than the least of them. */
static const char *check_router(const struct tap_check *c, const struct tap_event *v) {
    const struct layer *l = &c->model->layers[v->layer];
    const float *bias = l->router_bias.data;
    if (!v->experts || v->k != c->model->config.n_experts_used) return "TAP_ROUTER without its experts";
    for (int t = 0; t < v->n; t++) {
        const int32_t *chosen = v->experts + (size_t)t * (size_t)v->k;
        const float *p = v->x + (size_t)t * (size_t)v->dim;
        float least = INFINITY;
        for (int j = 0; j < v->k; j++) {
            if (chosen[j] < 0 || chosen[j] >= v->dim || (j && chosen[j] <= chosen[j - 1]))
                return "chosen experts are not ascending";
            float score = p[chosen[j]] + (bias ? bias[chosen[j]] : 0);
            if (score < least) least = score;
        }
        for (int i = 0, j = 0; i < v->dim; i++) {
            if (!(p[i] >= 0 && p[i] <= 1)) return "a router probability is outside [0, 1]";
            if (j < v->k && chosen[j] == i)
                j++;
            else if (p[i] + (bias ? bias[i] : 0) > least)
                return "a better expert was left out";
        }
    }
    return NULL;
}

/* The residual stream is the sum of what the taps say was added. */
static const char *check_sum(struct tap_check *c, const struct tap_event *v) {
    size_t n = (size_t)v->n * (size_t)v->dim;
    if (v->point == TAP_MIXER_OUT) memcpy(c->mixer, v->x, n * sizeof *v->x);
    if (v->point == TAP_FFN_OUT) memcpy(c->ffn, v->x, n * sizeof *v->x);
    if (v->point == TAP_LAYER_OUT)
        for (size_t i = 0; i < n; i++) {
            double scale = fabsf(c->h[i]) + fabsf(c->mixer[i]) + fabsf(c->ffn[i]);
            double sum = (double)c->h[i] + c->mixer[i] + c->ffn[i];
            if (!(fabs(v->x[i] - sum) <= 2 * UNIT_ROUNDOFF * scale + FLOAT_TINY))
                return "the layer's output is not the sum of its parts";
        }
    if (v->point == TAP_EMBEDDING || v->point == TAP_LAYER_OUT) memcpy(c->h, v->x, n * sizeof *v->x);
    return NULL;
}

static void check_event(void *arg, const struct tap_event *v) {
    struct tap_check *c = arg;
    int D = c->model->config.n_embd;
    if (c->e.code != OK) return;
    if (v->point != c->point || v->layer != c->layer) {
        fail(&c->e, ERR_ARG, "tap %d of layer %d came where %d of layer %d was expected", v->point, v->layer,
             c->point, c->layer);
        return;
    }
    const char *wrong = NULL;
    if (v->dim != (v->point == TAP_ROUTER ? c->model->config.n_experts : D)) wrong = "wrong width";
    if (v->point == TAP_FINAL_NORM) {
        if (v->position != c->position + c->final_rows) wrong = "wrong rows";
        c->final_rows += v->n;
    } else if (v->n != c->n || v->position != c->position) {
        wrong = "wrong rows";
    }
    if (v->point != TAP_ROUTER && v->experts) wrong = "experts at another point";
    for (size_t i = 0; !wrong && i < (size_t)v->n * (size_t)v->dim; i++)
        if (!isfinite(v->x[i])) wrong = "a value is not finite";
    if (!wrong) wrong = v->point == TAP_ROUTER ? check_router(c, v) : check_sum(c, v);
    if (wrong) fail(&c->e, ERR_ARG, "tap %d of layer %d: %s", v->point, v->layer, wrong);
    c->point = after(c->model, v->point, &c->layer);
}

static enum status tapped_feed(struct bench *b, struct session *s, struct tap_check *c, int from, int to,
                               struct error *e) {
    c->n = to - from;
    c->position = from;
    c->final_rows = 0;
    c->layer = -1;
    c->point = TAP_EMBEDDING;
    TRY(b->engine->feed(s, b->ids + from, to - from, b->got + (size_t)from * (size_t)b->V, to - from, e));
    if (c->e.code != OK) return fail(e, ERR_ARG, "%s: %s", b->engine->name, c->e.text);
    return expect(c->final_rows == to - from, b, "taps ended early, in layer", c->layer, e);
}

static enum status run_taps(struct bench *b, struct error *e) {
    size_t values = (size_t)SHORT * (size_t)b->model->config.n_embd;
    float *copies = calloc(3 * values, sizeof *copies);
    struct tap_check c = {
        .model = b->model, .h = copies, .mixer = copies + values, .ffn = copies + 2 * values};
    struct engine_options options = options_for(b->bounds, THREADS);
    options.tap = check_event;
    options.tap_arg = &c;
    struct session *s = NULL;
    enum status status = copies ? OK : fail(e, ERR_MEMORY, "engine case: out of memory");
    if (status == OK) status = b->engine->open(&s, b->model, &options, e);
    if (status == OK) status = tapped_feed(b, s, &c, 0, SHORT, e);
    if (status == OK) status = tapped_feed(b, s, &c, SHORT, SHORT + 1, e);
    if (status == OK) status = feed(b, 0, SHORT, b->want, e);
    if (status == OK) status = feed(b, SHORT, SHORT + 1, b->want, e);
    if (status == OK) status = compare(b, SHORT + 1, 0, "with and without taps", SHORT, e);
    if (s) b->engine->close(s);
    free(copies);
    return status;
}

/* ---- options ---- */

static enum status run_options(struct bench *b, struct error *e) {
    char text[256] = "";
    struct session *s;
    struct error said = {0};
    b->engine->describe(b->s, text, sizeof text);
    TRY(expect(text[0] != 0 && !strchr(text, '\n'), b, "describe gives one line", 0, e));
    b->engine->describe(b->s, text, 4); /* cuts, ends with NUL */
    TRY(expect(memchr(text, 0, 4) != NULL, b, "describe past its size", 4, e));

    struct engine_options bad[] = {{.threads = -1}, {.max_tokens = -1}, {.max_batch = -1}};
    for (int i = 0; i < 3; i++)
        TRY(expect(b->engine->open(&s, b->model, &bad[i], &said) == ERR_ARG && !s, b, "negative option taken",
                   i, e));

    TRY(feed(b, 0, LONG, b->want, e));
    struct engine_options three = options_for(b->bounds, 3);
    three.max_tokens = LONG;
    TRY(b->engine->open(&s, b->model, &three, e));
    enum status status = b->engine->feed(s, b->ids, LONG, b->got, LONG, e); /* exactly full */
    b->engine->close(s);
    TRY(status);
    return compare(b, LONG, b->bounds->split, "three threads against two", LONG, e);
}

/* ---- the table ---- */

#define CASE(name, threads, max_batch)                                                                       \
    static enum status case_##name(const struct engine *engine, const struct model *m,                       \
                                   const struct engine_bounds *bounds, struct error *e) {                    \
        struct bench b;                                                                                      \
        TRY(bench_open(&b, engine, m, bounds, threads, max_batch, e));                                       \
        enum status status = run_##name(&b, e);                                                              \
        bench_close(&b);                                                                                     \
        return status;                                                                                       \
    }
CASE(oracle, THREADS, 0)
CASE(splits, 1, 0)
CASE(batches, THREADS, 7)
CASE(n_logits, THREADS, 3)
CASE(repeat, THREADS, 0)
CASE(snapshots, 1, 0)
CASE(ties, 1, 0)
CASE(refusals, 1, 0)
CASE(taps, 1, 0)
CASE(options, THREADS, 0)
#undef CASE

const struct engine_case engine_cases[] = {
    {"oracle", case_oracle},       {"splits", case_splits},     {"batches", case_batches},
    {"n_logits", case_n_logits},   {"repeat", case_repeat},     {"snapshots", case_snapshots},
    {"ties", case_ties},           {"refusals", case_refusals}, {"taps", case_taps},
    {"options", case_options},     {"mixtures", case_mixtures}, {"deep", case_deep},
    {"prefix", case_prefix},       {"marks", case_marks},       {"part refusals", case_part_refusals},
    {"part taps", case_part_taps},
};
const int n_engine_cases = (int)(sizeof engine_cases / sizeof *engine_cases);
