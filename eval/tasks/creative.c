/* creative: prompts for stories, which a judge model scores elsewhere. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>

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
    struct buffer bytes = {0};
    json_error_t problem = {0};
    enum status status = buffer_read(&bytes, path, 64 << 20, e);
    json_t *all = status == OK ? json_loadb(bytes.data ? bytes.data : "", bytes.n, 0, &problem) : NULL, *one;
    buffer_free(&bytes);
    if (status == OK && !json_is_object(all))
        status = fail(e, ERR_FORMAT, "%s line %d: no JSON object: %s", path, problem.line, problem.text);
    const char *id;
    json_object_foreach(all, id, one) if (status == OK) status = add_prompt(path, id, one, out, e);
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

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    (void)doc;
    (void)out;
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = text,
    .target = target,
    .gen_kwargs =
        "{\"until\": [], \"max_gen_toks\": 4000, \"do_sample\": true, \"temperature\": 0.7, \"min_p\": 0.1}",
};

static enum status load(struct task_data **out, const struct task *t, const char *dir,
                        const struct task_options *o, struct error *e) {
    return qa_load(out, t, &qa, dir, o, e);
}

static enum status export_line(const struct task *t, const json_t *doc, const struct response *r, int n,
                               struct buffer *line, struct error *e) {
    if (n < 1) return fail(e, ERR_ARG, "%s: no answer to write", t->name);
    json_t *object = json_deep_copy(doc);
    json_t *answer = json_stringn(r[0].n ? r[0].text : "", r[0].n);
    char *dumped =
        answer && json_object_set_new(object, "model_response", answer) == 0 ? json_dumps(object, 0) : NULL;
    json_decref(object);
    if (!dumped) return fail(e, ERR_FORMAT, "%s: the answer is not UTF-8, or memory ran out", t->name);
    buffer_text(line, dumped);
    free(dumped);
    return buffer_check(line, e);
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
    .note = "32 prompts with three seeds each, temperature 0.7, min-p 0.1, 4000 tokens. Lines "
            "{\"prompt_id\", \"iteration\",\n"
            "\"seed_modifier\", \"base_prompt\", \"model_response\"}, named as in the run files of\n"
            "github.com/EQ-bench/creative-writing-bench, whose judge model scores them.",
    .data = "creative_writing_prompts_v3.json, as in github.com/EQ-bench/creative-writing-bench",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .export_line = export_line,
};
