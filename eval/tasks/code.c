/* SPDX-License-Identifier: Apache-2.0 */
/* code: programs to be written. The answers are not run here: they are written as the lines that each
 * benchmark's own scorer reads. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The keys of the list that the row has, in this order; NULL and a fault when one that must be a text is
 * none. */
static json_t *keep(const json_t *raw, const char *const *texts, const char *const *others,
                    const char **fault) {
    json_t *doc = json_object();
    for (; *texts && !*fault; texts++) {
        json_t *value = json_object_get(raw, *texts);
        if (!json_is_string(value))
            *fault = "a text is missing that the benchmark's rows have";
        else
            json_object_set(doc, *texts, value);
    }
    for (; *others; others++)
        if (json_object_get(raw, *others)) json_object_set(doc, *others, json_object_get(raw, *others));
    if (*fault) json_decref(doc), doc = NULL;
    return doc;
}

static json_t *convert_humaneval(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const texts[] = {"task_id", "prompt", "canonical_solution", NULL};
    static const char *const others[] = {"test", "entry_point", NULL};
    return keep(raw, texts, others, fault);
}

static enum status read_humaneval(const struct task *t, const char *dir, int shots, struct rows *out,
                                  struct error *e) {
    (void)shots;
    int plus = strcmp(t->suite->name, "humaneval_plus") == 0;
    static const char *const folders[] = {"humaneval", "humaneval_plus", NULL};
    static const char *const base[] = {"HumanEval.jsonl", NULL}, *const more[] = {"HumanEvalPlus.jsonl",
                                                                                  NULL};
    return qa_read(out, dir, folders, plus ? more : base, convert_humaneval, NULL, e);
}

static void target_humaneval(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "test"));
    buffer_text(out, "\ncheck(");
    pystr_put(out, doc_text(doc, "entry_point"));
    buffer_text(out, ")");
}

static const struct qa humaneval = {
    .read = read_humaneval,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = prompt_text,
    .target = target_humaneval,
    .gen_kwargs =
        "{\"until\": [\"\\nclass\", \"\\ndef\", \"\\n#\", \"\\nif\", \"\\nprint\"], \"max_gen_toks\": 1024, "
        "\"do_sample\": false}",
};

/* {"task_id", "completion"} for human-eval, {"task_id", "solution"} for EvalPlus. */
static json_t *export_humaneval(const struct task *t, const json_t *doc, const struct response *r, int n) {
    (void)n;
    int plus = strcmp(t->suite->name, "humaneval_plus") == 0;
    struct buffer program = {0};
    if (plus) pystr_put(&program, doc_text(doc, "prompt"));
    buffer_add(&program, r[0].text, r[0].n);
    json_t *text = program.failed ? NULL : json_stringn(program.n ? program.data : "", program.n);
    buffer_free(&program);
    return json_pack("{s:O, s:o}", "task_id", json_object_get(doc, "task_id"),
                     plus ? "solution" : "completion", text);
}

/* LiveCodeBench: its runner's prompt for chat models. */
static json_t *convert_lcb(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const texts[] = {"question_title", "question_content", "platform", "question_id",
                                        NULL};
    static const char *const others[] = {"contest_id", "contest_date", "starter_code", "difficulty", NULL};
    return keep(raw, texts, others, fault);
}

/* release_v6 is the sum of six files; v5 of the first five. */
static enum status read_lcb(const struct task *t, const char *dir, int shots, struct rows *out,
                            struct error *e) {
    (void)shots;
    static const char *const folders[] = {"livecodebench", NULL};
    for (int i = 1; i <= t->variant; i++) {
        char name[32];
        snprintf(name, sizeof name, i == 1 ? "test.jsonl" : "test%d.jsonl", i);
        const char *const names[] = {name, NULL};
        TRY(qa_read(out, dir, folders, names, convert_lcb, NULL, e));
    }
    return OK;
}

static void text_lcb(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    struct pystr starter = doc_text(doc, "starter_code");
    buffer_text(out, "### Question:\n");
    pystr_put(out, doc_text(doc, "question_content"));
    buffer_text(out,
                starter.n
                    ? "\n\n### Format: You will use the following starter code to write the solution to the "
                      "problem and enclose your code within delimiters.\n```python\n"
                    : "\n\n### Format: Read the inputs from stdin solve the problem and write the answer to "
                      "stdout (do not directly test on the sample inputs). Enclose your code within "
                      "delimiters as follows.\n```python\n# YOUR CODE HERE");
    pystr_put(out, starter);
    buffer_text(out, "\n```\n\n### Answer: (use the provided format with backticks)\n\n");
}

static const struct qa lcb = {
    .description =
        "You are an expert Python programmer. You will be given a question (problem specification) and will "
        "generate a correct Python program that matches the specification and passes all tests. You will "
        "NOT return anything except for the program.",
    .read = read_lcb,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = text_lcb,
    .target = no_target,
    .gen_kwargs = "{\"until\": [\"###\"], \"max_gen_toks\": 2000, \"do_sample\": true, \"temperature\": 0.2, "
                  "\"top_p\": 0.95}",
};

/* The lines between the last two that have "```". */
static struct pystr last_block(struct pystr a) {
    struct pystr fence = pystr_of("```");
    size_t ends[2][2] = {{0}}, at = 0; /* begin and end of the last two lines with a fence */
    int n = 0;
    while (at < a.n) {
        struct pystr line = pystr_slice(pystr_from(a, at), 0, pystr_find(pystr_from(a, at), pystr_of("\n")));
        if (pystr_find(line, fence) < line.n) {
            memcpy(ends[0], ends[1], sizeof ends[0]);
            ends[1][0] = at;
            ends[1][1] = at + line.n + 1;
            n++;
        }
        at += line.n + 1;
    }
    if (n < 2 || ends[1][0] <= ends[0][1]) return pystr_of("");
    return pystr_slice(a, ends[0][1], ends[1][0] - ends[0][1] - 1);
}

static json_t *export_lcb(const struct task *t, const json_t *doc, const struct response *r, int n) {
    (void)t;
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        struct pystr code = last_block((struct pystr){r[i].text, r[i].n});
        if (json_array_append_new(list, json_stringn(code.s, code.n))) json_decref(list), list = NULL;
    }
    return json_pack("{s:O, s:o}", "question_id", json_object_get(doc, "question_id"), "code_list", list);
}

/* One array of all problems. */
static json_t *export_lcb_file(const json_t *answers, const char *model) {
    (void)model;
    return json_incref((json_t *)answers);
}

static enum status load(struct task_data **out, const struct task *t, const char *dir,
                        const struct task_options *o, struct error *e) {
    return qa_load(out, t, t->variant ? &lcb : &humaneval, dir, o, e);
}

static enum status build(struct task_data *d, int doc_id, struct item *out, struct error *e) {
    TRY(qa_build(d, doc_id, out, e));
    if (json_object_get(out->doc, "question_id")) out->repeats = 10;
    return OK;
}

static void task_base(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "humaneval");
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
}

static void task_plus(int index, struct task *out) {
    task_base(index, out);
    snprintf(out->name, sizeof out->name, "humaneval_plus");
}

static void task_lcb(int index, struct task *out) {
    task_base(index, out);
    out->variant = 5 + index;
    snprintf(out->name, sizeof out->name, "livecodebench_v%d", out->variant);
}

#define EXPORTED                                                                                             \
    .state = STATE_EXPORT, .load = load, .unload = qa_unload, .count = qa_count, .shots = qa_shots,          \
    .build = build

const struct suite suite_humaneval = {
    EXPORTED,
    .name = "humaneval",
    .note =
        "greedy, 1024 tokens; lines {\"task_id\", \"completion\"} for evaluate_functional_correctness of\n"
        "github.com/openai/human-eval.",
    .data = "HumanEval.jsonl, as in github.com/openai/human-eval",
    .n_tasks = 1,
    .task = task_base,
    .export_answer = export_humaneval,
};
const struct suite suite_humaneval_plus = {
    EXPORTED,
    .name = "humaneval_plus",
    .card = "HumanEval+",
    .note = "as humaneval; lines {\"task_id\", \"solution\"} for evalplus.evaluate.",
    .data = "HumanEvalPlus.jsonl in the folder humaneval, as in github.com/evalplus/humanevalplus_release",
    .n_tasks = 1,
    .task = task_plus,
    .export_answer = export_humaneval,
};
const struct suite suite_livecodebench = {
    EXPORTED,
    .name = "livecodebench",
    .card = "LCB v5, LCB v6",
    .note = "the runner's prompt for chat models (use --apply_chat_template), 10 answers per problem at "
            "temperature 0.2;\n"
            "one JSON array of {\"question_id\", \"code_list\"} for lcb_runner.runner.custom_evaluator.\n"
            "v5 and v6 are the releases that add up (880 and 1055 problems), not their newest slices.",
    .data = "test.jsonl, test2.jsonl to test6.jsonl, as in\n"
            "huggingface.co/datasets/livecodebench/code_generation_lite",
    .n_tasks = 2,
    .task = task_lcb,
    .export_answer = export_lcb,
    .export_file = export_lcb_file,
};
