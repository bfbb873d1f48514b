/* SPDX-License-Identifier: Apache-2.0 */
/* engine_cases: what every engine must fulfil, as functions over the contract of reference/engine.h, so that
 * both engines pass the identical checks and differ in their bounds only. No test framework. */
#ifndef TESTS_ENGINE_CASES_H
#define TESTS_ENGINE_CASES_H

#include "data/model.h"
#include "data/status.h"
#include "reference/engine.h"

/* What is allowed here. NMSE = sum (got - want)^2 / sum want^2 over all values. */
struct engine_bounds {
    unsigned cpu_mask; /* engine_options of every session */
    enum kv_type kv_type;
    double oracle; /* logits against the oracle, prefill and decode alike */
    double routed; /* logits against the oracle on the engine's own choices of experts */
    double margin; /* how far those choices may be from the best, in units of the router's s + bias */
    double split;  /* logits of the same tokens fed in other pieces; 0: the same bits */
};

/* OK, or a filled *e that says what was wrong. */
typedef enum status engine_case_fn(const struct engine *, const struct model *, const struct engine_bounds *,
                                   struct error *);
struct engine_case {
    const char *name;
    engine_case_fn *run;
};
extern const struct engine_case engine_cases[];
extern const int n_engine_cases;

/* engine_parts.c: several sessions of one family; in engine_cases[] too */
engine_case_fn case_mixtures, case_deep, case_prefix, case_marks, case_part_refusals, case_part_taps;

/* Those of engine_cases[] that are about what a session remembers. */
engine_case_fn engine_state_cases;

#endif
