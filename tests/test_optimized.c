/* SPDX-License-Identifier: Apache-2.0 */
/* The optimized engine fulfils the engine contract on models of every architecture and type, within what int8
 * activations cost. LFM2_ISA names the kernels. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "tests/check.h"
#include "tests/engine_cases.h"
#include "tests/engine_models.h"

enum { CACHES = 2 };

/* Criterion forks and loses pointers, so a parameter is (cache * models + model) * n_engine_cases + case. */
ParameterizedTestParameters(optimized, contract) {
    static int all[2048];
    int n = CACHES * n_engine_models * n_engine_cases;
    cr_assert_leq(n, (int)(sizeof all / sizeof *all));
    for (int i = 0; i < n; i++) all[i] = i;
    return cr_make_param_array(int, all, (size_t)n);
}

/* Splits are the same bits: every sum has one order, whatever the batch. */
static struct engine_bounds bounds_for(const struct tiny_spec *s, enum kv_type kv_type) {
    int exact = s->type == TYPE_F32 || s->type == TYPE_F16;
    double routed = tolerances[exact ? TOL_NMSE_FLOAT_WEIGHTS : TOL_NMSE_INT8_ACTIVATIONS].limit;
    if (kv_type == KV_Q8) routed += tolerances[TOL_NMSE_INT8_CACHE].limit;
    return (struct engine_bounds){
        .kv_type = kv_type,
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
    int which = *index / n_engine_cases % n_engine_models, cache = *index / n_engine_cases / n_engine_models;
    struct engine_bounds bounds = bounds_for(&engine_models[which].spec, cache ? KV_Q8 : KV_F16);
    cr_assert_eq(cmd_isa_mask(&bounds.cpu_mask, &e), 0, "%s", e.text);
    cr_assert_eq(engine_model_open(&m, which, &e), OK, "%s: %s", engine_models[which].name, e.text);
    int fits = !cache || m->config.head_dim % 32 == 0; /* else refused: see int8_caches_want_blocks */
    enum status status = fits ? c->run(&engine_optimized, m, &bounds, &e) : OK;
    model_close(m);
    cr_assert_eq(status, OK, "%s, %s: %s", engine_models[which].name, c->name, e.text);
}

/* The contract's cases about what a session remembers, on one model: an answer within a second. */
Test(optimized_state, comes_back) {
    struct error e = {0};
    struct model *m;
    struct engine_bounds bounds = bounds_for(&engine_models[3].spec, KV_F16);
    cr_assert_eq(cmd_isa_mask(&bounds.cpu_mask, &e), 0, "%s", e.text);
    cr_assert_eq(engine_model_open(&m, 3, &e), OK, "%s", e.text);
    cr_expect_eq(engine_state_cases(&engine_optimized, m, &bounds, &e), OK, "%s", e.text);
    model_close(m);
}

Test(optimized, weaker_instruction_sets_are_used_when_asked_for) {
    struct error e = {0};
    struct model *m;
    struct session *s;
    struct engine_options options = {.threads = 1, .max_tokens = 16, .no_pin = 1};
    char text[512];
    setenv("LFM2_ISA", "scalar", 1);
    cr_assert_eq(cmd_isa_mask(&options.cpu_mask, &e), 0, "%s", e.text);
    cr_assert_eq(engine_model_open(&m, 0, &e), OK, "%s", e.text);
    cr_assert_eq(engine_optimized.open(&s, m, &options, &e), OK, "%s", e.text);
    engine_optimized.describe(s, text, sizeof text);
    cr_expect(strstr(text, "=scalar") && !strstr(text, "=avx") && !strstr(text, "=amx"), "%s", text);
    engine_optimized.close(s);
    model_close(m);
}

Test(optimized, int8_caches_want_blocks) {
    struct error e = {0};
    struct model *m;
    struct session *s = NULL;
    struct engine_options options = {.threads = 1, .max_tokens = 16, .no_pin = 1, .kv_type = KV_Q8};
    cr_assert_eq(engine_model_open(&m, 4, &e), OK, "%s", e.text); /* lfm2 F32: heads of 16 */
    cr_assert_eq(m->config.head_dim, 16);
    cr_expect_eq(engine_optimized.open(&s, m, &options, &e), ERR_UNSUPPORTED);
    cr_expect(strstr(e.text, "multiple of 32 (found 16)"), "%s", e.text);
    model_close(m);
}
