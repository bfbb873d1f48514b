/* SPDX-License-Identifier: Apache-2.0 */
/* progress: the ETA is elapsed time scaled by the share that is left. */
#include "bench/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_show(struct progress *p, double share, const char *fmt, ...) {
    if (!isatty(STDERR_FILENO)) return;
    double now = seconds();
    if (p->started == 0) p->started = now;
    if (p->shown != 0 && now - p->shown < 0.1) return;
    p->shown = now;
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\r\033[K%s", text);
    if (share > 0.001 && share <= 1) {
        double left = (now - p->started) * (1 - share) / share;
        fprintf(stderr, "  %.0f %%, %d:%02d left", 100 * share, (int)left / 60, (int)left % 60);
    }
    fflush(stderr);
}

void progress_end(struct progress *p) {
    if (p->shown != 0) fprintf(stderr, "\r\033[K");
    p->shown = 0;
}
