/* SPDX-License-Identifier: Apache-2.0 */
/* The reference engine fulfils the engine contract on models of every architecture and type. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/check.h"
#include "tests/engine_cases.h"
#include "tests/engine_models.h"

/* Criterion forks and loses pointers, so a parameter is model * n_engine_cases + case. */
ParameterizedTestParameters(reference, contract) {
    static int all[1024];
    int n = n_engine_models * n_engine_cases;
    for (int i = 0; i < n; i++) all[i] = i;
    return cr_make_param_array(int, all, (size_t)n);
}

static struct engine_bounds bounds(void) {
    return (struct engine_bounds){.oracle = tolerances[TOL_NMSE_REFERENCE].limit,
                                  .routed = tolerances[TOL_NMSE_REFERENCE].limit,
                                  .margin = 0,
                                  .split = tolerances[TOL_NMSE_REFERENCE_SPLIT].limit};
}

static void run(engine_case_fn *run_case, const char *name, int which) {
    struct error e = {0};
    struct model *m;
    struct engine_bounds b = bounds();
    cr_assert_eq(engine_model_open(&m, which, &e), OK, "%s: %s", engine_models[which].name, e.text);
    enum status status = run_case(&engine_reference, m, &b, &e);
    model_close(m);
    cr_assert_eq(status, OK, "%s, %s: %s", engine_models[which].name, name, e.text);
}

ParameterizedTest(int *index, reference, contract) {
    const struct engine_case *c = &engine_cases[*index % n_engine_cases];
    run(c->run, c->name, *index / n_engine_cases);
}

/* The contract's cases about what a session remembers, on one model: an answer within a second. */
Test(reference_state, comes_back) {
    run(engine_state_cases, "state", 3);
}
