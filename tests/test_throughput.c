/* SPDX-License-Identifier: Apache-2.0 */
/* test_throughput: interleaving, depths, samples, peers and formats of `lfm2 bench`, on an engine
 * that computes nothing and remembers what it was asked. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/cost.h"
#include "bench/peer.h"
#include "bench/stats.h"
#include "bench/throughput.h"
#include "bench/throughput_print.h"
#include "tests/directory.h"
#include "tests/fake_peer.h"
#include "tests/run_command.h"

/* ---- an engine that computes nothing ---- */

enum { V = 50 };
struct session {
    const struct model *m;
    int position, max_tokens;
    int64_t sum; /* of the ids fed, weighted by position: the "state" */
};
struct event {
    char what, model; /* 'r'eset, 'p'refill (n > 1), 'd'ecode (n = 1), 's'ave, 'R'estore */
    int n, position;
};
static struct event events[4096];
static int n_events, unstable, not_finite;

static void note(const struct session *s, char what, int n) {
    cr_assert_lt(n_events, 4096);
    events[n_events++] = (struct event){what, s->m->config.name[0], n, s->position};
}

static enum status fake_open(struct session **out, const struct model *m, const struct engine_options *o,
                             struct error *e) {
    (void)e;
    *out = calloc(1, sizeof **out);
    (*out)->m = m;
    (*out)->max_tokens = o->max_tokens;
    return OK;
}

static enum status fake_feed(struct session *s, const int32_t *ids, int n, float *logits, int n_logits,
                             struct error *e) {
    if (s->position + n > s->max_tokens) return fail(e, ERR_ARG, "past max_tokens");
    note(s, n > 1 ? 'p' : 'd', n);
    for (int i = 0; i < n; i++) {
        cr_assert(ids[i] >= 0 && ids[i] < V);
        s->sum += (int64_t)(s->position + i + 1) * ids[i];
    }
    s->position += n;
    static int calls;
    for (int i = 0; n_logits && i < V; i++)
        logits[i] = (float)(s->sum % (1000 + i)) + (unstable ? (float)calls++ : 0);
    if (n_logits && not_finite) logits[3] = NAN;
    return OK;
}

static enum status fake_fork(struct session **out, struct session *of, int max_tokens, struct error *e) {
    struct engine_options o = {.max_tokens = max_tokens ? max_tokens : of->max_tokens};
    return fake_open(out, of->m, &o, e);
}

/* 'm': how many parts came at once. */
static enum status fake_feed_many(const struct part *parts, int n_parts, struct error *e) {
    note(parts[0].session, 'm', n_parts);
    for (int i = 0; i < n_parts; i++) {
        for (int j = 0; j < i; j++) cr_assert_neq(parts[i].session, parts[j].session);
        enum status status =
            fake_feed(parts[i].session, parts[i].ids, parts[i].n, parts[i].logits, parts[i].n_logits, e);
        if (status != OK) return status;
    }
    return OK;
}

static enum status fake_save(const struct session *s, struct snapshot *to, struct error *e) {
    (void)e;
    note(s, 's', 0);
    free(to->data);
    to->data = malloc(sizeof s->sum);
    memcpy(to->data, &s->sum, sizeof s->sum);
    to->position = s->position;
    return OK;
}

static enum status fake_restore(struct session *s, const struct snapshot *from, struct error *e) {
    (void)e;
    memcpy(&s->sum, from->data, sizeof s->sum);
    s->position = from->position;
    note(s, 'R', 0);
    return OK;
}

static int fake_position(const struct session *s) {
    return s->position;
}
static void fake_reset(struct session *s) {
    s->position = 0;
    s->sum = 0;
    note(s, 'r', 0);
}
static void fake_describe(const struct session *s, char *text, size_t size) {
    (void)s;
    snprintf(text, size, "nothing=none");
}
static void fake_close(struct session *s) {
    free(s);
}

static const struct engine fake = {.name = "fake",
                                   .open = fake_open,
                                   .fork = fake_fork,
                                   .feed = fake_feed,
                                   .feed_many = fake_feed_many,
                                   .save = fake_save,
                                   .restore = fake_restore,
                                   .position = fake_position,
                                   .reset = fake_reset,
                                   .describe = fake_describe,
                                   .close = fake_close};

static struct model models[2];
static struct subject subjects[2];

static void make_models(void) {
    for (int i = 0; i < 2; i++) {
        struct model *m = &models[i];
        m->config.n_vocab = V;
        m->config.bos_id = 7;
        snprintf(m->config.name, sizeof m->config.name, "%c", 'A' + i);
        snprintf(m->config.arch, sizeof m->config.arch, "lfm2");
        snprintf(m->path, sizeof m->path, "/models/%c's \"file\".gguf", 'A' + i);
        subjects[i] = (struct subject){.engine = &fake, .model = m};
        snprintf(subjects[i].name, sizeof subjects[i].name, "%c", 'A' + i);
    }
    n_events = 0;
}

static struct rows throughput, samples;
static char said[1024];
static void keep(void *arg, const char *line) {
    (void)arg;
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}

static void run(const struct throughput_options *o, int n_subjects) {
    struct error e = {0};
    struct throughput_options copy = *o;
    copy.say = keep;
    cr_assert_eq(throughput_run(&copy, subjects, n_subjects, &throughput, &samples, &e), OK, "%s", e.text);
}

/* Without a warm-up. */
static void run_cold(const struct bench_test *tests, int n_tests, int repetitions, int n_subjects) {
    run(&(struct throughput_options){.tests = tests,
                                     .n_tests = n_tests,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = repetitions,
                                     .min_repetitions = repetitions,
                                     .no_warmup = 1,
                                     .seed = 1},
        n_subjects);
}

static const struct throughput_row *row(int i) {
    cr_assert_lt(i, (int)throughput.n);
    return (const struct throughput_row *)throughput.data + i;
}

/* "A8 B8 B8 A8": which model was fed how much, feeds only. */
static void feeds(char *text, size_t size) {
    text[0] = 0;
    for (int i = 0; i < n_events; i++)
        if (events[i].what == 'p' || events[i].what == 'd')
            snprintf(text + strlen(text), size - strlen(text), "%s%c%d", text[0] ? " " : "", events[i].model,
                     events[i].n);
}

TestSuite(throughput, .init = make_models);

Test(throughput, models_alternate_and_directions_too) {
    const struct bench_test test = {8, 0, 0, 1};
    char text[256];
    run_cold(&test, 1, 3, 2);
    feeds(text, sizeof text);
    cr_assert_str_eq(text, "A8 B8 B8 A8 A8 B8");
    for (int i = 0; i < n_events; i++)
        if (events[i].what == 'p') cr_assert_eq(events[i].position, 0, "a repetition did not start empty");
}

/* Calls so far; the k-th finds 100 + k GB/s and 10 * k GMAC/s, the third of all fails when `gauge_fails`. */
static int gauged, gauge_fails;
static enum status fake_gauge(void *arg, double seconds, double *read_gb_s, double *int8_gmac_s,
                              struct error *e) {
    (void)arg;
    cr_assert(seconds > 0);
    if (gauge_fails && gauged == 2) return fail(e, ERR_IO, "the gauge is gone");
    *read_gb_s = 100 + gauged;
    *int8_gmac_s = 10 * ++gauged;
    return OK;
}

Test(throughput, each_repetition_is_held_to_the_limits_around_it) {
    const struct bench_test test = {8, 0, 0, 1};
    struct throughput_options o = {.tests = &test,
                                   .n_tests = 1,
                                   .threads = 1,
                                   .batch = 64,
                                   .repetitions = 3,
                                   .min_repetitions = 3,
                                   .no_warmup = 1,
                                   .seed = 1,
                                   .gauge = fake_gauge};
    models[0].config.n_embd = 10; /* so that it costs something */
    models[0].head.bytes = 1000;
    run(&o, 1);
    const struct sample_row *s = samples.data;
    double share[3];
    for (int i = 0; i < 3; i++) {
        const char *by;
        cr_assert_float_eq(s[i].read_gb_s, 100.5 + i, 1e-12, "between call %d and the next", i);
        cr_assert_float_eq(s[i].int8_gmac_s, 15 + 10 * i, 1e-12);
        double limit = test_limit(&models[0], &test, s[i].read_gb_s, s[i].int8_gmac_s, &by);
        cr_assert_gt(limit, 0);
        share[i] = 8e9 / (double)s[i].ns / limit;
    }
    cr_assert_eq(gauged, 4, "one measurement serves as after and as before");
    cr_assert_float_eq(row(0)->share_of_limit, median(share, 3), 1e-9 * row(0)->share_of_limit);
    cr_assert(row(0)->share_lo <= row(0)->share_of_limit && row(0)->share_of_limit <= row(0)->share_hi);
    double before = row(0)->share_of_limit;
    throughput_limits(&throughput, "A", &models[0], 1, 1, 1);
    cr_assert_eq(row(0)->share_of_limit, before, "limits of before and after replaced those beside");
}

Test(throughput, a_lost_gauge_does_not_end_the_run) {
    const struct bench_test test = {8, 0, 0, 1};
    gauge_fails = 1;
    run(&(struct throughput_options){.tests = &test,
                                     .n_tests = 1,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = 3,
                                     .min_repetitions = 3,
                                     .no_warmup = 1,
                                     .seed = 1,
                                     .gauge = fake_gauge},
        1);
    const struct sample_row *s = samples.data;
    cr_assert_eq(row(0)->repetitions, 3);
    cr_assert(s[0].read_gb_s > 0 && s[1].read_gb_s == 0 && s[2].read_gb_s == 0);
    cr_assert_eq(row(0)->share_hi, 0, "a share from some of the repetitions");
    cr_assert(strstr(said, "the gauge is gone"));
}

Test(throughput, warm_up_is_not_a_sample) {
    const struct bench_test test = {8, 0, 0, 1};
    char text[256];
    run(&(struct throughput_options){.tests = &test,
                                     .n_tests = 1,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = 2,
                                     .min_repetitions = 2,
                                     .seed = 1},
        1);
    feeds(text, sizeof text);
    cr_assert_str_eq(text, "A1 A8 A1 A8 A8");
    cr_assert_eq(samples.n, 2);
    cr_assert_gt(row(0)->first_token_ns, 0);
}

Test(throughput, a_depth_is_fed_once_then_restored_and_extended) {
    const struct bench_test tests[] = {{0, 2, 10, 1}, {4, 0, 10, 1}, {0, 1, 30, 1}};
    char text[256];
    run_cold(tests, 3, 2, 1);
    feeds(text, sizeof text);
    cr_assert_str_eq(text, "A10 A1 A1 A1 A1 A4 A4 A20 A1 A1");
    for (int i = 0; i < n_events; i++)
        if (events[i].what == 'p' && events[i].n == 4) cr_assert_eq(events[i].position, 10);
    cr_assert_str_eq(row(0)->test, "tg2 @ d10");
    cr_assert_str_eq(row(2)->test, "tg1 @ d30");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(row(i)->output_same, 1, "restored state differs from the fed one");
}

Test(throughput, several_sequences_step_together_from_one_depth) {
    const struct bench_test tests[] = {{0, 2, 10, 3}, {0, 2, 10, 1}};
    int together = 0, restored = 0, single = 0;
    run_cold(tests, 2, 2, 1);
    for (int i = 0; i < n_events; i++) {
        together += events[i].what == 'm' && events[i].n == 3;
        restored += events[i].what == 'R';
        single += events[i].what == 'd';
        if (events[i].what == 'd') cr_assert(events[i].position == 10 || events[i].position == 11);
    }
    cr_assert_eq(together, 2 * 2);
    cr_assert_eq(single, 2 * 2 * 3 + 2 * 2);
    /* two forks in each repetition, the first session in all but the one that fed the depth */
    cr_assert_eq(restored, 2 * 2 + 3);
    cr_assert_str_eq(row(0)->test, "tg2 x3 @ d10");
    cr_assert_eq(row(0)->n_gen, 6, "tokens of all sequences");
    const struct sample_row *ns = samples.data;
    double rate = 0.5e9 * (6.0 / (double)ns[0].ns + 6.0 / (double)ns[1].ns);
    cr_assert_float_eq(row(0)->avg_ts, rate, 1e-9 * rate);
    cr_assert(row(0)->output_same && row(1)->output_same);
    cr_assert_str_neq(row(0)->output_sha256, row(1)->output_sha256);
}

Test(throughput, rates_follow_from_samples) {
    const struct bench_test test = {8, 4, 0, 1};
    run(&(struct throughput_options){.tests = &test,
                                     .n_tests = 1,
                                     .threads = 3,
                                     .batch = 64,
                                     .repetitions = 5,
                                     .min_repetitions = 5,
                                     .seed = 9},
        1);
    const struct throughput_row *r = row(0);
    const struct sample_row *s = samples.data;
    cr_assert_str_eq(r->test, "pp8+tg4");
    cr_assert_str_eq(r->engine, "fake");
    cr_assert_str_eq(r->kernels, "nothing=none");
    cr_assert(r->threads == 3 && r->seed == 9 && r->repetitions == 5 && r->samples_count == 5 &&
              r->n_batch == 64);
    cr_assert_eq(strlen(r->output_sha256), 64);
    double sum_ns = 0, sum_ts = 0;
    for (int i = 0; i < 5; i++) {
        cr_assert_gt(s[i].ns, 0);
        sum_ns += (double)s[i].ns;
        sum_ts += 12e9 / (double)s[i].ns;
    }
    cr_assert_float_eq(r->avg_ns, sum_ns / 5, 1e-6 * r->avg_ns);
    cr_assert_float_eq(r->avg_ts, sum_ts / 5, 1e-6 * r->avg_ts);
    cr_assert(r->ci_lo <= r->median_ts && r->median_ts <= r->ci_hi);
}

Test(throughput, the_seed_decides_the_output) {
    const struct bench_test test = {8, 0, 0, 1};
    struct throughput_options o = {.tests = &test,
                                   .n_tests = 1,
                                   .threads = 1,
                                   .batch = 64,
                                   .repetitions = 2,
                                   .min_repetitions = 2,
                                   .no_warmup = 1,
                                   .seed = 1};
    run(&o, 1);
    run(&o, 1);
    o.seed = 2;
    run(&o, 1);
    cr_assert_str_eq(row(0)->output_sha256, row(1)->output_sha256);
    cr_assert_str_neq(row(0)->output_sha256, row(2)->output_sha256);
}

Test(throughput, unequal_repetitions_are_noticed) {
    const struct bench_test test = {8, 0, 0, 1};
    unstable = 1;
    run_cold(&test, 1, 3, 1);
    cr_assert_eq(row(0)->output_same, 0);
}

Test(throughput, nan_stops_the_run) {
    const struct bench_test test = {8, 0, 0, 1};
    struct error e = {0};
    not_finite = 1;
    struct throughput_options o = {.tests = &test,
                                   .n_tests = 1,
                                   .threads = 1,
                                   .batch = 64,
                                   .repetitions = 3,
                                   .min_repetitions = 3,
                                   .no_warmup = 1,
                                   .seed = 1};
    cr_assert_eq(throughput_run(&o, subjects, 1, &throughput, &samples, &e), ERR_FORMAT);
    cr_assert(strstr(e.text, "pp8: logit 3 is nan"), "%s", e.text);
}

/* With no time at all, everything is left out, and said. */
Test(throughput, what_does_not_fit_is_left_out_and_said) {
    const struct bench_test tests[] = {{8, 0, 0, 1}, {16, 0, 0, 1}};
    run(&(struct throughput_options){.tests = tests,
                                     .n_tests = 2,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = 5,
                                     .min_repetitions = 3,
                                     .seed = 1,
                                     .max_seconds = 1e-9},
        2);
    cr_assert_eq(throughput.n, 0);
    cr_assert(strstr(said, "pp8 left out: 3 repetitions do not fit") && strstr(said, "pp16 left out"), "%s",
              said);
}

/* ---- formats ---- */

static char *printed(const char *format) {
    struct rows models_list = {0};
    struct error e = {0};
    char *text = NULL;
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        struct model_row r = model_row(&models[i]);
        rows_add(&models_list, &models_table, &r);
    }
    FILE *to = open_memstream(&text, &size);
    cr_assert_eq(throughput_print(to, format, &throughput, &models_list, &samples, &e), OK, "%s", e.text);
    fclose(to);
    free(models_list.data);
    return text;
}

static void run_for_print(void) {
    const struct bench_test tests[] = {{8, 0, 0, 1}, {0, 2, 4, 1}};
    run(&(struct throughput_options){.tests = tests,
                                     .n_tests = 2,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = 3,
                                     .min_repetitions = 3,
                                     .seed = 1},
        2);
}

Test(throughput, json_holds_llama_bench_fields_and_samples) {
    static const char *const names[] = {
        "build_commit", "cpu_info",   "model_filename", "model_type", "model_size",     "model_n_params",
        "n_batch",      "n_threads",  "type_k",         "type_v",     "n_prompt",       "n_gen",
        "n_depth",      "test_time",  "avg_ns",         "stddev_ns",  "avg_ts",         "stddev_ts",
        "samples_ns",   "samples_ts", "median_ts",      "ci_lo",      "share_of_limit", "output_sha256"};
    run_for_print();
    char *text = printed("json");
    json_error_t why;
    json_t *all = json_loads(text, 0, &why);
    cr_assert(all, "%s", why.text);
    cr_assert_eq(json_array_size(all), 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *o = json_array_get(all, i);
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            cr_assert(json_object_get(o, names[k]), "%s", names[k]);
        cr_assert_eq(json_array_size(json_object_get(o, "samples_ns")), 3);
        json_int_t ns = json_integer_value(json_array_get(json_object_get(o, "samples_ns"), 1));
        double ts = json_real_value(json_array_get(json_object_get(o, "samples_ts"), 1));
        double tokens = (double)(row((int)i)->n_prompt + row((int)i)->n_gen);
        cr_assert_float_eq(ts, tokens * 1e9 / (double)ns, 1e-6 * ts);
    }
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(all, 1), "model_filename")),
                     "B's \"file\".gguf");
    json_decref(all);
    free(text);
}

Test(throughput, jsonl_is_one_object_per_line) {
    run_for_print();
    char *text = printed("jsonl");
    int n = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n++) {
        json_t *o = json_loads(line, 0, NULL);
        cr_assert(json_is_object(o), "%s", line);
        json_decref(o);
    }
    cr_assert_eq(n, 4);
    free(text);
}

Test(throughput, csv_and_sql_quote) {
    run_for_print();
    char *csv = printed("csv"), *sql = printed("sql");
    cr_assert(strstr(csv, "\"A's \"\"file\"\".gguf\""), "%s", csv);
    cr_assert(strstr(sql, "'A''s \"file\".gguf'"), "%s", sql);
    size_t commas = 0, lines = 0;
    for (char *c = csv; *c != '\n'; c++) commas += *c == ',';
    for (char *c = csv; *c; c++) lines += *c == '\n';
    cr_assert_gt(commas, 30);
    cr_assert_eq(lines, 5);
    cr_assert(strncmp(sql, "CREATE TABLE IF NOT EXISTS llama_bench (", 40) == 0);
    free(csv);
    free(sql);
}

Test(throughput, unknown_format) {
    struct error e = {0};
    cr_assert_eq(throughput_format_check("xml", &e), ERR_ARG);
    cr_assert(strstr(e.text, "xml") && strstr(e.text, "jsonl"), "%s", e.text);
}

/* ---- peers ---- */

static void make_models_and_directory(void) {
    make_models();
    make_directory();
}

TestSuite(peers, .init = make_models_and_directory, .fini = remove_directory);

/* Beside a program that answers so. */
static void run_beside(const char *answer, int n_prompt, int repetitions, int no_warmup, int n_subjects) {
    struct peer p;
    struct error e = {0};
    const struct bench_test test = {n_prompt, 0, 0, 1};
    cr_assert_eq(peer_open(&p, fake_peer_make(FAKE_LLAMA_HELP " --no-warmup", answer), &e), OK, "%s", e.text);
    run(&(struct throughput_options){.tests = &test,
                                     .n_tests = 1,
                                     .threads = 1,
                                     .batch = 64,
                                     .repetitions = repetitions,
                                     .min_repetitions = repetitions,
                                     .no_warmup = no_warmup,
                                     .seed = 1,
                                     .peers = &p,
                                     .n_peers = 1},
        n_subjects);
}

Test(peers, runs_beside_ours_and_gets_a_ratio) {
    run_beside(FAKE_ANSWER, 8, 3, 1, 2);
    cr_assert(strstr(fake_peer_args(), "--no-warmup\n"), "%s", fake_peer_args());
    cr_assert_eq(throughput.n, 4);
    cr_assert_str_eq(row(0)->engine, "fake");
    cr_assert_str_eq(row(1)->engine, "llama.cpp b12 abc (llama-bench)");
    cr_assert_str_eq(row(1)->model, "A");
    cr_assert_str_eq(row(3)->model, "B");
    for (int i = 1; i < 4; i += 2) {
        const struct throughput_row *ours = row(i - 1), *theirs = row(i);
        cr_assert_eq(theirs->repetitions, 3);
        cr_assert_float_eq(theirs->median_ts, 8000, 1e-6);
        cr_assert_float_eq(theirs->ratio, ours->median_ts / 8000, 1e-9 * theirs->ratio);
        cr_assert(theirs->ratio_lo <= theirs->ratio && theirs->ratio <= theirs->ratio_hi);
        cr_assert_eq(ours->ratio, 0);
    }
}

Test(peers, ours_warms_up_again_after_one) {
    char text[256];
    run_beside(FAKE_ANSWER, 600, 2, 0, 1);
    cr_assert_not(strstr(fake_peer_args(), "--no-warmup"), "%s", fake_peer_args());
    feeds(text, sizeof text);
    cr_assert_str_eq(text + strlen(text) - strlen("A600 A512 A600"), "A600 A512 A600", "%s", text);
    cr_assert_eq(row(0)->repetitions, 2);
}

Test(peers, a_broken_peer_is_said_and_ours_goes_on) {
    run_beside("exit 1", 8, 3, 1, 1);
    cr_assert_eq(throughput.n, 1);
    cr_assert(strstr(said, "pp8 of llama.cpp (llama-bench) left out") && strstr(said, "exit code 1"), "%s",
              said);
}

/* In a process of its own: bench keeps its options in static storage. */
static int bench_beside(const char *answer) {
    const char *peer = fake_peer_make(FAKE_LLAMA_HELP, answer);
    const char *words[] = {"-m",          "data/golden/lfm2moe-64",
                           "-p",          "8",
                           "-n",          "0",
                           "-r",          "1",
                           "-t",          "1",
                           "--no-limits", "--no-warmup",
                           "--peer",      peer,
                           NULL};
    pid_t child = fork();
    if (child == 0)
        _exit(run_command(cmd_bench, "bench", words, "/dev/null", in_directory("out"), in_directory("err")));
    int how = 0;
    cr_assert_eq(waitpid(child, &how, 0), child);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

Test(peers, one_that_runs_nothing_is_an_error_in_the_end) {
    char err[4096] = "";
    cr_expect_eq(bench_beside(FAKE_ANSWER), 0);
    cr_expect_eq(bench_beside("exit 1"), 2);
    cr_expect_eq(bench_beside("echo hello"), 2);
    FILE *f = fopen(in_directory("err"), "r");
    cr_assert(f && fread(err, 1, sizeof err - 1, f) > 0 && fclose(f) == 0);
    cr_expect(strstr(err, "ran none of the tests\n"), "%s", err);
}
