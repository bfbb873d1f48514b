/* SPDX-License-Identifier: Apache-2.0 */
/* run: opens everything, hands out units, keeps the table of answers. */
#include "eval/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/progress.h"
#include "eval/run_parts.h"

enum { SYNC_NS = 50000000 }; /* finished items are on disk at most this much later */

struct run_progress {
    struct progress line;
};

static enum status open_task(struct run *r, struct run_task *t, struct error *e) {
    const struct run_options *o = &r->options;
    TRY(t->task.suite->load(&t->data, &t->task, o->data, &o->task, e));
    t->original = t->n = t->task.suite->count(t->data);
    if (t->original < 1) return fail(e, ERR_FORMAT, "%s: task %s has no documents", o->data, t->task.name);
    if (o->limit > 0 && o->limit < t->n) t->n = o->limit;
    t->answers = calloc((size_t)t->n, sizeof *t->answers);
    if (!t->answers) return fail(e, ERR_MEMORY, "out of memory");
    t->first_unit = r->n_units;
    r->n_units += (t->n + UNIT_ITEMS - 1) / UNIT_ITEMS;
    r->n_items += t->n;
    return OK;
}

static enum status open_parts(struct run *r, const struct task *tasks, int n, struct error *e) {
    r->tasks = calloc((size_t)n, sizeof *r->tasks);
    r->progress = calloc(1, sizeof *r->progress);
    if (!r->tasks || !r->progress) return fail(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        r->tasks[r->n_tasks].task = tasks[i];
        TRY(open_task(r, &r->tasks[r->n_tasks++], e));
    }
    TRY(lm_open(&r->lm, &r->options.lm, e));
    TRY(run_header(r, &r->header, e));
    r->watched = r->share->rank == 0 && isatty(STDERR_FILENO);
    if (r->share->rank == 0 && r->options.output_path) TRY(run_journals(r, e));
    r->n_before = r->n_done;
    return OK;
}

enum status run_open(struct run **out, const struct run_options *o, const struct task *tasks, int n,
                     struct share *share, struct error *e) {
    *out = NULL;
    struct run *r = calloc(1, sizeof *r);
    if (!r) return fail(e, ERR_MEMORY, "out of memory");
    r->options = *o;
    r->share = share;
    r->journal.fd = -1;
    enum status status = open_parts(r, tasks, n, e);
    if (status != OK) {
        run_close(r);
        return status;
    }
    *out = r;
    return OK;
}

void run_close(struct run *r) {
    if (!r) return;
    for (int i = 0; i < r->n_tasks; i++) {
        struct run_task *t = &r->tasks[i];
        for (int k = 0; t->answers && k < t->n; k++) json_decref(t->answers[k]);
        free(t->answers);
        tokens_free(&t->prefix);
        if (t->data) t->task.suite->unload(t->data);
    }
    free(r->tasks);
    free(r->progress);
    journal_close(&r->journal);
    json_decref(r->header);
    lm_close(r->lm);
    free(r);
}

enum status run_build(struct run *r, struct run_task *t, int doc_id, struct item *item, struct buffer *prompt,
                      struct error *e) {
    TRY(t->task.suite->build(t->data, doc_id, item, e));
    if (r->options.gen_kwargs && item->gen_kwargs &&
        json_object_update(item->gen_kwargs, r->options.gen_kwargs))
        return fail(e, ERR_MEMORY, "out of memory");
    return lm_prompt(r->lm, item, prompt, e);
}

struct response *run_responses(const json_t *line, int *n) {
    const json_t *list = json_object_get(line, "resps");
    *n = (int)json_array_size(list);
    struct response *r = *n > 0 ? calloc((size_t)*n, sizeof *r) : NULL;
    for (int i = 0; r && i < *n; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        if (json_is_string(one)) {
            r[i].text = json_string_value(one);
            r[i].n = json_string_length(one);
        } else {
            r[i].loglikelihood = json_number_value(json_array_get(one, 0));
            r[i].is_greedy = json_is_true(json_array_get(one, 1));
        }
    }
    return r;
}

/* ---- rank 0 ---- */

struct run_task *run_unit(struct run *r, int unit, int *first) {
    int i = r->n_tasks - 1;
    while (r->tasks[i].first_unit > unit) i--;
    *first = (unit - r->tasks[i].first_unit) * UNIT_ITEMS;
    return &r->tasks[i];
}

static struct unit next_unit(void *arg) {
    struct run *r = arg;
    while (r->next_unit < r->n_units) {
        struct unit u = {r->next_unit++, 0};
        if (r->options.shards > 0 && u.index % r->options.shards != r->options.shard - 1) continue;
        int first;
        const struct run_task *t = run_unit(r, u.index, &first);
        for (int i = 0; i < UNIT_ITEMS && first + i < t->n; i++)
            if (!t->answers[first + i]) u.todo |= (uint32_t)1 << i;
        if (u.todo) return u;
    }
    return (struct unit){-1, 0};
}

enum status run_take(struct run *r, const json_t *line, int *fresh, struct error *e) {
    const char *name = json_string_value(json_object_get(line, "task"));
    json_int_t doc = json_integer_value(json_object_get(line, "doc_id"));
    *fresh = 0;
    for (int i = 0; name && i < r->n_tasks; i++) {
        struct run_task *t = &r->tasks[i];
        if (strcmp(t->task.name, name) != 0) continue;
        if (doc < 0 || doc >= t->n) break;
        if (t->answers[doc]) return OK;
        t->answers[doc] = json_incref((json_t *)line);
        t->n_done++, r->n_done++;
        int failed = json_object_get(line, "failed") != NULL;
        t->n_failed += failed, r->n_failed += failed;
        *fresh = 1;
        return OK;
    }
    return fail(e, ERR_FORMAT, "document %lld of task '%s' does not belong to this run", (long long)doc,
                name ? name : "");
}

/* The first metric of the first filter as it stands. */
static void add_to_score(struct run *r, struct run_task *t, int doc_id) {
    struct item item = {0};
    struct buffer prompt = {0};
    struct score scores[TASK_MAX_FILTERS] = {0};
    int n;
    struct response *responses = run_responses(t->answers[doc_id], &n);
    const struct suite *s = t->task.suite;
    if (responses && s->score && run_build(r, t, doc_id, &item, &prompt, NULL) == OK &&
        s->score(&t->task, item.doc, item.target, responses, n, scores, NULL) == OK) {
        const json_t *value = json_object_get(scores[0].metrics, t->task.metrics[0].name);
        if (json_is_number(value) || json_is_boolean(value)) {
            t->sum += json_is_true(value) ? 1 : json_number_value(value);
            t->summed++;
        }
    }
    for (int i = 0; i < TASK_MAX_FILTERS; i++)
        json_decref(scores[i].filtered), json_decref(scores[i].metrics);
    free(responses);
    item_free(&item);
    buffer_free(&prompt);
}

static void show(struct run *r) {
    double seconds = 1e-9 * (double)(now_ns() - r->start_ns), sum = 0;
    int n = 0, fresh = r->n_done - r->n_before, all = r->n_items - r->n_before;
    for (int i = 0; i < r->n_tasks; i++) sum += r->tasks[i].sum, n += r->tasks[i].summed;
    char score[64] = "", failed[64] = "";
    if (n > 0) snprintf(score, sizeof score, ", %s %.3f so far", r->tasks[0].task.metrics[0].name, sum / n);
    if (r->n_failed) snprintf(failed, sizeof failed, ", %d failed", r->n_failed);
    if (r->options.shards > 0) all = all / r->options.shards + 1;
    progress_show(&r->progress->line, all > 0 ? (double)fresh / all : 1, "eval: %d of %d, %.2f items/s%s%s",
                  r->n_done, r->n_items, seconds > 0 ? fresh / seconds : 0, score, failed);
}

static enum status sync_lines(struct run *r, struct error *e) {
    r->synced_ns = now_ns();
    return r->journal.fd >= 0 ? journal_sync(&r->journal, e) : OK;
}

static enum status take_line(void *arg, const json_t *line, struct error *e) {
    struct run *r = arg;
    int fresh;
    TRY(run_take(r, line, &fresh, e));
    if (!fresh) return OK;
    if (r->journal.fd >= 0) TRY(journal_add(&r->journal, line, e));
    if (now_ns() - r->synced_ns >= SYNC_NS) TRY(sync_lines(r, e));
    if (!r->watched) return OK;
    for (int i = 0; i < r->n_tasks; i++)
        if (strcmp(r->tasks[i].task.name, json_string_value(json_object_get(line, "task"))) == 0)
            add_to_score(r, &r->tasks[i], (int)json_integer_value(json_object_get(line, "doc_id")));
    show(r);
    return OK;
}

static enum status idle(void *arg, struct error *e) {
    struct run *r = arg;
    if (now_ns() - r->synced_ns >= SYNC_NS) TRY(sync_lines(r, e));
    if (r->watched && r->n_done > r->n_before) show(r);
    return OK;
}

enum status run_compute(struct run *r, struct error *e) {
    const struct share_master master = {next_unit, take_line, idle, r};
    r->start_ns = now_ns();
    enum status status = share_run(r->share, &master, run_work, r, e);
    if (r->watched) progress_end(&r->progress->line);
    /* Also after an error: what is finished is kept. */
    if (r->share->rank == 0 && r->journal.fd >= 0) {
        struct error late;
        enum status synced = journal_sync(&r->journal, &late);
        if (status == OK && synced != OK) {
            if (e) *e = late;
            return synced;
        }
    }
    return status;
}
