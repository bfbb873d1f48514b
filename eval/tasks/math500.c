/* SPDX-License-Identifier: Apache-2.0 */
/* math500: competition mathematics; answers compared as texts, as lm-eval's hendrycks_math does. */
#include "eval/tasks/math_text.h"
#include "eval/tasks/shared.h"

#include <stdio.h>

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    return math_document(raw, fault);
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)t;
    (void)shots;
    static const char *const folders[] = {"hendrycks_math500", "math", NULL};
    static const char *const names[] = {"math500_test.jsonl", "math500_test.json", "test.jsonl", NULL};
    return qa_read(out, dir, folders, names, convert, NULL, e);
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_text(out, "Problem: ");
    pystr_put(out, doc_text(doc, "problem"));
    buffer_text(out, "\nAnswer:");
}

static enum status judge(const struct task *t, const json_t *doc, struct pystr answer, json_t *metrics,
                         struct error *e) {
    struct pystr gold;
    TRY(math_gold(t, doc, &gold, e));
    int equal = math_equal_text(math_between_dollars(answer), gold);
    json_object_set_new(metrics, "exact_match", json_integer(equal));
    return OK;
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .text = text,
    .target = math_document_target,
    .judge = judge,
    .gen_kwargs = "{\"until\": [\"Problem:\"], \"do_sample\": false, \"temperature\": 0.0}",
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "hendrycks_math500");
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
    out->metrics[0].name = "exact_match";
}

const struct suite suite_math500 = {
    .name = "hendrycks_math500",
    .card = "MATH 500",
    .state = STATE_EXACT,
    .note = "what stands between the first and the last '$' of an answer of at most 256 tokens is compared "
            "with the\n"
            "solution's \\boxed{} as text: a chat model that explains itself scores low.",
    .data = "math500_test.jsonl or test.jsonl: lines {\"problem\", \"solution\", \"answer\", ...}, as in\n"
            "huggingface.co/datasets/HuggingFaceH4/MATH-500; or one JSON array of them",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
