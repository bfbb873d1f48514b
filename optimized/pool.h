/* SPDX-License-Identifier: Apache-2.0 */
/* pool: a fixed team of threads that runs one function together, with a barrier between its steps.
 * Waiting spins for about a millisecond and then sleeps on a futex, so that a step of a token costs well
 * under a microsecond to finish; a team with more threads than CPUs sleeps at once. */
#ifndef OPTIMIZED_POOL_H
#define OPTIMIZED_POOL_H

#include "data/status.h"

struct pool;
typedef void pool_fn(void *arg, int thread);

/* threads >= 1; the caller of pool_run is thread 0, the rest are created here. pin: bind thread i to the i-th
 * CPU this process may use (skipped when there are fewer CPUs than threads). */
enum status pool_open(struct pool **out, int threads, int pin, struct error *e);
void pool_close(struct pool *p); /* NULL is fine */

/* Runs fn(arg, 0 .. threads-1) at the same time and returns when all have returned. */
void pool_run(struct pool *p, pool_fn *fn, void *arg);

/* Called by every thread of a running function: none continues before all have arrived; what was written
 * before is visible after. */
void pool_barrier(struct pool *p);

#endif
