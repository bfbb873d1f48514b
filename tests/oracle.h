/* oracle: the forward pass once more, in double and in the most naive way: all tokens at once, no cache, no
 * state, no batches, attention and convolution straight from their formulas. It shares nothing with the
 * engines but the loader and the definition of the weight formats, and exists to be compared with. For tiny
 * models. */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include "data/model.h"
#include "data/status.h"

/* logits [n, V] of n tokens from position 0. */
enum status oracle_logits(const struct model *m, const int32_t *ids, int n, double *logits, struct error *e);

#endif
