/* SPDX-License-Identifier: Apache-2.0 */
/* clock: the time of measurements. CLOCK_MONOTONIC_RAW is not slewed by NTP. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

#endif
