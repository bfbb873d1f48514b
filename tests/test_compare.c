/* SPDX-License-Identifier: Apache-2.0 */
/* test_compare: verdicts on recorded samples. Nothing is timed here: what must be caught and what must not be
 * called a difference is the same on every machine. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/baseline.h"
#include "bench/stats.h"
#include "tests/recorded_times.h"

/* One run of all recorded kernels, as timed_kernels takes it. */
struct fake_run {
    struct rows kernels, samples;
    struct timed_list timed;
};

static void add_kernel(struct fake_run *r, const char *name, const int64_t *ns, int n, double scale) {
    struct kernel_row row = {.threads = 1, .samples_first = (int64_t)r->samples.n, .samples_count = n};
    snprintf(row.op, sizeof row.op, "%.*s", (int)strcspn(name, " "), name);
    snprintf(row.shape, sizeof row.shape, "%s", name + strcspn(name, " "));
    cr_assert_eq(rows_add(&r->kernels, &kernels_table, &row), 0);
    for (int i = 0; i < n; i++) {
        struct sample_row s = {.ns = (int64_t)((double)ns[i] * scale)};
        cr_assert_eq(rows_add(&r->samples, &samples_table, &s), 0);
    }
}

static void close_run(struct fake_run *r) {
    struct error e = {0};
    cr_assert_eq(timed_kernels(&r->timed, &r->kernels, &r->samples, &e), OK, "%s", e.text);
}

static void drop_run(struct fake_run *r) {
    timed_free(&r->timed);
    free(r->kernels.data);
    free(r->samples.data);
}

static struct fake_run recorded_run(int run, double scale) {
    struct fake_run r = {0};
    for (int k = 0; k < RECORDED_KERNELS; k++)
        add_kernel(&r, recorded_names[k], recorded_ns[k][run], RECORDED_SAMPLES, scale);
    close_run(&r);
    return r;
}

static struct rows compare_runs(const struct fake_run *then, const struct fake_run *now) {
    struct rows rows = {0};
    struct error e = {0};
    cr_assert_eq(compare(&rows, &then->timed, &now->timed, 1, 1, &e), OK, "%s", e.text);
    return rows;
}

static const struct comparison_row *row_of(const struct rows *rows, int i) {
    return (const struct comparison_row *)rows->data + i;
}

/* ---- what must be caught ---- */

enum { QUIET_RUNS = 3, QUIET_KERNELS = 2, NOISY_RUN = 1 };
static const int quiet_run[QUIET_RUNS] = {2, 3, 5};

static void expect_of_quiet(double scale, const char *verdict) {
    for (int i = 0; i < QUIET_RUNS; i++)
        for (int k = 0; k < QUIET_RUNS; k++) {
            struct fake_run then = recorded_run(quiet_run[i], 1), now = recorded_run(quiet_run[k], scale);
            struct rows rows = compare_runs(&then, &now);
            for (int row = 0; i != k && row < QUIET_KERNELS; row++) {
                const struct comparison_row *r = row_of(&rows, row);
                cr_assert_str_eq(r->verdict, verdict, "%s, run %d to %d: %s, %.3f (%.3f to %.3f), %.3f",
                                 r->name, quiet_run[i], quiet_run[k], r->verdict, r->ratio, r->lo, r->hi,
                                 r->threshold);
                cr_assert(r->lo <= r->ratio && r->ratio <= r->hi);
            }
            free(rows.data);
            drop_run(&then);
            drop_run(&now);
        }
}

Test(compare, a_tenth_slower_is_worse) {
    expect_of_quiet(1.1, "worse");
}

Test(compare, a_tenth_faster_is_better) {
    expect_of_quiet(0.9, "better");
}

Test(compare, the_same_is_neither) {
    expect_of_quiet(1, "inconclusive");
}

Test(compare, noise_makes_a_tenth_inconclusive) {
    struct fake_run then = recorded_run(NOISY_RUN, 1), now = recorded_run(quiet_run[0], 1.1);
    struct rows rows = compare_runs(&then, &now);
    for (int k = 0; k < RECORDED_KERNELS; k++) {
        cr_assert_str_eq(row_of(&rows, k)->verdict, "inconclusive");
        cr_assert_gt(row_of(&rows, k)->threshold, 0.1);
        cr_assert(row_of(&rows, k)->why[0]);
    }
    free(rows.data);
    drop_run(&then);
    drop_run(&now);
}

/* Each third of a run takes twice as long as the one before: 3 x noise is beyond 100 %. */
Test(compare, no_noise_hides_a_ruinous_change) {
    struct fake_run quick = {0}, slow = {0}, same = {0};
    int64_t ns[9];
    for (int i = 0; i < 9; i++) ns[i] = INT64_C(1000000) << i / 3;
    add_kernel(&quick, "a n=1", ns, 9, 1);
    add_kernel(&same, "a n=1", ns, 9, 1.1);
    add_kernel(&slow, "a n=1", ns, 9, 50);
    close_run(&quick);
    close_run(&same);
    close_run(&slow);
    struct rows worse = compare_runs(&quick, &slow), better = compare_runs(&slow, &quick),
                neither = compare_runs(&quick, &same);
    cr_expect_gt(row_of(&worse, 0)->threshold, 1);
    cr_expect_str_eq(row_of(&worse, 0)->verdict, "worse");
    cr_expect_str_eq(row_of(&better, 0)->verdict, "better");
    cr_expect_str_eq(row_of(&neither, 0)->verdict, "inconclusive");
    cr_expect_str_eq(row_of(&neither, 0)->why, "this host was too noisy");
    free(worse.data);
    free(better.data);
    free(neither.data);
    drop_run(&quick);
    drop_run(&same);
    drop_run(&slow);
}

/* ---- what must not be called a difference ---- */

/* 14.99 and 15.01 ns a call: whole nanoseconds would make them 14 and 15. */
Test(compare, calls_of_few_nanoseconds_keep_their_fractions) {
    struct fake_run then = {0}, now = {0};
    int64_t before[9], after[9];
    for (int i = 0; i < 9; i++) before[i] = 14990000 + i, after[i] = 15010000 + i;
    add_kernel(&then, "rope n=1", before, 9, 1);
    add_kernel(&now, "rope n=1", after, 9, 1);
    for (int i = 0; i < 9; i++) {
        ((struct sample_row *)then.samples.data)[i].calls = 1e6;
        ((struct sample_row *)now.samples.data)[i].calls = 1e6;
    }
    close_run(&then);
    close_run(&now);
    struct rows rows = compare_runs(&then, &now);
    cr_expect_float_eq(row_of(&rows, 0)->then_ns, 14.990004, 1e-9);
    cr_expect_float_eq(row_of(&rows, 0)->now_ns, 15.010004, 1e-9);
    cr_expect_str_eq(row_of(&rows, 0)->verdict, "inconclusive");
    free(rows.data);
    drop_run(&then);
    drop_run(&now);
}

static void take_passes(int *passes, int n, uint64_t *state) {
    for (int have = 0; have < n;) {
        int p = (int)random_below(state, RECORDED_RUNS * 3), seen = 0;
        for (int i = 0; i < have; i++) seen |= passes[i] == p;
        if (!seen) passes[have++] = p;
    }
}

/* Three recorded passes of a kernel, whichever run they are of, their samples drawn anew. */
static void add_resampled(struct fake_run *r, int kernel, const int *passes, uint64_t *state) {
    int64_t ns[RECORDED_SAMPLES];
    for (int i = 0; i < RECORDED_SAMPLES; i++) {
        int p = passes[i / RECORDED_PASS];
        int at = p % 3 * RECORDED_PASS + (int)random_below(state, RECORDED_PASS);
        ns[i] = recorded_ns[kernel][p / 3][at];
    }
    add_kernel(r, recorded_names[kernel], ns, RECORDED_SAMPLES, 1);
}

/* Passes of one machine minutes apart, quiet and disturbed ones: then and now never share a pass. One row in
 * a hundred may err, not one in twenty: the table has a hundred rows. */
Test(compare, recorded_passes_of_the_same_code_are_no_regression) {
    enum { ROUNDS = 200, ROWS = 2 };
    uint64_t state = 1;
    int worse = 0, better = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct fake_run then = {0}, now = {0};
        int passes[6];
        take_passes(passes, 6, &state);
        for (int i = 0; i < ROWS; i++) {
            add_resampled(&then, (round + i) % RECORDED_KERNELS, passes, &state);
            add_resampled(&now, (round + i) % RECORDED_KERNELS, passes + 3, &state);
        }
        close_run(&then);
        close_run(&now);
        struct rows rows = compare_runs(&then, &now);
        worse += compare_count(&rows, "worse");
        better += compare_count(&rows, "better");
        free(rows.data);
        drop_run(&then);
        drop_run(&now);
    }
    cr_log_info("%d worse, %d better of %d", worse, better, ROUNDS * ROWS);
    cr_assert_leq(worse, ROUNDS * ROWS / 100);
    cr_assert_leq(better, ROUNDS * ROWS / 100);
}

/* ---- the parts ---- */

Test(compare, noise_is_that_between_consecutive_parts) {
    double drift[] = {100, 100, 100, 110, 110, 110, 121, 121, 121}, alternating[12];
    for (int i = 0; i < 12; i++) alternating[i] = i % 2 ? 50 : 150;
    cr_assert_float_eq(aa_noise(drift, 9), log(1.1) * 4 / 3, 1e-12);
    cr_assert_float_eq(aa_noise(drift, 6), log(1.1), 1e-12);
    cr_assert_float_eq(aa_noise(alternating, 12), 0, 1e-12);
    cr_assert(isnan(aa_noise(drift, 3)));
}

Test(compare, few_samples_say_nothing) {
    struct fake_run then = {0}, now = {0};
    add_kernel(&then, "a n=1", recorded_ns[0][3], COMPARE_MIN_SAMPLES, 1);
    add_kernel(&now, "a n=1", recorded_ns[0][3], COMPARE_MIN_SAMPLES - 1, 3);
    add_kernel(&then, "b n=1", recorded_ns[0][3], COMPARE_MIN_SAMPLES, 1);
    add_kernel(&now, "b n=1", recorded_ns[0][3], COMPARE_MIN_SAMPLES, 3);
    close_run(&then);
    close_run(&now);
    struct rows rows = compare_runs(&then, &now);
    cr_assert_str_eq(row_of(&rows, 0)->verdict, "inconclusive");
    cr_assert_str_eq(row_of(&rows, 0)->why, "too few samples");
    cr_assert_str_eq(row_of(&rows, 1)->verdict, "worse");
    free(rows.data);
    drop_run(&then);
    drop_run(&now);
}

Test(compare, new_and_missing_rows_are_named) {
    struct fake_run then = {0}, now = {0};
    add_kernel(&then, "old n=1", recorded_ns[0][3], 9, 1);
    add_kernel(&then, "same n=1", recorded_ns[0][3], 9, 1);
    add_kernel(&now, "same n=1", recorded_ns[0][3], 9, 1);
    add_kernel(&now, "same n=2", recorded_ns[0][3], 9, 1);
    close_run(&then);
    close_run(&now);
    struct rows rows = compare_runs(&then, &now);
    cr_assert_eq(rows.n, 3);
    cr_assert_str_eq(row_of(&rows, 0)->verdict, "inconclusive");
    cr_assert_str_eq(row_of(&rows, 1)->verdict, "new");
    cr_assert(strstr(row_of(&rows, 1)->name, "n=2"));
    cr_assert_str_eq(row_of(&rows, 2)->verdict, "missing");
    cr_assert(strstr(row_of(&rows, 2)->name, "old"));
    cr_assert_eq(compare_count(&rows, "worse"), 0);
    free(rows.data);
    drop_run(&then);
    drop_run(&now);
}

/* Disturbances of half the time met both of each pair: the pairs still show 5 %. */
Test(compare, pairs_cancel_what_met_both) {
    double then[20], now[20], same[20];
    uint64_t state = 9;
    for (int i = 0; i < 20; i++) {
        double disturbance = 1 + 0.5 * (double)(random_next(&state) >> 11) * 0x1p-53;
        double own = (double)recorded_ns[0][3][i] / (double)recorded_ns[0][3][0];
        double other = (double)recorded_ns[0][5][i] / (double)recorded_ns[0][5][0];
        then[i] = 1e9 * disturbance * own;
        same[i] = 1e9 * disturbance * other;
        now[i] = 1.05 * same[i];
    }
    cr_assert_str_eq(compare_pairs("x", then, now, 20, 1).verdict, "worse");
    cr_assert_str_eq(compare_pairs("x", now, then, 20, 1).verdict, "better");
    cr_assert_str_eq(compare_pairs("x", then, same, 20, 1).verdict, "inconclusive");
    cr_assert_str_eq(compare_pairs("x", then, now, 4, 1).why, "too few samples");
}

/* Two thirds of the passes a tenth or more slower, the others faster, alike in every third of the run: no
 * noise between the parts, and a median that may as well lie on the other side. */
Test(compare, an_interval_that_reaches_the_threshold_is_no_verdict) {
    static const double ratios[9] = {0.85, 0.9, 1.2, 0.85, 0.9, 1.2, 0.85, 0.9, 1.2};
    double then[9], now[9];
    for (int i = 0; i < 9; i++) then[i] = 1e6 * ratios[i], now[i] = 1e6;
    struct comparison_row slower = compare_pairs("x", then, now, 9, 1),
                          faster = compare_pairs("x", now, then, 9, 1);
    cr_expect_lt(slower.ratio, 1 / (1 + slower.threshold));
    cr_expect_str_eq(slower.verdict, "inconclusive");
    cr_expect_str_eq(slower.why, "interval reaches the threshold");
    cr_expect_gt(faster.ratio, 1 + faster.threshold);
    cr_expect_str_eq(faster.verdict, "inconclusive");
}

/* ---- in files ---- */

static char folder[256];

static void make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/lfm2-compare-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) {
    char cmd[320];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", folder);
    cr_assert(system(cmd) == 0);
}

TestSuite(baseline, .init = make_folder, .fini = remove_folder);

static enum status save(const struct fake_run *run, const char *name, const struct host *host,
                        struct error *e) {
    struct record *r = record_new("kernels");
    record_text(r, "commit", "0123456789abcdef");
    record_text(r, "time", "2026-01-02T03:04:05Z");
    record_rows(r, &kernels_table, run->kernels.data, run->kernels.n);
    record_rows(r, &samples_table, run->samples.data, run->samples.n);
    enum status st = baseline_save(r, &run->timed, folder, name, host, e);
    record_free(r);
    return st;
}

Test(baseline, comes_back_with_samples_and_noise) {
    struct fake_run then = recorded_run(3, 1), older = recorded_run(0, 1);
    struct error e = {0};
    struct host host;
    struct baseline b;
    machine_host_of(&host, "Some CPU; 2 CPUs");
    cr_assert_eq(save(&older, "before", &host, &e), OK, "%s", e.text);
    cr_assert_eq(save(&then, "before", &host, &e), OK, "%s", e.text); /* the last one counts */
    cr_assert_eq(baseline_open(&b, folder, "before", "kernels", &host, &e), OK, "%s", e.text);
    cr_assert(strstr(b.title, "before") && strstr(b.title, "0123456789ab"), "%s", b.title);
    cr_assert_eq(b.timed.n, RECORDED_KERNELS);
    cr_assert_eq(b.timed.noise, then.timed.noise);
    for (int i = 0; i < RECORDED_KERNELS; i++) {
        cr_assert_str_eq(b.timed.v[i].name, then.timed.v[i].name);
        cr_assert_eq(b.timed.v[i].noise, then.timed.v[i].noise);
        cr_assert_eq(b.timed.v[i].n, RECORDED_SAMPLES);
        cr_assert_eq(memcmp(b.timed.v[i].samples, then.timed.v[i].samples,
                            RECORDED_SAMPLES * sizeof(struct sample_row)),
                     0);
    }
    baseline_close(&b);
    cr_assert_neq(baseline_open(&b, folder, "before", "bench", &host, &e), OK);
    cr_assert(strstr(e.text, "no bench run"), "%s", e.text);
    drop_run(&then);
    drop_run(&older);
}

Test(baseline, of_another_host_is_refused) {
    struct fake_run run = recorded_run(3, 1);
    struct error e = {0};
    struct host here, there;
    struct baseline b;
    char from[400], to[400];
    machine_host_of(&here, "This CPU; 2 CPUs");
    machine_host_of(&there, "That CPU; 64 CPUs");
    cr_assert_str_neq(here.id, there.id);
    cr_assert_eq(save(&run, "x", &there, &e), OK, "%s", e.text);
    cr_assert_eq(baseline_open(&b, folder, "x", "kernels", &here, &e), ERR_ARG);
    cr_assert(strstr(e.text, "of another host (found 'That CPU; 64 CPUs', expected 'This CPU; 2 CPUs')"),
              "%s", e.text);
    /* Renaming the file does not help. */
    cr_assert_eq(baseline_path(from, sizeof from, folder, "x", &there, &e), OK);
    cr_assert_eq(baseline_path(to, sizeof to, folder, "x", &here, &e), OK);
    cr_assert_eq(rename(from, to), 0);
    cr_assert_eq(baseline_open(&b, folder, "x", "kernels", &here, &e), ERR_ARG);
    cr_assert(strstr(e.text, "of another host"), "%s", e.text);
    drop_run(&run);
}

Test(baseline, faults_are_sentences) {
    static const char *const names[] = {"", "../x", "a/b", ".hidden", "a b"};
    struct error e = {0};
    struct host host;
    struct baseline b;
    char path[400];
    machine_host(&host);
    cr_assert_eq(strlen(host.id), 16);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_eq(baseline_path(path, sizeof path, folder, names[i], &host, &e), ERR_ARG, "%s", names[i]);
    cr_assert_eq(baseline_open(&b, folder, "none", "bench", &host, &e), ERR_ARG);
    cr_assert(strstr(e.text, "--save-baseline none"), "%s", e.text);

    struct fake_run run = recorded_run(3, 1);
    ((struct kernel_row *)run.kernels.data)[1].samples_count = 1000;
    cr_assert_eq(save(&run, "damaged", &host, &e), OK, "%s", e.text);
    cr_assert_eq(baseline_open(&b, folder, "damaged", "kernels", &host, &e), ERR_FORMAT);
    cr_assert(strstr(e.text, "are not there"), "%s", e.text);
    drop_run(&run);
}
