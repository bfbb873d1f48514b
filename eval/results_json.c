/* SPDX-License-Identifier: Apache-2.0 */
/* results_json: the members of lm-eval's results file, and its table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/sha256.h"
#include "eval/pyjson.h"
#include "eval/results.h"

static json_t *number_or_none(double x) {
    return isnan(x) ? json_string("N/A") : json_real(x);
}

static void set_pair(json_t *o, const char *metric, const char *filter, json_t *value, json_t *error) {
    char key[128];
    snprintf(key, sizeof key, "%s,%s", metric, filter);
    json_object_set_new(o, key, value);
    snprintf(key, sizeof key, "%s_stderr,%s", metric, filter);
    json_object_set_new(o, key, error);
}

static const struct values *values_of(const struct results *r, int task, int filter, int metric) {
    const struct task *t = &r->run->tasks[task].task;
    return &r->tasks[task].values[filter * task_metrics(t) + metric];
}

static json_t *task_scores(const struct results *r, int i) {
    const struct task *t = &r->run->tasks[i].task;
    json_t *o = json_pack("{s:s,s:s,s:i}", "name", t->name, "alias", *t->alias ? t->alias : t->name,
                          "sample_len", r->tasks[i].n_scored);
    for (int f = 0; f < task_filters(t); f++)
        for (int m = 0; m < task_metrics(t); m++) {
            const struct values *v = values_of(r, i, f, m);
            int flat = t->metrics[m].aggregation == AGGREGATE_FLAT;
            if (v->n == 0) continue;
            set_pair(o, t->metrics[m].name, t->filters[f], json_real(values_mean(v)),
                     number_or_none(flat ? NAN : values_stderr(v)));
        }
    if (r->tasks[i].n_failed) json_object_set_new(o, "failed", json_integer(r->tasks[i].n_failed));
    if (r->tasks[i].n_truncated) json_object_set_new(o, "truncated", json_integer(r->tasks[i].n_truncated));
    return o;
}

/* 95 % intervals of the means: {task: {"acc,none": [lo, hi]}}. Seeded, so that a report can be drawn again.
 */
static void set_interval(json_t *to, const char *metric, const char *filter, const struct values *const *v,
                         int n) {
    char key[128];
    struct interval i = values_interval(v, n, 1);
    snprintf(key, sizeof key, "%s,%s", metric, filter);
    if (!isnan(i.lo)) json_object_set_new(to, key, json_pack("[f,f]", i.lo, i.hi));
}

static json_t *task_intervals(const struct results *r, int i) {
    const struct task *t = &r->run->tasks[i].task;
    json_t *o = json_object();
    for (int f = 0; f < task_filters(t); f++)
        for (int m = 0; m < task_metrics(t); m++) {
            const struct values *v = values_of(r, i, f, m);
            if (v->n > 1 && t->metrics[m].aggregation == AGGREGATE_MEAN)
                set_interval(o, t->metrics[m].name, t->filters[f], &v, 1);
        }
    return o;
}

/* ---- groups: those of which all tasks are in the run ---- */

static int in_run(const struct run *r, const char *name) {
    for (int i = 0; i < r->n_tasks; i++)
        if (strcmp(r->tasks[i].task.name, name) == 0) return 1;
    return 0;
}

static int whole(const struct run *r, const struct suite *s, const struct task_group *g) {
    int n = 0;
    for (int i = 0; i < s->n_tasks; i++) {
        struct task t;
        suite_task(s, i, &t);
        if (!task_within(&t, g->name)) continue;
        if (!in_run(r, t.name)) return 0;
        n++;
    }
    return n > 0;
}

struct members {
    double *means, *errors;
    size_t *sizes;
    const struct values **values;
    int n;
};

static void collect(const struct results *r, const struct task_group *g, const struct suite *s,
                    const char *metric, const char *filter, struct members *out) {
    out->n = 0;
    for (int i = 0; i < r->run->n_tasks; i++) {
        const struct task *t = &r->run->tasks[i].task;
        if (t->suite != s || !task_within(t, g->name)) continue;
        for (int f = 0; f < task_filters(t); f++)
            for (int m = 0; m < task_metrics(t); m++) {
                const struct values *v = values_of(r, i, f, m);
                if (strcmp(t->filters[f], filter) != 0 || strcmp(t->metrics[m].name, metric) != 0 ||
                    v->n == 0)
                    continue;
                out->means[out->n] = values_mean(v);
                out->errors[out->n] = values_stderr(v);
                out->sizes[out->n] = (size_t)r->tasks[i].n_scored;
                out->values[out->n++] = v;
            }
    }
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All filters of the group's tasks, in order of their names. */
static int filters_of(const struct run *r, const struct task_group *g, const struct suite *s,
                      const char *out[16]) {
    int n = 0;
    for (int i = 0; i < r->n_tasks; i++) {
        const struct task *t = &r->tasks[i].task;
        if (t->suite != s || !task_within(t, g->name)) continue;
        for (int f = 0; f < task_filters(t) && n < 16; f++) {
            int known = 0;
            for (int k = 0; k < n; k++) known |= strcmp(out[k], t->filters[f]) == 0;
            if (!known) out[n++] = t->filters[f];
        }
    }
    qsort(out, (size_t)n, sizeof *out, compare_names);
    return n;
}

static json_t *group_scores(const struct results *r, const struct suite *s, const struct task_group *g,
                            struct members *m, json_t *intervals) {
    const char *filters[16];
    int n = filters_of(r->run, g, s, filters), sample_len = 0;
    json_t *o = json_pack("{s:s,s:s}", "alias", g->alias ? g->alias : g->name, "name", g->name);
    json_t *counts = json_object(), *spans = json_object();
    if (!g->metrics[0]) {
        json_decref(counts);
        json_decref(spans);
        return o;
    }
    for (int i = 0; i < r->run->n_tasks; i++)
        if (r->run->tasks[i].task.suite == s && task_within(&r->run->tasks[i].task, g->name))
            sample_len += r->tasks[i].n_scored;
    json_object_set_new(o, "sample_len", json_integer(sample_len));
    for (int k = 0; k < TASK_MAX_METRICS && g->metrics[k]; k++)
        for (int f = 0; f < n; f++) {
            char key[128];
            collect(r, g, s, g->metrics[k], filters[f], m);
            if (m->n == 0) continue;
            struct group_score score = group_of(m->means, m->errors, m->sizes, m->n, g->macro);
            set_pair(o, g->metrics[k], filters[f], json_real(score.mean), number_or_none(score.error));
            if (!g->macro) set_interval(spans, g->metrics[k], filters[f], m->values, m->n);
            snprintf(key, sizeof key, "%s,%s", g->metrics[k], filters[f]);
            json_object_set_new(counts, key, json_integer((json_int_t)score.n));
        }
    json_object_set_new(o, "sample_count", counts);
    json_object_set_new(intervals, g->name, spans);
    return o;
}

static json_t *children(const struct run *r, const struct suite *s, const struct task_group *g) {
    json_t *list = json_array();
    for (const struct task_group *c = s->groups; c && c->name; c++)
        if (c->parent && strcmp(c->parent, g->name) == 0) json_array_append_new(list, json_string(c->name));
    for (int i = 0; i < r->n_tasks; i++)
        if (r->tasks[i].task.suite == s && strcmp(r->tasks[i].task.group, g->name) == 0)
            json_array_append_new(list, json_string(r->tasks[i].task.name));
    return list;
}

/* Children before parents, as lm-eval adds them. */
static void add_groups(const struct results *r, const struct suite *s, const char *parent, struct members *m,
                       json_t *json) {
    for (const struct task_group *g = s->groups; g && g->name; g++) {
        if (g->parent ? !parent || strcmp(g->parent, parent) != 0 : parent != NULL) continue;
        add_groups(r, s, g->name, m, json);
        if (!whole(r->run, s, g)) continue;
        json_t *scores = group_scores(r, s, g, m, json_object_get(json, "intervals"));
        json_object_set(json_object_get(json, "results"), g->name, scores);
        if (g->metrics[0]) json_object_set(json_object_get(json, "groups"), g->name, scores);
        json_decref(scores);
        json_object_set_new(json_object_get(json, "group_subtasks"), g->name, children(r->run, s, g));
        json_object_set_new(json_object_get(json, "versions"), g->name,
                            json_string(g->version ? g->version : "N/A"));
    }
}

/* ---- the rest ---- */

static json_t *version_json(const char *version) {
    json_t *v = json_loads(version, JSON_DECODE_ANY, NULL);
    return v ? v : json_string(version);
}

static json_t *task_config(const struct run *r, const struct run_task *run_task) {
    const struct task *t = &run_task->task;
    json_t *metrics = json_array();
    for (int m = 0; m < task_metrics(t); m++)
        json_array_append_new(metrics, json_pack("{s:s,s:b}", "metric", t->metrics[m].name,
                                                 "higher_is_better", !t->metrics[m].lower_is_better));
    return json_pack("{s:s,s:s,s:i,s:o,s:s,s:o}", "task", t->name, "output_type",
                     t->kind == ITEM_CHOICES ? "multiple_choice" : "generate_until", "num_fewshot",
                     t->suite->shots(run_task->data), "metric_list", metrics, "protocol",
                     r->options.task.protocol == PROTOCOL_CARD ? "card" : "lm-eval", "metadata",
                     json_pack("{s:o}", "version", version_json(t->version)));
}

static void add_tasks(const struct results *r, json_t *json) {
    const struct run *run = r->run;
    for (int i = 0; i < run->n_tasks; i++) {
        const struct task *t = &run->tasks[i].task;
        json_t *better = json_object();
        for (int m = 0; m < task_metrics(t); m++)
            json_object_set_new(better, t->metrics[m].name, json_boolean(!t->metrics[m].lower_is_better));
        json_object_set_new(json_object_get(json, "results"), t->name, task_scores(r, i));
        json_object_set_new(json_object_get(json, "intervals"), t->name, task_intervals(r, i));
        json_object_set_new(json_object_get(json, "configs"), t->name, task_config(run, &run->tasks[i]));
        json_object_set_new(json_object_get(json, "versions"), t->name, version_json(t->version));
        json_object_set_new(json_object_get(json, "n-shot"), t->name,
                            json_integer(t->suite->shots(run->tasks[i].data)));
        json_object_set_new(json_object_get(json, "higher_is_better"), t->name, better);
        json_object_set_new(
            json_object_get(json, "n-samples"), t->name,
            json_pack("{s:i,s:i}", "original", run->tasks[i].original, "effective", r->tasks[i].n_scored));
        json_object_set_new(json_object_get(json, "task_hashes"), t->name, json_string(r->tasks[i].hash));
    }
}

static json_t *token_json(const struct tokenizer *t, int32_t id) {
    struct buffer text = {0};
    char number[16];
    snprintf(number, sizeof number, "%d", (int)id);
    if (id < 0 || tokenizer_decode(t, &id, 1, TOKENS_SPECIAL, &text, NULL) != OK) {
        buffer_free(&text);
        return json_pack("[n,s]", "None");
    }
    json_t *o = json_pack("[o,s]", py_text(text.data ? text.data : "", text.n), number);
    buffer_free(&text);
    return o;
}

static void add_config(const struct results *r, json_t *json) {
    const struct run *run = r->run;
    const struct run_options *o = &run->options;
    const json_t *header = json_object_get(run->header, "run"), *info = json_object_get(run->header, "info");
    const json_t *model = json_object_get(header, "model");
    char sha[SHA256_HEX] = "";
    struct buffer args = {0};
    buffer_format(&args, "pretrained=%s,engine=%s%s%s%s,max_length=%d", json_string_value(model),
                  o->lm.engine, o->lm.isa ? " " : "", o->lm.isa ? o->lm.isa : "",
                  o->lm.kv_type == KV_Q8 ? " kv-q8_0" : "", run->lm->max_length);
    json_object_set_new(
        json, "config",
        json_pack("{s:s,s:s,s:O,s:O,s:O,s:o,s:O?,s:O,s:O}", "model", "lfm2", "model_args",
                  args.data ? args.data : "", "model_sha", json_object_get(header, "model_sha256"),
                  "model_bytes", json_object_get(header, "model_bytes"), "batch_size",
                  json_object_get(info, "batch_size"), "limit", o->limit ? json_real(o->limit) : json_null(),
                  "gen_kwargs", o->gen_kwargs, "random_seed", json_object_get(header, "seed"), "fewshot_seed",
                  json_object_get(header, "fewshot_seed")));
    buffer_free(&args);
    json_object_set(json, "date", json_object_get((json_t *)info, "date"));
    const struct tokenizer *t = run->lm->tokenizer;
    json_object_set_new(json, "tokenizer_pad_token", token_json(t, tokenizer_pad(t)));
    json_object_set_new(json, "tokenizer_eos_token", token_json(t, tokenizer_eos(t)));
    json_object_set_new(json, "tokenizer_bos_token", token_json(t, tokenizer_bos(t)));
    json_object_set_new(json, "eot_token_id", json_integer(tokenizer_eos(t)));
    json_object_set_new(json, "max_length", json_integer(run->lm->max_length));
    json_object_set_new(json, "model_source", json_string("lfm2"));
    json_object_set(json, "model_name", (json_t *)model);
    const char *system = o->task.system_instruction;
    if (system) sha256_hex(system, strlen(system), sha);
    json_object_set_new(json, "system_instruction", system ? json_string(system) : json_null());
    json_object_set_new(json, "system_instruction_sha", system ? json_string(sha) : json_null());
    json_object_set_new(json, "fewshot_as_multiturn", json_boolean(o->task.fewshot_as_multiturn));
    const char *source = o->task.apply_chat_template ? tokenizer_chat_template(t) : NULL;
    if (source) sha256_hex(source, strlen(source), sha);
    json_object_set_new(json, "chat_template", source ? json_string(source) : json_null());
    json_object_set_new(json, "chat_template_sha", source ? json_string(sha) : json_null());
}

enum status results_json(struct results *r, struct error *e) {
    static const char *const members[] = {"results",  "groups", "group_subtasks",   "configs",
                                          "versions", "n-shot", "higher_is_better", "n-samples"};
    int n = r->run->n_tasks;
    struct members m = {calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(double)),
                        calloc((size_t)n, sizeof(size_t)), calloc((size_t)n, sizeof(struct values *)), 0};
    r->json = json_object();
    if (m.means && m.errors && m.sizes && m.values && r->json) {
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            json_object_set_new(r->json, members[i], json_object());
        json_object_set_new(r->json, "intervals", json_object());
        json_object_set_new(r->json, "task_hashes", json_object());
        add_tasks(r, r->json);
        for (const struct suite *const *s = suites; *s; s++) add_groups(r, *s, NULL, &m, r->json);
        if (json_object_size(json_object_get(r->json, "groups")) == 0) json_object_del(r->json, "groups");
        add_config(r, r->json);
    }
    int ok = m.means && m.errors && m.sizes && m.values && r->json;
    free(m.means);
    free(m.errors);
    free(m.sizes);
    free(m.values);
    return ok ? OK : fail(e, ERR_MEMORY, "out of memory");
}

/* ---- the table ---- */

static void print_row(const struct results *r, const char *name, const json_t *scores, FILE *to) {
    const char *key, *alias = json_string_value(json_object_get(scores, "alias"));
    json_t *value;
    int first = 1;
    const json_t *shots = json_object_get(json_object_get(r->json, "n-shot"), name);
    json_object_foreach((json_t *)scores, key, value) {
        const char *comma = strchr(key, ',');
        char error_key[160], shot_text[16] = "";
        int n = comma ? (int)(comma - key) : 0;
        if (!comma || !json_is_real(value) || (n > 7 && strncmp(comma - 7, "_stderr", 7) == 0)) continue;
        snprintf(error_key, sizeof error_key, "%.*s_stderr%s", n, key, comma);
        const json_t *error = json_object_get(scores, error_key);
        const json_t *span =
            json_object_get(json_object_get(json_object_get(r->json, "intervals"), name), key);
        if (shots) snprintf(shot_text, sizeof shot_text, "%d", (int)json_integer_value(shots));
        char error_text[32] = "N/A", span_text[64] = "";
        if (json_is_real(error)) snprintf(error_text, sizeof error_text, "%.4f", json_real_value(error));
        if (span)
            snprintf(span_text, sizeof span_text, "%.4f to %.4f", json_real_value(json_array_get(span, 0)),
                     json_real_value(json_array_get(span, 1)));
        fprintf(to, "|%-36s|%-18s|%6s|%-12.*s|%6.4f|± %6s|%16s|\n", first ? alias : "", comma + 1, shot_text,
                n, key, json_real_value(value), error_text, span_text);
        first = 0;
    }
}

void results_print(const struct results *r, FILE *to) {
    const char *name;
    json_t *scores;
    int failed = 0, truncated = 0;
    fprintf(to, "|%-36s|%-18s|%6s|%-12s|%6s|%8s|%16s|\n", "Tasks", "Filter", "n-shot", "Metric", "Value",
            "Stderr", "95 % interval");
    fprintf(to,
            "|------------------------------------|------------------|-----:|------------|-----:|-------:|"
            "---------------:|\n");
    json_object_foreach(json_object_get(r->json, "results"), name, scores) {
        print_row(r, name, scores, to);
    }
    for (int i = 0; i < r->run->n_tasks; i++) {
        failed += r->tasks[i].n_failed;
        truncated += r->tasks[i].n_truncated;
    }
    if (failed)
        fprintf(to, "%d of %d items failed and are in no score; the journal and the samples say why.\n",
                failed, r->run->n_items);
    if (truncated)
        fprintf(to, "%d prompts were longer than the context and lost their beginning; -c N takes more.\n",
                truncated);
}
