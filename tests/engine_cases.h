/* engine_cases: what every engine must fulfil, as functions over the contract of reference/engine.h, so that
 * both engines pass the identical checks and differ in their bounds only. No test framework. */
#ifndef TESTS_ENGINE_CASES_H
#define TESTS_ENGINE_CASES_H

#include "data/model.h"
#include "data/status.h"
#include "reference/engine.h"
#include "tests/tiny.h"

/* What is allowed here. NMSE = sum (got - want)^2 / sum want^2 over all values. */
struct engine_bounds {
    unsigned cpu_mask; /* engine_options.cpu_mask of every session */
    double oracle;     /* logits against the oracle, prefill and decode alike */
    double routed;     /* logits against the oracle on the engine's own choices of experts */
    double margin;     /* how far those choices may be from the best, in units of the router's s + bias */
    double split;      /* logits of the same tokens fed in other pieces; 0: the same bits */
};

/* OK, or a filled *e that says what was wrong. */
struct engine_case {
    const char *name;
    enum status (*run)(const struct engine *, const struct model *, const struct engine_bounds *,
                       struct error *);
};
extern const struct engine_case engine_cases[];
extern const int n_engine_cases;

/* The models that the cases are run on: every architecture in every type, and shapes that break habits
 * (widths that are no multiple of 256 or of 64, heads wider than the model, a separate head). */
struct engine_model {
    const char *name;
    struct tiny_spec spec;
};
extern const struct engine_model engine_models[];
extern const int n_engine_models;

/* Writes model i to a temporary file, opens it and removes the file's name. */
enum status engine_model_open(struct model **out, int i, struct error *e);

#endif
