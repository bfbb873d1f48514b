/* The optimized engine fulfils the engine contract on models of every architecture and type, within what int8
 * activations cost. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/check.h"
#include "tests/engine_cases.h"

/* Criterion forks and loses pointers, so a parameter is model * n_engine_cases + case. */
ParameterizedTestParameters(optimized, contract) {
    static int all[1024];
    int n = n_engine_models * n_engine_cases;
    for (int i = 0; i < n; i++) all[i] = i;
    return cr_make_param_array(int, all, (size_t)n);
}

/* Splits are the same bits: every sum has one order, whatever the batch. */
static struct engine_bounds bounds_for(const struct tiny_spec *s) {
    int exact = s->type == TYPE_F32 || s->type == TYPE_F16;
    double routed = tolerances[exact ? TOL_NMSE_FLOAT_WEIGHTS : TOL_NMSE_INT8_ACTIVATIONS].limit;
    return (struct engine_bounds){
        .oracle = exact || !s->E ? routed : tolerances[TOL_NMSE_INT8_FLIPS].limit,
        .routed = routed,
        .margin = tolerances[TOL_ROUTER_MARGIN].limit,
        .split = 0,
    };
}

ParameterizedTest(int *index, optimized, contract) {
    struct error e = {0};
    struct model *m;
    const struct engine_case *c = &engine_cases[*index % n_engine_cases];
    int which = *index / n_engine_cases;
    struct engine_bounds bounds = bounds_for(&engine_models[which].spec);
    cr_assert_eq(engine_model_open(&m, which, &e), OK, "%s: %s", engine_models[which].name, e.text);
    enum status status = c->run(&engine_optimized, m, &bounds, &e);
    model_close(m);
    cr_assert_eq(status, OK, "%s, %s: %s", engine_models[which].name, c->name, e.text);
}
