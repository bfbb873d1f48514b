/* test_golden: the reference engine against Hugging Face Transformers, link by link, and the optimized engine
 * against the same recordings as far as its roundings allow. goldens.h says where the bounds come from. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/goldens.h"

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

static void print(const struct recording *r, const char *how, const struct golden_verdict *v) {
    fprintf(stderr, "golden %s, %s, largest error in %% of its bound:", r->name, how);
    for (int i = 0; i < GOLDEN_LINKS; i++)
        if (v->link[i].values) fprintf(stderr, " %s %.3g", golden_links[i], 100 * v->link[i].worst);
    fprintf(stderr, "\n");
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
