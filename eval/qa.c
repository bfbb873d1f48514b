/* SPDX-License-Identifier: Apache-2.0 */
/* qa: documents, shots, prompts and scores of the suites whose tasks differ only in texts. */
#include "eval/qa.h"

#include <stdlib.h>
#include <string.h>

#include "eval/pyrandom.h"

struct task_data {
    struct task task;
    const struct qa *qa;
    struct task_options options;
    struct rows docs, pool; /* pool: empty when shots come from docs, or there are none */
    int shots;
    int *drawn; /* [docs, shots]: rows of the pool, or of docs */
};

struct pystr doc_text(const json_t *doc, const char *key) {
    const json_t *value = json_object_get(doc, key);
    if (!json_is_string(value)) return pystr_of("");
    return (struct pystr){json_string_value(value), json_string_length(value)};
}

int doc_has_texts(const json_t *doc, const char *const *keys) {
    for (; *keys; keys++)
        if (!json_is_string(json_object_get(doc, *keys))) return 0;
    return 1;
}

enum status qa_read(struct rows *out, const char *dir, const char *const *folders, const char *const *names,
                    json_t *(*convert)(const json_t *raw, void *arg, const char **fault), void *arg,
                    struct error *e) {
    char *path = rows_find(dir, folders, names, e);
    if (!path) return e ? e->code : ERR_IO;
    size_t first = out->n;
    enum status status = rows_read(out, path, e);
    if (status == OK && convert) status = rows_convert(out, path, first, convert, arg, e);
    if (status == OK && out->n == first) status = fail(e, ERR_FORMAT, "%s: no row of this task", path);
    free(path);
    return status;
}

static const struct rows *pool_of(const struct task_data *d) {
    return d->qa->shared_pool ? &d->docs : &d->pool;
}

/* Two rows are the same document: lm-eval compares documents, not their places. */
static int same(const struct row *a, const struct row *b) {
    return a == b || (a->value && b->value && json_equal(a->value, b->value));
}

/* The first `shots` rows that are not the document. */
static int draw_first(const struct task_data *d, size_t doc, int *out) {
    const struct rows *pool = pool_of(d);
    int n = 0;
    for (size_t i = 0; i < pool->n && n < d->shots; i++)
        if (!d->qa->removes_doc || !same(&pool->row[i], &d->docs.row[doc])) out[n++] = (int)i;
    return n == d->shots;
}

static int draw_random(const struct task_data *d, struct pyrandom *random, size_t doc, int *scratch,
                       int *out) {
    const struct rows *pool = pool_of(d);
    if (!d->qa->removes_doc) return pyrandom_sample(random, (int)pool->n, d->shots, out);
    if (!pyrandom_sample(random, (int)pool->n, d->shots + 1, scratch)) return 0;
    int n = 0;
    for (int i = 0; i <= d->shots && n < d->shots; i++)
        if (!same(&pool->row[scratch[i]], &d->docs.row[doc])) out[n++] = scratch[i];
    if (n == d->shots) return 1;
    /* Copies of the document were among them: lm-eval draws again from the others. */
    int *others = malloc(pool->n * sizeof *others), count = 0;
    for (size_t i = 0; others && i < pool->n; i++)
        if (!same(&pool->row[i], &d->docs.row[doc])) others[count++] = (int)i;
    int drawn = others && pyrandom_sample(random, count, d->shots, out);
    for (int i = 0; drawn && i < d->shots; i++) out[i] = others[out[i]];
    free(others);
    return drawn;
}

static enum status draw_shots(struct task_data *d, struct error *e) {
    size_t n = d->docs.n, width = (size_t)d->shots;
    d->drawn = calloc(n * width, sizeof *d->drawn);
    int *scratch = calloc(width + 1, sizeof *scratch);
    if (!d->drawn || !scratch) return free(scratch), fail(e, ERR_MEMORY, "out of memory for shots");
    struct pyrandom random;
    pyrandom_seed(&random, (uint64_t)(d->options.fewshot_seed < 0 ? -(long)d->options.fewshot_seed
                                                                  : d->options.fewshot_seed));
    enum status status = OK;
    for (size_t i = 0; status == OK && i < n; i++) {
        int *out = d->drawn + i * width;
        int drawn = d->qa->sampler == SAMPLER_FIRST_N ? draw_first(d, i, out)
                                                      : draw_random(d, &random, i, scratch, out);
        if (!drawn)
            status = fail(e, ERR_ARG, "%s: %d shots asked for, %zu documents to draw them from", d->task.name,
                          d->shots, pool_of(d)->n);
    }
    free(scratch);
    return status;
}

enum status qa_load(struct task_data **out, const struct task *t, const struct qa *qa, const char *dir,
                    const struct task_options *o, struct error *e) {
    *out = NULL;
    struct task_data *d = calloc(1, sizeof *d);
    if (!d) return fail(e, ERR_MEMORY, "out of memory");
    *d = (struct task_data){.task = *t, .qa = qa, .options = *o, .shots = t->num_fewshot};
    if (o->protocol == PROTOCOL_CARD && !qa->fixed_shots) d->shots = qa->card_shots;
    if (o->num_fewshot >= 0 && !qa->fixed_shots) d->shots = o->num_fewshot;
    enum status status = qa->read(t, dir, 0, &d->docs, e);
    if (status == OK && d->docs.n > INT32_MAX / 64)
        status = fail(e, ERR_UNSUPPORTED, "%s: too many rows", t->name);
    if (status == OK && d->shots > 4096)
        status = fail(e, ERR_ARG, "%s: %d shots are too many", t->name, d->shots);
    if (status == OK && d->shots > 0 && !qa->shared_pool) status = qa->read(t, dir, 1, &d->pool, e);
    if (status == OK && d->shots > 0) status = draw_shots(d, e);
    if (status != OK) return qa_unload(d), status;
    *out = d;
    return OK;
}

void qa_unload(struct task_data *d) {
    if (!d) return;
    rows_free(&d->docs);
    rows_free(&d->pool);
    free(d->drawn);
    free(d);
}

int qa_count(const struct task_data *d) {
    return (int)d->docs.n;
}

int qa_shots(const struct task_data *d) {
    return d->shots;
}

static enum status add_shot(const struct task_data *d, const struct row *shot, struct item *out,
                            struct error *e) {
    const struct qa *qa = d->qa;
    if (!shot->value) return fail(e, ERR_FORMAT, "%s (one of the examples)", shot->fault);
    struct buffer question = {0}, answer = {0};
    qa->text(&d->task, shot->value, &question);
    (qa->answer ? qa->answer : qa->target)(&d->task, shot->value, &answer);
    struct delimiters delimiters = {qa->delimiters.target ? qa->delimiters.target : " ",
                                    qa->delimiters.shot ? qa->delimiters.shot : "\n\n"};
    enum status status =
        prompt_shot(out, &d->options, &delimiters, pystr_in(&question), pystr_in(&answer), e);
    buffer_free(&question);
    buffer_free(&answer);
    return status;
}

static enum status add_continuations(const struct task_data *d, struct item *out, struct error *e) {
    const char *delimiter = d->options.apply_chat_template ? ""
                            : d->qa->delimiters.target     ? d->qa->delimiters.target
                                                           : " ";
    int n = 0;
    while (d->qa->choices[n]) n++;
    out->continuations = calloc((size_t)n, sizeof *out->continuations);
    if (!out->continuations) return fail(e, ERR_MEMORY, "out of memory");
    out->n_continuations = n;
    for (int i = 0; i < n; i++) {
        buffer_text(&out->continuations[i], delimiter);
        buffer_text(&out->continuations[i], d->qa->choices[i]);
        TRY(buffer_check(&out->continuations[i], e));
    }
    return OK;
}

/* The card's: nothing stops an answer but its end, room to think, the card's sampling. */
static const char card_kwargs[] =
    "{\"until\": [], \"max_gen_toks\": 4096, \"do_sample\": true, \"temperature\": 0.3, "
    "\"min_p\": 0.15, \"repetition_penalty\": 1.05}";

static enum status fill_requests(const struct task_data *d, struct item *out, struct error *e) {
    if (out->kind == ITEM_CHOICES) return add_continuations(d, out, e);
    out->gen_kwargs =
        json_loads(d->options.protocol == PROTOCOL_CARD ? card_kwargs : d->qa->gen_kwargs, 0, NULL);
    return out->gen_kwargs ? OK : fail(e, ERR_MEMORY, "out of memory");
}

enum status qa_build(struct task_data *d, int doc_id, struct item *out, struct error *e) {
    const struct qa *qa = d->qa;
    const struct row *row = &d->docs.row[doc_id];
    if (!row->value) return fail(e, ERR_FORMAT, "%s", row->fault);
    out->kind = d->task.kind;
    out->doc = json_incref(row->value);
    struct buffer text = {0};
    qa->target(&d->task, row->value, &text);
    enum status status = buffer_check(&text, e);
    if (status == OK && !(out->target = strdup(text.data ? text.data : "")))
        status = fail(e, ERR_MEMORY, "out of memory");
    buffer_free(&text);
    text = (struct buffer){0};
    if (qa->describe)
        qa->describe(&d->task, &text);
    else
        buffer_text(&text, qa->description ? qa->description : "");
    if (status == OK) status = buffer_check(&text, e);
    if (status == OK) status = prompt_begin(out, &d->options, text.data, e);
    buffer_free(&text);
    const int *drawn = d->drawn + (size_t)doc_id * (size_t)d->shots;
    for (int i = 0; status == OK && i < d->shots; i++)
        status = add_shot(d, &pool_of(d)->row[drawn[i]], out, e);
    text = (struct buffer){0};
    qa->text(&d->task, row->value, &text);
    if (status == OK) status = buffer_check(&text, e);
    if (status == OK) status = prompt_ask(out, &d->options, pystr_in(&text), e);
    buffer_free(&text);
    return status == OK ? fill_requests(d, out, e) : status;
}

/* numpy's argmax: the first of the largest; a NaN is larger than everything. */
static int largest(const struct response *r, int n, const char *const *choices) {
    int best = 0;
    double top = 0;
    for (int i = 0; i < n; i++) {
        double value = r[i].loglikelihood;
        if (choices) value /= (double)pystr_length(pystr_of(choices[i]));
        if (i == 0 || value > top || (value != value && top == top)) best = i, top = value;
    }
    return best;
}

static enum status score_choices(const struct task *t, const struct qa *qa, const json_t *doc,
                                 const struct response *r, int n, struct score *out, struct error *e) {
    int choices = 0, gold = qa->gold(doc);
    while (qa->choices[choices]) choices++;
    if (n != choices)
        return fail(e, ERR_ARG, "%s: %d responses (expected %d, one per choice)", t->name, n, choices);
    out->metrics = json_object();
    for (int i = 0; i < task_metrics(t); i++) {
        int norm = strcmp(t->metrics[i].name, "acc_norm") == 0;
        double value =
            largest(r, n, norm ? qa->choices : NULL) == gold; /* a gold out of range is never met */
        json_object_set_new(out->metrics, t->metrics[i].name, json_real(value));
    }
    return OK;
}

static enum status score_answer(const struct task *t, const struct qa *qa, const struct filter *f,
                                const json_t *doc, struct pystr answer, const char *target, struct score *out,
                                struct error *e) {
    struct buffer filtered = {0};
    enum status status = OK;
    if (f)
        status = filter_apply(f, answer, json_object_get(doc, "choices"), &filtered, e);
    else
        pystr_put(&filtered, answer);
    out->metrics = json_object();
    int equal = 0;
    if (status == OK && qa->judge)
        status = qa->judge(t, doc, pystr_in(&filtered), out->metrics, e);
    else if (status == OK &&
             (status = exact_match(&qa->match, pystr_in(&filtered), pystr_of(target), &equal, e)) == OK)
        json_object_set_new(out->metrics, "exact_match", json_real(equal));
    if (status == OK && f) {
        json_t *text = json_stringn(filtered.n ? filtered.data : "", filtered.n);
        out->filtered = json_pack("[o]", text);
        if (!out->filtered) status = fail(e, ERR_FORMAT, "%s: an answer is not UTF-8", t->name);
    }
    buffer_free(&filtered);
    return status;
}

enum status qa_score(const struct task *t, const struct qa *qa, const json_t *doc, const char *target,
                     const struct response *r, int n, struct score *out, struct error *e) {
    if (t->kind == ITEM_CHOICES) return score_choices(t, qa, doc, r, n, out, e);
    if (n < 1 || !r[0].text) return fail(e, ERR_ARG, "%s: no answer to score", t->name);
    for (int i = 0; i < task_filters(t); i++)
        TRY(score_answer(t, qa, qa->filters ? &qa->filters[i] : NULL, doc, (struct pystr){r[0].text, r[0].n},
                         target, &out[i], e));
    return OK;
}
