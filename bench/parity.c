/* SPDX-License-Identifier: Apache-2.0 */
/* parity: runs both engines on the same ids and adds up their differences. What passes is decided in
 * parity_bounds.c; nothing here prints. */
#include "bench/parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/stats.h"

const char *const parity_phase_names[PARITY_PHASES] = {"prefill", "decode"};
const char *const parity_view_names[PARITY_VIEWS] = {"all", "unflipped", "routed"};
static const char *const point_names[PARITY_POINTS] = {"mixer", "ffn", "residual stream"};

/* One run of parity: what the reference said, and per (layer, position) how far the other one was. */
struct comparison {
    const struct model *model;
    const struct parity_options *options;
    int n; /* positions */
    /* The reference's side. */
    float *points;    /* [L][POINTS][n][D] */
    float *embedding; /* [n][D] */
    float *logits;    /* [n][V] */
    int32_t *experts; /* [L][n][k] */
    float *scores;    /* [L][n][E] */
    double *margin;   /* [L][n] k-th minus (k+1)-th biased score */
    double *biased;   /* [E] scratch */
    /* The comparison, of one run. */
    struct difference *at;           /* [L][POINTS][n] */
    struct difference *at_embedding; /* [n] */
    struct difference *at_middle;    /* [L][n] */
    float *last;                     /* [n][D] the running engine's residual stream after the layer before */
    float *sums;                     /* [2][D] scratch */
    unsigned char *unexplained;      /* [L][n] */
    unsigned char *flipped;          /* [L][n] */
    /* What the running engine reported: 1 per row. */
    unsigned char *seen; /* [L][POINTS + 1][n], the last for the router; then [n] for the embedding */
    int storing;         /* 1 while the reference runs */
    int routed;          /* 1 while the other engine runs a second time, with the reference's choices */
    int passes;          /* layer passes of this engine, for progress */
    struct parity_result *result;
    struct error fault; /* code 0: none */
};

static const struct engine *engine_of(const struct comparison *c) {
    const struct parity_options *o = c->options;
    if (c->storing) return o->want ? o->want : &engine_reference;
    return o->got ? o->got : &engine_optimized;
}

static int uses_router(const struct comparison *c, int layer) {
    return c->model->layers[layer].ffn == FFN_MOE;
}

static void note_bad(struct comparison *c, const char *what, int layer, const float *x, int n, int dim,
                     int position) {
    for (int64_t i = 0; i < (int64_t)n * dim; i++) {
        if (isfinite(x[i])) continue;
        struct parity_result *r = c->result;
        if (r->bad++ == 0)
            snprintf(r->first_bad, sizeof r->first_bad, "%s, layer %d, %s, position %d", engine_of(c)->name,
                     layer, what, position + (int)(i / dim));
    }
}

static int by_value_down(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* How clearly the reference chose: the last chosen biased score minus the best not chosen. */
static double router_margin(double *biased, const struct layer *layer, const float *scores, int n_experts,
                            int k) {
    const float *bias = layer->router_bias.data;
    for (int i = 0; i < n_experts; i++) biased[i] = scores[i] + (bias ? bias[i] : 0.0f);
    qsort(biased, (size_t)n_experts, sizeof *biased, by_value_down);
    return k < n_experts ? biased[k - 1] - biased[k] : INFINITY;
}

static double largest_difference(const float *a, const float *b, int n) {
    double largest = 0;
    for (int i = 0; i < n; i++) largest = fmax(largest, fabs((double)a[i] - b[i]));
    return largest;
}

static void see_router(struct comparison *c, const struct tap_event *ev) {
    const struct layer *layer = &c->model->layers[ev->layer];
    size_t k = (size_t)ev->k, E = (size_t)ev->dim;
    for (int t = 0; t < ev->n; t++) {
        size_t row = (size_t)ev->layer * (size_t)c->n + (size_t)(ev->position + t);
        int32_t *kept = c->experts + row * k;
        float *scores = c->scores + row * E;
        const int32_t *chosen = ev->experts + (size_t)t * k;
        const float *x = ev->x + (size_t)t * E;
        if (c->storing) {
            memcpy(kept, chosen, k * sizeof *kept);
            memcpy(scores, x, E * sizeof *scores);
            c->margin[row] = router_margin(c->biased, layer, x, ev->dim, (int)k);
            continue;
        }
        c->flipped[row] = memcmp(kept, chosen, k * sizeof *kept) != 0;
        /* Two scores that each move by at most d change places only when they were at most 2d apart. The rest
         * allows for adding the bias in float32. */
        c->unexplained[row] =
            c->flipped[row] && !(c->margin[row] <= 2 * largest_difference(x, scores, ev->dim) + 1e-6);
    }
    note_bad(c, "router", ev->layer, ev->x, ev->n, ev->dim, ev->position);
}

static void see_rows(struct comparison *c, const struct tap_event *ev, float *kept, struct difference *at) {
    size_t size = (size_t)ev->n * (size_t)ev->dim;
    kept += (size_t)ev->position * (size_t)ev->dim;
    if (c->storing) {
        memcpy(kept, ev->x, size * sizeof *kept);
        return;
    }
    for (int t = 0; t < ev->n; t++)
        difference_add(&at[ev->position + t], ev->x + (size_t)t * (size_t)ev->dim,
                       kept + (size_t)t * (size_t)ev->dim, ev->dim);
}

/* The engines are checked here, not trusted: an event outside the shapes would write outside the buffers. */
static int event_fits(struct comparison *c, const struct tap_event *ev) {
    const struct config *g = &c->model->config;
    int is_router = ev->point == TAP_ROUTER;
    int layer_ok = ev->point == TAP_EMBEDDING || (ev->layer >= 0 && ev->layer < g->n_layers);
    int rows_ok = ev->n >= 1 && ev->position >= 0 && ev->position <= c->n - ev->n;
    int dim_ok = ev->dim == (is_router ? g->n_experts : g->n_embd);
    int router_ok =
        !is_router || (ev->experts && ev->k == g->n_experts_used && layer_ok && uses_router(c, ev->layer));
    if (layer_ok && rows_ok && dim_ok && router_ok) return 1;
    if (!c->fault.code)
        fail(&c->fault, ERR_SHAPE,
             "parity: engine %s reported a tap outside its contract (point %d, layer %d, "
             "position %d, %d x %d)",
             engine_of(c)->name, (int)ev->point, ev->layer, ev->position, ev->n, ev->dim);
    return 0;
}

/* The residual stream between mixer and ffn is not tapped: it is what the layer was given plus what the mixer
 * added, for each engine from its own values. */
static void see_middle(struct comparison *c, const struct tap_event *ev, const float *want_added) {
    size_t D = (size_t)ev->dim, n = (size_t)c->n;
    const float *want_before =
        ev->layer ? c->points + (((size_t)ev->layer - 1) * PARITY_POINTS + PARITY_RESIDUAL) * n * D
                  : c->embedding;
    for (size_t t = (size_t)ev->position, i = 0; i < (size_t)ev->n; i++, t++) {
        float *got = c->sums, *want = c->sums + D;
        for (size_t j = 0; j < D; j++) {
            got[j] = c->last[t * D + j] + ev->x[i * D + j];
            want[j] = want_before[t * D + j] + want_added[t * D + j];
        }
        difference_add(&c->at_middle[(size_t)ev->layer * n + t], got, want, ev->dim);
    }
}

static size_t seen_bytes(const struct comparison *c) {
    return ((size_t)c->model->config.n_layers * (PARITY_POINTS + 1) + 1) * (size_t)c->n;
}

static void see(void *arg, const struct tap_event *ev) {
    struct comparison *c = arg;
    size_t n = (size_t)c->n, width = (size_t)c->model->config.n_embd;
    static const int slots[TAP_COUNT] = {[TAP_MIXER_OUT] = PARITY_MIXER,
                                         [TAP_FFN_OUT] = PARITY_FFN,
                                         [TAP_LAYER_OUT] = PARITY_RESIDUAL,
                                         [TAP_ROUTER] = PARITY_POINTS};
    if (ev->point == TAP_FINAL_NORM || !event_fits(c, ev)) return;
    if (ev->point == TAP_EMBEDDING) {
        memset(c->seen + seen_bytes(c) - n + ev->position, 1, (size_t)ev->n);
        see_rows(c, ev, c->embedding, c->at_embedding);
        memcpy(c->last + (size_t)ev->position * width, ev->x, (size_t)ev->n * width * sizeof *ev->x);
        note_bad(c, "embedding", -1, ev->x, ev->n, ev->dim, ev->position);
        return;
    }
    int slot = slots[ev->point];
    memset(c->seen + ((size_t)ev->layer * (PARITY_POINTS + 1) + (size_t)slot) * n + ev->position, 1,
           (size_t)ev->n);
    if (ev->point == TAP_ROUTER) {
        see_router(c, ev);
        return;
    }
    size_t plane = ((size_t)ev->layer * PARITY_POINTS + (size_t)slot) * n;
    see_rows(c, ev, c->points + plane * width, c->at + plane);
    if (!c->storing && slot == PARITY_MIXER) see_middle(c, ev, c->points + plane * width);
    if (slot == PARITY_RESIDUAL)
        memcpy(c->last + (size_t)ev->position * width, ev->x, (size_t)ev->n * width * sizeof *ev->x);
    note_bad(c, point_names[slot], ev->layer, ev->x, ev->n, ev->dim, ev->position);
    if (ev->point == TAP_LAYER_OUT && c->options->progress) {
        int total = c->model->config.n_layers * (1 + c->options->n_decode);
        c->passes = c->passes < total ? c->passes + 1 : total;
        c->options->progress(c->options->progress_arg, engine_of(c)->name, c->passes, total);
    }
}

static enum status check_seen(struct comparison *c, struct error *e) {
    if (c->fault.code) return fail(e, c->fault.code, "%s", c->fault.text);
    for (int l = 0; l < c->model->config.n_layers; l++)
        for (int p = 0; p <= PARITY_POINTS; p++) {
            if (p == PARITY_POINTS && !uses_router(c, l)) continue;
            const unsigned char *seen =
                c->seen + ((size_t)l * (PARITY_POINTS + 1) + (size_t)p) * (size_t)c->n;
            if (memchr(seen, 0, (size_t)c->n))
                return fail(e, ERR_SHAPE,
                            "parity: engine %s did not report the %s of layer %d for every position",
                            engine_of(c)->name, p < PARITY_POINTS ? point_names[p] : "router", l);
        }
    if (memchr(c->seen + seen_bytes(c) - (size_t)c->n, 0, (size_t)c->n))
        return fail(e, ERR_SHAPE, "parity: engine %s did not report the embedding of every position",
                    engine_of(c)->name);
    return OK;
}

static void add_logits(struct parity_logits *to, const struct difference *d, double kl, int same) {
    to->positions++;
    difference_merge(&to->difference, d);
    to->worst_nmse = fmax(to->worst_nmse, difference_nmse(d));
    to->kl_sum += kl;
    to->kl_max = fmax(to->kl_max, kl);
    to->same_top1 += same;
}

static int flipped_up_to(const struct comparison *c, int layer, int position) {
    for (int l = 0; l <= layer; l++)
        if (c->flipped[(size_t)l * (size_t)c->n + (size_t)position]) return 1;
    return 0;
}

static void see_logits(struct comparison *c, const float *got, int position, int n) {
    size_t V = (size_t)c->model->config.n_vocab;
    int L = c->model->config.n_layers;
    note_bad(c, "logits", L, got, n, (int)V, position);
    if (c->storing) return;
    for (int t = 0; t < n; t++) {
        const float *want = c->logits + (size_t)(position + t) * V, *row = got + (size_t)t * V;
        struct parity_phase *phase = &c->result->phase[position + t >= c->options->n_prefill];
        struct difference d = {0};
        difference_add(&d, row, want, (int64_t)V);
        double kl = kl_divergence(row, want, (int)V);
        int same = argmax(row, (int)V) == argmax(want, (int)V);
        add_logits(&phase->logits[c->routed ? PARITY_ROUTED : PARITY_ALL], &d, kl, same);
        if (!c->routed && !flipped_up_to(c, L - 1, position + t))
            add_logits(&phase->logits[PARITY_UNFLIPPED], &d, kl, same);
    }
}

/* logits: [n_prefill, V] scratch, or where the reference's are kept. */
static enum status feed_all(struct comparison *c, struct session *s, float *logits, struct error *e) {
    const struct parity_options *o = c->options;
    size_t V = (size_t)c->model->config.n_vocab;
    TRY(engine_of(c)->feed(s, o->ids, o->n_prefill, logits, o->n_prefill, e));
    see_logits(c, logits, 0, o->n_prefill);
    for (int i = 0; i < o->n_decode; i++) {
        float *row = c->storing ? logits + (size_t)(o->n_prefill + i) * V : logits;
        TRY(engine_of(c)->feed(s, o->ids + o->n_prefill + i, 1, row, 1, e));
        see_logits(c, row, o->n_prefill + i, 1);
    }
    return OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sends every token where the reference sent it. */
static void reference_route(void *arg, int layer, int position, int32_t *experts) {
    const struct comparison *c = arg;
    size_t k = (size_t)c->model->config.n_experts_used, row = (size_t)layer * (size_t)c->n + (size_t)position;
    memcpy(experts, c->experts + row * k, k * sizeof *experts);
}

static enum status run_engine(struct comparison *c, struct error *e) {
    const struct engine *engine = engine_of(c);
    const struct config *g = &c->model->config;
    struct engine_options options = {.threads = c->options->threads,
                                     .cpu_mask = c->options->cpu_mask,
                                     .kv_type = c->options->kv_type,
                                     .scheme = c->options->scheme,
                                     .max_tokens = c->n,
                                     .tap = see,
                                     .tap_arg = c};
    struct parity_result *r = c->result;
    struct session *s = NULL;
    float *logits = c->logits, *scratch = NULL;
    if (!c->storing) {
        scratch = calloc((size_t)c->options->n_prefill * (size_t)g->n_vocab, sizeof *scratch);
        if (!scratch)
            return fail(e, ERR_MEMORY, "parity: out of memory for the logits of %d positions", c->n);
        logits = scratch;
    }
    options.route = c->routed ? reference_route : NULL;
    options.route_arg = c;
    memset(c->seen, 0, seen_bytes(c));
    c->passes = 0;
    enum status st = engine->open(&s, c->model, &options, e);
    double start = now();
    if (st == OK) st = feed_all(c, s, logits, e);
    if (!c->routed) r->seconds[!c->storing] = now() - start;
    if (st == OK) {
        char *text = c->storing ? r->want_describe : r->got_describe;
        engine->describe(s, text, sizeof r->got_describe);
        st = check_seen(c, e);
    }
    engine->close(s);
    free(scratch);
    return st;
}

static void add_router(struct parity_router *to, const struct comparison *c, size_t row, int flipped_before) {
    double margin = c->margin[row];
    to->decisions++;
    if (!c->flipped[row]) return;
    to->flips++;
    to->unexplained += c->unexplained[row];
    to->first += !flipped_before;
    to->near_ties += margin < PARITY_NEAR_TIE;
    to->max_margin = fmax(to->max_margin, margin);
}

static void summarise(struct comparison *c) {
    size_t n = (size_t)c->n;
    for (size_t t = 0; t < n; t++) {
        struct parity_phase *phase = &c->result->phase[t >= (size_t)c->options->n_prefill];
        int flipped = 0;
        difference_merge(&phase->embedding, &c->at_embedding[t]);
        for (int l = 0; l < c->model->config.n_layers; l++) {
            struct parity_layer *layer = &phase->layers[l];
            size_t row = (size_t)l * n + t;
            if (uses_router(c, l)) {
                add_router(c->routed ? &layer->routed : &layer->router, c, row, flipped);
                add_router(c->routed ? &phase->routed : &phase->router, c, row, flipped);
            }
            flipped |= c->flipped[row];
            for (int view = 0; view < PARITY_VIEWS; view++) {
                if ((view == PARITY_ROUTED) != c->routed || (view == PARITY_UNFLIPPED && flipped)) continue;
                layer->positions[view]++;
                difference_merge(&layer->middle[view], &c->at_middle[row]);
                for (int p = 0; p < PARITY_POINTS; p++)
                    difference_merge(&layer->at[view][p],
                                     &c->at[((size_t)l * PARITY_POINTS + (size_t)p) * n + t]);
            }
        }
    }
}

static void *take(size_t a, size_t b, size_t size) {
    size_t n;
    if (__builtin_mul_overflow(a, b, &n)) return NULL;
    return calloc(n ? n : 1, size);
}

static enum status comparison_alloc(struct comparison *c, struct error *e) {
    const struct config *g = &c->model->config;
    size_t n = (size_t)c->n, rows = (size_t)g->n_layers * n, D = (size_t)g->n_embd;
    size_t k = g->n_experts_used > 0 ? (size_t)g->n_experts_used : 1;
    c->points = take(rows * PARITY_POINTS, D, sizeof(float));
    c->embedding = take(n, D, sizeof(float));
    c->logits = take(n, (size_t)g->n_vocab, sizeof(float));
    c->experts = take(rows, k, sizeof(int32_t));
    c->scores = take(rows, (size_t)g->n_experts, sizeof(float));
    c->margin = take(rows, 1, sizeof(double));
    c->at = take(rows, PARITY_POINTS, sizeof(struct difference));
    c->at_embedding = take(n, 1, sizeof(struct difference));
    c->at_middle = take(rows, 1, sizeof(struct difference));
    c->last = take(n, D, sizeof(float));
    c->sums = take(2, D, sizeof(float));
    c->flipped = take(rows, 1, 1);
    c->unexplained = take(rows, 1, 1);
    c->seen = take(seen_bytes(c), 1, 1);
    c->biased = take((size_t)g->n_experts, 1, sizeof(double));
    if (!c->points || !c->embedding || !c->logits || !c->experts || !c->margin || !c->at ||
        !c->at_embedding || !c->at_middle || !c->last || !c->sums || !c->flipped || !c->unexplained ||
        !c->scores || !c->seen || !c->biased)
        return fail(e, ERR_MEMORY, "parity: out of memory for the activations of %d positions; ask for fewer",
                    c->n);
    return OK;
}

static void comparison_free(struct comparison *c) {
    free(c->points);
    free(c->embedding);
    free(c->logits);
    free(c->experts);
    free(c->margin);
    free(c->biased);
    free(c->at);
    free(c->at_embedding);
    free(c->at_middle);
    free(c->last);
    free(c->sums);
    free(c->flipped);
    free(c->unexplained);
    free(c->scores);
    free(c->seen);
}

static enum status compare(struct comparison *c, struct error *e) {
    TRY(comparison_alloc(c, e));
    c->storing = 1;
    TRY(run_engine(c, e));
    c->storing = 0;
    TRY(run_engine(c, e));
    summarise(c);
    if (!c->model->config.n_experts) return OK;
    size_t rows = (size_t)c->model->config.n_layers * (size_t)c->n;
    memset(c->at, 0, rows * PARITY_POINTS * sizeof *c->at);
    memset(c->at_middle, 0, rows * sizeof *c->at_middle);
    memset(c->at_embedding, 0, (size_t)c->n * sizeof *c->at_embedding);
    memset(c->flipped, 0, rows);
    memset(c->unexplained, 0, rows);
    c->routed = 1;
    TRY(run_engine(c, e));
    summarise(c);
    return OK;
}

/* Float matrices are multiplied in float32 by both engines; a block type may mean int8 activations. */
static int has_block_type(const struct model *m) {
    for (int l = 0; l < m->config.n_layers; l++) {
        const struct layer *x = &m->layers[l];
        const struct expert *first = x->ffn == FFN_MOE ? x->experts : NULL;
        const struct tensor *all[] = {&x->conv_in,
                                      &x->conv_out,
                                      &x->q,
                                      &x->k,
                                      &x->v,
                                      &x->o,
                                      &x->gate,
                                      &x->up,
                                      &x->down,
                                      first ? &first->gate : &x->gate,
                                      first ? &first->up : &x->up,
                                      first ? &first->down : &x->down};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (all[i]->data && type_info(all[i]->type) && type_info(all[i]->type)->block > 1) return 1;
    }
    return 0;
}

enum status parity_run(struct parity_result *out, const struct model *m, const struct parity_options *o,
                       struct error *e) {
    struct comparison c = {.model = m, .options = o, .result = out};
    memset(out, 0, sizeof *out);
    if (o->n_prefill < 1 || o->n_decode < 0 || o->n_decode > INT32_MAX - o->n_prefill)
        return fail(e, ERR_ARG,
                    "parity: needs at least one token of prefill and no negative number of steps");
    c.n = o->n_prefill + o->n_decode;
    out->n_layers = m->config.n_layers;
    out->int8 = has_block_type(m);
    for (int p = 0; p < PARITY_PHASES; p++) {
        out->phase[p].tokens = p == PARITY_PREFILL ? o->n_prefill : o->n_decode;
        out->phase[p].layers = calloc((size_t)out->n_layers, sizeof *out->phase[p].layers);
        if (!out->phase[p].layers) return fail(e, ERR_MEMORY, "parity: out of memory");
        for (int l = 0; l < out->n_layers; l++)
            out->phase[p].layers[l].int8_attention =
                o->kv_type == KV_Q8 && m->layers[l].mixer == MIXER_ATTENTION;
    }
    enum status st = m->index ? parity_weights(out, m, e) : OK;
    if (st == OK) st = compare(&c, e);
    comparison_free(&c);
    return st;
}

void parity_free(struct parity_result *r) {
    for (int p = 0; p < PARITY_PHASES; p++) {
        free(r->phase[p].layers);
        r->phase[p].layers = NULL;
    }
}

void parity_ids(const struct model *m, uint64_t seed, int32_t *ids, int n) {
    for (int i = 0; i < n; i++) ids[i] = (int32_t)random_below(&seed, (uint64_t)m->config.n_vocab);
    if (n > 0 && m->config.bos_id >= 0 && m->config.bos_id < m->config.n_vocab) ids[0] = m->config.bos_id;
}
