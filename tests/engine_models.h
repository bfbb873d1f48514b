/* SPDX-License-Identifier: Apache-2.0 */
/* engine_models: the tiny models that both engines are tested on. */
#ifndef TESTS_ENGINE_MODELS_H
#define TESTS_ENGINE_MODELS_H

#include "data/model.h"
#include "data/status.h"
#include "tests/tiny.h"

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
