/* SPDX-License-Identifier: Apache-2.0 */
/* cost: what a test must at least read and multiply, and how fast the measured machine could do that at best.
 */
#ifndef BENCH_COST_H
#define BENCH_COST_H

#include "bench/plan.h"
#include "data/model.h"

struct test_cost {
    double bytes, macs; /* of the whole test */
};

/* Weights are read once per fed piece, of the experts as many as n tokens choose when they choose evenly and
 * independently; keys and values (f16) once per position before. Macs: matrices, one head per fed piece,
 * attention. */
struct test_cost test_cost(const struct model *m, const struct bench_test *t);

/* Tokens per second when reading at read GB/s and multiplying at int8 GMAC/s overlap perfectly and nothing
 * else costs time. *by: "read" or "int8", whichever takes longer in sum. 0 when a limit is unknown (<= 0). */
double test_limit(const struct model *m, const struct bench_test *t, double read, double int8,
                  const char **by);

#endif
