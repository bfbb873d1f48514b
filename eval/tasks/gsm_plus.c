/* SPDX-License-Identifier: Apache-2.0 */
/* gsm_plus: GSM8K's questions changed in eight ways. */
#include "eval/tasks/shared.h"

#include <stdio.h>

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const keys[] = {"question", "solution", NULL};
    if (doc_has_texts(raw, keys)) return json_incref((json_t *)raw);
    *fault = "expected the texts \"question\" and \"solution\"";
    return NULL;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)shots;
    static const char *const folders[] = {"gsm_plus", "gsm-plus", NULL};
    static const char *const test[] = {"gsmplus_test.jsonl", "test.jsonl", NULL};
    static const char *const mini[] = {"gsmplus_testmini.jsonl", "testmini.jsonl", NULL};
    return qa_read(out, dir, folders, t->variant ? mini : test, convert, NULL, e);
}

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "solution"));
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .removes_doc = 1,
    .text = gsm_text,
    .target = target,
    .filters = gsm_filters,
    .match = MATCH_GSM,
    .gen_kwargs =
        "{\"until\": [\"Question:\", \"</s>\", \"<|im_end|>\"], \"do_sample\": false, \"temperature\": 0.0}",
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    snprintf(out->name, sizeof out->name, "%s", index ? "gsm_plus_mini" : "gsm_plus");
    out->variant = index;
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->num_fewshot = 5;
    out->filters[0] = "strict-match";
    out->filters[1] = "flexible-extract";
    out->metrics[0].name = "exact_match";
}

const struct suite suite_gsm_plus = {
    .name = "gsm_plus",
    .card = "GSMPlus",
    .state = STATE_EXACT,
    .note = "examples come from the test set itself. Questions of the kind \"critical thinking\" have the "
            "answer None,\n"
            "a few others are fractions: no filter ever finds those, so 100 % cannot be reached (87.2 % of "
            "gsm_plus_mini).",
    .data = "gsmplus_test.jsonl (gsm_plus_mini: gsmplus_testmini.jsonl): lines {\"question\", \"solution\", "
            "\"answer\",\n"
            "\"perturbation_type\", ...} as in huggingface.co/datasets/qintongli/GSM-Plus",
    .n_tasks = 2,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
