/* SPDX-License-Identifier: Apache-2.0 */
/* pyrandom: the numbers of CPython's random.Random, which lm-eval draws its shots with: MT19937 seeded by an
 * integer, and sample() and shuffle() as CPython 3.2 to 3.13 do them. */
#ifndef EVAL_PYRANDOM_H
#define EVAL_PYRANDOM_H

#include <stdint.h>

struct pyrandom {
    uint32_t state[624];
    int next;
};

void pyrandom_seed(struct pyrandom *r, uint64_t seed); /* random.Random(seed) */
uint32_t pyrandom_bits(struct pyrandom *r, int k);     /* getrandbits(k), 1 <= k <= 32 */

/* sample(range(n), k): k different numbers below n, in the order drawn. 0: k > n, or memory ran out; nothing
 * is drawn when k > n. */
int pyrandom_sample(struct pyrandom *r, int n, int k, int *out);
void pyrandom_shuffle(struct pyrandom *r, int *x, int n); /* shuffle(x) */

#endif
