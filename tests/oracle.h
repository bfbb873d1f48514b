/* SPDX-License-Identifier: Apache-2.0 */
/* oracle: the forward pass once more, in double and in the most naive way: all tokens at once, no cache, no
 * state, no batches, attention and convolution straight from their formulas. It shares nothing with the
 * engines but the loader and the definition of the weight formats, and exists to be compared with. For tiny
 * models. */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include "data/model.h"
#include "data/status.h"

/* A router's choice is a step: rounding moves near-ties across it, and what follows differs by a whole
 * expert. An engine that rounds more than float32 is therefore also compared with the oracle on its own
 * choices. */
struct oracle_routing {
    const int32_t
        *experts; /* [L, n, k]: to be used instead of the oracle's choice; rows of dense layers are ignored */
    double margin; /* out: the most by which s + bias of an expert left out exceeds one of those chosen */
};

/* logits [n, V] of n tokens from position 0. routing NULL: the oracle chooses. */
enum status oracle_logits(const struct model *m, const int32_t *ids, int n, struct oracle_routing *routing,
                          double *logits, struct error *e);

#endif
