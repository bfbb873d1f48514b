/* SPDX-License-Identifier: Apache-2.0 */
/* rescore: the rows of a samples file against the task's own scoring. */
#include "eval/rescore.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/lm.h"
#include "eval/sample.h"
#include "eval/samples_read.h"

struct rescoring {
    const char *path;
    const struct rescore_options *o;
    struct rescore *out;
    FILE *to;
    struct task task;
    struct task_data *data;
    struct lm *lm; /* renders chats; NULL: none */
    int shown;
};

static void differ(struct rescoring *r, int *counter, int number, const json_t *line, const char *what,
                   const json_t *found, const json_t *expected) {
    struct buffer is = {0}, was = {0};
    ++*counter;
    if (r->shown++ >= r->o->shown) return;
    if (found) py_dumps(found, 0, &is);
    if (expected) py_dumps(expected, 0, &was);
    fprintf(r->to, "%s: line %d, document %lld, %s: %s (found %.160s, expected %.160s)\n", r->path, number,
            (long long)json_integer_value(json_object_get(line, "doc_id")),
            json_string_value(json_object_get(line, "filter")), what, is.n ? is.data : "none",
            was.n ? was.data : "none");
    buffer_free(&is);
    buffer_free(&was);
}

/* A file's resps: requests x repeats x (text, or [log-likelihood, is greedy]). Borrowed texts. */
static struct response *responses_of(const struct task *t, const json_t *line, int *n) {
    const json_t *requests = json_object_get(line, "resps");
    size_t all = 0;
    for (size_t i = 0; i < json_array_size(requests); i++)
        all += json_array_size(json_array_get(requests, i));
    struct response *r = all ? calloc(all, sizeof *r) : NULL;
    *n = 0;
    for (size_t i = 0; r && i < json_array_size(requests); i++) {
        const json_t *repeats = json_array_get(requests, i);
        for (size_t k = 0; k < json_array_size(repeats); k++) {
            const json_t *one = json_array_get(repeats, k);
            struct response *to = &r[(*n)++];
            const char *number = json_string_value(json_array_get(one, 0));
            const char *greedy = json_string_value(json_array_get(one, 1));
            if (t->kind == ITEM_GENERATE) {
                to->text = json_is_string(one) ? json_string_value(one) : "";
                to->n = json_string_length(one);
            } else if (number && greedy) {
                to->loglikelihood = strtod(number, NULL);
                to->is_greedy = strcmp(greedy, "True") == 0;
            } else {
                free(r);
                return NULL;
            }
        }
    }
    return r;
}

static double number_of(const json_t *v) {
    return json_is_boolean(v) ? json_is_true(v) : json_is_number(v) ? json_number_value(v) : NAN;
}

/* Numbers as numbers: 1, 1.0 and true are the same score. */
static int same_value(const json_t *a, const json_t *b) {
    if (json_is_array(a) && json_is_array(b)) {
        int same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++)
            same = same_value(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!a || !b) return 0;
    double x = number_of(a), y = number_of(b);
    return isnan(x) || isnan(y) ? json_equal((json_t *)a, (json_t *)b) : x == y;
}

static void compare_metrics(struct rescoring *r, int number, const json_t *line, const struct score *s) {
    const char *key;
    json_t *value;
    int differs = 0;
    json_object_foreach(s->metrics, key, value) {
        const json_t *found = json_object_get(line, key);
        if (same_value(value, found)) continue;
        differ(r, &differs, number, line, key, found, value);
    }
    /* What the file has and we do not is a difference too. */
    const json_t *names = json_object_get(line, "metrics");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name || json_object_get(s->metrics, name)) continue;
        differ(r, &differs, number, line, name, json_object_get(line, name), NULL);
    }
    r->out->metrics += differs > 0;
}

static enum status compare_scores(struct rescoring *r, int number, const json_t *line, struct error *e) {
    const struct task *t = &r->task;
    const char *filter = json_string_value(json_object_get(line, "filter"));
    const char *target = json_string_value(json_object_get(line, "target"));
    int f = 0, n;
    while (f < task_filters(t) && (!filter || strcmp(t->filters[f], filter) != 0)) f++;
    if (f == task_filters(t))
        return fail(e, ERR_FORMAT, "%s: line %d: task %s has no filter '%s'", r->path, number, t->name,
                    filter ? filter : "");
    struct response *responses = responses_of(t, line, &n);
    struct score scores[TASK_MAX_FILTERS] = {0};
    struct error why = {0};
    if (!responses)
        return fail(e, ERR_FORMAT, "%s: line %d: resps is not what a %s task has", r->path, number,
                    t->kind == ITEM_CHOICES ? "multiple_choice" : "generate_until");
    if (!t->suite->score)
        fail(&why, ERR_UNSUPPORTED, "task %s is only exported, not scored", t->name);
    else
        t->suite->score(t, json_object_get(line, "doc"), target ? target : "", responses, n, scores, &why);
    enum status status =
        why.code == OK ? OK : fail(e, why.code, "%s: line %d: %s", r->path, number, why.text);
    if (status == OK) {
        json_t *ours = sample_filtered(t->kind, responses, n, &scores[f]);
        const json_t *found = json_object_get(line, "filtered_resps");
        if (!ours || !found || !json_equal(ours, (json_t *)found))
            differ(r, &r->out->filtered, number, line, "filtered_resps", found, ours);
        json_decref(ours);
        compare_metrics(r, number, line, &scores[f]);
    }
    for (int i = 0; i < TASK_MAX_FILTERS; i++)
        json_decref(scores[i].filtered), json_decref(scores[i].metrics);
    free(responses);
    return status;
}

static void compare_text(struct rescoring *r, int *counter, int number, const json_t *line, const char *key,
                         const char *expected) {
    const json_t *found = json_object_get(line, key);
    if (json_is_string(found) && strcmp(json_string_value(found), expected) == 0) return;
    json_t *ours = json_string(expected);
    differ(r, counter, number, line, key, found, ours);
    json_decref(ours);
}

/* Document, prompt and target built from the original files. */
static enum status compare_item(struct rescoring *r, int number, const json_t *line, struct error *e) {
    struct item item = {0};
    struct buffer prompt = {0};
    struct sample_hashes h;
    int doc = (int)json_integer_value(json_object_get(line, "doc_id"));
    if (doc < 0 || doc >= r->task.suite->count(r->data))
        return fail(e, ERR_FORMAT, "%s: line %d: document %d of %d", r->path, number, doc,
                    r->task.suite->count(r->data));
    enum status status = r->task.suite->build(r->data, doc, &item, e);
    int rendered = !item.messages || r->lm;
    if (status == OK && rendered) status = lm_prompt(r->lm, &item, &prompt, e);
    if (status == OK) status = sample_hash(&item, &prompt, &h, e);
    if (status == OK) {
        compare_text(r, &r->out->docs, number, line, "doc_hash", h.doc);
        compare_text(r, &r->out->targets, number, line, "target_hash", h.target);
        if (rendered)
            compare_text(r, &r->out->prompts, number, line, "prompt_hash", h.prompt);
        else
            r->out->unchecked++;
    }
    item_free(&item);
    buffer_free(&prompt);
    return status;
}

static enum status take_line(void *arg, const json_t *line, int number, struct error *e) {
    struct rescoring *r = arg;
    if (json_object_get(line, "failed")) {
        r->out->failed_rows++;
        return OK;
    }
    if (!json_is_object(json_object_get(line, "doc")))
        return fail(e, ERR_FORMAT, "%s: line %d: has no document; is this a samples file?", r->path, number);
    r->out->rows++;
    TRY(compare_scores(r, number, line, e));
    return r->data ? compare_item(r, number, line, e) : OK;
}

enum status rescore_file(const char *path, const struct rescore_options *o, struct rescore *out, FILE *to,
                         struct error *e) {
    struct rescoring r = {.path = path, .o = o, .out = out, .to = to};
    char name[128], date[64];
    *out = (struct rescore){0};
    if (o->task)
        snprintf(name, sizeof name, "%s", o->task);
    else if (!samples_task(path, name, date))
        return fail(e, ERR_ARG, "%s: not named samples_TASK_DATE.jsonl; --task NAME says which task it is",
                    path);
    if (!task_named(name, &r.task))
        return fail(e, ERR_ARG, "%s: unknown task '%s'; lfm2 eval --list shows all", path, name);
    struct lm_options lm = {
        .model = o->model, .engine = "reference", .chat_template = o->chat_template, .chat = 1};
    enum status status = OK;
    if (o->data) status = r.task.suite->load(&r.data, &r.task, o->data, &o->options, e);
    if (status == OK && o->data && o->model && o->options.apply_chat_template)
        status = lm_open(&r.lm, &lm, e);
    if (status == OK) status = samples_read(path, take_line, &r, e);
    if (r.data) r.task.suite->unload(r.data);
    lm_close(r.lm);
    if (r.shown > o->shown) fprintf(to, "%s: %d more differences\n", path, r.shown - o->shown);
    return status;
}
