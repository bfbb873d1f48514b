/* SPDX-License-Identifier: Apache-2.0 */
/* Parity on engines made up here, whose every difference is known; what the real engines do is tested beside
 * them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/metrics.h"
#include "bench/parity.h"
#include "tests/tiny.h"

Test(metrics, nmse_by_hand) {
    struct difference d = {0}, more = {0};
    difference_add(&d, (float[]){1, 2, 4}, (float[]){1, 2, 3}, 3);
    cr_assert_float_eq(difference_nmse(&d), 1.0 / 14, 1e-15);
    cr_assert_float_eq(d.max_abs, 1, 0);
    difference_add(&more, (float[]){-2}, (float[]){0}, 1);
    cr_assert(isinf(difference_nmse(&more)));
    difference_merge(&d, &more);
    cr_assert_float_eq(difference_nmse(&d), 5.0 / 14, 1e-15);
    cr_assert_float_eq(d.max_abs, 2, 0);
    cr_assert_eq(d.bad, 0);
}

Test(metrics, nothing_and_zeros_agree) {
    struct difference d = {0};
    cr_assert_eq(difference_nmse(&d), 0);
    difference_add(&d, (float[]){0, 0}, (float[]){0, 0}, 2);
    cr_assert_eq(difference_nmse(&d), 0);
}

Test(metrics, bad_values_are_counted_on_either_side) {
    struct difference d = {0};
    difference_add(&d, (float[]){NAN, 1, INFINITY, 3}, (float[]){0, -INFINITY, 1, 3}, 4);
    cr_assert_eq(d.bad, 3);
    cr_assert_eq(difference_nmse(&d), 0);
}

/* softmax(0, ln 3) = 1/4, 3/4; softmax(0, 0) = 1/2, 1/2. */
Test(metrics, kl_by_hand) {
    float want[] = {0, logf(3)}, got[] = {0, 0};
    double expected = 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5);
    cr_assert_float_eq(kl_divergence(got, want, 2), expected, 1e-7);
    cr_assert_eq(kl_divergence(want, want, 2), 0);
    /* neither a constant nor huge logits change it */
    float want_far[] = {10000, 10000 + logf(3)}, got_far[] = {-20000, -20000};
    cr_assert_float_eq(kl_divergence(got_far, want_far, 2), expected, 1e-3);
    cr_assert(isnan(kl_divergence((float[]){0, NAN}, want, 2)));
}

Test(metrics, argmax_takes_the_first_of_equals) {
    cr_assert_eq(argmax((float[]){1, 3, 2, 3}, 4), 1);
    cr_assert_eq(argmax((float[]){-5}, 1), 0);
}

/* A model of shapes only and two engines that make up its activations from (layer, point, position, column).
 * Layer 0 is dense, the others have routers over 8 experts, 2 chosen. */
enum { L = 4, D = 48, E = 8, K = 2, V = 64, PREFILL = 11, DECODE = 3 };

static struct layer layers[L];
static const struct model model = {
    .config = {.n_layers = L, .n_embd = D, .n_experts = E, .n_experts_used = K, .n_vocab = V, .bos_id = 1},
    .layers = layers};

/* What the second engine does wrong: added at one place, from that layer on where it says so. */
static struct {
    int layer, position;
    enum tap_point point; /* TAP_COUNT: nothing */
    float add;
    float logit_add; /* to logit 0 of position */
    int flip_layer;  /* the set of `position` differs in this layer; -1: none */
    float margin;    /* of the reference's choice there */
    int same_scores; /* 1: the wrong choice is made with the right scores */
    int mute_layer;  /* reports nothing of this layer; -1: none */
    int wide;        /* reports one position too many */
} wrong;

struct session {
    const struct engine *engine;
    struct engine_options o;
    int position;
};

static float made_up(int a, int b, int c, int d) {
    uint32_t x = (uint32_t)(((a + 2) * 31 + b) * 31 + c) * 2654435761u + (uint32_t)d * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(int32_t)x / 2147483648.0f;
}

static enum status fake_open(struct session **out, const struct model *m, const struct engine_options *o,
                             struct error *e) {
    (void)m, (void)e;
    *out = calloc(1, sizeof **out);
    (*out)->o = *o;
    return OK;
}

static void report(struct session *s, enum tap_point point, int layer, int n, int guilty) {
    static float x[(PREFILL + DECODE + 1) * D];
    for (int t = 0; t < n; t++)
        for (int i = 0; i < D; i++) {
            x[t * D + i] = made_up(layer, (int)point, s->position + t, i);
            if (guilty && layer >= wrong.layer && wrong.point == point && s->position + t == wrong.position)
                x[t * D + i] += wrong.add;
        }
    struct tap_event ev = {.point = point, .layer = layer, .position = s->position, .n = n, .dim = D, .x = x};
    if (guilty && wrong.wide) ev.n = n + PREFILL + DECODE;
    s->o.tap(s->o.tap_arg, &ev);
}

/* Scores 0.9 and 0.8 for experts 2 and 5, 0.8 - margin for 6, little for the rest. */
static void report_router(struct session *s, int layer, int n, int guilty) {
    float x[(PREFILL + DECODE) * E];
    int32_t chosen[(PREFILL + DECODE) * K];
    for (int t = 0; t < n; t++) {
        for (int i = 0; i < E; i++) x[t * E + i] = 0.01f * (float)i;
        int here = layer == wrong.flip_layer && s->position + t == wrong.position;
        x[t * E + 2] = 0.9f;
        int swapped = here && guilty && !wrong.same_scores;
        x[t * E + (swapped ? 6 : 5)] = 0.8f;
        x[t * E + (swapped ? 5 : 6)] = here ? 0.8f - wrong.margin : 0.3f;
        chosen[t * K] = 2;
        chosen[t * K + 1] = here && guilty ? 6 : 5;
    }
    struct tap_event ev = {.point = TAP_ROUTER,
                           .layer = layer,
                           .position = s->position,
                           .n = n,
                           .dim = E,
                           .x = x,
                           .experts = chosen,
                           .k = K};
    s->o.tap(s->o.tap_arg, &ev);
}

static enum status fake_feed(struct session *s, const int32_t *ids, int n, float *logits, int n_logits,
                             int guilty) {
    report(s, TAP_EMBEDDING, -1, n, guilty);
    for (int l = 0; l < L; l++) {
        if (guilty && l == wrong.mute_layer) continue;
        report(s, TAP_MIXER_OUT, l, n, guilty);
        if (layers[l].ffn == FFN_MOE) report_router(s, l, n, guilty);
        report(s, TAP_FFN_OUT, l, n, guilty);
        report(s, TAP_LAYER_OUT, l, n, guilty);
    }
    for (int t = 0; t < n_logits; t++)
        for (int i = 0; i < V; i++) {
            int position = s->position + n - n_logits + t;
            float *x = &logits[t * V + i];
            *x = made_up(L, ids[n - n_logits + t], position, i);
            if (guilty && i == 0 && position == wrong.position) *x += wrong.logit_add;
        }
    s->position += n;
    return OK;
}
static enum status feed_right(struct session *s, const int32_t *ids, int n, float *logits, int k,
                              struct error *e) {
    (void)e;
    return fake_feed(s, ids, n, logits, k, 0);
}
static enum status feed_wrong(struct session *s, const int32_t *ids, int n, float *logits, int k,
                              struct error *e) {
    (void)e;
    return fake_feed(s, ids, n, logits, k, 1);
}
static void fake_describe(const struct session *s, char *text, size_t size) {
    (void)s;
    snprintf(text, size, "made up");
}
static void fake_close(struct session *s) {
    free(s);
}

static const struct engine right = {
    .name = "right", .open = fake_open, .feed = feed_right, .describe = fake_describe, .close = fake_close};
static const struct engine suspect = {
    .name = "suspect", .open = fake_open, .feed = feed_wrong, .describe = fake_describe, .close = fake_close};

static enum status compare(struct parity_result *r, struct error *e) {
    int32_t ids[PREFILL + DECODE];
    for (int l = 1; l < L; l++) layers[l].ffn = FFN_MOE;
    parity_ids(&model, 7, ids, PREFILL + DECODE);
    struct parity_options o = {
        .want = &right, .got = &suspect, .ids = ids, .n_prefill = PREFILL, .n_decode = DECODE};
    return parity_run(r, &model, &o, e);
}

static void nothing_wrong(void) {
    memset(&wrong, 0, sizeof wrong);
    wrong.point = TAP_COUNT;
    wrong.flip_layer = wrong.mute_layer = -1;
}

TestSuite(parity, .init = nothing_wrong);

Test(parity, equal_engines_pass) {
    struct parity_result r;
    struct error e = {0};
    cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
    cr_assert(parity_passes(&r));
    cr_assert_eq(r.bad, 0);
    cr_assert_eq(r.phase[PARITY_PREFILL].tokens, PREFILL);
    cr_assert_eq(r.phase[PARITY_DECODE].logits[PARITY_ALL].positions, DECODE);
    cr_assert_eq(r.phase[PARITY_DECODE].logits[PARITY_ALL].same_top1, DECODE);
    cr_assert_eq(r.phase[PARITY_PREFILL].router.decisions, PREFILL * (L - 1));
    cr_assert_eq(r.phase[PARITY_PREFILL].router.flips, 0);
    cr_assert_eq(r.phase[PARITY_PREFILL].layers[0].router.decisions, 0, "layer 0 is dense");
    cr_assert_eq(r.phase[PARITY_PREFILL].layers[2].positions[PARITY_UNFLIPPED], PREFILL);
    parity_free(&r);
}

Test(parity, one_wrong_layer_is_found_where_it_is) {
    struct parity_result r;
    struct error e = {0};
    wrong.layer = 2, wrong.position = PREFILL + 1, wrong.point = TAP_FFN_OUT, wrong.add = 0.5f;
    cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
    for (int l = 0; l < L; l++) {
        const struct parity_layer *prefill = &r.phase[PARITY_PREFILL].layers[l];
        const struct parity_layer *decode = &r.phase[PARITY_DECODE].layers[l];
        cr_assert_eq(difference_nmse(&prefill->at[PARITY_ALL][PARITY_FFN]), 0);
        cr_assert_eq(difference_nmse(&decode->at[PARITY_ALL][PARITY_MIXER]), 0);
        cr_assert_eq(difference_nmse(&decode->at[PARITY_ALL][PARITY_FFN]) > 0, l >= 2, "layer %d", l);
        cr_assert_float_eq(decode->at[PARITY_ALL][PARITY_FFN].max_abs, l >= 2 ? 0.5 : 0, 1e-6);
    }
    parity_free(&r);
}

Test(parity, wrong_logits_fail_the_bounds) {
    struct parity_result r;
    struct error e = {0};
    wrong.position = 4, wrong.logit_add = 40;
    cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
    cr_assert_not(parity_passes(&r));
    cr_assert_eq(r.phase[PARITY_PREFILL].logits[PARITY_ALL].same_top1, PREFILL - 1);
    cr_assert_gt(r.phase[PARITY_PREFILL].logits[PARITY_ALL].kl_max, 1);
    cr_assert_eq(r.phase[PARITY_DECODE].logits[PARITY_ALL].kl_max, 0);
    parity_free(&r);
}

Test(parity, nan_anywhere_fails) {
    static const enum tap_point points[] = {TAP_EMBEDDING, TAP_MIXER_OUT, TAP_FFN_OUT, TAP_LAYER_OUT};
    static const char *const names[] = {"embedding", "mixer", "ffn", "residual"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct parity_result r;
        struct error e = {0};
        wrong.layer = points[i] == TAP_EMBEDDING ? -1 : 3;
        wrong.position = 5, wrong.point = points[i], wrong.add = i % 2 ? NAN : INFINITY;
        cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
        cr_assert_eq(r.bad, 2 * D, "%s: %lld, both runs count", names[i], (long long)r.bad);
        cr_assert(strstr(r.first_bad, "suspect") && strstr(r.first_bad, names[i]) &&
                      strstr(r.first_bad, "position 5"),
                  "%s", r.first_bad);
        cr_assert_not(parity_passes(&r));
        parity_free(&r);
    }
    struct parity_result r;
    struct error e = {0};
    nothing_wrong();
    wrong.position = PREFILL, wrong.logit_add = NAN;
    cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
    cr_assert_eq(r.bad, 2);
    cr_assert_not(parity_passes(&r));
    parity_free(&r);
}

Test(parity, flips_are_counted_and_near_ties_told_apart) {
    for (int clear = 0; clear < 2; clear++) {
        struct parity_result r;
        struct error e = {0};
        wrong.position = 3, wrong.flip_layer = 1;
        wrong.margin = clear ? 0.25f : (float)PARITY_NEAR_TIE / 2;
        cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
        const struct parity_phase *p = &r.phase[PARITY_PREFILL];
        cr_assert_eq(p->router.flips, 1);
        cr_assert_eq(p->router.first, 1);
        cr_assert_eq(p->router.near_ties, !clear);
        cr_assert_eq(p->router.unexplained, 0);
        cr_assert_float_eq(p->router.max_margin, wrong.margin, 1e-6);
        cr_assert(parity_passes(&r));
        /* from the flip on, that position is left out of the second view */
        cr_assert_eq(p->layers[0].positions[PARITY_UNFLIPPED], PREFILL);
        cr_assert_eq(p->layers[1].positions[PARITY_UNFLIPPED], PREFILL - 1);
        cr_assert_eq(p->layers[1].positions[PARITY_ALL], PREFILL);
        cr_assert_eq(p->logits[PARITY_UNFLIPPED].positions, PREFILL - 1);
        parity_free(&r);
    }
}

/* What an engine that forgets the router's bias does: right scores, wrong experts. */
Test(parity, another_choice_from_the_same_scores_fails) {
    struct parity_result r;
    struct error e = {0};
    wrong.position = PREFILL, wrong.flip_layer = 2, wrong.margin = 0.01f, wrong.same_scores = 1;
    cr_assert_eq(compare(&r, &e), OK, "%s", e.text);
    cr_assert_eq(r.phase[PARITY_DECODE].layers[2].router.unexplained, 1);
    cr_assert_not(parity_passes(&r));
    parity_free(&r);
}

Test(parity, an_engine_that_reports_too_little_or_too_much_is_an_error) {
    struct parity_result r;
    struct error e = {0};
    wrong.mute_layer = 2;
    cr_assert_eq(compare(&r, &e), ERR_SHAPE);
    cr_assert(strstr(e.text, "suspect") && strstr(e.text, "layer 2"), "%s", e.text);
    parity_free(&r);
    nothing_wrong();
    wrong.wide = 1;
    cr_assert_eq(compare(&r, &e), ERR_SHAPE);
    cr_assert(strstr(e.text, "outside its contract"), "%s", e.text);
    parity_free(&r);
}

Test(parity, ids_are_seeded_and_start_with_bos) {
    int32_t a[20], b[20], c[20];
    parity_ids(&model, 1, a, 20);
    parity_ids(&model, 1, b, 10);
    parity_ids(&model, 2, c, 20);
    cr_assert_eq(a[0], 1);
    cr_assert_arr_eq(a, b, 10 * sizeof *a);
    cr_assert_neq(memcmp(a, c, sizeof a), 0);
    for (int i = 0; i < 20; i++) cr_assert(a[i] >= 0 && a[i] < V);
}

Test(parity, every_bound_has_a_reason) {
    cr_assert_gt(n_parity_bounds, 0);
    for (int i = 0; i < n_parity_bounds; i++) {
        cr_assert(parity_bounds[i].why && strlen(parity_bounds[i].why) > 20, "%s", parity_bounds[i].name);
        cr_assert(parity_bounds[i].found);
    }
}

/* The real engines on tiny models: every kind of layer, sound and with one layer's norm altered for one of
 * them. */
static struct model altered;

static enum status open_altered(struct session **out, const struct model *m, const struct engine_options *o,
                                struct error *e) {
    (void)m;
    return engine_optimized.open(out, &altered, o, e);
}

static enum status run_tiny(struct parity_result *r, const char *arch, enum tensor_type type,
                            enum kv_type kv_type, int alter, float factor, struct error *e) {
    char folder[256], path[300];
    struct tiny_spec spec = tiny_default(arch);
    struct model *m = NULL;
    int32_t ids[40 + 6];
    spec.type = spec.embedding = type;
    if (kv_type == KV_Q8) spec.d = 32; /* the cache's blocks */
    cr_assert_eq(tiny_directory(folder, sizeof folder), 0);
    snprintf(path, sizeof path, "%s/tiny.gguf", folder);
    cr_assert_eq(tiny_write(path, &spec, e), OK, "%s", e->text);
    cr_assert_eq(model_open(&m, path, e), OK, "%s", e->text);
    parity_ids(m, 3, ids, 46);
    struct engine wrapped = engine_optimized;
    struct parity_options o = {.threads = 2, .ids = ids, .n_prefill = 40, .n_decode = 6, .kv_type = kv_type};
    struct layer *copy = calloc((size_t)m->config.n_layers, sizeof *copy);
    float *norm = calloc((size_t)m->config.n_embd, sizeof *norm);
    if (alter >= 0) {
        memcpy(copy, m->layers, (size_t)m->config.n_layers * sizeof *copy);
        memcpy(norm, m->layers[alter].ffn_norm.data, (size_t)m->config.n_embd * sizeof *norm);
        for (int i = 0; i < m->config.n_embd; i += 2) norm[i] *= factor;
        altered = *m;
        altered.layers = copy;
        copy[alter].ffn_norm.data = norm;
        wrapped.open = open_altered;
        o.got = &wrapped;
    }
    enum status st = parity_run(r, m, &o, e);
    model_close(m);
    tiny_directory_remove(folder);
    free(copy);
    free(norm);
    return st;
}

static const char *const archs[] = {"lfm2moe", "lfm2", "qwen3"};

static void expect_agreement(const char *arch, enum tensor_type type, enum kv_type kv_type) {
    struct parity_result r;
    struct error e = {0};
    const char *name = type_info(type)->name, *cache = kv_type == KV_Q8 ? "int8" : "f16";
    cr_assert_eq(run_tiny(&r, arch, type, kv_type, -1, 1, &e), OK, "%s", e.text);
    for (int i = 0; i < n_parity_bounds; i++)
        cr_expect(parity_bound_holds(&parity_bounds[i], &r), "%s %s, %s cache: %s: found %g, limit %g", arch,
                  name, cache, parity_bounds[i].name, parity_bounds[i].found(&r), parity_bounds[i].limit);
    /* int8 activations cost something, an int8 cache too, f16 keys and values little: were both sides the
     * same code, there would be nothing */
    double nmse = difference_nmse(&r.phase[PARITY_PREFILL].logits[PARITY_ALL].difference);
    int is_float = type == TYPE_F16 && kv_type == KV_F16;
    cr_expect(is_float ? nmse > 1e-12 && nmse < 1e-5 : nmse > 1e-5, "%s %s, %s cache: %g", arch, name, cache,
              nmse);
    parity_free(&r);
}

Test(parity, the_real_engines_agree) {
    static const enum tensor_type types[] = {TYPE_Q4_0, TYPE_Q8_0, TYPE_F16};
    for (size_t a = 0; a < 3; a++)
        for (size_t t = 0; t < 3; t++) {
            expect_agreement(archs[a], types[t], KV_F16);
            expect_agreement(archs[a], types[t], KV_Q8);
        }
}

/* Half of one norm is wrong: by a half where activations or the cache are int8, by two hundredths where all
 * is float. */
static void expect_objection(const char *arch, enum tensor_type type, enum kv_type kv_type, int layer) {
    struct parity_result r;
    struct error e = {0};
    int is_float = type == TYPE_F16 && kv_type == KV_F16;
    cr_assert_eq(run_tiny(&r, arch, type, kv_type, layer, is_float ? 1.02f : 1.5f, &e), OK, "%s", e.text);
    cr_expect_not(parity_passes(&r), "%s, layer %d", arch, layer);
    const struct parity_layer *l = r.phase[PARITY_PREFILL].layers;
    double before = layer ? difference_nmse(&l[layer - 1].at[PARITY_UNFLIPPED][PARITY_FFN]) : 0;
    double here = difference_nmse(&l[layer].at[PARITY_ALL][PARITY_FFN]);
    cr_expect_gt(here, 10 * before, "%s, layer %d: %g before, %g here", arch, layer, before, here);
    parity_free(&r);
}

Test(parity, a_wrong_layer_in_the_real_engine_fails) {
    for (size_t a = 0; a < 3; a++)
        for (int layer = 0; layer < 4; layer++) {
            expect_objection(archs[a], TYPE_Q8_0, KV_F16, layer);
            expect_objection(archs[a], TYPE_F16, KV_F16, layer);
            expect_objection(archs[a], TYPE_F16, KV_Q8, layer);
        }
}
