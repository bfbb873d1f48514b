/* SPDX-License-Identifier: Apache-2.0 */
/* record: scores are taken from the results' JSON, so that a record says what the files say. */
#include "eval/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "data/cpus.h"

#define COPY(to, from) snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, (from))

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static double number_of(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static struct eval_run_row run_row(const struct results *r, const struct model_row *model, const char *tasks,
                                   double seconds) {
    const struct run *run = r->run;
    const struct lm *lm = run->lm;
    const json_t *header = json_object_get(run->header, "run");
    struct eval_run_row row = {
        .num_fewshot = run->options.task.num_fewshot,
        .limit = run->options.limit,
        .chat = run->options.task.apply_chat_template,
        .context = lm->max_length,
        .batch = lm->n_slots,
        .threads = run->options.lm.threads ? run->options.lm.threads : usable_cpus(),
        .processes = run->share->size,
        .prefix = !run->options.lm.no_prefix,
        .items = run->n_items,
        .n_before = run->n_before,
        .load_seconds = 1e-9 * (double)lm->load_ns,
    };
    COPY(row.model, model->name);
    COPY(row.recipe, model->recipe);
    const struct lm_options *o = &run->options.lm;
    snprintf(row.engine, sizeof row.engine, "%s%s%s%s", o->engine, o->isa ? " " : "", o->isa ? o->isa : "",
             o->kv_type == KV_Q8 ? " kv-q8_0" : "");
    COPY(row.weights, text_of(header, "model_sample"));
    COPY(row.protocol, text_of(header, "protocol"));
    COPY(row.tasks, tasks);
    row.seconds = seconds - row.load_seconds;
    int fresh = run->n_items - run->n_before;
    if (fresh > 0 && row.seconds > 0) row.items_s = fresh / row.seconds;
    /* Other processes keep their counts to themselves. */
    if (run->share->size == 1) row.fed = lm->fed, row.reused = lm->reused;
    lm_describe(lm, row.kernels, sizeof row.kernels);
    return row;
}

/* What a task or a group is of, and how many documents failed or were cut. */
static void place(const struct results *r, const char *name, struct eval_row *row) {
    const char *group;
    json_t *members, *member;
    size_t at;
    for (int i = 0; i < r->run->n_tasks; i++) {
        const struct task *t = &r->run->tasks[i].task;
        if (strcmp(t->name, name) != 0 && !task_within(t, name)) continue;
        COPY(row->suite, t->suite->name);
        row->n_failed += r->tasks[i].n_failed;
        row->n_truncated += r->tasks[i].n_truncated;
        row->num_fewshot = t->suite->shots(r->run->tasks[i].data);
        if (!*row->version) COPY(row->version, t->version);
    }
    json_object_foreach(json_object_get(r->json, "group_subtasks"), group, members) {
        json_array_foreach(members, at, member) {
            if (strcmp(json_string_value(member), name) == 0) COPY(row->parent, group);
        }
    }
}

static enum status add_scores(struct rows *out, const struct results *r, const struct eval_run_row *run,
                              const char *name, const json_t *scores, struct error *e) {
    const json_t *spans = json_object_get(json_object_get(r->json, "intervals"), name);
    struct eval_row of_all = {.chat = run->chat,
                              .limit = run->limit,
                              .n = json_integer_value(json_object_get(scores, "sample_len"))};
    const char *key;
    json_t *value;
    COPY(of_all.model, run->model);
    COPY(of_all.recipe, run->recipe);
    COPY(of_all.engine, run->engine);
    COPY(of_all.protocol, run->protocol);
    COPY(of_all.task, name);
    place(r, name, &of_all);
    json_object_foreach((json_t *)scores, key, value) {
        const char *comma = strchr(key, ',');
        size_t n = comma ? (size_t)(comma - key) : 0;
        char error_key[160];
        if (!comma || !json_is_real(value) || (n > 7 && strncmp(comma - 7, "_stderr", 7) == 0)) continue;
        struct eval_row row = of_all;
        snprintf(error_key, sizeof error_key, "%.*s_stderr%s", (int)n, key, comma);
        snprintf(row.metric, sizeof row.metric, "%.*s", (int)(n < sizeof row.metric ? n : 0), key);
        COPY(row.filter, comma + 1);
        const json_t *span = json_object_get(spans, key);
        row.value = json_real_value(value);
        row.error = number_of(json_object_get(scores, error_key));
        row.lo = number_of(json_array_get(span, 0));
        row.hi = number_of(json_array_get(span, 1));
        if (rows_add(out, &eval_table, &row)) return fail(e, ERR_MEMORY, "out of memory");
    }
    return OK;
}

enum status record_evaluation(const char *path, const struct results *r, const char *tasks, double seconds,
                              struct error *e) {
    struct model_row model = model_row(r->run->lm->model);
    struct eval_run_row run = run_row(r, &model, tasks, seconds);
    struct rows scores = {0};
    const char *name;
    json_t *object;
    enum status status = OK;
    json_object_foreach(json_object_get(r->json, "results"), name, object) if (status == OK) status =
        add_scores(&scores, r, &run, name, object, e);
    struct record *record = status == OK ? record_new("eval") : NULL;
    if (status == OK && !record) status = fail(e, ERR_MEMORY, "out of memory");
    if (status == OK) {
        machine_attributes(record, (int)run.threads);
        record_rows(record, &models_table, &model, 1);
        record_rows(record, &eval_run_table, &run, 1);
        record_rows(record, &eval_table, scores.data, scores.n);
        status = records_append(path, record, NULL, e);
    }
    record_free(record);
    free(scores.data);
    return status;
}

enum status record_comparison(const char *path, const struct rows *pairs, struct error *e) {
    struct record *record = record_new("compare");
    if (!record) return fail(e, ERR_MEMORY, "out of memory");
    machine_attributes(record, 0);
    record_rows(record, &eval_pairs_table, pairs->data, pairs->n);
    enum status status = records_append(path, record, NULL, e);
    record_free(record);
    return status;
}
