/* SPDX-License-Identifier: Apache-2.0 */
/* perplexity: the loop over windows. */
#include "bench/perplexity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 256 /* positions whose logits are held at once */ };

struct windows windows_chunks(int n_ids, int n_ctx) {
    return (struct windows){n_ctx, n_ctx, n_ctx / 2, n_ids / n_ctx};
}

struct windows windows_sliding(int n_ids, int n_ctx, int stride) {
    return (struct windows){n_ctx, stride, n_ctx - stride - 1,
                            n_ids < n_ctx ? 0 : (n_ids - n_ctx) / stride + 1};
}

struct windows windows_whole(int n_ids) {
    return (struct windows){n_ids, n_ids, 0, n_ids > 1};
}

void routes_free(struct routes *r) {
    free(r->experts);
    memset(r, 0, sizeof *r);
}

struct run {
    const struct perplexity_options *o;
    const struct model *model;
    struct perplexity_result *out;
    struct session *session;
    int32_t *ids;  /* [size] of one window, BOS put in */
    float *logits; /* [PIECE, V] */
    float *log_p;  /* [V] of the base */
    double nll;    /* sum */
    int window;
};

static void see(void *arg, const struct tap_event *ev) {
    struct run *r = arg;
    const struct perplexity_options *o = r->o;
    if (ev->point != TAP_ROUTER) return;
    size_t k = (size_t)ev->k, L = (size_t)r->model->config.n_layers;
    for (int t = 0; t < ev->n; t++) {
        size_t position = (size_t)r->window * (size_t)o->windows.size + (size_t)(ev->position + t);
        size_t at = (position * L + (size_t)ev->layer) * k;
        const int32_t *chosen = ev->experts + (size_t)t * k;
        if (o->keep && position < o->keep->positions)
            memcpy(o->keep->experts + at, chosen, k * sizeof *chosen);
        if (!o->routes || position >= o->routes->positions) continue;
        r->out->decisions++;
        r->out->flips += memcmp(o->routes->experts + at, chosen, k * sizeof *chosen) != 0;
    }
}

/* i: number of the scored position in its window. */
static enum status score(struct run *r, int i, const float *logits, int32_t token, struct error *e) {
    const struct perplexity_options *o = r->o;
    int V = r->model->config.n_vocab;
    if (o->base) TRY(base_read(o->base, r->window, i, r->log_p, e));
    struct quality_point p = quality_point(logits, o->base ? r->log_p : NULL, V, token);
    if (!isfinite(p.nll) || !isfinite(p.kl))
        return fail(e, ERR_SHAPE, "%s: the logits at position %d of window %d are not finite", r->model->path,
                    o->windows.first + i, r->window);
    if (o->save) TRY(base_write(o->save, logits, e));
    r->nll += p.nll;
    return quality_add(&r->out->quality, p) ? fail(e, ERR_MEMORY, "perplexity: out of memory") : OK;
}

static void tell(const struct run *r, int fed) {
    const struct perplexity_options *o = r->o;
    const struct quality *q = &r->out->quality;
    int64_t size = o->windows.size;
    if (o->progress)
        o->progress(o->progress_arg, r->window * size + fed, o->windows.n * size,
                    q->n ? r->nll / (double)q->n : NAN);
}

static enum status run_window(struct run *r, struct error *e) {
    const struct perplexity_options *o = r->o;
    const struct windows *w = &o->windows;
    size_t V = (size_t)r->model->config.n_vocab;
    const int32_t *text = o->ids + (size_t)r->window * (size_t)w->step;
    memcpy(r->ids, text, (size_t)w->size * sizeof *text);
    if (o->bos >= 0) r->ids[0] = o->bos;
    o->engine->reset(r->session);
    for (int done = 0, n; done < w->first; done += n) {
        n = w->first - done < PIECE ? w->first - done : PIECE;
        TRY(o->engine->feed(r->session, r->ids + done, n, NULL, 0, e));
        tell(r, done + n);
    }
    for (int done = w->first, n; done < w->size - 1; done += n) {
        n = w->size - 1 - done < PIECE ? w->size - 1 - done : PIECE;
        TRY(o->engine->feed(r->session, r->ids + done, n, r->logits, n, e));
        for (int i = 0; i < n; i++)
            TRY(score(r, done - w->first + i, r->logits + (size_t)i * V, text[done + i + 1], e));
        tell(r, done + n);
    }
    return OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum status take_memory(struct run *r, struct error *e) {
    const struct perplexity_options *o = r->o;
    const struct config *c = &r->model->config;
    size_t V = (size_t)c->n_vocab, positions = (size_t)o->windows.n * (size_t)o->windows.size;
    r->ids = calloc((size_t)o->windows.size, sizeof *r->ids);
    r->logits = calloc(PIECE * V, sizeof *r->logits);
    r->log_p = calloc(V, sizeof *r->log_p);
    int ok = r->ids && r->logits && r->log_p;
    if (o->keep) {
        o->keep->positions = positions;
        o->keep->experts =
            calloc(positions * (size_t)c->n_layers + 1, (size_t)(c->n_experts_used + 1) * sizeof(int32_t));
        ok &= o->keep->experts != NULL;
    }
    return ok ? OK : fail(e, ERR_MEMORY, "perplexity: out of memory");
}

static enum status run_all(struct run *r, struct error *e) {
    const struct perplexity_options *o = r->o;
    struct engine_options eo = o->engine_options;
    TRY(take_memory(r, e));
    eo.max_tokens = o->windows.size;
    if (o->keep || o->routes) eo.tap = see, eo.tap_arg = r;
    TRY(o->engine->open(&r->session, r->model, &eo, e));
    o->engine->describe(r->session, r->out->describe, sizeof r->out->describe);
    for (r->window = 0; r->window < o->windows.n; r->window++) TRY(run_window(r, e));
    return OK;
}

enum status perplexity_run(struct perplexity_result *out, const struct model *m,
                           const struct perplexity_options *o, struct error *e) {
    struct run r = {.o = o, .model = m, .out = out};
    memset(out, 0, sizeof *out);
    double start = now();
    enum status st = run_all(&r, e);
    out->seconds = now() - start;
    o->engine->close(r.session);
    free(r.ids), free(r.logits), free(r.log_p);
    return st;
}
