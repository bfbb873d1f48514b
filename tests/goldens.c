/* SPDX-License-Identifier: Apache-2.0 */
/* goldens: reads the recordings and holds the reference engine to them (see goldens.h). */
#include "tests/goldens.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/golden.h"

#define U UNIT_ROUNDOFF

const char *const golden_names[] = {"lfm2moe-64", "lfm2moe-128", "lfm2moe-raw",
                                    "lfm2-64",    "qwen3-128",   "qwen3-64"};
const int n_goldens = sizeof golden_names / sizeof *golden_names;
const char *const golden_links[GOLDEN_LINKS] = {"embedding", "mixer",      "router", "ffn",
                                                "layer",     "final norm", "logits"};

/* ---- reading ---- */

struct reading {
    struct golden *file;
    struct recording *r;
    struct error *e;
};

static enum status read_f32(struct reading *in, const char *name, int64_t cols, float **out) {
    return golden_read_f32(in->file, name, 2, (int64_t[]){in->r->n, cols}, out, in->e);
}

static enum status read_layer(struct reading *in, int i) {
    const struct config *c = &in->r->model->config;
    struct recorded_layer *l = &in->r->layers[i];
    char name[64];
#define IN_LAYER(what) (snprintf(name, sizeof name, "layer%d/%s", i, what), name)
    TRY(read_f32(in, IN_LAYER("mixer_out"), c->n_embd, &l->mixer_out));
    TRY(read_f32(in, IN_LAYER("ffn_out"), c->n_embd, &l->ffn_out));
    TRY(read_f32(in, IN_LAYER("layer_out"), c->n_embd, &l->layer_out));
    if (in->r->model->layers[i].ffn != FFN_MOE) return OK;
    TRY(read_f32(in, IN_LAYER("router"), c->n_experts, &l->router));
    TRY(read_f32(in, IN_LAYER("margin"), 1, &l->margin));
    return golden_read_i32(in->file, IN_LAYER("experts"), 2, (int64_t[]){in->r->n, c->n_experts_used},
                           &l->experts, in->e);
#undef IN_LAYER
}

static enum status read_all(struct reading *in) {
    struct recording *r = in->r;
    const struct config *c = &r->model->config;
    int64_t n = -1;
    TRY(golden_read_i32(in->file, "ids", 1, &n, &r->ids, in->e));
    r->n = (int)n;
    if (n < 1 || n > GOLDEN_TOKENS || n > c->n_vocab || c->n_layers > GOLDEN_LAYERS)
        return fail(in->e, ERR_SHAPE, "%s: %d tokens, %d layers: more than the tests have room for", r->name,
                    r->n, c->n_layers);
    n = -1;
    TRY(golden_read_i32(in->file, "pieces", 1, &n, &r->pieces, in->e));
    r->n_pieces = (int)n;
    TRY(read_f32(in, "pieces_logits", c->n_vocab, &r->pieces_logits));
    TRY(read_f32(in, "logits", c->n_vocab, &r->logits));
    TRY(read_f32(in, "embedding", c->n_embd, &r->embedding));
    TRY(read_f32(in, "final_norm", c->n_embd, &r->final_norm));
    for (int i = 0; i < c->n_layers; i++) TRY(read_layer(in, i));
    return OK;
}

enum status recording_open(struct recording *r, int which, struct error *e) {
    char path[256];
    *r = (struct recording){.name = golden_names[which]};
    snprintf(path, sizeof path, "data/golden/%s", r->name);
    TRY(model_open(&r->model, path, e));
    struct reading in = {.r = r, .e = e};
    snprintf(path, sizeof path, "data/golden/%s.h5", r->name);
    TRY(golden_open(&in.file, path, e));
    enum status status = read_all(&in);
    golden_close(in.file);
    return status;
}

void recording_close(struct recording *r) {
    for (int i = 0; i < GOLDEN_LAYERS; i++) {
        struct recorded_layer *l = &r->layers[i];
        void *const owned[] = {l->mixer_out, l->ffn_out, l->layer_out, l->router, l->experts, l->margin};
        for (size_t j = 0; j < sizeof owned / sizeof *owned; j++) free(owned[j]);
    }
    void *const owned[] = {r->ids, r->pieces, r->pieces_logits, r->embedding, r->final_norm, r->logits};
    for (size_t j = 0; j < sizeof owned / sizeof *owned; j++) free(owned[j]);
    model_close(r->model);
    *r = (struct recording){0};
}

/* ---- bounds ---- */

static double rms(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum / n);
}

/* A norm's sum of D squares errs by D u, all of one sign, and the root halves that. */
static double norm_roundings(const struct config *c) {
    return c->n_embd / 2.0;
}

/* The K of goldens.h: the error of one program's link, in u RMS(row), of an exact input. */
static double roundings(const struct recording *r, int link, int layer) {
    const struct config *c = &r->model->config;
    double first = norm_roundings(c) + c->n_embd; /* every matrix behind a norm */
    const struct layer *l = layer >= 0 && layer < c->n_layers ? &r->model->layers[layer] : NULL;
    switch (link) {
    case TAP_MIXER_OUT:
        if (l->mixer == MIXER_CONV) return 3 * first + (double)l->conv_out.cols;
        /* q k sums d products and p v one per token; angles, which grow with the position, are rounded, too
         */
        return 3 * first + c->head_dim + 2.0 * r->n + (double)l->o.cols;
    case TAP_ROUTER:
        return first;
    case TAP_FFN_OUT:
        return 3 * first + (double)(l->ffn == FFN_MOE ? c->n_expert_ff + c->n_experts_used : c->n_ff);
    case TAP_FINAL_NORM:
        return norm_roundings(c);
    case GOLDEN_LOGITS:
        return first;
    default:
        return 0; /* the embedding is a copy */
    }
}

/* The errors a run may have collected. */
struct inherited {
    double input[2 * GOLDEN_LAYERS + 1];           /* of each layer half and of the final norm: of the
                                                    * residual stream, relative to its row's RMS */
    double residual[GOLDEN_LAYERS][GOLDEN_TOKENS]; /* of each layer's output */
};

static double own_error(const struct recording *r, int link, int layer) {
    return 2 * U * roundings(r, link, layer);
}

static double link_error(const struct recording *r, int link, int layer, double input) {
    return own_error(r, link, layer) + sqrt(3) * input;
}

/* One half of a layer: adds the errors of y [n, D], and of the sum, to those of h = h + y. */
static double inherit(const struct recording *r, const float *y, double relative, float *h, double *error) {
    int D = r->model->config.n_embd;
    double worst = 0;
    for (int t = 0; t < r->n; t++, h += D, y += D) {
        for (int i = 0; i < D; i++) h[i] += y[i];
        double size = rms(h, D), sum = 2 * U * size;
        error[t] = sqrt(error[t] * error[t] + pow(relative * rms(y, D), 2) + sum * sum);
        worst = fmax(worst, error[t] / size);
    }
    return worst;
}

static enum status inherit_all(const struct recording *r, struct inherited *a, struct error *e) {
    const struct config *c = &r->model->config;
    size_t bytes = (size_t)r->n * (size_t)c->n_embd * sizeof(float);
    float *h = malloc(bytes);
    double error[GOLDEN_TOKENS] = {0};
    if (!h) return fail(e, ERR_MEMORY, "golden: out of memory");
    memcpy(h, r->embedding, bytes);
    a->input[0] = 0;
    for (int i = 0; i < c->n_layers; i++) {
        double *in = &a->input[2 * i];
        in[1] = inherit(r, r->layers[i].mixer_out, link_error(r, TAP_MIXER_OUT, i, in[0]), h, error);
        in[2] = inherit(r, r->layers[i].ffn_out, link_error(r, TAP_FFN_OUT, i, in[1]), h, error);
        memcpy(a->residual[i], error, sizeof error);
    }
    free(h);
    return OK;
}

/* ---- judging ---- */

struct judge {
    const struct recording *r;
    struct golden_verdict *v;
    const struct inherited *inherited; /* NULL: every link is given exact input */
    unsigned links;                    /* bits: those to be judged */
    int shift;                         /* to be added to the layers of events */
};

static void judge_rows(const struct judge *j, int link, int layer, int first, int n, int dim,
                       const float *got, const float *all, double relative) {
    struct verdict *v = &j->v->link[link];
    for (int t = first; t < first + n; t++, got += dim) {
        const float *want = all + (size_t)t * (size_t)dim;
        double bound = relative * rms(want, dim);
        if (link == TAP_LAYER_OUT && j->inherited) bound = j->inherited->residual[layer][t];
        if (link == TAP_LAYER_OUT && !j->inherited) /* the ffn's error and the sum's */
            bound = own_error(j->r, TAP_FFN_OUT, layer) *
                        rms(j->r->layers[layer].ffn_out + (size_t)t * (size_t)dim, dim) +
                    2 * U * rms(want, dim);
        for (int i = 0; i < dim; i++)
            verdict_value(v, want[i], got[i], bound, golden_links[link], (size_t)(t * dim + i));
    }
}

/* Probabilities: an error of the logit times the slope s (1 - s) of the sigmoid, and the sigmoid's own: an
 * exp, a sum and a quotient in float32 (4 u), against one rounding here. */
static void judge_router(const struct judge *j, const struct tap_event *v, int layer, double relative) {
    const struct recorded_layer *l = &j->r->layers[layer];
    for (int t = 0; t < v->n; t++) {
        const float *s = l->router + (size_t)(v->position + t) * (size_t)v->dim, *got = v->x + t * v->dim;
        double squares = 0;
        for (int i = 0; i < v->dim; i++) squares += pow(log(s[i] / (1.0 - s[i])), 2);
        double logits = sqrt(squares / v->dim);
        for (int i = 0; i < v->dim; i++)
            verdict_value(&j->v->link[TAP_ROUTER], s[i], got[i],
                          relative * logits * s[i] * (1.0 - s[i]) + 5 * U * s[i], "router", (size_t)i);
        j->v->flips += memcmp(v->experts + t * v->k, l->experts + (v->position + t) * v->k,
                              (size_t)v->k * sizeof *v->experts) != 0;
    }
}

static void judge_event(void *arg, const struct tap_event *v) {
    const struct judge *j = arg;
    int L = j->r->model->config.n_layers, layer = v->layer < 0 ? v->layer : v->layer + j->shift;
    const struct recorded_layer *l = &j->r->layers[layer < 0 || layer >= L ? 0 : layer];
    const float *const want[TAP_COUNT] = {
        [TAP_EMBEDDING] = j->r->embedding, [TAP_MIXER_OUT] = l->mixer_out,
        [TAP_ROUTER] = l->router,          [TAP_FFN_OUT] = l->ffn_out,
        [TAP_LAYER_OUT] = l->layer_out,    [TAP_FINAL_NORM] = j->r->final_norm,
    };
    if (!(j->links & 1u << v->point)) return;
    if (!want[v->point] || v->position + v->n > j->r->n) {
        verdict_fail(&j->v->link[v->point], "%s of layer %d was not recorded", golden_links[v->point], layer);
        return;
    }
    double input = 0;
    if (j->inherited && layer >= 0) /* the second half of a layer begins behind its mixer */
        input = j->inherited->input[2 * layer + (v->point == TAP_FFN_OUT || v->point == TAP_ROUTER)];
    double relative = link_error(j->r, v->point, layer, input);
    if (v->point == TAP_ROUTER)
        judge_router(j, v, layer, relative);
    else
        judge_rows(j, v->point, layer, v->position, v->n, v->dim, v->x, want[v->point], relative);
}

/* Feeds ids [n] to a model, every event to the judge; logits [n, V] may be NULL. */
static enum status feed_judged(struct judge *j, const struct model *m, const int32_t *ids, float *logits,
                               struct error *e) {
    struct engine_options o = {
        .threads = 1, .max_tokens = j->r->n, .no_pin = 1, .tap = judge_event, .tap_arg = j};
    struct session *s;
    TRY(engine_reference.open(&s, m, &o, e));
    enum status status = engine_reference.feed(s, ids, j->r->n, logits, logits ? j->r->n : 0, e);
    engine_reference.close(s);
    return status;
}

static void judge_logits(const struct judge *j, const float *got, const float *want) {
    int L = j->r->model->config.n_layers, V = j->r->model->config.n_vocab;
    double input = j->inherited ? j->inherited->input[2 * L] : 0;
    judge_rows(j, GOLDEN_LOGITS, L, 0, j->r->n, V, got, want, link_error(j->r, GOLDEN_LOGITS, L, input));
}

void golden_judge_logits(const struct recording *r, const float *got, const float *want, struct verdict *v) {
    struct inherited a;
    struct error e;
    struct golden_verdict all = {0};
    struct judge j = {.r = r, .v = &all, .inherited = &a};
    if (inherit_all(r, &a, &e) == OK)
        judge_logits(&j, got, want);
    else
        verdict_fail(&all.link[GOLDEN_LOGITS], "%s", e.text);
    *v = all.link[GOLDEN_LOGITS];
}

enum status golden_judge_run(const struct recording *r, const struct model *m, struct golden_verdict *v,
                             struct error *e) {
    struct inherited a;
    struct judge j = {.r = r, .v = v, .inherited = &a, .links = ~0u};
    float *logits = malloc((size_t)r->n * (size_t)m->config.n_vocab * sizeof *logits);
    enum status status = logits ? inherit_all(r, &a, e) : fail(e, ERR_MEMORY, "golden: out of memory");
    if (status == OK) status = feed_judged(&j, m, r->ids, logits, e);
    if (status == OK) judge_logits(&j, logits, r->logits);
    free(logits);
    return status;
}

/* ---- one link at a time ---- */

/* A model of one layer, or none, whose embedding holds the input of one link: token t finds its row t there.
 */
struct part_model {
    struct model model;
    struct layer layer;
};

static void part_model(struct part_model *p, const struct recording *r, int layer, const float *input) {
    const struct config *c = &r->model->config;
    p->model = *r->model;
    p->model.config.n_layers = layer < c->n_layers;
    p->model.embedding = (struct tensor){.name = "recorded",
                                         .type = TYPE_F32,
                                         .rows = r->n,
                                         .cols = c->n_embd,
                                         .data = input,
                                         .bytes = (size_t)r->n * (size_t)c->n_embd * sizeof *input};
    if (layer < c->n_layers) p->layer = r->model->layers[layer];
    p->model.layers = &p->layer;
}

/* Makes the mixer add nothing, so that the ffn reads the model's embedding. */
static void mute_mixer(struct part_model *p, const float *zeros) {
    struct tensor *last = p->layer.mixer == MIXER_CONV ? &p->layer.conv_out : &p->layer.o;
    last->type = TYPE_F32;
    last->data = zeros;
    last->bytes = (size_t)(last->rows * last->cols) * sizeof *zeros;
}

struct link_scratch {
    int32_t rows[GOLDEN_TOKENS];
    float *middle; /* [n, D] the residual stream between mixer and ffn */
    float *zeros;  /* as many as a mixer's last matrix has */
    float *logits; /* [n, V] */
};

static enum status judge_layer(struct judge *j, int layer, const float *input, struct link_scratch *x,
                               struct error *e) {
    struct part_model p;
    const float *y = j->r->layers[layer].mixer_out;
    int values = j->r->n * j->r->model->config.n_embd;
    j->shift = layer;
    j->links = 1u << TAP_MIXER_OUT | (layer == 0 ? 1u << TAP_EMBEDDING : 0);
    part_model(&p, j->r, layer, input);
    TRY(feed_judged(j, layer == 0 ? j->r->model : &p.model, layer == 0 ? j->r->ids : x->rows, NULL, e));

    for (int i = 0; i < values; i++) x->middle[i] = input[i] + y[i];
    j->links = 1u << TAP_ROUTER | 1u << TAP_FFN_OUT | 1u << TAP_LAYER_OUT;
    part_model(&p, j->r, layer, x->middle);
    mute_mixer(&p, x->zeros);
    return feed_judged(j, &p.model, x->rows, NULL, e);
}

static enum status judge_links(struct judge *j, struct link_scratch *x, struct error *e) {
    const struct recording *r = j->r;
    int L = r->model->config.n_layers;
    struct part_model p;
    for (int t = 0; t < r->n; t++) x->rows[t] = t;
    for (int i = 0; i < L; i++)
        TRY(judge_layer(j, i, i == 0 ? r->embedding : r->layers[i - 1].layer_out, x, e));
    j->shift = L;
    j->links = 1u << TAP_FINAL_NORM;
    part_model(&p, r, L, r->layers[L - 1].layer_out);
    TRY(feed_judged(j, &p.model, x->rows, x->logits, e));
    judge_logits(j, x->logits, r->logits);
    return OK;
}

enum status golden_judge_links(const struct recording *r, struct golden_verdict *v, struct error *e) {
    const struct config *c = &r->model->config;
    size_t D = (size_t)c->n_embd, heads = (size_t)c->n_heads * (size_t)c->head_dim;
    struct judge j = {.r = r, .v = v};
    struct link_scratch x = {.middle = malloc((size_t)r->n * D * sizeof(float)),
                             .zeros = calloc(D * (D > heads ? D : heads), sizeof(float)),
                             .logits = malloc((size_t)r->n * (size_t)c->n_vocab * sizeof(float))};
    enum status status = x.middle && x.zeros && x.logits ? judge_links(&j, &x, e)
                                                         : fail(e, ERR_MEMORY, "golden: out of memory");
    free(x.middle);
    free(x.zeros);
    free(x.logits);
    return status;
}

double golden_worst(const struct golden_verdict *v) {
    double worst = v->flips ? INFINITY : 0;
    for (int i = 0; i < GOLDEN_LINKS; i++) {
        if (v->link[i].worst > worst) worst = v->link[i].worst;
        if (i != TAP_ROUTER && !v->link[i].values) worst = INFINITY;
    }
    return worst;
}
