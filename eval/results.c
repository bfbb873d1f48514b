/* SPDX-License-Identifier: Apache-2.0 */
/* results: scoring all answers, and the samples files. */
#include "eval/results.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/sha256.h"
#include "data/unfinished.h"
#include "eval/sample.h"

/* What one task's scoring carries around. */
struct scoring {
    struct run *run;
    struct run_task *task;
    struct task_result *result;
    FILE *samples;    /* NULL: none are logged */
    json_t *exported; /* an array of answers for the benchmark's own scorer; NULL: none */
    struct sha256_ctx hashes;
};

static void free_scores(struct score *scores) {
    for (int i = 0; i < TASK_MAX_FILTERS; i++) {
        json_decref(scores[i].filtered);
        json_decref(scores[i].metrics);
        scores[i] = (struct score){0};
    }
}

static int add_value(struct values *v, const json_t *value) {
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            if (!add_value(v, json_array_get(value, i))) return 0;
        return 1;
    }
    if (json_is_boolean(value)) return values_add(v, json_is_true(value));
    return !json_is_number(value) || values_add(v, json_number_value(value));
}

static enum status add_scores(struct scoring *s, int filter, const struct score *score, struct error *e) {
    int n = task_metrics(&s->task->task);
    for (int m = 0; m < n; m++) {
        const json_t *value = json_object_get(score->metrics, s->task->task.metrics[m].name);
        if (value && !add_value(&s->result->values[filter * n + m], value))
            return fail(e, ERR_MEMORY, "out of memory");
    }
    return OK;
}

static enum status log_line(struct scoring *s, int doc, int filter, const struct item *item,
                            const struct buffer *prompt, const struct response *r, int n,
                            const struct score *score, struct error *e) {
    struct sample_hashes h;
    json_t *line;
    struct buffer text = {0};
    TRY(sample_hash(item, prompt, &h, e));
    TRY(sample_line(doc, item, prompt, r, n, s->task->task.filters[filter], score, &h, &line, e));
    py_dumps(line, 0, &text);
    json_decref(line);
    buffer_add(&text, "\n", 1);
    sha256_update(&s->hashes, 64, (const uint8_t *)h.doc);
    sha256_update(&s->hashes, 64, (const uint8_t *)h.prompt);
    sha256_update(&s->hashes, 64, (const uint8_t *)h.target);
    enum status status = buffer_check(&text, e);
    if (status == OK && fwrite(text.data, 1, text.n, s->samples) != text.n)
        status = fail(e, ERR_IO, "samples: cannot write: %s", strerror(errno));
    buffer_free(&text);
    return status;
}

static enum status same_prompt(const struct scoring *s, int doc, const struct buffer *prompt,
                               struct error *e) {
    const char *was = json_string_value(json_object_get(s->task->answers[doc], "prompt"));
    char is[SHA256_HEX];
    sha256_hex(prompt->data ? prompt->data : "", prompt->n, is);
    if (was && strcmp(was, is) == 0) return OK;
    return fail(e, ERR_FORMAT,
                "%s: document %d of %s has changed since it was answered; take another --output_path",
                s->run->options.data, doc, s->task->task.name);
}

static enum status export_answer(struct scoring *s, const struct item *item, const struct response *r, int n,
                                 struct error *e) {
    const struct task *t = &s->task->task;
    if (n < 1) return fail(e, ERR_FORMAT, "%s: no answer to write", t->name);
    if (json_array_append_new(s->exported, t->suite->export_answer(t, item->doc, r, n)) == 0) return OK;
    return fail(e, ERR_FORMAT, "%s: an answer is not UTF-8, or memory ran out", t->name);
}

/* All metrics and, when logged, the line of one answered document under one filter. */
static enum status score_doc(struct scoring *s, int doc, int filter, struct error *e) {
    const struct task *t = &s->task->task;
    struct item item = {0};
    struct buffer prompt = {0};
    struct score scores[TASK_MAX_FILTERS] = {0};
    int n;
    struct response *r = run_responses(s->task->answers[doc], &n);
    enum status status = r ? run_build(s->run, s->task, doc, &item, &prompt, e)
                           : fail(e, ERR_FORMAT, "document %d of %s has no answer", doc, t->name);
    if (status == OK) status = same_prompt(s, doc, &prompt, e);
    if (status == OK && t->suite->score) status = t->suite->score(t, item.doc, item.target, r, n, scores, e);
    if (status == OK) status = add_scores(s, filter, &scores[filter], e);
    if (status == OK && s->samples)
        status = log_line(s, doc, filter, &item, &prompt, r, n, &scores[filter], e);
    if (status == OK && s->exported && filter == 0) status = export_answer(s, &item, r, n, e);
    free_scores(scores);
    free(r);
    item_free(&item);
    buffer_free(&prompt);
    return status;
}

/* A failed document has no values; its line says why. */
static enum status log_failed(struct scoring *s, int doc, int filter, const char *why, struct error *e) {
    json_t *line =
        json_pack("{s:i,s:s,s:s}", "doc_id", doc, "filter", s->task->task.filters[filter], "failed", why);
    struct buffer text = {0};
    if (line) py_dumps(line, 0, &text);
    buffer_add(&text, "\n", 1);
    enum status status = line ? buffer_check(&text, e) : fail(e, ERR_MEMORY, "out of memory");
    if (status == OK && fwrite(text.data, 1, text.n, s->samples) != text.n)
        status = fail(e, ERR_IO, "samples: cannot write: %s", strerror(errno));
    json_decref(line);
    buffer_free(&text);
    return status;
}

static enum status score_task(struct scoring *s, struct error *e) {
    struct run_task *t = s->task;
    int filters = task_filters(&t->task);
    s->result->values =
        calloc((size_t)filters * (size_t)task_metrics(&t->task) + 1, sizeof *s->result->values);
    if (!s->result->values) return fail(e, ERR_MEMORY, "out of memory");
    for (int f = 0; f < filters; f++)
        for (int doc = 0; doc < t->n; doc++) {
            const char *why = json_string_value(json_object_get(t->answers[doc], "failed"));
            if (f == 0) {
                s->result->n_failed += why != NULL;
                s->result->n_scored += why == NULL;
                s->result->n_truncated += json_object_get(t->answers[doc], "truncated") != NULL;
            }
            if (!why)
                TRY(score_doc(s, doc, f, e));
            else if (s->samples)
                TRY(log_failed(s, doc, f, why, e));
        }
    return OK;
}

/* ---- files ---- */

/* Beside the name until it is whole. */
static enum status open_unfinished(const char *path, FILE **out, char *temporary, size_t size,
                                   struct error *e) {
    snprintf(temporary, size, "%s.unfinished", path);
    *out = fopen(temporary, "w");
    if (!*out) return fail(e, ERR_IO, "%s: cannot write: %s", temporary, strerror(errno));
    unfinished_add(temporary);
    return OK;
}

/* status: of what was written; unless it is OK and all is on the disk, nothing is left. */
static enum status close_unfinished(FILE *f, const char *temporary, const char *path, enum status status,
                                    struct error *e) {
    int bad = ferror(f);
    bad |= fclose(f) != 0;
    if (status == OK && bad) status = fail(e, ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    if (status == OK) status = put_in_place(temporary, path, e);
    if (status != OK) unlink(temporary), unfinished_done(temporary);
    return status;
}

static enum status write_value(const json_t *value, const char *path, FILE *f, struct error *e) {
    if (value && json_dumpf(value, f, 0) == 0 && fputc('\n', f) != EOF) return OK;
    return fail(e, ERR_IO, "%s: cannot write: %s", path, value ? strerror(errno) : "memory ran out");
}

/* export_TASK_DATE.jsonl, or .json where the scorer reads one value. */
static enum status write_export(const struct results *out, const struct scoring *s, struct error *e) {
    const struct task *t = &s->task->task;
    const json_t *one;
    char path[4400], temporary[4420];
    FILE *f;
    size_t i;
    snprintf(path, sizeof path, "%s/export_%s_%s.json%s", out->folder, t->name, out->date,
             t->suite->export_file ? "" : "l");
    TRY(open_unfinished(path, &f, temporary, sizeof temporary, e));
    enum status status = OK;
    if (t->suite->export_file) {
        json_t *all = t->suite->export_file(s->exported, strrchr(out->folder, '/') + 1);
        status = write_value(all, path, f, e);
        json_decref(all);
    } else {
        json_array_foreach(s->exported, i, one) if (status == OK) status = write_value(one, path, f, e);
    }
    return close_unfinished(f, temporary, path, status, e);
}

/* Scores a task, with the files that go with it. */
static enum status write_task(struct results *out, struct scoring *s, int log_samples, struct error *e) {
    char path[4400], temporary[4420];
    char hash[SHA256_HEX];
    enum status status = OK;
    sha256_init(&s->hashes);
    snprintf(path, sizeof path, "%s/samples_%s_%s.jsonl", out->folder, s->task->task.name, out->date);
    if (log_samples) status = open_unfinished(path, &s->samples, temporary, sizeof temporary, e);
    if (s->task->task.suite->export_answer) s->exported = json_array();
    if (status == OK) status = score_task(s, e);
    if (status == OK && s->exported) status = write_export(out, s, e);
    if (s->samples) status = close_unfinished(s->samples, temporary, path, status, e);
    json_decref(s->exported);
    sha256_end_hex(&s->hashes, hash);
    if (log_samples) memcpy(s->result->hash, hash, sizeof hash);
    return status;
}

/* lm-eval's sanitize_model_name: runs of characters that names of files should not have become "__". */
static void sanitize(const char *name, char *out, size_t size) {
    size_t n = 0;
    for (const char *p = name; *p && n + 3 < size; p++) {
        if (!strchr("\"<>:/|\\?*[]", *p)) {
            out[n++] = *p;
        } else if (p == name || !strchr("\"<>:/|\\?*[]", p[-1])) {
            out[n++] = '_';
            out[n++] = '_';
        }
    }
    out[n] = 0;
}

static enum status name_files(struct results *out, struct error *e) {
    const struct run *r = out->run;
    time_t date = (time_t)json_integer_value(json_object_get(json_object_get(r->header, "info"), "date"));
    struct tm utc;
    gmtime_r(&date, &utc);
    strftime(out->date, sizeof out->date, "%Y-%m-%dT%H-%M-%S", &utc);
    if (!r->options.output_path) return OK;
    char model[256];
    sanitize(json_string_value(json_object_get(json_object_get(r->header, "run"), "model")), model,
             sizeof model);
    int n = snprintf(out->folder, sizeof out->folder, "%s/%s", r->options.output_path, model);
    if (n < 0 || (size_t)n >= sizeof out->folder)
        return fail(e, ERR_ARG, "%.80s...: the path is too long", model);
    if (mkdir(out->folder, 0777) && errno != EEXIST)
        return fail(e, ERR_IO, "%s: cannot make the folder: %s", out->folder, strerror(errno));
    return OK;
}

enum status results_make(struct results *out, struct run *r, int log_samples, struct error *e) {
    *out = (struct results){.run = r};
    out->tasks = calloc((size_t)r->n_tasks, sizeof *out->tasks);
    if (!out->tasks) return fail(e, ERR_MEMORY, "out of memory");
    TRY(name_files(out, e));
    for (int i = 0; i < r->n_tasks; i++) {
        struct scoring s = {.run = r, .task = &r->tasks[i], .result = &out->tasks[i]};
        TRY(*out->folder ? write_task(out, &s, log_samples, e) : score_task(&s, e));
    }
    return results_json(out, e);
}

enum status results_write(const struct results *r, char *path, size_t size, struct error *e) {
    char temporary[4420];
    FILE *f;
    struct buffer text = {0};
    snprintf(path, size, "%s/results_%s.json", r->folder, r->date);
    py_dumps(r->json, 2, &text);
    TRY(buffer_check(&text, e));
    enum status status = open_unfinished(path, &f, temporary, sizeof temporary, e);
    if (status == OK) {
        fwrite(text.data, 1, text.n, f);
        status = close_unfinished(f, temporary, path, status, e);
    }
    buffer_free(&text);
    return status;
}

void results_free(struct results *r) {
    for (int i = 0; r->tasks && i < r->run->n_tasks; i++) {
        const struct task *t = &r->run->tasks[i].task;
        int n = task_filters(t) * task_metrics(t);
        for (int k = 0; r->tasks[i].values && k < n; k++) values_free(&r->tasks[i].values[k]);
        free(r->tasks[i].values);
    }
    free(r->tasks);
    json_decref(r->json);
    *r = (struct results){0};
}
