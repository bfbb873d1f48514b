/* SPDX-License-Identifier: Apache-2.0 */
/* ifeval: does an answer follow instructions that a program can check? */
#include "eval/tasks/ifeval_checks.h"
#include "eval/tasks/shared.h"

#include <stdio.h>

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const keys[] = {"prompt", NULL};
    const json_t *ids = json_object_get(raw, "instruction_id_list"), *kwargs = json_object_get(raw, "kwargs");
    *fault = doc_has_texts(raw, keys) ? ifeval_list_fault(ids, kwargs) : "expected the text \"prompt\"";
    return *fault ? NULL : json_incref((json_t *)raw);
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)t;
    (void)shots;
    static const char *const folders[] = {"ifeval", NULL};
    static const char *const names[] = {"input_data.jsonl", "ifeval_input_data.jsonl", "train.jsonl", NULL};
    return qa_read(out, dir, folders, names, convert, NULL, e);
}

static enum status judge(const struct task *t, const json_t *doc, struct pystr answer, json_t *metrics,
                         struct error *e) {
    static const char *const names[] = {"prompt_level_strict_acc", "inst_level_strict_acc",
                                        "prompt_level_loose_acc", "inst_level_loose_acc"};
    (void)t;
    return ifeval_verdicts(doc, answer, names, metrics, e);
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = prompt_text,
    .target = zero_target,
    .judge = judge,
    .gen_kwargs = "{\"until\": [], \"do_sample\": false, \"temperature\": 0.0, \"max_gen_toks\": 1280}",
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "ifeval");
    out->version = "4.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
    out->metrics[0].name = "prompt_level_strict_acc";
    out->metrics[1] = (struct metric){.name = "inst_level_strict_acc", .aggregation = AGGREGATE_FLAT};
    out->metrics[2].name = "prompt_level_loose_acc";
    out->metrics[3] = (struct metric){.name = "inst_level_loose_acc", .aggregation = AGGREGATE_FLAT};
}

const struct suite suite_ifeval = {
    .name = "ifeval",
    .card = "IFEval",
    .state = STATE_NEAR,
    .note = "22 of the 25 kinds of instruction are exact. Near: number_sentences (52 of the 834 "
            "instructions; NLTK's\n"
            "sentence model is not here), response_language (31), english_capital and english_lowercase (64; "
            "letters\n"
            "and frequent words instead of langdetect, which lm-eval runs without a seed). Prompts 1122 and "
            "1129 ask for\n"
            "a letter that is none, where lm-eval draws one at random. Publishers quote the mean of the four "
            "scores.",
    .data = "input_data.jsonl: lines {\"key\", \"prompt\", \"instruction_id_list\", \"kwargs\"}, as in\n"
            "github.com/google-research/google-research/instruction_following_eval or\n"
            "huggingface.co/datasets/google/IFEval",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
