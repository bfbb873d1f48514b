/* SPDX-License-Identifier: Apache-2.0 */
/* report_source: reads what the report needs of one record file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"

static void text_or_unknown(const struct records *f, int run, const char *name, char *out, size_t size) {
    if (records_text(f, run, name, out, size, NULL) != OK) snprintf(out, size, "not recorded");
}

static int64_t integer_or(const struct records *f, int run, const char *name, int64_t missing) {
    double x;
    if (records_number(f, run, name, &x, NULL) != OK || !(fabs(x) < 9e15)) return missing;
    return (int64_t)x;
}

static void read_run(struct report_run *r, const struct records *f, int run) {
    snprintf(r->name, sizeof r->name, "%s", f->names[run]);
    snprintf(r->kind, sizeof r->kind, "%s", f->kinds[run]);
    text_or_unknown(f, run, "time", r->time, sizeof r->time);
    text_or_unknown(f, run, "commit", r->commit, sizeof r->commit);
    text_or_unknown(f, run, "compiler", r->compiler, sizeof r->compiler);
    text_or_unknown(f, run, "flags", r->flags, sizeof r->flags);
    text_or_unknown(f, run, "cpu", r->cpu, sizeof r->cpu);
    text_or_unknown(f, run, "caches", r->caches, sizeof r->caches);
    text_or_unknown(f, run, "isa", r->isa, sizeof r->isa);
    text_or_unknown(f, run, "os", r->os, sizeof r->os);
    text_or_unknown(f, run, "kernel", r->kernel, sizeof r->kernel);
    if (records_text(f, run, "warnings", r->warnings, sizeof r->warnings, NULL) != OK) r->warnings[0] = 0;
    if (records_text(f, run, "notes", r->notes, sizeof r->notes, NULL) != OK) r->notes[0] = 0;
    if (records_text(f, run, "preset", r->preset, sizeof r->preset, NULL) != OK) r->preset[0] = 0;
    r->dirty = integer_or(f, run, "dirty", -1);
    r->cores = integer_or(f, run, "cores", -1);
    r->threads = integer_or(f, run, "threads", -1);
    r->memory_bytes = integer_or(f, run, "memory_bytes", -1);
}

/* Appends a copy of a row, or overwrites the one that same() takes for an earlier measurement of the same
 * thing. */
static int put(struct rows *list, const struct table *t, const void *row,
               int (*same)(const void *, const void *)) {
    for (size_t i = 0; i < list->n; i++) {
        char *old = (char *)list->data + i * t->row_bytes;
        if (!same(old, row)) continue;
        memcpy(old, row, t->row_bytes);
        return 0;
    }
    return rows_add(list, t, row);
}

static int same_model(const void *a, const void *b) {
    return !strcmp(((const struct model_row *)a)->name, ((const struct model_row *)b)->name);
}

static int same_file(const void *a, const void *b) {
    return same_model(a, b) &&
           !strcmp(((const struct model_row *)a)->recipe, ((const struct model_row *)b)->recipe);
}

static int same_score(const void *a, const void *b) {
    const struct eval_row *x = a, *y = b;
    return !strcmp(x->model, y->model) && !strcmp(x->recipe, y->recipe) && !strcmp(x->engine, y->engine) &&
           !strcmp(x->protocol, y->protocol) && !strcmp(x->task, y->task) && !strcmp(x->filter, y->filter) &&
           !strcmp(x->metric, y->metric) && x->num_fewshot == y->num_fewshot && x->chat == y->chat &&
           x->limit == y->limit;
}

static int same_pair(const void *a, const void *b) {
    const struct eval_pair_row *x = a, *y = b;
    return !strcmp(x->a, y->a) && !strcmp(x->b, y->b) && !strcmp(x->task, y->task) &&
           !strcmp(x->filter, y->filter) && !strcmp(x->metric, y->metric);
}

static int never(const void *a, const void *b) {
    (void)a, (void)b;
    return 0;
}

static int same_speed(const void *a, const void *b) {
    const struct throughput_row *x = a, *y = b;
    return !strcmp(x->engine, y->engine) && !strcmp(x->model, y->model) && !strcmp(x->test, y->test) &&
           x->threads == y->threads;
}

static int same_lookup(const void *a, const void *b) {
    const struct lookup_row *x = a, *y = b;
    return !strcmp(x->engine, y->engine) && !strcmp(x->model, y->model) && !strcmp(x->test, y->test) &&
           x->threads == y->threads;
}

static enum status merge(struct rows *into, const struct records *f, int run, const struct table *t,
                         int (*same)(const void *, const void *), struct error *e) {
    void *rows = NULL;
    size_t n = 0;
    if (!records_has(f, run, t->name)) return OK;
    TRY(records_rows(f, run, t, &rows, &n, e));
    int failed = 0;
    for (size_t i = 0; i < n && !failed; i++) failed = put(into, t, (char *)rows + i * t->row_bytes, same);
    free(rows);
    return failed ? fail(e, ERR_MEMORY, "report: out of memory") : OK;
}

/* Replaces *rows by the run's table when it has one. */
static enum status replace(void **rows, size_t *n, const struct records *f, int run, const struct table *t,
                           struct error *e) {
    if (!records_has(f, run, t->name)) return OK;
    free(*rows);
    *rows = NULL;
    *n = 0;
    return records_rows(f, run, t, rows, n, e);
}

static enum status read_chain(struct report_parity *p, const struct records *f, int run, struct error *e) {
    struct chain_row *links = NULL;
    size_t n = 0;
    if (!records_has(f, run, chain_table.name)) return OK;
    TRY(records_rows(f, run, &chain_table, (void **)&links, &n, e));
    if (n == CHAIN_LINKS) memcpy(p->chain, links, sizeof p->chain);
    free(links);
    p->is_text = integer_or(f, run, "is_text", 0) == 1;
    return OK;
}

static enum status read_parity(struct report_source *s, const struct records *f, int run, struct error *e) {
    struct report_parity p = {0};
    struct model_row *model = NULL;
    size_t n = 0;
    TRY(records_rows(f, run, &models_table, (void **)&model, &n, e));
    if (n != 1) {
        free(model);
        return fail(e, ERR_FORMAT, "%s: run %s: found %zu models, expected 1", f->path, f->names[run], n);
    }
    p.model = *model;
    free(model);
    TRY(read_chain(&p, f, run, e));
    TRY(parity_rows_read(&p.rows, f, run, e));
    text_or_unknown(f, run, "reference", p.reference, sizeof p.reference);
    text_or_unknown(f, run, "optimized", p.optimized, sizeof p.optimized);
    if (records_text(f, run, "scheme", p.scheme, sizeof p.scheme, NULL) != OK)
        snprintf(p.scheme, sizeof p.scheme, "%s", scheme_names[SCHEME_EXACT]);
    p.n_prefill = integer_or(f, run, "n_prefill", -1);
    p.n_decode = integer_or(f, run, "n_decode", -1);
    p.passed = integer_or(f, run, "passed", 0);
    for (size_t i = 0; i < s->n_parity; i++)
        if (same_model(&s->parity[i].model, &p.model) && !strcmp(s->parity[i].optimized, p.optimized)) {
            parity_rows_free(&s->parity[i].rows);
            s->parity[i] = p;
            return OK;
        }
    struct report_parity *more = realloc(s->parity, (s->n_parity + 1) * sizeof *more);
    if (!more) {
        parity_rows_free(&p.rows);
        return fail(e, ERR_MEMORY, "report: out of memory");
    }
    s->parity = more;
    s->parity[s->n_parity++] = p;
    return OK;
}

enum report_test report_test_of(const struct throughput_row *r) {
    if (strstr(r->test, " x")) return TEST_MIXED; /* several sequences: another question */
    return r->n_gen == 0 ? TEST_PREFILL : r->n_prompt == 0 ? TEST_DECODE : TEST_MIXED;
}

const struct model_row *report_model(const struct report_source *s, const char *name) {
    for (size_t i = 0; i < s->n_models; i++)
        if (!strcmp(s->models[i].name, name)) return &s->models[i];
    return NULL;
}

static int compare_int(int64_t a, int64_t b) {
    return a < b ? -1 : a > b;
}

static int64_t model_index(const struct report_source *s, const char *name) {
    const struct model_row *m = report_model(s, name);
    return m ? m - s->models : (int64_t)s->n_models;
}

static int compare_speeds(const void *a, const void *b, void *source) {
    const struct throughput_row *x = a, *y = b;
    int c = compare_int(model_index(source, x->model), model_index(source, y->model));
    if (!c) c = strcmp(x->model, y->model); /* both missing from the models table */
    if (!c) c = compare_int(x->threads, y->threads);
    if (!c) c = compare_int(report_test_of(x), report_test_of(y));
    if (!c) c = compare_int(x->n_depth, y->n_depth);
    if (!c) c = compare_int(x->n_prompt, y->n_prompt);
    if (!c) c = compare_int(x->n_gen, y->n_gen);
    if (!c) c = compare_int(strcmp(x->engine, "optimized") != 0, strcmp(y->engine, "optimized") != 0);
    return c ? c : strcmp(x->engine, y->engine);
}

struct merged {
    struct rows models, speeds, lookups, eval_runs, evals, eval_pairs;
};

static enum status read_runs(struct report_source *s, const struct records *f, struct merged *m,
                             struct error *e) {
    s->runs = calloc((size_t)f->n, sizeof *s->runs);
    if (!s->runs) return fail(e, ERR_MEMORY, "report: out of memory");
    s->n_runs = f->n;
    for (int run = 0; run < f->n; run++) {
        read_run(&s->runs[run], f, run);
        TRY(merge(&m->models, f, run, &models_table, same_file, e));
        TRY(merge(&m->speeds, f, run, &throughput_table, same_speed, e));
        TRY(merge(&m->lookups, f, run, &lookup_table, same_lookup, e));
        TRY(merge(&m->eval_runs, f, run, &eval_run_table, never, e));
        TRY(merge(&m->evals, f, run, &eval_table, same_score, e));
        TRY(merge(&m->eval_pairs, f, run, &eval_pairs_table, same_pair, e));
        if (!strcmp(f->kinds[run], "limits"))
            TRY(replace((void **)&s->limits, &s->n_limits, f, run, &limits_table, e));
        if (!strcmp(f->kinds[run], "bench"))
            TRY(replace((void **)&s->bench_limits, &s->n_bench_limits, f, run, &limits_table, e));
        if (!strcmp(f->kinds[run], "kernels"))
            TRY(replace((void **)&s->kernels, &s->n_kernels, f, run, &kernels_table, e));
        if (!strcmp(f->kinds[run], "quality"))
            TRY(replace((void **)&s->quality, &s->n_quality, f, run, &quality_table, e));
        if (!strcmp(f->kinds[run], "quality"))
            TRY(replace((void **)&s->kl_pairs, &s->n_kl_pairs, f, run, &kl_pairs_table, e));
        if (!strcmp(f->kinds[run], "parity")) TRY(read_parity(s, f, run, e));
    }
    int last = records_last(f, "bench");
    s->machine = &s->runs[last >= 0 ? last : f->n - 1];
    return OK;
}

enum status report_source_open(struct report_source *out, const char *path, struct error *e) {
    struct records f = {0};
    struct merged merged = {0};
    const char *slash = strrchr(path, '/');
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%.127s", slash ? slash + 1 : path);
    TRY(records_open(&f, path, e));
    enum status st =
        f.n > 0 ? read_runs(out, &f, &merged, e)
                : fail(e, ERR_FORMAT, "%s: holds no runs; `lfm2 bench --record %s` adds one", path, path);
    out->models = merged.models.data, out->n_models = merged.models.n;
    out->speeds = merged.speeds.data, out->n_speeds = merged.speeds.n;
    out->lookups = merged.lookups.data, out->n_lookups = merged.lookups.n;
    out->eval_runs = merged.eval_runs.data, out->n_eval_runs = merged.eval_runs.n;
    out->evals = merged.evals.data, out->n_evals = merged.evals.n;
    out->eval_pairs = merged.eval_pairs.data, out->n_eval_pairs = merged.eval_pairs.n;
    if (st == OK && out->n_speeds)
        qsort_r(out->speeds, out->n_speeds, sizeof *out->speeds, compare_speeds, out);
    records_close(&f);
    if (st != OK) report_source_close(out);
    return st;
}

void report_source_close(struct report_source *s) {
    for (size_t i = 0; i < s->n_parity; i++) parity_rows_free(&s->parity[i].rows);
    free(s->runs);
    free(s->models);
    free(s->speeds);
    free(s->lookups);
    free(s->limits);
    free(s->bench_limits);
    free(s->kernels);
    free(s->parity);
    free(s->quality);
    free(s->kl_pairs);
    free(s->eval_runs);
    free(s->evals);
    free(s->eval_pairs);
    memset(s, 0, sizeof *s);
}
