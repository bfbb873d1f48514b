/* SPDX-License-Identifier: Apache-2.0 */
/* test_eval_ifeval: verdicts of IFEval's checkers against lm-eval's own (oracle/make_ifeval_golden.py), on
 * documents written for this and, where LFM2_EVAL_DATA says they lie, on the first 120 published ones. Kinds
 * of instruction that are exact must agree on every answer; language detection is only near: it must agree on
 * most. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/rows.h"
#include "eval/pystr.h"
#include "eval/task.h"

#define FOLDER "tests/fixtures/lmeval"

struct tally {
    long exact, near, near_equal;
};

/* 0: not compared, 1: near, 2: exact. */
static int kind_of(const char *id, const json_t *kwargs) {
    const char *letter = json_string_value(json_object_get(kwargs, "letter"));
    if (letter && ((letter[0] | 32) < 'a' || (letter[0] | 32) > 'z'))
        return 0; /* lm-eval draws another one */
    if (strcmp(id, "length_constraints:number_sentences") == 0)
        return 0; /* NLTK's model is not in the oracle */
    return strcmp(id, "language:response_language") == 0 || strstr(id, "change_case:english_") == id ? 1 : 2;
}

/* {K}: all texts among the arguments, in the order of their names. */
static void fill_in(const char *pattern, size_t n, const json_t *doc, struct buffer *out) {
    struct buffer words = {0};
    size_t i, k;
    json_t *kwargs, *word;
    json_array_foreach(json_object_get(doc, "kwargs"), i, kwargs) {
        const char *names[32];
        int count = 0;
        const char *key;
        json_t *value;
        json_object_foreach(kwargs, key, value) names[count++] = key;
        for (int a = 1; a < count; a++)
            for (int b = a; b > 0 && strcmp(names[b - 1], names[b]) > 0; b--) {
                const char *swap = names[b];
                names[b] = names[b - 1];
                names[b - 1] = swap;
            }
        for (int a = 0; a < count; a++) {
            value = json_object_get(kwargs, names[a]);
            if (json_is_string(value))
                buffer_format(&words, "%s%s", words.n ? " " : "", json_string_value(value));
            json_array_foreach(value, k, word)
                buffer_format(&words, "%s%s", words.n ? " " : "", json_string_value(word));
        }
    }
    pystr_replace(out, (struct pystr){pattern, n}, "{K}", words.data ? words.data : "");
    buffer_free(&words);
}

static void compare(const struct task *t, const struct item *item, const json_t *line, const json_t *answers,
                    struct tally *tally) {
    const json_t *verdicts = json_object_get(line, "verdicts"),
                 *ids = json_object_get(item->doc, "instruction_id_list");
    for (size_t a = 0; a < json_array_size(answers); a++) {
        const json_t *pattern = json_array_get(answers, a);
        struct buffer answer = {0};
        fill_in(json_string_value(pattern), json_string_length(pattern), item->doc, &answer);
        struct response r = {.text = answer.data ? answer.data : "", .n = answer.n};
        struct score scored[TASK_MAX_FILTERS] = {0};
        struct error e = {0};
        cr_assert_eq(t->suite->score(t, item->doc, item->target, &r, 1, scored, &e), OK, "%s", e.text);
        for (size_t i = 0; i < json_array_size(ids); i++) {
            const char *id = json_string_value(json_array_get(ids, i));
            const char *want = json_string_value(json_array_get(verdicts, i)) + 2 * a;
            int strict =
                json_is_true(json_array_get(json_object_get(scored[0].metrics, "inst_level_strict_acc"), i));
            int loose =
                json_is_true(json_array_get(json_object_get(scored[0].metrics, "inst_level_loose_acc"), i));
            int same = strict == want[0] - '0' && loose == want[1] - '0',
                kind = kind_of(id, json_array_get(json_object_get(item->doc, "kwargs"), i));
            cr_assert(kind < 2 || same, "%s, answer %zu \"%s\": strict %d loose %d, lm-eval has %.2s", id, a,
                      answer.data ? answer.data : "", strict, loose, want);
            tally->exact += kind == 2;
            tally->near += kind == 1;
            tally->near_equal += kind == 1 && same;
        }
        json_decref(scored[0].metrics);
        buffer_free(&answer);
    }
}

static void check_all(const char *file, const char *dir) {
    struct rows lines = {0};
    struct error e = {0};
    struct tally tally = {0};
    json_t *all = json_load_file(FOLDER "/answers.json", JSON_ALLOW_NUL, NULL),
           *answers = json_object_get(all, "ifeval");
    cr_assert(json_array_size(answers) > 0, "answers.json cannot be read");
    cr_assert_eq(rows_read(&lines, file, &e), OK, "%s", e.text);
    struct task t;
    cr_assert(task_named("ifeval", &t));
    struct task_options o = {.num_fewshot = -1};
    struct task_data *d;
    cr_assert_eq(t.suite->load(&d, &t, dir, &o, &e), OK, "%s", e.text);
    cr_assert_geq(t.suite->count(d), (int)lines.n);
    for (size_t i = 0; i < lines.n; i++) {
        struct item item = {0};
        cr_assert_eq(t.suite->build(d, (int)i, &item, &e), OK, "%s", e.text);
        compare(&t, &item, lines.row[i].value, answers, &tally);
        item_free(&item);
    }
    cr_log_info("%s: %ld exact verdicts equal; near ones: %ld of %ld equal", file, tally.exact,
                tally.near_equal, tally.near);
    cr_assert_gt(tally.exact, 0);
    cr_assert_geq(tally.near_equal * 10, tally.near * 7);
    t.suite->unload(d);
    rows_free(&lines);
    json_decref(all);
}

Test(eval_ifeval, own_documents) {
    check_all(FOLDER "/ifeval_own.jsonl", FOLDER "/own");
}

Test(eval_ifeval, published_documents, .timeout = 120) {
    const char *dir = getenv("LFM2_EVAL_DATA");
    if (!dir || !*dir) cr_skip_test("LFM2_EVAL_DATA does not say where the data sets are");
    check_all(FOLDER "/ifeval_real.jsonl", dir);
}
