/* SPDX-License-Identifier: Apache-2.0 */
/* What lfm2 eval keeps of a run: rows of a record against the results file of the same run, counts of tokens
 * against each other, and the card protocol against what its name promises. */
#include <criterion/criterion.h>
#include <ftw.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/eval_rows.h"
#include "tests/run_command.h"

static char folder[64];

static void begin(void) {
    snprintf(folder, sizeof folder, "/tmp/lfm2-record-XXXXXX");
    cr_assert(mkdtemp(folder));
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void end(void) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(eval_record, .init = begin, .fini = end, .timeout = 300);

static const char *in(const char *name) {
    static char paths[16][160];
    static int at;
    at = (at + 1) % 16;
    snprintf(paths[at], sizeof paths[at], "%s/%s", folder, name);
    return paths[at];
}

/* `lfm2 eval` with these words; its exit code. */
#define EVAL(...)                                                                                            \
    run_command(cmd_eval, "eval", (const char *const[]){__VA_ARGS__, NULL}, "/dev/null", in("out"), in("err"))
#define TINY "-m", "data/tiny", "--data", "data/tiny", "-t", "1"

static json_t *results_of(const char *output) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*/results_*.json", output);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "%s", pattern);
    json_t *json = json_load_file(found.gl_pathv[0], 0, NULL);
    cr_assert(json);
    globfree(&found);
    return json;
}

static void *rows_of(const char *record, int run, const struct table *t, size_t *n) {
    struct records f;
    struct error e = {0};
    void *rows;
    cr_assert_eq(records_open(&f, record, &e), OK, "%s", e.text);
    cr_assert_lt(run, f.n);
    cr_assert_eq(records_rows(&f, run, t, &rows, n, &e), OK, "%s", e.text);
    records_close(&f);
    return rows;
}

static double pair_member(const json_t *object, const char *name, const char *key, size_t at) {
    return json_number_value(json_array_get(json_object_get(json_object_get(object, name), key), at));
}

Test(eval_record, rows_say_what_the_results_file_says) {
    cr_assert_eq(EVAL(TINY, "--tasks", "mini_mmlu,mini_gsm8k", "--num_fewshot", "5", "--limit", "6",
                      "--output_path", in("a"), "--record", in("r.h5")),
                 0);
    json_t *json = results_of(in("a")), *results = json_object_get(json, "results");
    size_t n, n_runs;
    struct eval_row *rows = rows_of(in("r.h5"), 0, &eval_table, &n);
    struct eval_run_row *run = rows_of(in("r.h5"), 0, &eval_run_table, &n_runs);
    cr_expect_eq(n, 4 + 1 + 2, "four subjects, their group, and two filters of mini_gsm8k");
    for (size_t i = 0; i < n; i++) {
        char key[96], error_key[96];
        const json_t *scores = json_object_get(results, rows[i].task);
        snprintf(key, sizeof key, "%s,%s", rows[i].metric, rows[i].filter);
        snprintf(error_key, sizeof error_key, "%s_stderr,%s", rows[i].metric, rows[i].filter);
        cr_assert(scores && json_object_get(scores, key), "%s %s", rows[i].task, key);
        cr_expect_eq(rows[i].value, json_real_value(json_object_get(scores, key)));
        cr_expect_eq(rows[i].error, json_number_value(json_object_get(scores, error_key)));
        cr_expect_eq(rows[i].lo, pair_member(json_object_get(json, "intervals"), rows[i].task, key, 0));
        cr_expect_eq(rows[i].hi, pair_member(json_object_get(json, "intervals"), rows[i].task, key, 1));
        cr_expect_eq(rows[i].num_fewshot, 5);
        int gsm8k = strcmp(rows[i].task, "mini_gsm8k") == 0, group = strcmp(rows[i].task, "mini_mmlu") == 0;
        cr_expect_eq(rows[i].n, group ? 24 : 6);
        cr_expect_str_eq(rows[i].suite, gsm8k ? "mini_gsm8k" : "mini_mmlu");
        cr_expect_str_eq(rows[i].parent, gsm8k || group ? "" : "mini_mmlu");
        cr_expect_str_eq(rows[i].protocol, "lm-eval");
        cr_expect_str_eq(rows[i].engine, "optimized");
    }
    cr_assert_eq(n_runs, 1);
    cr_expect_eq(run->items, 30);
    cr_expect_eq(run->n_before, 0);
    cr_expect_gt(run->items_s, 0);
    cr_expect_str_eq(run->tasks, "mini_mmlu,mini_gsm8k");
    cr_expect(strstr(run->kernels, "gemm"), "%s", run->kernels);
    json_decref(json);
    free(rows);
    free(run);
}

Test(eval_record, sharing_saves_what_it_says_and_changes_no_score) {
    size_t n, m;
    cr_assert_eq(
        EVAL(TINY, "--tasks", "mini_mmlu", "--num_fewshot", "5", "--limit", "12", "--record", in("r.h5")), 0);
    cr_assert_eq(EVAL(TINY, "--tasks", "mini_mmlu", "--num_fewshot", "5", "--limit", "12", "--record",
                      in("r.h5"), "--no-prefix-cache"),
                 0);
    struct eval_run_row *with = rows_of(in("r.h5"), 0, &eval_run_table, &n),
                        *without = rows_of(in("r.h5"), 1, &eval_run_table, &m);
    cr_expect_eq(with->prefix, 1);
    cr_expect_eq(without->prefix, 0);
    cr_expect_eq(without->reused, 0);
    cr_expect_gt(with->reused, 0);
    cr_expect_eq(with->fed + with->reused, without->fed, "%ld and %ld shared, %ld", (long)with->fed,
                 (long)with->reused, (long)without->fed);
    /* Five examples and a question are six alike: with 12 questions to one set of examples nearly five sixths
     * are saved. */
    cr_expect_gt((double)without->fed, 3.5 * (double)with->fed);
    struct eval_row *a = rows_of(in("r.h5"), 0, &eval_table, &n),
                    *b = rows_of(in("r.h5"), 1, &eval_table, &m);
    cr_assert_eq(n, m);
    for (size_t i = 0; i < n; i++) cr_expect_eq(a[i].value, b[i].value, "%s", a[i].task);
    free(a), free(b), free(with), free(without);
}

Test(eval_record, a_comparison_is_kept_under_the_models_names) {
    size_t n;
    static const char *const engines[] = {"optimized", "reference"};
    for (int i = 0; i < 2; i++)
        cr_assert_eq(EVAL(TINY, "--tasks", "mini_mmlu", "--num_fewshot", "5", "--limit", "4", "--engine",
                          engines[i], "--output_path", in(engines[i]), "--log_samples"),
                     0);
    cr_assert_eq(EVAL("--compare", in("reference"), in("optimized"), "--record", in("r.h5")), 0);
    struct eval_pair_row *rows = rows_of(in("r.h5"), 0, &eval_pairs_table, &n);
    cr_assert_eq(n, 5, "four subjects and all of them");
    double a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(rows[i].a, "tiny, reference");
        cr_expect_str_eq(rows[i].b, "tiny, optimized");
        cr_expect_eq(rows[i].n, i < 4 ? 4 : 16);
        cr_expect_float_eq(rows[i].difference, rows[i].value_b - rows[i].value_a, 1e-12);
        if (i < 4) a += rows[i].value_a / 4, b += rows[i].value_b / 4;
    }
    cr_expect_str_eq(rows[4].task, "all 4 tasks");
    cr_expect_float_eq(rows[4].value_a, a, 1e-12);
    cr_expect_float_eq(rows[4].value_b, b, 1e-12);
    free(rows);
}

/* ---- the card protocol ---- */

static json_t *first_sample(const char *output, const char *task) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*/samples_%s_2*.jsonl", output, task);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "%s", pattern);
    FILE *f = fopen(found.gl_pathv[0], "r");
    cr_assert(f);
    json_t *line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert(line);
    fclose(f);
    globfree(&found);
    return line;
}

static int times(const char *text, const char *word) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    return n;
}

Test(eval_record, the_card_protocol_asks_in_a_chat_with_the_cards_shots_and_sampling) {
    size_t n;
    cr_assert_eq(EVAL(TINY, "--tasks", "mini_mmlu,mini_gsm8k", "--limit", "2", "--protocol", "card",
                      "--gen_kwargs", "max_gen_toks=64", "--output_path", in("card"), "--log_samples",
                      "--record", in("r.h5")),
                 0);
    json_t *json = results_of(in("card")), *shots = json_object_get(json, "n-shot");
    cr_expect_eq(json_integer_value(json_object_get(shots, "mini_gsm8k")), 0);
    cr_expect_eq(json_integer_value(json_object_get(shots, "mini_mmlu_arithmetic")), 5);
    json_t *line = first_sample(in("card"), "mini_gsm8k");
    json_t *asked = json_object_get(json_object_get(line, "arguments"), "gen_args_0");
    const char *prompt = json_string_value(json_object_get(asked, "arg_0"));
    json_t *how = json_object_get(asked, "arg_1");
    cr_expect_eq(times(prompt, "<|im_start|>user"), 1, "one turn, no examples: %s", prompt);
    cr_expect_eq(times(prompt, "<|im_start|>assistant"), 1);
    cr_expect(json_is_true(json_object_get(how, "do_sample")));
    cr_expect_float_eq(json_number_value(json_object_get(how, "temperature")), 0.3, 1e-12);
    cr_expect_float_eq(json_number_value(json_object_get(how, "min_p")), 0.15, 1e-12);
    cr_expect_float_eq(json_number_value(json_object_get(how, "repetition_penalty")), 1.05, 1e-12);
    json_decref(line);
    line = first_sample(in("card"), "mini_mmlu_arithmetic");
    asked = json_object_get(json_object_get(line, "arguments"), "gen_args_0");
    prompt = json_string_value(json_object_get(asked, "arg_0"));
    cr_expect_eq(times(prompt, "<|im_start|>user"), 6, "five examples and the question: %s", prompt);
    struct eval_row *rows = rows_of(in("r.h5"), 0, &eval_table, &n);
    cr_expect_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(rows[i].protocol, "card");
        cr_expect_eq(rows[i].num_fewshot, strncmp(rows[i].task, "mini_mmlu", 9) == 0 ? 5 : 0, "%s",
                     rows[i].task);
    }
    json_decref(line), json_decref(json), free(rows);
    /* Its answers do not mix with those of the other protocol. */
    cr_expect_eq(EVAL(TINY, "--tasks", "mini_mmlu,mini_gsm8k", "--limit", "2", "--apply_chat_template",
                      "--gen_kwargs", "max_gen_toks=64", "--output_path", in("card")),
                 2);
}

Test(eval_record, a_record_that_cannot_be_written_is_found_before_the_work) {
    cr_expect_eq(EVAL(TINY, "--tasks", "mini_mmlu", "--limit", "1", "--output_path", in("a"), "--record",
                      in("none/r.h5")),
                 2);
    FILE *f = fopen(in("a/journal.jsonl"), "r");
    cr_expect_null(f, "nothing was computed");
    cr_expect_eq(EVAL("--compare", in("a"), in("b"), "--record", in("none/r.h5")), 2);
}
