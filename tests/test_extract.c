/* SPDX-License-Identifier: Apache-2.0 */
/* test_extract: which number of an answer counts, where an answer has several: what lm-eval's expressions and
 * their group_select say, worked out by hand. Whole answers of lm-eval are in test_eval_tasks. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "eval/extract.h"
#include "eval/task.h"

static const struct {
    const char *task, *answer, *target;
    double strict, flexible; /* exact_match of each filter */
} cases[] = {
    {"gsm8k", "1 + 2 = 3\n#### 3\n#### 4", "so\n#### 3", 1, 0},
    {"gsm8k", "#### 4\n#### 3", "so\n#### 3", 0, 1},
    {"gsm8k", "It costs $1,234.", "so\n#### 1234", 0, 1},
    {"gsm8k", "#### -7", "so\n#### 7", 0, 0},
    {"gsm8k_cot", "The answer is 3. The answer is 4.", "3", 1, 0},
    {"gsm8k_cot", "The answer is -1,000.", "-1000", 1, 1},
    {"gsm8k_cot_llama", "The final answer is 3. No: the sum. The final answer is 12", "12", 1, 1},
    {"gsm8k_cot_llama", "The final answer is 12. No: the sum. The final answer is 3", "12", 0, 0},
    {"gsm8k_cot_llama", "The final answer is $12", "12", 1, 1},
};

static double exact_match_of(const struct score *s) {
    return json_number_value(json_object_get(s->metrics, "exact_match"));
}

Test(extract, takes_the_match_that_the_task_names) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        struct task t;
        struct score scores[TASK_MAX_FILTERS] = {0};
        struct response r = {.text = cases[i].answer, .n = strlen(cases[i].answer)};
        json_t *doc = json_object();
        cr_assert(task_named(cases[i].task, &t));
        cr_assert_eq(t.suite->score(&t, doc, cases[i].target, &r, 1, scores, &e), OK, "%s", e.text);
        cr_expect_eq(exact_match_of(&scores[0]), cases[i].strict, "%s: %s", cases[i].task, cases[i].answer);
        cr_expect_eq(exact_match_of(&scores[1]), cases[i].flexible, "%s, flexible: %s", cases[i].task,
                     cases[i].answer);
        for (int k = 0; k < task_filters(&t); k++)
            json_decref(scores[k].filtered), json_decref(scores[k].metrics);
        json_decref(doc);
    }
}

/* One letter many times, in the other case: where the next match begins is not looked for in the whole rest.
 * At every match that would take minutes here. */
Test(extract, counts_in_time_that_grows_as_the_text_does, .timeout = 60) {
    enum { N = 4000000 };
    char *text = malloc(N);
    memset(text, 'A', N);
    cr_expect_eq(pattern_count("a", PATTERN_IGNORECASE, (struct pystr){text, N}, NULL), N);
    free(text);
}

/* A single byte of a character: Python has no such expression, and a match that ends there leaves no place
 * for the next one to begin. */
Test(extract, single_bytes_cannot_be_matched) {
    struct error e = {0};
    cr_assert_null(pattern_open("a\\C", 0, &e));
    cr_assert_eq(e.code, ERR_FORMAT);
    cr_assert_eq(pattern_count("\\C", 0, (struct pystr){"\xc3\xa9", 2}, NULL), -1);
}

/* An expression of a data set that takes a million steps for each of its matches, and a text with thousands.
 */
Test(extract, a_documents_expressions_take_bounded_time, .timeout = 60) {
    struct buffer answer = {0};
    struct task t;
    struct score s = {0};
    struct error e = {0};
    for (int i = 0; i < 3000; i++) buffer_text(&answer, "xxxxxxxxxxxxxxxxxxxxa");
    struct response r = {.text = answer.data, .n = answer.n};
    json_t *doc = json_pack("{s:[s],s:[{s:s,s:i,s:s}]}", "instruction_id_list", "keywords:frequency",
                            "kwargs", "keyword", "(x+x+)+y|a", "frequency", 1, "relation", "less than");
    cr_assert(task_named("ifeval", &t));
    cr_assert_eq(t.suite->score(&t, doc, "", &r, 1, &s, &e), OK, "%s", e.text);
    cr_expect(json_is_false(json_object_get(s.metrics, "prompt_level_strict_acc")));
    json_decref(doc), json_decref(s.metrics), json_decref(s.filtered);
    buffer_free(&answer);
}
