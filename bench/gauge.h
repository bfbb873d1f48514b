/* SPDX-License-Identifier: Apache-2.0 */
/* gauge: the machine's limits beside a timed test. A machine that is shared has another memory bandwidth
 * every second; a limit measured minutes before says little about the test, one measured right before and
 * after it does. The measuring is done by a child process, so that its memory is not counted as the model's.
 */
#ifndef BENCH_GAUGE_H
#define BENCH_GAUGE_H

#include "data/status.h"

struct gauge;

/* Starts the child with `threads` pinned threads, when 1 GB can be spared beside what is in use. Fails
 * otherwise; a caller can do without. */
enum status gauge_open(struct gauge **out, int threads, unsigned cpu_mask, struct error *e);

/* Measures for about this many seconds: GB/s read and GMAC/s in int8, of all threads together. */
enum status gauge_measure(struct gauge *g, double seconds, double *read_gb_s, double *int8_gmac_s,
                          struct error *e);

void gauge_close(struct gauge *g); /* NULL is fine */

#endif
