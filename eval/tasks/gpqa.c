/* SPDX-License-Identifier: Apache-2.0 */
/* gpqa: graduate-level questions. In which order lm-eval shows the four choices depends on the state of a
 * random generator that everything before has used, so documents are taken as a run of lm-eval logged them.
 */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ZEROSHOT, N_SHOT, GENERATIVE, COT_ZEROSHOT, COT_N_SHOT, WAYS, SETS = 3 };
static const char *const sets[SETS] = {"main", "extended", "diamond"};
static const char *const ways[WAYS] = {"zeroshot", "n_shot", "generative_n_shot", "cot_zeroshot",
                                       "cot_n_shot"};
static const char *const letters[] = {"(A)", "(B)", "(C)", "(D)", NULL};

static int way_of(const struct task *t) {
    return t->variant / SETS;
}

static int gold(const json_t *doc) {
    for (int i = 0; i < 4; i++)
        if (pystr_is(doc_text(doc, "answer"), letters[i])) return i;
    return -1;
}

/* A document, or the line of a samples file that has it under "doc". */
static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const keys[] = {"Question", "choice1", "choice2", "choice3", "choice4", NULL};
    const json_t *inner = json_object_get(raw, "doc");
    const json_t *doc = inner ? inner : raw;
    if (!doc_has_texts(doc, keys) || gold(doc) < 0) {
        *fault = "expected the texts Question, choice1 to choice4, and the answer \"(A)\" to \"(D)\"";
        return NULL;
    }
    json_t *out = json_copy((json_t *)doc);
    if (!json_object_get(out, "choices"))
        json_object_set_new(out, "choices",
                            json_pack("[O, O, O, O]", json_object_get(doc, keys[1]),
                                      json_object_get(doc, keys[2]), json_object_get(doc, keys[3]),
                                      json_object_get(doc, keys[4])));
    return out;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)shots;
    static const char *const folders[] = {"gpqa", NULL};
    char own[96], any[64];
    snprintf(own, sizeof own, "samples_%s.jsonl", t->name);
    snprintf(any, sizeof any, "gpqa_%s_frozen.jsonl", sets[t->variant % SETS]);
    const char *const names[] = {own, any, NULL};
    size_t first = out->n;
    TRY(qa_read(out, dir, folders, names, convert, NULL, e));
    /* A samples file has a document once per filter. */
    size_t kept = first;
    for (size_t i = first; i < out->n; i++) {
        int again = out->row[i].value && kept > first && out->row[kept - 1].value &&
                    json_equal(out->row[i].value, out->row[kept - 1].value);
        if (again)
            json_decref(out->row[i].value);
        else
            out->row[kept++] = out->row[i];
    }
    out->n = kept;
    return OK;
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    int way = way_of(t), alone = way == ZEROSHOT || way == COT_ZEROSHOT;
    buffer_text(out, alone ? "What is the correct answer to this question:" : "Question: ");
    pystr_put(out, doc_text(doc, "Question"));
    buffer_text(out, "\nChoices:");
    for (int i = 0; i < 4; i++) {
        char key[] = "choice1";
        key[6] = (char)('1' + i);
        buffer_format(out, "\n%s ", letters[i]);
        pystr_put(out, doc_text(doc, key));
    }
    buffer_text(out, way == COT_ZEROSHOT || way == COT_N_SHOT ? "\nLet's think step by step: " : "\nAnswer:");
}

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "answer"));
}

static const struct filter filters[] = {
    {"strict-match", {{STEP_REGEX, "(?<=The answer is )(.*)(?=.)", 0}}},
    {"flexible-extract", {{STEP_MULTI_CHOICE, "(\\([A-Z]\\))", -1}}},
};

static const char examples[] =
    "Here are some example questions from experts. Answer the final question yourself, "
    "following the format of the previous questions exactly.\n";
#define GPQA      .read = read_rows, .shared_pool = 1, .removes_doc = 1, .text = text, .target = target
#define GENERATED .filters = filters, .match = {.ignore_case = 1, .ignore_punctuation = 1}
static const struct qa tables[WAYS] = {
    [ZEROSHOT] = {GPQA, .fixed_shots = 1, .choices = letters, .gold = gold},
    [N_SHOT] = {GPQA, .description = examples, .choices = letters, .gold = gold},
    [GENERATIVE] = {GPQA, GENERATED, .description = examples,
                    .gen_kwargs =
                        "{\"until\": [\"</s>\", \"Question:\", \"<|im_end|>\"], \"temperature\": 0.0}"},
    [COT_ZEROSHOT] = {GPQA, GENERATED, .fixed_shots = 1,
                      .gen_kwargs = "{\"until\": [\"</s>\"], \"do_sample\": false, \"temperature\": 0.0}"},
    [COT_N_SHOT] = {GPQA, GENERATED, .description = examples,
                    .gen_kwargs = "{\"until\": [\"</s>\"], \"do_sample\": false, \"temperature\": 0.0}"},
};
static const struct qa *table(const struct task *t) {
    return &tables[way_of(t)];
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    out->variant = index;
    int way = way_of(out), by_likelihood = way == ZEROSHOT || way == N_SHOT;
    snprintf(out->name, sizeof out->name, "gpqa_%s_%s", sets[index % SETS], ways[way]);
    out->version = "2.2";
    out->kind = by_likelihood ? ITEM_CHOICES : ITEM_GENERATE;
    out->filters[0] = by_likelihood ? "none" : "strict-match";
    out->filters[1] = by_likelihood ? NULL : "flexible-extract";
    out->metrics[0].name = by_likelihood ? "acc" : "exact_match";
    if (by_likelihood) out->metrics[1].name = "acc_norm";
}

const struct suite suite_gpqa = {
    .name = "gpqa",
    .card = "GPQA",
    .state = STATE_EXACT,
    .note = "exact on frozen documents; from the published CSV lm-eval itself shuffles the choices "
            "differently from run\n"
            "to run. Examples of the n_shot tasks are drawn from the same frozen documents.",
    .data = "samples_gpqa_diamond_zeroshot.jsonl and so on, written by lm-eval --log_samples, or\n"
            "gpqa_diamond_frozen.jsonl: lines {\"Question\", \"choice1\" to \"choice4\", \"answer\": "
            "\"(A)\", ...}. The\n"
            "questions are at huggingface.co/datasets/Idavidrein/gpqa, on request",
    .n_tasks = WAYS * SETS,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
