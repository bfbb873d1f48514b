/* SPDX-License-Identifier: Apache-2.0 */
/* run_work: one process's share of a run: units to items, items to jobs, answers to lines. */
#include <stdlib.h>
#include <string.h>

#include "data/sha256.h"
#include "eval/pyjson.h"
#include "eval/run_parts.h"

enum {
    MIN_PREFIX = 16,    /* tokens; a shorter beginning is not worth a copy of its keys and values */
    PREFIX_SAMPLES = 8, /* documents that are compared to find it */
};

/* An item in flight. */
struct work {
    struct job job;              /* first: a job is its work */
    struct work *next;           /* waiting to be asked again: the next turn, or the next repeat */
    struct work *before, *after; /* begun and not done, the last first */
    struct run_task *task;
    int doc_id, turn, truncated, n_tokens;
    struct item item;
    struct buffer prompt;
    json_t *responses;
    char hash[SHA256_HEX]; /* of the first prompt */
};

struct feeder {
    struct run *run;
    struct unit unit;
    int exhausted;
    struct work *waiting, *begun;
};

static void work_free(struct work *w) {
    if (!w) return;
    job_free(&w->job);
    item_free(&w->item);
    buffer_free(&w->prompt);
    json_decref(w->responses);
    free(w);
}

/* ---- the beginning that a task's prompts share ---- */

static enum status sample_ids(struct run *r, struct run_task *t, int doc, struct tokens *ids,
                              struct error *e) {
    struct item item = {0};
    struct buffer prompt = {0};
    pthread_mutex_lock(&r->share->lock);
    enum status status = run_build(r, t, doc, &item, &prompt, e);
    pthread_mutex_unlock(&r->share->lock);
    if (status == OK) status = lm_encode(r->lm, prompt.data ? prompt.data : "", prompt.n, ids, e);
    item_free(&item);
    buffer_free(&prompt);
    return status;
}

/* From documents spread over the task, so that it is the same for every process, whatever is left to do. The
 * first few are not asked: where shots come from the test split, theirs are other shots. A prompt that does
 * not begin with it is computed from its first token. */
static enum status find_prefix(struct run *r, struct run_task *t, struct error *e) {
    int from = t->original / 8, step = (t->original - from) / PREFIX_SAMPLES, compared = 0;
    t->prefix_known = 1;
    if (r->options.lm.no_prefix) return OK;
    for (int i = 0; i < PREFIX_SAMPLES; i++) {
        struct tokens ids = {0};
        int doc = step > 0 ? from + i * step : i;
        enum status status = doc < t->original ? sample_ids(r, t, doc, &ids, e) : ERR_ARG;
        if (status == OK && compared++ == 0) {
            t->prefix = ids;
            continue;
        }
        size_t n = 0;
        while (status == OK && n < ids.n && n < t->prefix.n && ids.ids[n] == t->prefix.ids[n]) n++;
        if (status == OK) t->prefix.n = n;
        tokens_free(&ids);
        if (status == ERR_MEMORY) return status;
    }
    if (compared < 2 || t->prefix.n < MIN_PREFIX || t->prefix.n >= (size_t)r->lm->max_length) t->prefix.n = 0;
    return OK;
}

/* ---- lines ---- */

static json_t *response_json(const struct item *item, const struct response *r) {
    if (item->kind == ITEM_CHOICES) return json_pack("[f,b]", r->loglikelihood, r->is_greedy);
    return json_stringn(r->text, r->n);
}

static enum status write_line(struct feeder *f, struct work *w, const struct error *failed, struct error *e) {
    json_t *line = json_pack("{s:s,s:i}", "task", w->task->task.name, "doc_id", w->doc_id);
    if (line && *w->hash) json_object_set_new(line, "prompt", json_string(w->hash));
    if (line && failed)
        json_object_set_new(line, "failed", json_string(failed->text));
    else if (line)
        json_object_set(line, "resps", w->responses);
    if (line && w->truncated) json_object_set_new(line, "truncated", json_integer(w->truncated));
    if (line && w->n_tokens) json_object_set_new(line, "tokens", json_integer(w->n_tokens));
    enum status status = line ? share_line(f->run->share, line, e) : fail(e, ERR_MEMORY, "out of memory");
    json_decref(line);
    return status;
}

/* ---- jobs ---- */

/* Not from the order of anything: an item's random draws are its own. */
static uint64_t seed_of(const struct run *r, const struct work *w) {
    struct buffer text = {0};
    char hex[SHA256_HEX], half[17];
    buffer_format(&text, "%d/%s/%d/%d", r->options.lm.seed, w->task->task.name, w->doc_id, w->turn);
    sha256_hex(text.data ? text.data : "", text.n, hex);
    buffer_free(&text);
    memcpy(half, hex, 16);
    half[16] = 0;
    return strtoull(half, NULL, 16);
}

static void make_job(struct feeder *f, struct work *w) {
    w->job = (struct job){.item = &w->item, .prompt = &w->prompt, .seed = seed_of(f->run, w)};
    if (w->task->prefix.n) w->job.prefix = &w->task->prefix;
}

/* The next document of the unit; NULL with nothing failed when it is malformed, which its line says. */
static enum status begin(struct feeder *f, int doc, struct run_task *t, struct work **out, struct error *e) {
    struct work *w = calloc(1, sizeof *w);
    struct error bad = {0};
    *out = NULL;
    if (!w || !(w->responses = json_array())) {
        free(w);
        return fail(e, ERR_MEMORY, "out of memory");
    }
    w->task = t;
    w->doc_id = doc;
    enum status status = t->prefix_known ? OK : find_prefix(f->run, t, e);
    if (status == OK) {
        pthread_mutex_lock(&f->run->share->lock);
        status = run_build(f->run, t, doc, &w->item, &w->prompt, &bad);
        pthread_mutex_unlock(&f->run->share->lock);
        if (status == ERR_MEMORY && e) *e = bad;
    }
    if (status == OK) {
        sha256_hex(w->prompt.data ? w->prompt.data : "", w->prompt.n, w->hash);
        make_job(f, w);
        w->after = f->begun;
        if (f->begun) f->begun->before = w;
        *out = f->begun = w;
        return OK;
    }
    if (status != ERR_MEMORY) status = write_line(f, w, &bad, e);
    work_free(w);
    return status;
}

static enum status next(void *arg, struct job **out, struct error *e) {
    struct feeder *f = arg;
    *out = NULL;
    if (f->waiting) {
        *out = &f->waiting->job;
        f->waiting = f->waiting->next;
        return OK;
    }
    while (!f->exhausted && !*out) {
        if (!f->unit.todo) TRY(share_unit(f->run->share, &f->unit, e));
        if (f->unit.index < 0) {
            f->exhausted = 1;
            return OK;
        }
        int bit = __builtin_ctz(f->unit.todo), first;
        f->unit.todo &= f->unit.todo - 1;
        struct run_task *t = run_unit(f->run, f->unit.index, &first);
        struct work *w;
        TRY(begin(f, first + bit, t, &w, e));
        if (w) *out = &w->job;
    }
    return OK;
}

/* *more: the item has to be asked once more: its next turn, or its next repeat. */
static enum status go_on(struct feeder *f, struct work *w, int *more, struct error *e) {
    const struct suite *s = w->task->task.suite;
    *more = 0;
    if (w->item.kind != ITEM_GENERATE) return OK;
    if (!s->next) {
        *more = w->turn + 1 < w->item.repeats;
        w->turn += *more;
        return OK;
    }
    pthread_mutex_lock(&f->run->share->lock);
    enum status status = s->next(w->task->data, w->doc_id, &w->item, w->turn, &w->job.responses[0], more, e);
    pthread_mutex_unlock(&f->run->share->lock);
    if (status != OK || !*more) return status;
    w->turn++;
    w->prompt.n = 0;
    return lm_prompt(f->run->lm, &w->item, &w->prompt, e);
}

static enum status done(void *arg, struct job *job, struct error *e) {
    struct feeder *f = arg;
    struct work *w = (struct work *)job;
    struct error bad = job->failed;
    int more = 0;
    if (job->truncated > w->truncated) w->truncated = job->truncated;
    w->n_tokens += job->n_tokens;
    for (int i = 0; i < job->n_responses; i++)
        json_array_append_new(w->responses, response_json(&w->item, &job->responses[i]));
    if (bad.code == OK) bad.code = go_on(f, w, &more, &bad);
    job_free(job);
    if (bad.code == OK && more) {
        make_job(f, w);
        w->next = f->waiting;
        f->waiting = w;
        return OK;
    }
    enum status status = write_line(f, w, bad.code == OK ? NULL : &bad, e);
    if (w->after) w->after->before = w->before;
    *(w->before ? &w->before->after : &f->begun) = w->after;
    work_free(w);
    return status;
}

enum status run_work(void *arg, struct error *e) {
    struct feeder f = {.run = arg};
    const struct lm_source source = {next, done, &f};
    enum status status = lm_run(f.run->lm, &source, e);
    for (struct work *w; (w = f.begun);) { /* what it left when it failed */
        f.begun = w->after;
        work_free(w);
    }
    return status;
}
