/* SPDX-License-Identifier: Apache-2.0 */
/* test_golden: the reference engine against Hugging Face Transformers, link by link, and the optimized engine
 * against the same recordings as far as its roundings allow. goldens.h says where the bounds come from. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/metrics.h"
#include "data/convert.h"
#include "tests/goldens.h"
#include "tests/tiny.h"

enum { MAX_GOLDENS = 16 };
#define ENOUGH 0.5 /* of the bound: it is meant to have room for another machine's BLAS */

static struct criterion_test_params all_goldens(void) {
    static int all[MAX_GOLDENS];
    cr_assert_leq(n_goldens, MAX_GOLDENS);
    for (int i = 0; i < n_goldens; i++) all[i] = i;
    return cr_make_param_array(int, all, (size_t)n_goldens);
}

static void open_golden(struct recording *r, int which) {
    struct error e = {0};
    cr_assert_eq(recording_open(r, which, &e), OK, "%s", e.text);
}

/* One line in one go: tests run side by side. */
static void print(const struct recording *r, const char *how, const struct golden_verdict *v) {
    char text[512];
    int n = snprintf(text, sizeof text, "golden %s, %s, largest error in %% of its bound:", r->name, how);
    for (int i = 0; i < GOLDEN_LINKS; i++)
        if (v->link[i].values && n < (int)sizeof text)
            n += snprintf(text + n, sizeof text - (size_t)n, " %s %.3g", golden_links[i],
                          100 * v->link[i].worst);
    fprintf(stderr, "%s\n", text);
}

static void expect_close(const struct recording *r, const char *how, const struct golden_verdict *v) {
    print(r, how, v);
    for (int i = 0; i < GOLDEN_LINKS; i++)
        cr_assert_eq(v->link[i].why[0], 0, "%s: %s", r->name, v->link[i].why);
    cr_assert_eq(v->flips, 0, "%s, %s: %ld other choices of experts", r->name, how, v->flips);
    cr_assert_leq(golden_worst(v), ENOUGH, "%s, %s: %g of the bound", r->name, how, golden_worst(v));
    cr_assert(r->model->config.n_experts == 0 || v->link[TAP_ROUTER].values > 0);
}

ParameterizedTestParameters(transformers, every_link) {
    return all_goldens();
}

ParameterizedTest(int *which, transformers, every_link) {
    struct recording r;
    struct golden_verdict v = {0};
    struct error e = {0};
    open_golden(&r, *which);
    cr_assert_eq(golden_judge_links(&r, &v, &e), OK, "%s", e.text);
    expect_close(&r, "links", &v);
    recording_close(&r);
}

ParameterizedTestParameters(transformers, whole_run) {
    return all_goldens();
}

ParameterizedTest(int *which, transformers, whole_run) {
    struct recording r;
    struct golden_verdict v = {0};
    struct error e = {0};
    open_golden(&r, *which);
    cr_assert_eq(golden_judge_run(&r, r.model, &v, &e), OK, "%s", e.text);
    expect_close(&r, "run", &v);
    recording_close(&r);
}

/* ---- one timeline, in pieces ---- */

static struct session *open_session(const struct engine *engine, const struct model *m,
                                    const struct engine_options *o) {
    struct session *s;
    struct error e = {0};
    cr_assert_eq(engine->open(&s, m, o, &e), OK, "%s", e.text);
    return s;
}

static float *take_logits(const struct recording *r) {
    float *logits = malloc((size_t)r->n * (size_t)r->model->config.n_vocab * sizeof *logits);
    cr_assert_not_null(logits);
    return logits;
}

/* Feeds the pieces, each three times: as it comes, again from a snapshot taken before it, and in another
 * session from that snapshot. The three must be the same bits. */
static void feed_pieces(const struct recording *r, float *logits) {
    struct engine_options o = {.threads = 1, .max_tokens = r->n, .no_pin = 1};
    struct session *s = open_session(&engine_reference, r->model, &o),
                   *other = open_session(&engine_reference, r->model, &o);
    struct snapshot shot = {0};
    struct error e = {0};
    size_t V = (size_t)r->model->config.n_vocab;
    float *again = take_logits(r);
    for (int i = 0, at = 0; i < r->n_pieces; at += r->pieces[i++]) {
        int n = r->pieces[i];
        float *got = logits + (size_t)at * V;
        cr_assert_eq(engine_reference.save(s, &shot, &e), OK, "%s", e.text);
        cr_assert_eq(engine_reference.feed(s, r->ids + at, n, got, n, &e), OK, "%s", e.text);
        cr_assert_eq(engine_reference.restore(s, &shot, &e), OK, "%s", e.text);
        for (int j = 0; j < 2; j++) {
            struct session *to = j ? other : s;
            if (j) cr_assert_eq(engine_reference.restore(to, &shot, &e), OK, "%s", e.text);
            cr_assert_eq(engine_reference.feed(to, r->ids + at, n, again, n, &e), OK, "%s", e.text);
            cr_assert_eq(memcmp(again, got, (size_t)n * V * sizeof *got), 0,
                         "%s: restored at token %d: other logits", r->name, at);
        }
    }
    free(again);
    snapshot_free(&shot);
    engine_reference.close(s);
    engine_reference.close(other);
}

ParameterizedTestParameters(transformers, in_pieces) {
    return all_goldens();
}

/* Pieces of 1 to 7 tokens put a border everywhere around the window of three taps. Transformers was fed the
 * same pieces, with its own cache. */
ParameterizedTest(int *which, transformers, in_pieces) {
    struct recording r;
    open_golden(&r, *which);
    float *logits = take_logits(&r);
    feed_pieces(&r, logits);
    const float *const recorded[] = {r.logits, r.pieces_logits};
    for (int i = 0; i < 2; i++) {
        struct verdict v;
        golden_judge_logits(&r, logits, recorded[i], &v);
        fprintf(stderr, "golden %s, in pieces, against Transformers %s: %.3g %% of the bound\n", r.name,
                i ? "in the same pieces" : "on the whole", 100 * v.worst);
        cr_assert_eq(v.why[0], 0, "%s: %s", r.name, v.why);
        cr_assert(v.values > 0 && v.worst <= ENOUGH, "%s: %g of the bound", r.name, v.worst);
    }
    free(logits);
    recording_close(&r);
}

/* ---- bounds that nothing can break would be no bounds ---- */

static const char *const mistakes[] = {"taps reversed", "neighbours rotated as pairs", "no bias",
                                       "keys of the other head"};
enum { N_MISTAKES = sizeof mistakes / sizeof *mistakes };

/* Arrays of the wrong models, freed together. */
static float *wrong_arrays[64];
static int n_wrong_arrays;

static float *wrong_array(const struct tensor *t) {
    float *x = malloc((size_t)(t->rows * t->cols) * sizeof *x);
    cr_assert(x && n_wrong_arrays < (int)(sizeof wrong_arrays / sizeof *wrong_arrays));
    return wrong_arrays[n_wrong_arrays++] = x;
}

/* A float32 copy of t, row i taken from row from(i). */
static struct tensor rearranged(const struct tensor *t, int64_t (*from)(int64_t row, int d), int d) {
    struct tensor copy = *t;
    float *x = wrong_array(t);
    size_t bytes = type_row_bytes(t->type, t->cols);
    for (int64_t i = 0; i < t->rows; i++)
        dequantize_row(t->type, (const char *)t->data + (size_t)from(i, d) * bytes, x + i * t->cols, t->cols);
    copy.type = TYPE_F32;
    copy.data = x;
    copy.bytes = (size_t)(t->rows * t->cols) * sizeof *x;
    return copy;
}

/* With the rows of a head in this order, the half-split rotation turns what were neighbours. */
static int64_t neighbours(int64_t row, int d) {
    int64_t i = row % d;
    return row - i + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
}

static int64_t next_head(int64_t row, int d) {
    return row ^ d; /* of two heads */
}

/* Norm weights follow the rows of their matrices: as a column. */
static struct tensor rearranged_vector(const struct tensor *t, int d) {
    struct tensor column = *t;
    column.rows = t->cols;
    column.cols = 1;
    column = rearranged(&column, neighbours, d);
    column.cols = column.rows;
    column.rows = 1;
    return column;
}

static struct tensor reversed_taps(const struct tensor *t) {
    struct tensor copy = *t;
    float *x = wrong_array(t);
    for (int64_t i = 0; i < t->rows * t->cols; i++)
        x[i] = ((const float *)t->data)[i - i % t->cols + t->cols - 1 - i % t->cols];
    copy.data = x;
    return copy;
}

/* Returns how many layers the mistake changed. */
static int make_mistake(struct layer *layers, const struct config *c, int mistake) {
    int changed = 0;
    for (int i = 0; i < c->n_layers; i++) {
        struct layer *l = &layers[i];
        if (mistake == 0 && l->mixer == MIXER_CONV) {
            l->conv_taps = reversed_taps(&l->conv_taps);
            changed++;
        } else if (mistake == 1 && l->mixer == MIXER_ATTENTION) {
            l->q = rearranged(&l->q, neighbours, c->head_dim);
            l->k = rearranged(&l->k, neighbours, c->head_dim);
            l->q_norm = rearranged_vector(&l->q_norm, c->head_dim);
            l->k_norm = rearranged_vector(&l->k_norm, c->head_dim);
            changed++;
        } else if (mistake == 2 && l->ffn == FFN_MOE) {
            l->router_bias.data = NULL;
            changed++;
        } else if (mistake == 3 && l->mixer == MIXER_ATTENTION && c->n_kv_heads == 2) {
            l->k = rearranged(&l->k, next_head, c->head_dim);
            changed++;
        }
    }
    return changed;
}

ParameterizedTestParameters(transformers, mistakes_are_seen) {
    return all_goldens();
}

ParameterizedTest(int *which, transformers, mistakes_are_seen) {
    struct recording r;
    open_golden(&r, *which);
    for (int i = 0; i < N_MISTAKES; i++) {
        struct layer layers[GOLDEN_LAYERS];
        struct model wrong = *r.model;
        struct golden_verdict v = {0};
        struct error e = {0};
        memcpy(layers, r.model->layers, (size_t)wrong.config.n_layers * sizeof *layers);
        wrong.layers = layers;
        if (!make_mistake(layers, &wrong.config, i)) continue;
        cr_assert_eq(golden_judge_run(&r, &wrong, &v, &e), OK, "%s", e.text);
        print(&r, mistakes[i], &v);
        cr_assert_gt(v.link[GOLDEN_LOGITS].worst, 1, "%s, %s: logits are within the bound", r.name,
                     mistakes[i]);
        cr_assert(i == 2 ? v.flips > 0 : v.link[TAP_MIXER_OUT].worst > 100, "%s, %s: hardly seen", r.name,
                  mistakes[i]);
    }
    while (n_wrong_arrays > 0) free(wrong_arrays[--n_wrong_arrays]);
    recording_close(&r);
}

/* ---- the optimized engine: the suite's name has it run once per instruction set ---- */

struct optimized_run {
    const struct recording *r;
    struct difference layer[GOLDEN_LAYERS], logits;
    long choices, flips;
    double margin; /* the largest of a choice that was turned */
};

static void watch(void *arg, const struct tap_event *v) {
    struct optimized_run *run = arg;
    if (v->point == TAP_LAYER_OUT)
        difference_add(&run->layer[v->layer], v->x,
                       run->r->layers[v->layer].layer_out + (size_t)v->position * (size_t)v->dim,
                       (int64_t)v->n * v->dim);
    if (v->point != TAP_ROUTER) return;
    const struct recorded_layer *l = &run->r->layers[v->layer];
    for (int t = 0; t < v->n; t++) {
        run->choices++;
        if (memcmp(v->experts + t * v->k, l->experts + (v->position + t) * v->k,
                   (size_t)v->k * sizeof *v->experts) == 0)
            continue;
        run->flips++;
        if (l->margin[v->position + t] > run->margin) run->margin = l->margin[v->position + t];
    }
}

static void recorded_route(void *arg, int layer, int position, int32_t *experts) {
    const struct optimized_run *run = arg;
    int k = run->r->model->config.n_experts_used;
    memcpy(experts, run->r->layers[layer].experts + position * k, (size_t)k * sizeof *experts);
}

/* Transformers' choices of experts are used, so that a near-tie does not hide what else differs. */
static void run_optimized(const struct recording *r, const struct model *m, enum scheme scheme,
                          struct optimized_run *run) {
    struct error e = {0};
    struct engine_options o = {.threads = 1,
                               .max_tokens = r->n,
                               .no_pin = 1,
                               .scheme = scheme,
                               .tap = watch,
                               .tap_arg = run,
                               .route = recorded_route,
                               .route_arg = run};
    float *logits = take_logits(r);
    *run = (struct optimized_run){.r = r};
    cr_assert_eq(cmd_isa_mask(&o.cpu_mask, &e), 0, "%s", e.text);
    struct session *s = open_session(&engine_optimized, m, &o);
    cr_assert_eq(engine_optimized.feed(s, r->ids, r->n, logits, r->n, &e), OK, "%s", e.text);
    difference_add(&run->logits, logits, r->logits, (int64_t)r->n * m->config.n_vocab);
    engine_optimized.close(s);
    free(logits);
}

static void expect_nmse(const struct optimized_run *run, const char *how, double limit) {
    const struct recording *r = run->r;
    double worst = difference_nmse(&run->logits), margin = tolerances[TOL_ROUTER_MARGIN].limit;
    int bad = run->logits.bad != 0;
    for (int i = 0; i < r->model->config.n_layers; i++) {
        if (difference_nmse(&run->layer[i]) > worst) worst = difference_nmse(&run->layer[i]);
        bad |= run->layer[i].bad != 0;
    }
    fprintf(
        stderr,
        "golden %s, optimized, %s: NMSE logits %.2g, worst link %.2g (limit %g), %ld of %ld choices turned, "
        "margin at most %.2g\n",
        r->name, how, difference_nmse(&run->logits), worst, limit, run->flips, run->choices, run->margin);
    cr_assert(!bad && run->layer[0].want2 > 0 && run->logits.want2 > 0);
    cr_assert_leq(worst, limit, "%s, %s: NMSE %g (limit %g)", r->name, how, worst, limit);
    cr_assert_leq(run->margin, margin, "%s, %s: a choice with margin %g was turned (limit %g)", r->name, how,
                  run->margin, margin);
}

ParameterizedTestParameters(optimized_golden, float_weights) {
    return all_goldens();
}

ParameterizedTest(int *which, optimized_golden, float_weights) {
    struct recording r;
    struct optimized_run run;
    open_golden(&r, *which);
    run_optimized(&r, r.model, SCHEME_EXACT, &run);
    expect_nmse(&run, "weights as they are", tolerances[TOL_NMSE_FLOAT_WEIGHTS].limit);
    recording_close(&r);
}

/* The folder as a Q4_0 file. */
static struct model *int4_model(const struct recording *r) {
    char directory[256], in[256], out[300];
    struct error e = {0};
    struct model *m;
    struct convert_options o = {.in = in, .out = out, .recipe = recipe_by_name("Q4_0"), .threads = 1};
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(in, sizeof in, "data/golden/%s", r->name);
    snprintf(out, sizeof out, "%s/m.gguf", directory);
    cr_assert_eq(convert_write(&o, NULL, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&m, out, &e), OK, "%s", e.text);
    tiny_directory_remove(directory);
    return m;
}

/* 1: the file's rounding changed no weight: the reference computes the same bits from it. */
static int same_weights(const struct recording *r, const struct model *m) {
    const struct model *const models[] = {r->model, m};
    struct engine_options o = {.threads = 1, .max_tokens = r->n, .no_pin = 1};
    struct error e = {0};
    float *logits[2];
    for (int i = 0; i < 2; i++) {
        struct session *s = open_session(&engine_reference, models[i], &o);
        logits[i] = take_logits(r);
        cr_assert_eq(engine_reference.feed(s, r->ids, r->n, logits[i], r->n, &e), OK, "%s", e.text);
        engine_reference.close(s);
    }
    int same =
        memcmp(logits[0], logits[1], (size_t)r->n * (size_t)m->config.n_vocab * sizeof *logits[0]) == 0;
    free(logits[0]);
    free(logits[1]);
    return same;
}

/* Three goldens have weights that Q4_0 holds exactly: what differs from Transformers is the int8 of
 * activations and mistakes, no price of four bits. */
Test(optimized_golden, int4_weights) {
    int exact = 0;
    for (int i = 0; i < n_goldens; i++) {
        struct recording r;
        struct optimized_run run;
        open_golden(&r, i);
        struct model *m = int4_model(&r);
        if (same_weights(&r, m)) {
            run_optimized(&r, m, SCHEME_EXACT, &run);
            expect_nmse(&run, "int4 x int8", tolerances[TOL_NMSE_INT8_ACTIVATIONS].limit);
            run_optimized(&r, m, SCHEME_FOLDED, &run);
            expect_nmse(&run, "folded", tolerances[TOL_NMSE_FOLDED].limit);
            run_optimized(&r, m, SCHEME_BF16, &run);
            expect_nmse(&run, "bf16", tolerances[TOL_NMSE_BF16].limit);
            exact++;
        }
        model_close(m);
        recording_close(&r);
    }
    cr_assert_eq(exact, 3, "%d goldens are exact in Q4_0", exact);
}
