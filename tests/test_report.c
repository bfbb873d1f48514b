/* SPDX-License-Identifier: Apache-2.0 */
/* The report on a record made up here, whose every figure is known. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/report.h"
#include "tests/made_up_runs.h"

static char folder[256], record[300], page[300];

static void make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/lfm2-report-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder));
    snprintf(record, sizeof record, "%s/made-up.h5", folder);
    snprintf(page, sizeof page, "%s/RESULTS.md", folder);
}

static void remove_folder(void) {
    char cmd[320];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", folder);
    cr_assert(system(cmd) == 0);
}

TestSuite(report, .init = make_folder, .fini = remove_folder);

static void add(struct record *r) {
    struct error e = {0};
    cr_assert_eq(records_append(record, r, NULL, &e), OK, "%s", e.text);
    record_free(r);
}

static void add_bench(double lfm2_pp1024) {
    add(made_up_bench(lfm2_pp1024));
}

static const char *optimized; /* what the next parity run says of the engine; NULL: nothing */

static void add_parity(int holds) {
    add(made_up_parity(holds, optimized));
}

/* Runs the command with stderr caught in text. */
static int report(char *text, size_t size, const char *option) {
    char caught[320];
    snprintf(caught, sizeof caught, "%s/stderr", folder);
    fflush(stderr);
    int old = dup(2), fd = open(caught, O_CREAT | O_TRUNC | O_RDWR, 0600);
    dup2(fd, 2);
    char *argv[] = {"report", "--record", record, "--out", folder, (char *)option};
    int code = cmd_report(6, argv);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    lseek(fd, 0, SEEK_SET);
    ssize_t n = read(fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    close(fd);
    return code;
}

static char *contents(const char *path) {
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    cr_assert(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static void expect(const char *text, const char *wanted) {
    cr_assert(strstr(text, wanted), "no '%s' in:\n%s", wanted, text);
}

Test(report, the_figures_of_the_record_are_on_the_page) {
    char err[1024];
    add_bench(50);
    add_parity(1);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text,
           "| pp1024 | **50.0** | 45.0 – 55.0 | 100.0 | 50.0 % of int8 | 25.0 | **2.00** (1.90 – 2.10) |");
    expect(text, "| tg100 @ d4096 | **12.0** | 10.8 – 13.2 | 24.0 | 50.0 % of read |");
    /* ours beside the published: 50/80, and (45/88 - 55/72) */
    expect(text, "LFM2-8B-A1B ÷ Qwen3-1.7B, measured here | **0.62** (0.51 – 0.76) |");
    expect(text, "published: technical report | 0.61 | 0.78 | 1.22 | 1.56 |");
    expect(text, "were measured by others on other machines");
    expect(text, "#### LFM2-8B-A1B, Q4_0, **synthetic weights**, 2 threads");
    expect(text, "Made-up CPU \\| 9000");
    expect(text, "| logits NMSE | 0.00125 | at most 0.01 | PASS | because it is made up |");
    expect(text, "| prefill | own | 64 | 1.25e-03 |");
    expect(text, "98.4 %");
    expect(text, "| prefill | own, equal ones only | 0 | - |");
    expect(text, "| prefill | own | 256 | 97.66 % | 6 | 6 | 0 |");
    expect(text, "| read | avx512 | 2 | 3.00 | **27.2** |");
    expect(text, "![Prefill speed against prompt length](plots/prefill.svg)");
    cr_assert_not(strstr(text, folder), "a path of this machine is on the page");
    free(text);
}

/* One test at 1, 2 and 4 threads, as a run of its own. */
static void add_threads(void) {
    struct rows rows = {0};
    struct record *r = made_up_run("bench");
    for (int n = 1; n <= 4; n *= 2) {
        struct throughput_row row = made_up_speed(0, 0, 512, 0, 0, 20.0 * n);
        row.threads = n;
        rows_add(&rows, &throughput_table, &row);
    }
    record_rows(r, &models_table, made_up_models, 1);
    record_rows(r, &throughput_table, rows.data, rows.n);
    free(rows.data);
    add(r);
}

/* A prompt of 512 twice and then one of 1024 as well. */
Test(report, a_curve_takes_two_points) {
    char err[1024];
    for (int n = 512; n <= 1024; n *= 2) {
        struct throughput_row two[] = {made_up_speed(0, 0, 512, 0, 0, 20), made_up_speed(0, 0, n, 0, 0, 21)};
        struct record *r = made_up_run("bench");
        record_rows(r, &models_table, made_up_models, 1);
        record_rows(r, &throughput_table, two, 2);
        add(r);
        cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
        char *text = contents(page);
        cr_assert_eq(strstr(text, "plots/prefill.svg") != NULL, n == 1024, "%s", text);
        cr_assert_not(strstr(text, "plots/decode.svg"));
        free(text);
    }
}

/* An interval takes two repetitions; memory and start are shown where they were measured. */
Test(report, what_was_measured_once_has_no_interval) {
    char err[1024];
    struct throughput_row rows[] = {made_up_speed(0, 0, 512, 0, 0, 20), made_up_speed(0, 1, 512, 0, 0, 20),
                                    made_up_speed(0, 0, 1024, 0, 0, 30), made_up_speed(0, 1, 1024, 0, 0, 30)};
    struct record *r = made_up_run("bench");
    for (int i = 0; i < 2; i++) {
        rows[i].repetitions = 1;
        rows[2 * i].peak_rss = 5000000000;
        rows[2 * i].share_lo = 0.4, rows[2 * i].share_hi = 0.6;
        rows[2 * i].first_token_ns = 300000000 + 1200000000 * i;
    }
    record_rows(r, &models_table, made_up_models, 1);
    record_rows(r, &throughput_table, rows, 4);
    add(r);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "| pp512 | **20.0** | once | 40.0 | 50.0 % of int8 | 5.00 (1.06) | 10.0 | **2.00** |");
    expect(text, "| pp1024 | **30.0** | 27.0 – 33.0 | 60.0 | 50 % of int8 (40 – 60) | 5.00 (1.06) | 15.0 | "
                 "**2.00** (1.90 – 2.10) |");
    expect(text, "Repetitions: 1 – 5; from opening the file to the first token 0.3 – 1.5 s;");
    free(text);
}

Test(report, what_was_measured_twice_is_told_apart) {
    char err[1024];
    add_bench(50);
    add_parity(1);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    cr_assert_not(strstr(text, "threads.svg"), "no sweep over threads yet");
    cr_assert_not(strstr(text, "What each way of computing it costs"), "one way only");
    expect(text, "| Qwen3-1.7B | 1.000 | 125.0 | 8000 |");
    free(text);
    add_threads();
    optimized = "threads=2 batch=2048 kv=q8_0 gemm_q4a8=avx2 attention=avx512 attention8=avx2";
    add_parity(0);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(text, "![Speed against threads](plots/threads.svg)");
    expect(text, "| avx2 | avx2 | q8_0 | prefill | 1.50e-03 | 5.00e-04 | 6.00e-03 | 96.9 % | **FAIL** |");
    free(text);
}

Test(report, other_schemes_stand_beside_the_exact_one) {
    char err[1024];
    add_parity(1);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    cr_assert_not(strstr(text, "What other schemes would cost"), "exact only");
    free(text);
    struct record *r = made_up_parity(0, "threads=2 scheme=folded gemm_q4a8=avx2");
    record_text(r, "scheme", "folded");
    add(r);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(text,
           "| LFM2-8B-A1B | exact | 64 | 1.50e-03 | 1.00 | 5.00e-04 | 6.00e-03 | 96.9 % | 100.00 % | kept |");
    expect(text, "| LFM2-8B-A1B | folded | 64 | 1.50e-03 | 1.00 | 5.00e-04 | 6.00e-03 | 96.9 % | 100.00 % | "
                 "**broken** |");
    expect(text, "float32 reference**: LFM2-8B-A1B: pass.");
    cr_assert_not(strstr(text, "## Agreement with"), "a record of schemes says it once");
    free(text);
    add_bench(50); /* what is offered and measured is judged in full, without the scheme */
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(text, "## Agreement with");
    expect(text, "| folded |");
    cr_assert_not(strstr(text, "What each way of computing it costs"), "one way only");
    free(text);
}

Test(report, same_record_same_bytes_and_check_names_the_line) {
    char err[1024];
    add_bench(50);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *first = contents(page);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0);
    char *second = contents(page);
    cr_assert_str_eq(first, second);
    cr_assert_eq(report(err, sizeof err, "--check"), 0, "%s", err);

    FILE *f = fopen(page, "w");
    char *third_line = strchr(strchr(first, '\n') + 1, '\n') + 1;
    fwrite(first, 1, (size_t)(third_line - first), f);
    fputs("typed by hand\n", f);
    fclose(f);
    cr_assert_eq(report(err, sizeof err, "--check"), 1);
    expect(err, "RESULTS.md: line 3 is not what the records say (found 'typed by hand'");

    /* cut short, and too long */
    f = fopen(page, "w");
    fwrite(first, 1, strlen(first) - 1, f);
    fclose(f);
    cr_assert_eq(report(err, sizeof err, "--check"), 1);
    f = fopen(page, "w");
    fprintf(f, "%s\n", first);
    fclose(f);
    cr_assert_eq(report(err, sizeof err, "--check"), 1);
    free(first);
    free(second);
}

Test(report, a_later_measurement_replaces_the_earlier) {
    char err[1024];
    add_bench(50);
    add_bench(60);
    add_parity(0);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "| pp1024 | **60.0** |");
    cr_assert_not(strstr(text, "| pp1024 | **50.0** |"));
    expect(text, "### LFM2-8B-A1B, Q4_0, **synthetic weights**: **FAIL**");
    expect(text, "| **FAIL** | because it is made up |");
    free(text);
}

static void add_quality(void) {
    static const char *const recipes[] = {"original BF16", "Q8_0", "Q4_0", "Q4_0+imatrix", "F32+router=Q4_0"};
    struct quality_row rows[10] = {0};
    struct record *r = made_up_run("quality");
    for (int i = 0; i < 10; i++) {
        struct quality_row *q = &rows[i];
        snprintf(q->model, sizeof q->model, "%s", made_up_models[0].name);
        snprintf(q->recipe, sizeof q->recipe, "%s", recipes[i % 5]);
        snprintf(q->engine, sizeof q->engine, "%s", i < 5 ? "reference" : "optimized");
        snprintf(q->text, sizeof q->text, "held-out.txt");
        if (i % 5) snprintf(q->base, sizeof q->base, "float32, reference");
        q->n_ctx = 256, q->windows = 7, q->positions = 889;
        q->bits_per_weight = 16 >> (i % 3);
        q->ppl = 3.125 + 0.25 * i, q->kl_mean = i % 5 ? 0.001234 * i : 0, q->kl_se = q->kl_mean / 9;
        q->same_top1 = 0.9876, q->router_decisions = i % 5 ? 2000 : 0, q->router_flips = 3 * i;
    }
    struct kl_pair_row pair = {.recipe = "Q4_0+imatrix",
                               .plain = "Q4_0",
                               .engine = "reference",
                               .windows = 7,
                               .kl = 0.0030,
                               .kl_plain = 0.0040,
                               .difference = -0.0010,
                               .lo = -0.0015,
                               .hi = -0.0005};
    rows[1].kl_median = -4e-8; /* rounding */
    record_rows(r, &models_table, made_up_models, 1);
    record_rows(r, &quality_table, rows, 10);
    record_rows(r, &kl_pairs_table, &pair, 1);
    add(r);
    struct eval_pair_row answers[] = {
        {.a = "tiny, reference",
         .b = "Q8_0.gguf, optimized",
         .task = "mini_mmlu_arithmetic",
         .filter = "none",
         .metric = "acc",
         .n = 80,
         .value_a = 0.5,
         .value_b = 0.25,
         .p = 0.5},
        {.a = "tiny, reference",
         .b = "Q8_0.gguf, optimized",
         .task = "mini_mmlu_facts",
         .filter = "none",
         .metric = "acc",
         .n = 150,
         .value_a = 0.5,
         .value_b = 0.25,
         .p = 0.5},
        {.a = "tiny, reference",
         .b = "Q8_0.gguf, optimized",
         .task = "all 2 tasks",
         .filter = "none",
         .metric = "acc",
         .n = 230,
         .gained = 3,
         .lost = 1,
         .value_a = 0.75,
         .value_b = 0.7625,
         .difference = 0.0125,
         .lo = -0.005,
         .hi = 0.03,
         .p = 0.625},
    };
    r = made_up_run("compare");
    record_rows(r, &eval_pairs_table, answers, 3);
    add(r);
}

Test(report, quality_has_its_tables) {
    char err[1024];
    add_quality();
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "LFM2-8B-A1B (**synthetic weights: these figures say nothing about a trained model**) over "
                 "`held-out.txt`: 7 chunks of 256 ids, 889 scored positions.");
    expect(text, "| original BF16 | reference | 16.00 | 3.1250 ± 0.0000 | - | - |");
    expect(text, "0.002468 ± 0.000274");
    expect(text, "98.76 ± 0.00 %");
    expect(text, "| 0.300 % "); /* 6 flips of 2000 */
    cr_assert_not(strstr(text, "-0.000000"));
    expect(text, "| router flips | mini_mmlu, 230 questions |\n");
    expect(text, "| 76.2 %: +1.2 [-0.5, +3.0], +3 −1, p 0.62 |\n");
    cr_assert_not(strstr(text, "### In pairs"), "the same pairs in two places");
    expect(text,
           "| Q4_0+imatrix | reference | 0.003000 | Q4_0 | 0.004000 | -0.001000 | -0.001500 to -0.000500 | "
           "-25.0 % |\n");
    char *classes = strstr(text, "### One class of tensors at a time");
    cr_assert(classes && strstr(classes, "| F32+router=Q4_0 | optimized |"));
    cr_assert_not(strstr(classes, "\n| Q4_0 | "));
    free(text);
}

/* model: its row; protocol "lm-eval" or "card". */
static struct eval_row score(const struct model_row *model, const char *engine, const char *protocol,
                             const char *task, const char *parent, double value) {
    struct eval_row r = {.num_fewshot = 5, .n = 400, .value = value, .error = 0.025};
    snprintf(r.model, sizeof r.model, "%s", model->name);
    snprintf(r.recipe, sizeof r.recipe, "%s", model->recipe);
    snprintf(r.engine, sizeof r.engine, "%s", engine);
    snprintf(r.protocol, sizeof r.protocol, "%s", protocol);
    snprintf(r.suite, sizeof r.suite, "mmlu");
    snprintf(r.task, sizeof r.task, "%s", task);
    snprintf(r.parent, sizeof r.parent, "%s", parent);
    snprintf(r.version, sizeof r.version, "1.0");
    snprintf(r.filter, sizeof r.filter, "none");
    snprintf(r.metric, sizeof r.metric, "acc");
    r.lo = value - 0.05, r.hi = value + 0.05;
    return r;
}

static void add_scores(const struct model_row *model, const struct eval_row *rows, size_t n, int prefix,
                       double items_s) {
    struct eval_run_row run = {.num_fewshot = 5,
                               .items = 400,
                               .threads = 2,
                               .processes = 1,
                               .prefix = prefix,
                               .items_s = items_s,
                               .fed = prefix ? 40000 : 240000};
    struct record *r = made_up_run("eval");
    snprintf(run.model, sizeof run.model, "%s", model->name);
    snprintf(run.recipe, sizeof run.recipe, "%s", model->recipe);
    snprintf(run.engine, sizeof run.engine, "%s", rows->engine);
    snprintf(run.protocol, sizeof run.protocol, "%s", rows->protocol);
    snprintf(run.tasks, sizeof run.tasks, "mmlu");
    record_rows(r, &models_table, model, 1);
    record_rows(r, &eval_run_table, &run, 1);
    record_rows(r, &eval_table, rows, n);
    add(r);
}

static const struct model_row trained = {
    .name = "trained", .arch = "lfm2moe", .recipe = "Q4_0", .params = 4000000};

static void add_trained_scores(void) {
    for (int engine = 0; engine < 2; engine++) {
        const char *name = engine ? "optimized" : "reference";
        struct eval_row rows[] = {
            score(&trained, name, "lm-eval", "mmlu_anatomy", "stem", 0.8125),
            score(&trained, name, "lm-eval", "stem", "mmlu", 0.5625),
            score(&trained, name, "lm-eval", "mmlu", "", 0.4375 + 0.125 * engine),
        };
        rows[2].n_truncated = 17, rows[2].error = NAN;
        add_scores(&trained, rows, 3, 1, 8);
    }
    struct eval_row card = score(&trained, "optimized", "card", "mmlu", "", 0.6875);
    add_scores(&trained, &card, 1, 1, 8);
}

/* From the line that begins with `from` up to the next heading. */
static char *section(const char *text, const char *from) {
    const char *at = strstr(text, from);
    cr_assert(at, "no %s in:\n%s", from, text);
    const char *end = strstr(at + strlen(from), "\n##");
    return strndup(at, end ? (size_t)(end - at) : strlen(at));
}

Test(report, answers_stand_in_a_table_per_protocol) {
    char err[1024];
    add_trained_scores();
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page), *lm_eval = section(text, "### Protocol: lm-eval"),
         *card = section(text, "### Protocol: card-like");
    expect(lm_eval, "| mmlu | 1.0 | 5 | none, acc | trained Q4_0, reference | 400 | **0.4375** | - | "
                    "0.3875 – 0.4875 | 0 | 17 |\n"
                    "| mmlu | 1.0 | 5 | none, acc | trained Q4_0, optimized | 400 | **0.5625** | - | ");
    expect(lm_eval, "| – stem | 1.0 | 5 | none, acc | trained Q4_0, reference | 400 | 0.5625 | 0.0250 | ");
    cr_assert_not(strstr(lm_eval, "anatomy"), "members of members are left out");
    cr_assert_not(strstr(lm_eval, "0.6875"));
    expect(card, "| **0.6875** | 0.0250 |");
    cr_assert_not(strstr(card, "0.4375"));
    cr_assert_not(strstr(text, "64.84"), "the card's value beside a model that is not the card's");
    free(text), free(lm_eval), free(card);
}

Test(report, the_cards_value_stands_beside_the_cards_model_alone) {
    char err[1024];
    struct model_row real = made_up_models[0];
    struct eval_row row = score(&made_up_models[0], "optimized", "lm-eval", "mmlu", "", 0.8125);
    add_scores(&made_up_models[0], &row, 1, 1, 8);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "Scores of synthetic models are not shown");
    cr_assert_not(strstr(text, "0.8125"));
    cr_assert_not(strstr(text, "64.84"));
    free(text);
    unlink(record);
    real.synthetic = 0;
    add_scores(&real, &row, 1, 1, 8);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(
        text,
        "| MMLU | mmlu | exact | 81.25 (mmlu, none, acc, 5 shots, Q4_0 optimized) | - | 64.84 | how likely");
    expect(text, "| GSM8K | gsm8k | exact | - | - | - | ");
    expect(text, "| LCB v5 | livecodebench | export | ");
    free(text);
}

Test(report, pairs_are_pooled_and_sharing_is_counted) {
    char err[1024];
    struct eval_pair_row pairs[3] = {{.task = "mini_mmlu_one", .n = 10, .value_a = 0.5, .p = 1},
                                     {.task = "mini_mmlu_two", .n = 30, .value_a = 0.25, .p = 1},
                                     {.task = "all 2 tasks",
                                      .n = 40,
                                      .gained = 2,
                                      .lost = 3,
                                      .value_a = 0.3125,
                                      .value_b = 0.2875,
                                      .difference = -0.025,
                                      .lo = -0.125,
                                      .hi = 0.075,
                                      .p = NAN}};
    struct record *r = made_up_run("compare");
    for (int i = 0; i < 3; i++) {
        snprintf(pairs[i].a, sizeof pairs[i].a, "M, reference");
        snprintf(pairs[i].b, sizeof pairs[i].b, "M, optimized");
        snprintf(pairs[i].filter, sizeof pairs[i].filter, "none");
        snprintf(pairs[i].metric, sizeof pairs[i].metric, "acc");
    }
    record_rows(r, &eval_pairs_table, pairs, 3);
    add(r);
    struct eval_row row = score(&trained, "optimized", "lm-eval", "mmlu", "", 0.5);
    for (int i = 0; i < 3; i++) {
        add_scores(&trained, &row, 1, 1, 10 + i);
        add_scores(&trained, &row, 1, 0, 2);
    }
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "| all 2 tasks mini_mmlu, none, acc | M, reference | M, optimized | 40 | 0.3125 | 0.2875 | "
                 "**-0.0250** | -0.1250 – +0.0750 | 2 | 3 | - |");
    cr_assert_not(strstr(text, "mini_mmlu_one"));
    expect(text,
           "| mmlu | 5 | 400 | 2 | 600.0 | 100.0 | **6.00** | 2.00 | 11.0 | **5.50** (5.00 – 6.00) | 3 |");
    free(text);
}

Test(report, eight_sequences_stand_beside_one) {
    char err[1024];
    struct throughput_row rows[2] = {made_up_speed(0, 0, 0, 100, 0, 16), made_up_speed(0, 0, 0, 800, 0, 40)};
    snprintf(rows[1].test, sizeof rows[1].test, "tg100 x8");
    rows[1].limit_ts = 48, rows[1].share_of_limit = 40.0 / 48;
    struct record *r = made_up_run("bench");
    record_rows(r, &models_table, made_up_models, 2);
    record_rows(r, &throughput_table, rows, 2);
    add(r);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text,
           "| LFM2-8B-A1B | tg100 x8 | 2 | 16.0 | 40.0 | **2.50** (2.05 – 3.06) | 1.50 | 48.0 | 83.3 % of "
           "read |");
    free(text);
}

Test(report, what_a_record_lacks_is_left_out) {
    static const char *const absent[] = {"Not in this record", "## Speed",          "## Kernels",
                                         "## Limits",          "What quantisation", "| tok/s",
                                         "this machine**, ",   "The same ratio",    "plots/prefill.svg"};
    char err[1024];
    add_parity(1);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page);
    expect(text, "has none of these four tests");
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_expect_not(strstr(text, absent[i]), "'%s' is on the page", absent[i]);
    free(text);
    add_threads(); /* 1, 2 and 4 threads, one model, no test of the protocol */
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(text, "## Speed");
    cr_expect_not(strstr(text, "measured here |"), "a row without a figure");
    cr_expect_not(strstr(text, "The same ratio"), "a table without a row");
    free(text);
}

Test(report, the_most_important_comes_first) {
    char err[1024];
    add_bench(50);
    add_parity(1);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    char *text = contents(page), *rest = strstr(text, "## What was measured where");
    cr_assert(rest && strstr(text, "## In short") < rest);
    *rest = 0;
    expect(text,
           "| LFM2-8B-A1B, Q4_0, **synthetic weights** | prefill 512 tokens | 2 | **44.9** (40.4 – 49.4) | "
           "50.0 % of int8 | **2.00** (1.90 – 2.10) llama.cpp b1 |");
    expect(text, "| decode 100 tokens | 2 | **12.0** (10.8 – 13.2) | 50.0 % of read |");
    expect(text, "**Agreement with the float32 reference**: LFM2-8B-A1B: pass.\n");
    free(text);
    add_threads(); /* 40 tok/s with one thread per CPU, 80 with more */
    optimized = "another way";
    add_parity(0);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 0, "%s", err);
    text = contents(page);
    expect(text, "| prefill 512 tokens | 2 | **40.0** (");
    expect(text, "LFM2-8B-A1B: **FAIL** in 1 of 2 ways of computing it.\n");
    free(text);
}

Test(report, bad_input_is_one_line_and_2) {
    char err[1024];
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 2);
    expect(err, "lfm2: ");
    expect(err, "made-up.h5");
    FILE *f = fopen(record, "w");
    fputs("this is not HDF5\n", f);
    fclose(f);
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 2);
    expect(err, "made-up.h5");
    cr_assert_eq(strchr(err, '\n'), err + strlen(err) - 1, "%s", err);
    unlink(record);
    /* a parity run without its tables */
    add(made_up_run("parity"));
    cr_assert_eq(report(err, sizeof err, "--no-plots"), 2);
    expect(err, "0001-parity");
    unlink(record);
    add_bench(50);
    cr_assert_eq(report(err, sizeof err, "--check"), 2, "no page to check");
    expect(err, "RESULTS.md");
}

Test(report, figures_are_drawn) {
    char err[1024], path[320];
    add_bench(50);
    add_threads();
    add_parity(1);
    add_quality();
    add_trained_scores();
    if (access("plots/throughput.gp", R_OK) != 0 || system("command -v gnuplot >/dev/null") != 0)
        cr_skip_test("needs gnuplot and the repository's root folder");
    cr_assert_eq(report(err, sizeof err, "--out"), 2, "an option without its value");
    char *argv[] = {"report", "--record", record, "--out", folder};
    cr_assert_eq(cmd_report(5, argv), 0);
    for (int i = 0; i < FIGURE_COUNT; i++)
        for (int svg = 0; svg < 2; svg++) {
            struct stat st;
            snprintf(path, sizeof path, "%s/plots/%s.%s", folder, report_figure_names[i],
                     svg ? "svg" : "png");
            cr_assert_eq(stat(path, &st), 0, "%s", path);
            cr_assert_gt(st.st_size, 4000, "%s", path);
        }
}
