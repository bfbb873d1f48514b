/* SPDX-License-Identifier: Apache-2.0 */
/* What lfm2 eval and lfm2 score make of files, from anybody's hand: samples that are compared and scored
 * again, with numbers worked out elsewhere; data that are damaged, incomplete, empty or far too long; and
 * Multi-IF's conversations.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/cmd.h"
#include "data/buffer.h"
#include "eval/task.h"
#include "tests/folder.h"
#include "tests/run_command.h"

TestSuite(eval_files, .init = folder_begin, .fini = folder_end, .timeout = 300);

/* Exit code as expected, and what was said on a stream holds the text. */
static void expect(int (*cmd)(int, char **), const char *const *words, int code, const char *stream,
                   const char *says) {
    struct buffer text = {0}, err = {0};
    int found = run_command(cmd, "test", words, "/dev/null", in("out"), in("err"));
    cr_assert(read_text(in(stream), &text));
    cr_assert(read_text(in("err"), &err));
    cr_expect_eq(found, code, "exit %d (expected %d): %s", found, code, err.data);
    cr_expect(strstr(text.data, says), "'%s' is not in: %s", says, text.data);
    if (code == 2)
        cr_expect_eq(strchr(err.data, '\n'), err.data + err.n - 1, "more than a line: %s", err.data);
    buffer_free(&text);
    buffer_free(&err);
}

/* ---- lfm2 eval --compare ---- */

/* One samples file: values[i] is 0 to 9 tenths, or '.' where the document failed. */
static void write_samples(const char *path, const char *values, const char *prompt) {
    FILE *f = fopen(path, "w");
    cr_assert(f);
    for (int i = 0; values[i]; i++)
        if (values[i] == '.')
            fprintf(f, "{\"doc_id\": %d, \"filter\": \"none\", \"failed\": \"a row\"}\n", i);
        else
            fprintf(f,
                    "{\"doc_id\": %d, \"filter\": \"none\", \"metrics\": [\"acc\"], \"doc_hash\": \"d%d\", "
                    "\"prompt_hash\": \"%s%d\", \"acc\": %s%c}\n",
                    i, i, prompt, i, values[i] == 'T' ? "1.0" : "0.", values[i] == 'T' ? ' ' : values[i]);
    fclose(f);
}

/* A: 4 of 12; B: 10 of 12, 7 gained and 1 lost: McNemar's exact p is 2 * (1 + 8) / 2^8. */
Test(eval_files, comparison_of_two_runs_is_mcnemars_and_the_paired_bootstraps) {
    write_samples(in("a.jsonl"), "TTTT00000000", "p");
    write_samples(in("b.jsonl"), "0TTTTTTTTTT0", "p");
    const char *words[] = {"--compare", in("a.jsonl"), in("b.jsonl"), NULL};
    char name[32];
    size_t n, up, down;
    double a, b, difference, lo, hi, p;
    struct buffer text = {0};
    expect(cmd_eval, words, 0, "out", "samples,none,acc");
    cr_assert(read_text(in("out"), &text));
    const char *row = strstr(text.data, "samples,none,acc");
    cr_assert_eq(sscanf(row, "%31s %zu %lf %lf %lf [%lf, %lf] %zu %zu %lf", name, &n, &a, &b, &difference,
                        &lo, &hi, &up, &down, &p),
                 10, "%s", row);
    cr_expect(n == 12 && up == 7 && down == 1, "%s", row);
    cr_expect_float_eq(a, 4 / 12.0, 5e-5);
    cr_expect_float_eq(b, 10 / 12.0, 5e-5);
    cr_expect_float_eq(difference, 0.5, 5e-5);
    cr_expect_float_eq(p, 0.0703125, 5e-5);
    /* Of 12 draws of +1 (7 in 12), 0 (4) and -1 (1), the sum is at most 0 with 1.05 %, 1 with 2.77 %; at most
     * 9 with 95.2 %, 10 with 98.8 %: the points of 2.5 and 97.5 % are 1 and 10. */
    cr_expect_float_eq(lo, 1 / 12.0, 5e-5, "%s", row);
    cr_expect_float_eq(hi, 10 / 12.0, 5e-5, "%s", row);
    buffer_free(&text);
}

Test(eval_files, comparison_pairs_documents_and_has_no_test_for_fractions) {
    write_samples(in("a.jsonl"), "55.5", "p");
    write_samples(in("b.jsonl"), "77755", "p");
    const char *words[] = {"--compare", in("a.jsonl"), in("b.jsonl"), NULL};
    expect(cmd_eval, words, 0, "out", "left out: 0 documents that only A has, 2 that only B has");
    struct buffer text = {0};
    cr_assert(read_text(in("out"), &text));
    const char *row = strstr(text.data, "samples,none,acc");
    /* 0.2, 0.2 and 0: no column after up and down. */
    cr_assert(row);
    cr_expect(strstr(row, "0.5000  0.6333  +0.1333  [+0.0000, +0.2000]      2     0\n"), "%s", row);
    buffer_free(&text);
}

Test(eval_files, other_questions_are_not_compared) {
    write_samples(in("a.jsonl"), "T0", "p");
    write_samples(in("b.jsonl"), "T0", "q");
    const char *words[] = {"--compare", in("a.jsonl"), in("b.jsonl"), NULL};
    expect(cmd_eval, words, 2, "err", "has another prompt");
    cr_assert(write_file(in("b.jsonl"), "{\"doc_id\": 0}\n{\"doc", 19));
    expect(cmd_eval, words, 2, "err", "b.jsonl: line 2 is not a JSON object");
    cr_assert(write_file(in("b.jsonl"), "", 0));
    expect(cmd_eval, words, 2, "err", "b.jsonl: has no lines");
}

/* A folder may come from anybody, and with it pipes that nobody writes to. */
Test(eval_files, comparison_waits_for_no_pipe, .timeout = 60) {
    for (int i = 0; i < 2; i++) {
        char name[80];
        snprintf(name, sizeof name, "%c", 'a' + i);
        cr_assert_eq(mkdir(in(name), 0700), 0);
        snprintf(name, sizeof name, "%c/samples_t_2023-11-14T22-13-20.jsonl", 'a' + i);
        write_samples(in(name), "T0", "p");
        snprintf(name, sizeof name, "%c/results_2023-11-14T22-13-20.json", 'a' + i);
        cr_assert_eq(mkfifo(in(name), 0600), 0);
        snprintf(name, sizeof name, "%c/samples_u_2023-11-14T22-13-20.jsonl", 'a' + i);
        cr_assert_eq(mkfifo(in(name), 0600), 0);
    }
    const char *words[] = {"--compare", in("a"), in("b"), NULL};
    expect(cmd_eval, words, 0, "out", "t,none,acc");
}

/* ---- lfm2 score ---- */

Test(eval_files, a_document_that_cannot_be_scored_is_named_by_file_and_line) {
    static const char line[] = "{\"doc_id\": 0, \"filter\": \"none\", \"resps\": [[\"x\"]], \"doc\": "
                               "{\"instruction_id_list\": [\"no:such\"], \"kwargs\": [{}]}}\n";
    const char *path = in("samples_ifeval_2023-11-14T22-13-20.jsonl"), *words[] = {path, NULL};
    cr_assert(write_file(path, line, sizeof line - 1));
    expect(cmd_score, words, 2, "err", "20.jsonl: line 1: the document: ");
}

/* JSON within texts has the quota too: "{},{},{}" takes eighty times its size. */
static void add_braces(struct buffer *to) {
    for (int i = 0; i < 100000; i++) buffer_text(to, "{},");
    buffer_text(to, "{}]");
}

Test(eval_files, json_within_texts_has_its_quota) {
    struct buffer answer = {0}, rows = {0};
    struct task t;
    struct task_data *data;
    struct error e = {0};
    struct score s = {0};
    buffer_text(&answer, "[");
    add_braces(&answer);
    struct response r = {.text = answer.data, .n = answer.n};
    json_t *doc =
        json_pack("{s:[s],s:[{}]}", "instruction_id_list", "detectable_format:json_format", "kwargs");
    cr_assert(task_named("ifeval", &t));
    cr_assert_eq(t.suite->score(&t, doc, "", &r, 1, &s, &e), OK, "%s", e.text);
    cr_expect(json_is_false(json_object_get(s.metrics, "prompt_level_strict_acc")));
    json_decref(doc), json_decref(s.metrics), json_decref(s.filtered);
    buffer_free(&answer);

    buffer_text(&rows, "turns,responses,turn_1_prompt,turn_1_instruction_id_list,turn_1_kwargs,turn_2_prompt,"
                       "turn_2_instruction_id_list,turn_2_kwargs,turn_3_prompt,turn_3_instruction_id_list,"
                       "turn_3_kwargs,key,turn_index,language\n"
                       ",,\"{\"\"content\"\": \"\"Hi.\"\"}\",\"[\"\"punctuation:no_comma\"\"]\","
                       "\"[\"\"{\\\"\"x\\\"\": [");
    add_braces(&rows);
    buffer_text(&rows, "}\"\"]\",None,,,None,,,one,0,English\n");
    cr_assert(write_file(in("multiIF_20241018.csv"), rows.data, rows.n));
    buffer_free(&rows);
    struct task_options o = {.num_fewshot = -1, .apply_chat_template = 1};
    struct item item = {0};
    cr_assert(task_named("multi_if_en", &t));
    cr_assert_eq(t.suite->load(&data, &t, folder, &o, &e), OK, "%s", e.text);
    cr_expect_eq(t.suite->build(data, 0, &item, &e), ERR_FORMAT);
    item_free(&item);
    t.suite->unload(data);
}

#define SAMPLES "run/tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl"

/* Three documents, a few tokens each. */
static void evaluate_gsm8k(const char *data, int code, const char *stream, const char *says) {
    const char *words[] = {"-m",      "data/tiny", "--tasks",       "gsm8k",
                           "--data",  data,        "--num_fewshot", "0",
                           "-t",      "1",         "--gen_kwargs",  "max_gen_toks=2",
                           "--limit", "6",         "--log_samples", "--output_path",
                           in("run"), NULL};
    expect(cmd_eval, words, code, stream, says);
}

/* Replaces the first `from` of the samples by as many bytes. */
static void alter(const char *from, const char *to) {
    struct buffer text = {0};
    cr_assert(read_text(in(SAMPLES), &text));
    char *at = strstr(text.data, from);
    cr_assert(at, "%s", from);
    memcpy(at, to, strlen(to));
    cr_assert(write_file(in(SAMPLES), text.data, text.n));
    buffer_free(&text);
}

Test(eval_files, score_finds_what_was_altered) {
    struct buffer whole = {0};
    evaluate_gsm8k("data/tiny/mini_gsm8k", 0, "out", "gsm8k");
    const char *plain[] = {in(SAMPLES), NULL};
    const char *full[] = {in(SAMPLES), "--data", "data/tiny/mini_gsm8k", "--num_fewshot", "0", NULL};
    const char *shots[] = {in(SAMPLES), "--data", "data/tiny/mini_gsm8k", NULL};
    expect(cmd_score, plain, 0, "out", "12 rows; different: 0 filtered_resps, 0 metrics\n");
    expect(cmd_score, full, 0, "out", "0 prompts, 0 documents, 0 targets");
    expect(cmd_score, shots, 1, "out", "12 prompts, 0 documents, 0 targets");
    cr_assert(read_text(in(SAMPLES), &whole));
    alter("\"exact_match\": 0", "\"exact_match\": 1");
    expect(cmd_score, plain, 1, "out", "0 filtered_resps, 1 metrics");
    cr_assert(write_file(in(SAMPLES), whole.data, whole.n));
    alter("\"prompt_hash\": \"", "\"prompt_hash\": \"x");
    expect(cmd_score, plain, 0, "out", "0 metrics");
    expect(cmd_score, full, 1, "out", "1 prompts, 0 documents");
    cr_assert(write_file(in(SAMPLES), whole.data, whole.n));
    alter("\"filtered_resps\": [\"", "\"filtered_resps\": [\"~");
    expect(cmd_score, plain, 1, "out", "1 filtered_resps");
    alter("{\"doc_id\"", "{'doc_id'");
    expect(cmd_score, plain, 2, "err", ".jsonl: line 1 is not a JSON object");
    cr_assert(write_file(in(SAMPLES), "", 0));
    expect(cmd_score, plain, 2, "err", "has no lines");
    buffer_free(&whole);
}

/* ---- damaged data ---- */

Test(eval_files, damaged_rows_fail_alone_and_are_counted) {
    struct buffer rows = {0}, text = {0};
    buffer_text(&rows, "{\"question\": \"How many are 1 and 1?\", \"answer\": \"#### 2\"}\n"
                       "{\"question\": \"How many\n"
                       "{\"question\": \"How many are 2 and 2?\"}\n"
                       "{\"question\": \"\xff\xfe\", \"answer\": \"#### 2\"}\n"
                       "{\"question\": 7, \"answer\": \"#### 2\"}\n"
                       "{\"question\": \"");
    for (int i = 0; i < 10 << 20; i += 16) buffer_text(&rows, "How many are 2? ");
    buffer_text(&rows, "\", \"answer\": \"#### 2\"}\n");
    cr_assert(write_file(in("test.jsonl"), rows.data, rows.n));
    evaluate_gsm8k(folder, 1, "out", "gsm8k");
    cr_assert(read_text(in(SAMPLES), &text));
    for (int line = 2; line <= 5; line++) {
        char said[64];
        snprintf(said, sizeof said, "test.jsonl line %d: ", line);
        cr_expect(strstr(text.data, said), "%s", said);
    }
    buffer_free(&text);
    cr_assert(read_text(in("run/tiny/results_2023-11-14T22-13-20.json"), &text));
    cr_expect(strstr(text.data, "\"failed\": 4,"), "%s", text.data);
    cr_expect(strstr(text.data, "\"sample_len\": 2,"), "%s", text.data);
    cr_expect(strstr(text.data, "\"truncated\": 1"), "%s", text.data);
    buffer_free(&text);
    buffer_free(&rows);
}

static const struct {
    const char *bytes;
    size_t n;
    const char *says;
} useless[] = {
    {"", 0, "test.jsonl"},
    {"\n\n", 2, "test.jsonl"},
    {"\x1f\x8b\x08", 3, "test.jsonl"},
};

Test(eval_files, files_without_a_row_get_one_line) {
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        cr_assert(write_file(in("test.jsonl"), useless[i].bytes, useless[i].n));
        evaluate_gsm8k(folder, 2, "err", useless[i].says);
    }
}

/* Found when it is read, not when the answers are there. */
Test(eval_files, instruction_with_a_broken_expression_is_a_malformed_row) {
    static const char rows[] = "{\"prompt\": \"a\", \"instruction_id_list\": [\"keywords:existence\"], "
                               "\"kwargs\": [{\"keywords\": [\"a\"]}]}\n"
                               "{\"prompt\": \"a\", \"instruction_id_list\": [\"keywords:existence\"], "
                               "\"kwargs\": [{\"keywords\": [\"a\", \"(b\"]}]}\n";
    struct task t;
    struct task_data *data;
    struct error e = {0};
    struct item item = {0};
    cr_assert(write_file(in("input_data.jsonl"), rows, sizeof rows - 1));
    cr_assert(task_named("ifeval", &t));
    cr_assert_eq(t.suite->load(&data, &t, folder, &(struct task_options){.num_fewshot = -1}, &e), OK, "%s",
                 e.text);
    cr_expect_eq(t.suite->build(data, 0, &item, &e), OK, "%s", e.text);
    item_free(&item);
    cr_expect_eq(t.suite->build(data, 1, &item, &e), ERR_FORMAT);
    cr_expect(strstr(e.text, "line 2") && strstr(e.text, "no regular expression"), "%s", e.text);
    item_free(&item);
    t.suite->unload(data);
}

/* ---- models ---- */

Test(eval_files, other_weights_under_the_same_header_are_another_model) {
    const char *synth[] = {"--arch", "tiny-lfm2moe", "--type", "q4_0", "-o", in("m.gguf"), NULL};
    const char *words[] = {"-m",
                           in("m.gguf"),
                           "--tasks",
                           "gsm8k",
                           "--data",
                           "data/tiny/mini_gsm8k",
                           "--limit",
                           "1",
                           "--num_fewshot",
                           "0",
                           "--gen_kwargs",
                           "max_gen_toks=1",
                           "-t",
                           "1",
                           "--output_path",
                           in("run"),
                           NULL};
    struct buffer model = {0};
    expect(cmd_synth, synth, 0, "err", "");
    expect(cmd_eval, words, 0, "out", "gsm8k");
    cr_assert(read_text(in("m.gguf"), &model));
    for (size_t i = model.n / 2; i < model.n; i++) model.data[i] ^= 1;
    cr_assert(write_file(in("m.gguf"), model.data, model.n));
    expect(cmd_eval, words, 2, "err", "belongs to a run with another model_sample");
    buffer_free(&model);
}

/* ---- Multi-IF ---- */

static const char conversations[] =
    "turns,responses,turn_1_prompt,turn_1_instruction_id_list,turn_1_kwargs,turn_2_prompt,turn_2_instruction_"
    "id_list,"
    "turn_2_kwargs,turn_3_prompt,turn_3_instruction_id_list,turn_3_kwargs,key,turn_index,language\n"
#define FIRST                                                                                                \
    "\"{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"Say "                                               \
    "hi.\"\"}\",\"[\"\"punctuation:no_comma\"\"]\",\"[\"\"{}\"\"]\","
#define SECOND                                                                                               \
    "\"{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"End with "                                          \
    "bye.\"\"}\",\"[\"\"punctuation:no_comma\"\", "                                                          \
    "\"\"startend:end_checker\"\"]\",\"[\"\"{}\"\", \"\"{\\\"\"end_phrase\\\"\": \\\"\"bye\\\"\"}\"\"]\","
    ",," FIRST SECOND "None,,,one,0,English\n"
    ",," FIRST "None,,,None,,,other,0,German\n"
    ",,\"{\"\"role\"\": 1}\",[],[],None,,,None,,,bad,0,English\n"
    ",," FIRST SECOND FIRST "three,0,English\n";

static struct task open_conversations(struct task_data **data) {
    struct task t;
    struct error e = {0};
    cr_assert(write_file(in("multiIF_20241018.csv"), conversations, sizeof conversations - 1));
    cr_assert(task_named("multi_if_en", &t));
    struct task_options o = {.num_fewshot = -1, .apply_chat_template = 1, .fewshot_as_multiturn = 1};
    cr_assert_eq(t.suite->load(data, &t, folder, &o, &e), OK, "%s", e.text);
    return t;
}

Test(eval_files, conversations_go_on_from_the_models_own_answers) {
    struct task_data *data;
    struct error e = {0};
    struct item item = {0};
    struct score s = {0};
    int more;
    struct task t = open_conversations(&data);
    /* The header and the German one are no documents. */
    cr_assert_eq(t.suite->count(data), 3);
    cr_expect_eq(t.suite->build(data, 1, &item, &e), ERR_FORMAT);
    cr_expect(strstr(e.text, "line 4: malformed row: "), "%s", e.text);
    item_free(&item);
    cr_assert_eq(t.suite->build(data, 0, &item, &e), OK, "%s", e.text);
    struct response r[] = {{.text = "Hi there", .n = 8}, {.text = "Hi, and bye", .n = 11}};
    cr_assert_eq(t.suite->next(data, 0, &item, 0, &r[0], &more, &e), OK);
    cr_assert_eq(more, 1);
    json_t *want = json_pack("[{s:s,s:s},{s:s,s:s},{s:s,s:s}]", "role", "user", "content", "Say hi.", "role",
                             "assistant", "content", "Hi there", "role", "user", "content", "End with bye.");
    cr_expect(json_equal(item.messages, want));
    cr_assert_eq(t.suite->next(data, 0, &item, 1, &r[1], &more, &e), OK);
    cr_expect_eq(more, 0);
    cr_assert_eq(t.suite->score(&t, item.doc, item.target, r, 2, &s, &e), OK, "%s", e.text);
    json_t *scores = json_pack("{s:b,s:[b],s:b,s:[b],s:b,s:[b,b],s:b,s:[b,b]}",
                               "turn_1_prompt_level_strict_acc", 1, "turn_1_inst_level_strict_acc", 1,
                               "turn_1_prompt_level_loose_acc", 1, "turn_1_inst_level_loose_acc", 1,
                               "turn_2_prompt_level_strict_acc", 0, "turn_2_inst_level_strict_acc", 0, 1,
                               "turn_2_prompt_level_loose_acc", 0, "turn_2_inst_level_loose_acc", 0, 1);
    cr_expect(json_equal(s.metrics, scores), "%s", json_dumps(s.metrics, 0));
    cr_expect_eq(json_array_size(s.filtered), 2);
    json_decref(want);
    json_decref(scores);
    json_decref(s.metrics);
    json_decref(s.filtered);
    item_free(&item);
    t.suite->unload(data);
}

Test(eval_files, conversations_run_resume_and_score_again) {
    struct task_data *data;
    struct task t = open_conversations(&data);
    t.suite->unload(data);
    const char *words[] = {"-m",
                           "data/tiny",
                           "--tasks",
                           "multi_if",
                           "--data",
                           folder,
                           "-t",
                           "1",
                           "--gen_kwargs",
                           "max_gen_toks=3",
                           "--log_samples",
                           "--output_path",
                           in("run"),
                           "--apply_chat_template",
                           NULL};
    expect(cmd_eval, words, 1, "out", "turn_3_inst_level_loose_acc");
    const char *again[] = {in("run/tiny/samples_multi_if_en_2023-11-14T22-13-20.jsonl"), NULL};
    expect(cmd_score, again, 0, "out",
           "2 rows; different: 0 filtered_resps, 0 metrics; 1 rows have no answer");
    expect(cmd_eval, words, 1, "err", "3 of them done before");
    words[13] = NULL;
    expect(cmd_eval, words, 2, "err", "takes --apply_chat_template");
}

Test(eval_files, published_conversations_are_all_read) {
    const char *dir = getenv("LFM2_EVAL_DATA");
    struct task t;
    struct task_data *data;
    struct error e = {0};
    if (!dir || !*dir) cr_skip_test("LFM2_EVAL_DATA does not say where the data sets are");
    cr_assert(task_named("multi_if_en", &t));
    struct task_options o = {.num_fewshot = -1, .apply_chat_template = 1};
    cr_assert_eq(t.suite->load(&data, &t, dir, &o, &e), OK, "%s", e.text);
    cr_expect_eq(t.suite->count(data), 909);
    for (int i = 0; i < t.suite->count(data); i++) {
        struct item item = {0};
        cr_expect_eq(t.suite->build(data, i, &item, &e), OK, "%s", e.text);
        item_free(&item);
    }
    t.suite->unload(data);
}

/* ---- the list ---- */

Test(eval_files, every_benchmark_of_the_model_card_has_a_row_that_says_what_it_is) {
    static const char *const card[] = {
        "MMLU",     "MMLU-Pro", "GPQA",       "IFEval",         "IFBench",
        "Multi-IF", "GSM8K",    "GSMPlus",    "MATH 500",       "MATH Lvl 5",
        "MGSM",     "MMMLU",    "HumanEval+", "LCB v5, LCB v6", "Creative Writing v3"};
    for (size_t i = 0; i < sizeof card / sizeof *card; i++) {
        const struct suite *const *s = suites;
        while (*s && (!(*s)->card || strcmp((*s)->card, card[i]) != 0)) s++;
        cr_expect(*s && *(*s)->note && *(*s)->data, "%s", card[i]);
    }
}
