/* engine_cases: what every engine must fulfil, as functions over the contract of reference/engine.h, so that
 * both engines pass the identical checks and differ in their bounds only. No test framework. */
#ifndef TESTS_ENGINE_CASES_H
#define TESTS_ENGINE_CASES_H

#include "data/model.h"
#include "data/status.h"
#include "reference/engine.h"
#include "tests/tiny.h"

/* NMSE = sum (got - want)^2 / sum want^2 over all values. */
struct engine_bounds {
    double oracle; /* logits against the oracle, prefill and decode alike */
    double routed; /* logits against the oracle on the engine's own choices of experts */
    double margin; /* how far those choices may be from the best, in units of the router's s + bias */
    double split;  /* logits of the same tokens fed in other pieces; 0: the same bits */
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

/* What the oracle says of an engine: NMSE of the logits of all positions at once and token by token, NMSE on
 * the engine's own choices of experts, and how far these are from the best (negative: they are the best). */
struct engine_accuracy {
    double prefill, decode, routed, margin;
};
enum status engine_measure(const struct engine *engine, const struct model *m, struct engine_accuracy *out,
                           struct error *e);

/* NaN or Inf on either side that the other has not gives INFINITY. */
double nmse_f32(const float *want, const float *got, size_t n);

#endif
