/* SPDX-License-Identifier: Apache-2.0 */
/* ifbench: instructions of kinds that are rarely trained for. Its 58 checkers are not here: answers are
 * written for the benchmark's own. */
#include "eval/tasks/shared.h"

#include <stdio.h>

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const keys[] = {"prompt", NULL};
    if (doc_has_texts(raw, keys)) return json_incref((json_t *)raw);
    *fault = "expected the text \"prompt\"";
    return NULL;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)t;
    (void)shots;
    static const char *const folders[] = {"ifbench", NULL}, *const names[] = {"IFBench_test.jsonl", NULL};
    return qa_read(out, dir, folders, names, convert, NULL, e);
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = prompt_text,
    .target = no_target,
    .gen_kwargs = "{\"until\": [], \"do_sample\": false, \"temperature\": 0.0, \"max_gen_toks\": 4096}",
};

static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_LOAD(table)

static json_t *export_answer(const struct task *t, const json_t *doc, const struct response *r, int n) {
    (void)t;
    (void)n;
    return json_pack("{s:O, s:o}", "prompt", json_object_get(doc, "prompt"), "response", answer_text(r));
}

static void task(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "ifbench");
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
}

const struct suite suite_ifbench = {
    .name = "ifbench",
    .card = "IFBench",
    .state = STATE_EXPORT,
    .note = "greedy; lines {\"prompt\", \"response\"} for run_eval of github.com/allenai/IFBench, whose "
            "checkers need\n"
            "NLTK's models and dictionaries. The paper's number is its prompt-level loose accuracy.",
    .data = "IFBench_test.jsonl: lines {\"key\", \"prompt\", \"instruction_id_list\", \"kwargs\"}, as in\n"
            "github.com/allenai/IFBench",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .export_answer = export_answer,
};
