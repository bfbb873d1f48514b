/* SPDX-License-Identifier: Apache-2.0 */
/* test_stats: order statistics on samples worked out by hand, and intervals whose coverage is counted. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "bench/limits.h"
#include "bench/stats.h"

Test(stats, median_of_odd_and_even) {
    double odd[] = {9, 1, 5}, even[] = {4, 1, 3, 2}, one[] = {7};
    cr_assert_eq(median(odd, 3), 5);
    cr_assert_eq(odd[0], 9, "the input was reordered");
    cr_assert_eq(median(even, 4), 2.5);
    cr_assert_eq(median(one, 1), 7);
    cr_assert(isnan(median(one, 0)));
}

Test(stats, percentiles_are_linear_between_samples) {
    double x[] = {50, 10, 40, 20, 30};
    cr_assert_eq(percentile(x, 5, 0), 10);
    cr_assert_eq(percentile(x, 5, 1), 50);
    cr_assert_eq(percentile(x, 5, 0.25), 20);
    cr_assert_float_eq(percentile(x, 5, 0.9), 46, 1e-12);
}

Test(stats, mean_and_sample_deviation) {
    double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    cr_assert_eq(mean(x, 8), 5);
    cr_assert_float_eq(stddev(x, 8), sqrt(32.0 / 7), 1e-12);
    cr_assert_eq(stddev(x, 1), 0);
}

/* Selection against sorting, on lists with many ties. */
Test(stats, percentile_agrees_with_a_sorted_list) {
    uint64_t state = 5;
    for (int round = 0; round < 300; round++) {
        double x[40], sorted[40];
        int n = 1 + (int)random_below(&state, 40);
        for (int i = 0; i < n; i++) sorted[i] = x[i] = (double)random_below(&state, 12);
        for (int i = 1; i < n; i++)
            for (int k = i; k > 0 && sorted[k - 1] > sorted[k]; k--) {
                double t = sorted[k];
                sorted[k] = sorted[k - 1];
                sorted[k - 1] = t;
            }
        for (int k = 0; k < n; k++) {
            double p = n > 1 ? (double)k / (n - 1) : 0;
            cr_assert_float_eq(percentile(x, n, p), sorted[k], 1e-9, "round %d, k %d of %d", round, k, n);
        }
    }
}

Test(stats, an_interval_is_seeded) {
    double x[] = {1, 2, 3, 4, 100, 6, 7};
    struct interval a = median_interval(x, 7, 1), b = median_interval(x, 7, 1);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_eq(a.mid, 4);
    cr_assert(a.lo <= a.mid && a.mid <= a.hi && a.lo >= 1 && a.hi <= 100);
    double same[] = {3, 3, 3};
    a = median_interval(same, 3, 1);
    cr_assert(a.lo == 3 && a.hi == 3);
    cr_assert(isnan(median_interval(same, 0, 1).mid));
}

static double normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += (double)(random_next(state) >> 11) * 0x1p-53;
    return sum;
}

/* Of 200 samples from a known distribution, how often does the 95 % interval hold the true median? */
Test(stats, the_interval_covers_the_true_median) {
    uint64_t state = 42;
    int covered = 0;
    for (int round = 0; round < 200; round++) {
        double x[25];
        for (int i = 0; i < 25; i++) x[i] = 10 + normal(&state);
        struct interval m = median_interval(x, 25, (uint64_t)round);
        covered += m.lo <= 10 && 10 <= m.hi;
    }
    cr_assert(covered >= 180 && covered <= 199, "covered %d of 200", covered);
}

/* Of {0, 1, 2} a mean of 0 or of 2 has one chance in 27, 3.7 %: more than 2.5 %, so both ends are reached. */
Test(stats, the_interval_of_a_mean) {
    double x[] = {2, 0, 1}, same[] = {3, 3, 3, 3};
    struct interval m = mean_interval(x, 3, 1), c = mean_interval(same, 4, 1);
    cr_assert(m.mid == 1 && m.lo == 0 && m.hi == 2, "%g %g %g", m.lo, m.mid, m.hi);
    cr_assert(c.mid == 3 && c.lo == 3 && c.hi == 3);
    cr_assert(isnan(mean_interval(x, 0, 1).mid));
}

/* Noise that both of a pair share must cancel: the paired interval is narrow, that of a alone is wide. */
Test(stats, a_paired_ratio_cancels_shared_noise) {
    double a[15], b[15];
    uint64_t state = 3;
    for (int i = 0; i < 15; i++) {
        double disturbance = 1 + 0.5 * (double)(random_next(&state) >> 11) * 0x1p-53;
        a[i] = 30 * disturbance;
        b[i] = 20 * disturbance;
    }
    struct interval ratio = ratio_interval(a, b, 15, 1), alone = median_interval(a, 15, 1);
    cr_assert_float_eq(ratio.mid, 1.5, 1e-12);
    cr_assert_float_eq(ratio.lo, 1.5, 1e-12);
    cr_assert_float_eq(ratio.hi, 1.5, 1e-12);
    cr_assert_gt(alone.hi / alone.lo, 1.05);
}

Test(stats, random_below_is_uniform_and_in_range) {
    uint64_t state = 1;
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) seen[random_below(&state, 7)]++;
    for (int i = 0; i < 7; i++) cr_assert(seen[i] > 850 && seen[i] < 1150, "%d: %d", i, seen[i]);
}

static void count_calls(void *arg, const char *what, int done, int total) {
    (void)what;
    int *calls = arg;
    cr_assert(done == calls[0] && done < total);
    calls[0]++;
    calls[1] = total;
}

/* Says nothing about how fast this machine is, only that what is stored fits together. */
Test(limits, rows_are_consistent) {
    struct rows limits = {0}, samples = {0};
    struct error e = {0};
    int calls[2] = {0};
    struct limits_options o = {
        .threads = 2, .quick = 1, .repetitions = 3, .progress = count_calls, .progress_arg = calls};
    cr_assert_eq(limits_measure(&o, &limits, &samples, &e), OK, "%s", e.text);
    cr_assert_eq(calls[0], calls[1]);
    cr_assert_eq((int)limits.n, calls[0]);
    cr_assert_eq(samples.n, 3 * limits.n);
    const struct limits_row *r = limits.data;
    const struct sample_row *ns = samples.data;
    for (size_t i = 0; i < limits.n; i++, r++) {
        cr_assert_eq(r->samples_first, (int64_t)(3 * i));
        cr_assert_eq(r->threads, 2);
        cr_assert(r->lowest > 0 && r->lowest <= r->median && r->median <= r->highest);
        if (r->bytes) { /* GB/s is bytes per ns */
            int64_t fastest = INT64_MAX;
            for (int k = 0; k < 3; k++)
                if (ns[3 * i + k].ns < fastest) fastest = ns[3 * i + k].ns;
            cr_assert_float_eq(r->highest, (double)r->bytes / (double)fastest, 1e-9 * r->highest);
        }
        if (r->best) cr_assert_geq(limits_best(&limits, r->name, 2), r->median);
    }
    cr_assert_gt(limits_best(&limits, "int8", 2), 0);
    cr_assert_eq(limits_best(&limits, "int8", 3), 0);
    cr_assert_eq(limits_best(&limits, "none", 2), 0);
    free(limits.data);
    free(samples.data);
}
