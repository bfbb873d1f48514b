/* SPDX-License-Identifier: Apache-2.0 */
/* progress: one line on stderr that is rewritten, on a terminal only. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

/* Zero-initialise. */
struct progress {
    double started, shown; /* private, seconds */
};

/* Shows the text and, for a finished share of the work in (0, 1], how long the rest will take at this rate.
 * At most ten lines a second. */
__attribute__((format(printf, 3, 4))) void progress_show(struct progress *p, double share, const char *fmt,
                                                         ...);

/* Clears the line. */
void progress_end(struct progress *p);

#endif
