/* SPDX-License-Identifier: Apache-2.0 */
/* mmlu_pro: harder questions with up to ten choices, answered after thinking. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <string.h>

static const char *const categories[] = {
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history",
    "law",     "math",     "other",     "philosophy",       "physics",   "psychology"};
enum { CATEGORIES = sizeof categories / sizeof *categories };

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    static const char *const keys[] = {"question", "answer", "category", NULL};
    const json_t *options = json_object_get(raw, "options");
    int good = doc_has_texts(raw, keys) && json_array_size(options) > 0;
    for (size_t i = 0; good && i < json_array_size(options); i++)
        good = json_is_string(json_array_get(options, i));
    if (!good) {
        *fault = "expected the texts \"question\", \"answer\", \"category\" and the list \"options\"";
        return NULL;
    }
    return pystr_is(doc_text(raw, "category"), arg) ? json_incref((json_t *)raw) : NULL;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    static const char *const folders[] = {"mmlu_pro", "mmlu-pro", NULL};
    static const char *const test[] = {"mmlu_pro_test.jsonl", "test.jsonl", NULL};
    static const char *const validation[] = {"mmlu_pro_validation.jsonl", "validation.jsonl", NULL};
    TRY(qa_read(out, dir, folders, shots ? validation : test, convert, (void *)categories[t->variant], e));
    for (size_t i = 0; shots && i < out->n; i++)
        if (out->row[i].value && !json_is_string(json_object_get(out->row[i].value, "cot_content")))
            return fail(e, ERR_FORMAT, "mmlu_pro: an example of %s has no \"cot_content\"",
                        categories[t->variant]);
    return OK;
}

static void describe(const struct task *t, struct buffer *out) {
    buffer_format(
        out,
        "The following are multiple choice questions (with answers) about %s. Think step by step and then "
        "finish your answer with \"the answer is (X)\" where X is the correct letter choice.\n",
        categories[t->variant]);
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_text(out, "Question:\n");
    pystr_put(out, doc_text(doc, "question"));
    buffer_text(out, "\nOptions:\n");
    const json_t *options = json_object_get(doc, "options");
    for (size_t i = 0; i < json_array_size(options) && i < 10; i++) {
        const json_t *option = json_array_get(options, i);
        buffer_format(out, "%c. ", (char)('A' + i));
        pystr_put(out, pystr_strip((struct pystr){json_string_value(option), json_string_length(option)}));
        buffer_text(out, "\n");
    }
    buffer_text(out, "Answer: Let's think step by step.");
}

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "answer"));
}

static void worked_answer(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_replace(out, doc_text(doc, "cot_content"), "A: Let's think step by step. ", "");
}

static const struct filter filters[] = {
    {"custom-extract", {{STEP_REGEX, "answer is \\(?([ABCDEFGHIJ])\\)?", 0}}}};

static const struct qa qa = {
    .describe = describe,
    .read = read_rows,
    .sampler = SAMPLER_FIRST_N,
    .card_shots = 5,
    .text = text,
    .target = target,
    .answer = worked_answer,
    .filters = filters,
    .match = {.ignore_case = 1, .ignore_punctuation = 1},
    .gen_kwargs =
        "{\"until\": [\"Question:\"], \"max_gen_toks\": 2048, \"do_sample\": false, \"temperature\": 0.0}",
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    snprintf(out->name, sizeof out->name, "mmlu_pro_%s", categories[index]);
    for (char *c = out->name; *c; c++) *c = *c == ' ' ? '_' : *c;
    snprintf(out->alias, sizeof out->alias, "%s", out->name + strlen("mmlu_pro_"));
    snprintf(out->group, sizeof out->group, "mmlu_pro");
    out->variant = index;
    out->version = "3.1";
    out->kind = ITEM_GENERATE;
    out->num_fewshot = 5;
    out->filters[0] = "custom-extract";
    out->metrics[0].name = "exact_match";
}

static const struct task_group groups[] = {{.name = "mmlu_pro", .version = "2.0", .metrics = {"exact_match"}},
                                           {0}};

const struct suite suite_mmlu_pro = {
    .name = "mmlu_pro",
    .card = "MMLU-Pro",
    .state = STATE_EXACT,
    .note = "the first \"answer is X\" counts. The authors' own script has three ways to find an answer and "
            "guesses\n"
            "where all fail: its scores are higher.",
    .data = "mmlu_pro_test.jsonl or test.jsonl, and for the 5 examples validation.jsonl (else --num_fewshot "
            "0): lines\n"
            "{\"question\", \"options\", \"answer\", \"category\", \"cot_content\", ...}, as in\n"
            "huggingface.co/datasets/TIGER-Lab/MMLU-Pro",
    .n_tasks = CATEGORIES,
    .task = task,
    .groups = groups,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
