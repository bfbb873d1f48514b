/* SPDX-License-Identifier: Apache-2.0 */
/* Every task's original files, damaged: a row that is cut, incomplete, of wrong types or wrongly encoded
 * fails alone, by file and line; a file without rows gets one line; a question of 10 MB is a question. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/pystr.h"
#include "eval/task.h"
#include "tests/folder.h"

TestSuite(eval_damage, .init = folder_begin, .fini = folder_end, .timeout = 120);

enum form { LINES, CSV, TSV };

/* A task, its file, what stands before the rows, and a good row with {Q} for the question. */
static const struct {
    const char *task, *file, *header, *row;
    enum form form;
} kinds[] = {
    {"gsm8k", "test.jsonl", "", "{\"question\": \"{Q}\", \"answer\": \"#### 2\"}\n", LINES},
    {"gsm8k_cot", "test.jsonl", "", "{\"question\": \"{Q}\", \"answer\": \"#### 2\"}\n", LINES},
    {"gsm8k_cot_zeroshot", "test.jsonl", "", "{\"question\": \"{Q}\", \"answer\": \"#### 2\"}\n", LINES},
    {"gsm8k_cot_llama", "test.jsonl", "", "{\"question\": \"{Q}\", \"answer\": \"#### 2\"}\n", LINES},
    {"gsm_plus", "gsmplus_test.jsonl", "",
     "{\"question\": \"{Q}\", \"solution\": \"#### 2\", \"answer\": \"2\"}\n", LINES},
    {"hendrycks_math500", "math500_test.jsonl", "",
     "{\"problem\": \"{Q}\", \"solution\": \"\\\\boxed{1}\"}\n", LINES},
    {"math_hard", "math_test.jsonl", "",
     "{\"problem\": \"{Q}\", \"solution\": \"\\\\boxed{1}\", \"level\": \"Level 5\"}\n", LINES},
    {"mmlu_anatomy", "test/anatomy_test.csv", "", "{Q},a,b,c,d,A\n", CSV},
    {"mmlu_anatomy_generative", "test/anatomy_test.csv", "question,choice0,choice1,choice2,choice3,answer\n",
     "{Q},a,b,c,d,3\n", CSV},
    {"mmlu_pro_law", "test.jsonl", "",
     "{\"question_id\": 1, \"question\": \"{Q}\", \"options\": [\"a\", \"b\"], \"answer\": \"A\", "
     "\"answer_index\": 0, "
     "\"cot_content\": \"\", \"category\": \"law\", \"src\": \"x\"}\n",
     LINES},
    {"mmmlu_de_de_anatomy", "mmlu_DE-DE.csv", ",Question,A,B,C,D,Answer,Subject\n",
     "0,{Q},a,b,c,d,A,anatomy\n", CSV},
    {"mmmlu_de_de_anatomy", "mmlu_DE-DE.jsonl", "",
     "{\"Question\": \"{Q}\", \"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\", \"Answer\": \"A\", "
     "\"Subject\": \"anatomy\"}\n",
     LINES},
    {"mgsm_direct_de", "mgsm_de.tsv", "", "{Q}\t12\n", TSV},
    {"mgsm_native_cot_de", "mgsm_de.tsv", "", "{Q}\t12\n", TSV},
    {"mgsm_en_cot_de", "mgsm_de.tsv", "", "{Q}\t12\n", TSV},
    {"gpqa_diamond_zeroshot", "gpqa_diamond_frozen.jsonl", "",
     "{\"Question\": \"{Q}\", \"choice1\": \"a\", \"choice2\": \"b\", \"choice3\": \"c\", \"choice4\": "
     "\"d\", "
     "\"choices\": [\"a\", \"b\", \"c\", \"d\"], \"answer\": \"(A)\"}\n",
     LINES},
    {"ifeval", "input_data.jsonl", "",
     "{\"prompt\": \"{Q}\", \"instruction_id_list\": [\"punctuation:no_comma\"], \"kwargs\": [{}]}\n", LINES},
    {"ifbench", "IFBench_test.jsonl", "", "{\"prompt\": \"{Q}\"}\n", LINES},
    {"humaneval", "HumanEval.jsonl", "",
     "{\"task_id\": \"t\", \"prompt\": \"{Q}\", \"canonical_solution\": \"\"}\n", LINES},
    {"humaneval_plus", "HumanEvalPlus.jsonl", "",
     "{\"task_id\": \"t\", \"prompt\": \"{Q}\", \"canonical_solution\": \"\"}\n", LINES},
    {"multi_if_en", "multiIF_20241018.csv",
     "turn_1_prompt,turn_1_instruction_id_list,turn_1_kwargs,turn_2_prompt,turn_2_instruction_id_list,"
     "turn_2_kwargs,turn_3_prompt,turn_3_instruction_id_list,turn_3_kwargs,key,language\n",
     "\"{\"\"content\"\": "
     "\"\"{Q}\"\"}\",\"[\"\"punctuation:no_comma\"\"]\",\"[\"\"{}\"\"]\",None,,,None,,,k,English\n",
     CSV},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const damaged[3][6] = {
    [LINES] =
        {"{\"question\": \"How\n", "{}\n", "[]\n", "7\n",
         "{\"question\": 7, \"answer\": 7, \"problem\": 7, \"prompt\": 7, \"Question\": 7, \"task_id\": 7}\n",
         "\xff\xfe{\n"},
    [CSV] = {"one,two\n", ",\n", "\xff\xfe,b,c,d,e\n", "a,b,c,d,e,f,g,h,i,j,k,l,m\n", "\"never closed,a\n",
             NULL},
    [TSV] = {"no tab\n", "a\tb\tc\n", "\xff\xfe\t1\n", "a\t\n", "a\tmany\n", NULL},
};

static void write_rows(int k, const struct buffer *rows) {
    cr_assert(write_file(in(kinds[k].file), rows->data ? rows->data : "", rows->n));
}

/* The folder that MMLU's files lie in. */
static void make_folders(void) {
    char line[128];
    snprintf(line, sizeof line, "mkdir -p %s/test", folder);
    cr_assert_eq(system(line), 0);
}

static void add_good(int k, const char *question, struct buffer *rows) {
    pystr_replace(rows, pystr_of(kinds[k].row), "{Q}", question);
}

static enum status load(int k, struct task *t, struct task_data **data, struct error *e) {
    cr_assert(task_named(kinds[k].task, t), "%s", kinds[k].task);
    /* Multi-IF asks in a chat only. */
    struct task_options o = {.num_fewshot = strcmp(t->suite->name, "multi_if") ? 0 : -1,
                             .apply_chat_template = strcmp(t->suite->name, "multi_if") == 0,
                             .fewshot_seed = 1234};
    *e = (struct error){0};
    return t->suite->load(data, t, folder, &o, e);
}

/* One sentence that names the file. */
static void expect_told(int k, const struct error *e, const char *what) {
    const char *name = strrchr(kinds[k].file, '/');
    cr_expect(strstr(e->text, name ? name + 1 : kinds[k].file), "%s, %s: %s", kinds[k].task, what, e->text);
    cr_expect_null(strchr(e->text, '\n'), "%s, %s: %s", kinds[k].task, what, e->text);
}

static void expect_fails_alone(int k, const char *bad) {
    struct buffer rows = {0};
    struct task t;
    struct task_data *data;
    struct error e;
    struct item item = {0};
    char line[32];
    buffer_text(&rows, kinds[k].header);
    add_good(k, "good", &rows);
    buffer_text(&rows, bad);
    write_rows(k, &rows);
    buffer_free(&rows);
    cr_assert_eq(load(k, &t, &data, &e), OK, "%s, %s: %s", kinds[k].task, bad, e.text);
    cr_assert_eq(t.suite->count(data), 2, "%s: %d rows, after %s", kinds[k].task, t.suite->count(data), bad);
    cr_expect_eq(t.suite->build(data, 0, &item, &e), OK, "%s, before %s: %s", kinds[k].task, bad, e.text);
    item_free(&item);
    item = (struct item){0};
    cr_expect_eq(t.suite->build(data, 1, &item, &e), ERR_FORMAT, "%s takes %s", kinds[k].task, bad);
    expect_told(k, &e, bad);
    snprintf(line, sizeof line, " line %d: ", 2 + (kinds[k].header[0] != 0));
    cr_expect(strstr(e.text, line), "%s, %s: %s", kinds[k].task, bad, e.text);
    item_free(&item);
    t.suite->unload(data);
    remove(in(kinds[k].file));
}

Test(eval_damage, damaged_rows_of_every_task_fail_alone_by_file_and_line) {
    make_folders();
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < 6 && damaged[kinds[k].form][i]; i++)
            expect_fails_alone(k, damaged[kinds[k].form][i]);
}

/* Nothing, white space, UTF-16, half a gzip header, only a header line. */
Test(eval_damage, files_without_a_row_of_every_task_get_one_line) {
    static const struct {
        const char *bytes;
        size_t n;
    } useless[] = {{"", 0}, {"\n \n", 3}, {"\x1f\x8b\x08", 3}};
    make_folders();
    for (int k = 0; k < KINDS; k++)
        for (size_t i = 0; i < 3; i++) {
            struct task t;
            struct task_data *data;
            struct error e;
            cr_assert(write_file(in(kinds[k].file), useless[i].bytes, useless[i].n));
            cr_expect_neq(load(k, &t, &data, &e), OK, "%s takes file %zu", kinds[k].task, i);
            cr_expect_null(data);
            expect_told(k, &e, "useless file");
            remove(in(kinds[k].file));
            cr_expect_neq(load(k, &t, &data, &e), OK, "%s takes no file", kinds[k].task);
            expect_told(k, &e, "no file");
        }
}

Test(eval_damage, utf16_is_no_row_of_any_task) {
    static const char bytes[] = "\xff\xfe{\0\"\0q\0\"\0:\0 \0"
                                "1\0}\0\n\0";
    make_folders();
    for (int k = 0; k < KINDS; k++) {
        struct task t;
        struct task_data *data;
        struct error e;
        cr_assert(write_file(in(kinds[k].file), bytes, sizeof bytes - 1));
        int n = load(k, &t, &data, &e) == OK ? t.suite->count(data) : 0;
        if (!data) expect_told(k, &e, "UTF-16");
        for (int i = 0; i < n; i++) {
            struct item item = {0};
            cr_expect_eq(t.suite->build(data, i, &item, &e), ERR_FORMAT, "%s takes UTF-16", kinds[k].task);
            expect_told(k, &e, "UTF-16");
            item_free(&item);
        }
        if (data) t.suite->unload(data);
        remove(in(kinds[k].file));
    }
}

Test(eval_damage, a_question_of_ten_megabytes_is_asked_by_every_task) {
    struct buffer question = {0};
    make_folders();
    while (question.n < 10u << 20) buffer_text(&question, "How many are 2? ");
    for (int k = 0; k < KINDS; k++) {
        struct buffer rows = {0};
        struct task t;
        struct task_data *data;
        struct error e;
        struct item item = {0};
        buffer_text(&rows, kinds[k].header);
        add_good(k, question.data, &rows);
        write_rows(k, &rows);
        buffer_free(&rows);
        cr_assert_eq(load(k, &t, &data, &e), OK, "%s: %s", kinds[k].task, e.text);
        cr_assert_eq(t.suite->build(data, 0, &item, &e), OK, "%s: %s", kinds[k].task, e.text);
        size_t n = item.context.n;
        if (item.messages)
            n = json_string_length(json_object_get(json_array_get(item.messages, 0), "content"));
        /* Python's strip takes the last space. */
        cr_expect_geq(n, question.n - 1, "%s: %zu bytes", kinds[k].task, n);
        item_free(&item);
        t.suite->unload(data);
        remove(in(kinds[k].file));
    }
    buffer_free(&question);
}

/* One object or one list per file: there are no lines to blame, so each part is named. */
Test(eval_damage, damaged_prompts_for_stories_fail_alone) {
    static const char file[] = "creative_writing_prompts_v3.json";
    static const char mixed[] = "{\"1\": {\"writing_prompt\": \"a <SEED>\", \"seed_modifiers\": [\"b\"]}, "
                                "\"2\": {\"writing_prompt\": 7, \"seed_modifiers\": [\"b\"]}}";
    static const char *const useless[] = {"", "[]", "{}", "{\"1\":", "\xff\xfe"};
    struct task t;
    struct task_data *data;
    struct error e = {0};
    struct item item = {0};
    struct task_options o = {.num_fewshot = -1};
    cr_assert(task_named("creative_writing_v3", &t));
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        cr_assert(write_file(in(file), useless[i], strlen(useless[i])));
        cr_expect_neq(t.suite->load(&data, &t, folder, &o, &e), OK, "%s", useless[i]);
        cr_expect(strstr(e.text, file), "%s", e.text);
    }
    cr_assert(write_file(in(file), mixed, sizeof mixed - 1));
    cr_assert_eq(t.suite->load(&data, &t, folder, &o, &e), OK, "%s", e.text);
    cr_assert_eq(t.suite->count(data), 6);
    cr_expect_eq(t.suite->build(data, 0, &item, &e), OK, "%s", e.text);
    item_free(&item);
    cr_expect_eq(t.suite->build(data, 3, &item, &e), ERR_FORMAT);
    cr_expect(strstr(e.text, file), "%s", e.text);
    item_free(&item);
    t.suite->unload(data);
}
