/* SPDX-License-Identifier: Apache-2.0 */
/* creative: prompts for stories, which a judge model scores elsewhere. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

enum { ITERATIONS = 3 };

/* One object {"1": {"title", "writing_prompt" with <SEED>, "seed_modifiers"}, ...}: three documents of each.
 */
static enum status add_prompt(const char *path, const char *id, const json_t *one, struct rows *out,
                              struct error *e) {
    static const char *const keys[] = {"writing_prompt", NULL};
    const json_t *seeds = json_object_get(one, "seed_modifiers");
    int good = doc_has_texts(one, keys) && json_array_size(seeds) > 0;
    for (size_t i = 0; good && i < json_array_size(seeds); i++)
        good = json_is_string(json_array_get(seeds, i));
    for (size_t i = 0; i < ITERATIONS; i++) {
        json_t *doc = good ? json_pack("{s:s, s:i, s:O, s:O}", "prompt_id", id, "iteration", (int)i + 1,
                                       "seed_modifier", json_array_get(seeds, i % json_array_size(seeds)),
                                       "base_prompt", json_object_get(one, "writing_prompt"))
                           : NULL;
        TRY(rows_append(out, doc, path, out->n + 1, "expected \"writing_prompt\" and \"seed_modifiers\"", e));
    }
    return OK;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)t;
    (void)shots;
    static const char *const folders[] = {"creative_writing_v3", "creative-writing-v3", NULL};
    static const char *const names[] = {"creative_writing_prompts_v3.json", NULL};
    char *path = rows_find(dir, folders, names, e);
    if (!path) return ERR_IO;
    json_t *all, *one;
    enum status status = json_read(&all, path, 64 << 20, 0, e);
    const char *id;
    json_object_foreach(all, id, one) {
        if (status == OK) status = add_prompt(path, id, one, out, e);
    }
    if (status == OK && out->n == 0) status = fail(e, ERR_FORMAT, "%s: no prompts", path);
    json_decref(all);
    free(path);
    return status;
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_replace(out, doc_text(doc, "base_prompt"), "<SEED>",
                  json_string_value(json_object_get(doc, "seed_modifier")));
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = text,
    .target = no_target,
    .gen_kwargs =
        "{\"until\": [], \"max_gen_toks\": 4000, \"do_sample\": true, \"temperature\": 0.7, \"min_p\": 0.1}",
};

static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_LOAD(table)

/* One task of a run file, as after the benchmark's own generation: shorter stories count as failed there. */
enum { LEAST_CHARACTERS = 500 };

static json_t *export_answer(const struct task *t, const json_t *doc, const struct response *r, int n) {
    (void)t;
    (void)n;
    struct pystr story = pystr_strip((struct pystr){r[0].text, r[0].n});
    int failed = pystr_length(story) < LEAST_CHARACTERS;
    json_t *block = json_pack("{s:o, s:b}", "model_response", json_stringn(story.n ? story.s : "", story.n),
                              "generation_failed", failed);
    if (failed) json_object_set_new(block, "error_message", json_string("the text is too short"));
    const json_t *seed = json_object_get(doc, "seed_modifier");
    json_t *results = json_object();
    /* Steals the block, also when it is NULL, which fails. */
    if (json_object_set_new(results, json_string_value(seed), block)) json_decref(results), results = NULL;
    return json_pack("{s:O, s:O, s:[O], s:O, s:s, s:s, s:n, s:n, s:n, s:o}", "prompt_id",
                     json_object_get(doc, "prompt_id"), "base_prompt", json_object_get(doc, "base_prompt"),
                     "seed_modifiers", seed, "iteration_index", json_object_get(doc, "iteration"),
                     "judge_model", "anthropic/claude-3.7-sonnet", "status", "generated", "start_time",
                     "end_time", "error", "results_by_modifier", results);
}

/* What a key of the run file keeps of a model's name. */
static void run_key(const char *model, struct buffer *out) {
    buffer_text(out, "lfm2__");
    for (int gap = 0; *model; model++) {
        int kept = strchr("_-", *model) || (*model >= '0' && *model <= '9') ||
                   (*model >= 'a' && *model <= 'z') || (*model >= 'A' && *model <= 'Z');
        if (kept || !gap) buffer_add(out, kept ? model : "_", 1);
        gap = !kept;
    }
    buffer_add(out, "", 1);
}

/* {RUN: {"test_model", "creative_tasks": {ITERATION: {PROMPT: task}}}} */
static json_t *export_file(const json_t *answers, const char *model) {
    json_t *tasks = json_object(), *one;
    size_t i;
    json_array_foreach(answers, i, one) {
        char iteration[24];
        snprintf(iteration, sizeof iteration, "%lld",
                 (long long)json_integer_value(json_object_get(one, "iteration_index")));
        json_object_set_new(one, "test_model", json_string(model));
        if (!json_object_get(tasks, iteration)) json_object_set_new(tasks, iteration, json_object());
        json_object_set(json_object_get(tasks, iteration),
                        json_string_value(json_object_get(one, "prompt_id")), one);
    }
    struct buffer key = {0};
    run_key(model, &key);
    json_t *run =
        json_pack("{s:s, s:s, s:s, s:o, s:{}}", "test_model", model, "judge_model",
                  "anthropic/claude-3.7-sonnet", "status", "running", "creative_tasks", tasks, "results");
    json_t *all = key.data ? json_pack("{s:o}", key.data, run) : NULL;
    if (!key.data) json_decref(run);
    buffer_free(&key);
    return all;
}

static void task(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "creative_writing_v3");
    out->version = "3.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
}

const struct suite suite_creative = {
    .name = "creative_writing_v3",
    .card = "Creative Writing v3",
    .state = STATE_EXPORT,
    .note = "32 prompts with three seeds each, temperature 0.7, min-p 0.1, 4000 tokens. Written as the runs "
            "file that\n"
            "creative_writing_bench.py of github.com/EQ-bench/creative-writing-bench resumes with --run-id "
            "lfm2,\n"
            "--test-model as in the file and --iterations 3: its judge model scores the stories. Stories of "
            "fewer than\n"
            "500 characters, which it would have had written again, count as failed.",
    .data = "creative_writing_prompts_v3.json, as in github.com/EQ-bench/creative-writing-bench",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .export_answer = export_answer,
    .export_file = export_file,
};
