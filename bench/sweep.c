/* SPDX-License-Identifier: Apache-2.0 */
/* sweep: recipes x engines. */
#include "bench/sweep.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/text_ids.h"
#include "data/convert.h"
#include "data/unfinished.h"
#include "optimized/kernels.h"

struct sweep {
    const struct sweep_options *o;
    struct rows *rows, *pairs;
    struct tokens text;
    struct windows windows;
    int bos;
    struct base_file base;
    struct quality points; /* of the model itself: exact, where a base file cuts log p at -16 */
    struct routes routes;
    /* Of the runs without a '+' so far, to compare those with one: recipe and engine in their rows. */
    struct {
        size_t row;
        struct quality points;
    } * plain;
    int n_plain;
    struct imatrix *imatrix;
    char folder[256], base_path[300], model_path[300];
    char what[128]; /* of the run now, for progress */
    int done, total;
};

int sweep_count(const char *list) {
    int n = 1;
    for (; *list; list++) n += *list == ',';
    return n;
}

/* The i-th word between commas. */
static const char *word(const char *list, int i, char *out, size_t size) {
    while (i-- > 0) list += strcspn(list, ",") + 1;
    snprintf(out, size, "%.*s", (int)strcspn(list, ","), list);
    return out;
}

static void show(void *arg, int64_t done, int64_t total, double mean_nll) {
    const struct sweep *s = arg;
    (void)mean_nll;
    if (s->o->progress)
        s->o->progress(s->o->progress_arg, s->what, s->done, s->total, (double)done / (double)total);
}

/* ---- one run ---- */

/* "optimized:avx2", "optimized:kv-q8_0" */
static enum status choose_engine(const char *text, unsigned fallback, struct perplexity_options *p,
                                 struct error *e) {
    char name[32];
    const char *isa = strchr(text, ':');
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, ":"), text);
    p->engine = engine_by_name(name);
    if (!p->engine)
        return fail(e, ERR_ARG,
                    "quality: unknown engine '%s' (expected reference, optimized or optimized:ISA)", name);
    p->engine_options.cpu_mask = fallback;
    if (isa && !strcmp(isa, ":kv-q8_0"))
        p->engine_options.kv_type = KV_Q8;
    else if (isa && cpu_mask_by_name(isa + 1, &p->engine_options.cpu_mask))
        return fail(e, ERR_ARG, "quality: unknown instruction set '%s' (expected kv-q8_0 or one of: %s)",
                    isa + 1, cpu_isa_names);
    return OK;
}

/* What stands after '+' beside the same without it. */
static enum status compare_plain(const struct sweep *s, const struct quality *points,
                                 const struct quality_row *row, struct error *e) {
    size_t n = strcspn(row->recipe, "+");
    for (int i = 0; i < s->n_plain && row->recipe[n]; i++) {
        const struct quality_row *other = (const struct quality_row *)s->rows->data + s->plain[i].row;
        if (strcmp(other->engine, row->engine) || strlen(other->recipe) != n ||
            strncmp(other->recipe, row->recipe, n))
            continue;
        struct interval d = quality_kl_difference(&s->plain[i].points, points, s->windows.n);
        struct kl_pair_row pair = {.windows = s->windows.n,
                                   .kl = row->kl_mean,
                                   .kl_plain = other->kl_mean,
                                   .difference = d.mid,
                                   .lo = d.lo,
                                   .hi = d.hi};
        snprintf(pair.recipe, sizeof pair.recipe, "%s", row->recipe);
        snprintf(pair.plain, sizeof pair.plain, "%s", other->recipe);
        snprintf(pair.engine, sizeof pair.engine, "%s", row->engine);
        if (rows_add(s->pairs, &kl_pairs_table, &pair)) return fail(e, ERR_MEMORY, "quality: out of memory");
    }
    return OK;
}

static enum status add_row(struct sweep *s, const struct model *m, const char *recipe, const char *engine,
                           const struct perplexity_result *r, int is_base, struct error *e) {
    struct quality_row row;
    const char *slash = strrchr(s->o->text, '/');
    char label[64];
    snprintf(label, sizeof label, "%s", engine);
    if (strchr(label, ':')) *strchr(label, ':') = ' ';
    if (quality_row_make(&row, m, label, r, &s->windows) ||
        (!is_base && quality_row_compare(&row, r, "float32, reference")))
        return fail(e, ERR_MEMORY, "quality: out of memory");
    snprintf(row.recipe, sizeof row.recipe, "%s", recipe);
    snprintf(row.text, sizeof row.text, "%s", slash ? slash + 1 : s->o->text);
    if (!is_base) TRY(compare_plain(s, &r->quality, &row, e));
    return rows_add(s->rows, &quality_table, &row) ? fail(e, ERR_MEMORY, "quality: out of memory") : OK;
}

/* Takes the points over: 0; or -1 without memory, which only leaves a comparison out. */
static int keep_plain(struct sweep *s, const struct quality *points) {
    void *more = realloc(s->plain, ((size_t)s->n_plain + 1) * sizeof *s->plain);
    if (!more) return -1;
    s->plain = more;
    s->plain[s->n_plain].row = s->rows->n - 1;
    s->plain[s->n_plain++].points = *points;
    return 0;
}

static enum status run_one(struct sweep *s, const struct model *m, const char *recipe, const char *engine,
                           struct base_writer *save, struct error *e) {
    struct perplexity_options p = {.engine_options = {.threads = s->o->threads},
                                   .ids = s->text.ids,
                                   .windows = s->windows,
                                   .bos = s->bos,
                                   .save = save,
                                   .base = save ? NULL : &s->base,
                                   .keep = save ? &s->routes : NULL,
                                   .routes = save ? NULL : &s->routes,
                                   .progress = show,
                                   .progress_arg = s};
    struct perplexity_result r = {0};
    snprintf(s->what, sizeof s->what, "%s, %s", recipe, engine);
    TRY(choose_engine(engine, s->o->cpu_mask, &p, e));
    enum status st = perplexity_run(&r, m, &p, e);
    for (size_t i = 0; !save && i < r.quality.n && i < s->points.n; i++) {
        struct quality_point *point = &r.quality.points[i];
        point->nll_base = s->points.points[i].nll;
        point->dp = exp(-point->nll) - exp(-point->nll_base);
    }
    if (st == OK) st = add_row(s, m, recipe, engine, &r, save != NULL, e);
    if (save)
        s->points = r.quality;
    else if (st != OK || strchr(recipe, '+') || keep_plain(s, &r.quality))
        quality_free(&r.quality);
    s->done++;
    return st;
}

static enum status make_base(struct sweep *s, const struct model *m, struct error *e) {
    struct base_writer w;
    struct base_header h = {s->windows.size, m->config.n_vocab, s->windows.n};
    char label[32];
    snprintf(label, sizeof label, "original %s", m->recipe);
    enum status st = base_create(&w, s->base_path, &h, s->text.ids, e);
    if (st == OK) st = run_one(s, m, label, "reference", &w, e);
    if (st == OK) st = base_finish(&w, e);
    base_abandon(&w);
    return st == OK ? base_open(&s->base, s->base_path, e) : st;
}

/* ---- one recipe ---- */

/* "experts=Q4_0", or "imatrix". */
static enum status add_modifier(struct sweep *s, const char *text, struct convert_options *c,
                                struct error *e) {
    const char *equals = strchr(text, '=');
    if (strcasecmp(text, "imatrix") == 0) {
        c->imatrix = s->imatrix;
        return s->imatrix ? OK : fail(e, ERR_ARG, "quality: a recipe with +imatrix needs --imatrix FILE");
    }
    for (int k = 0; k < CLASS_COUNT && equals; k++)
        if (k != CLASS_PATTERN && strlen(tensor_class_names[k]) == (size_t)(equals - text) &&
            strncmp(tensor_class_names[k], text, (size_t)(equals - text)) == 0)
            return overrides_add(c->overrides, (enum tensor_class)k, NULL, equals + 1, e);
    return fail(
        e, ERR_ARG,
        "quality: '+%s' is neither +imatrix nor +CLASS=TYPE (classes: token-embedding, output-tensor, "
        "experts, dense, attention, conv, router, taps)",
        text);
}

static enum status parse_recipe(struct sweep *s, const char *recipe, struct convert_options *c,
                                struct error *e) {
    char part[64];
    size_t n = strcspn(recipe, "+");
    snprintf(part, sizeof part, "%.*s", (int)n, recipe);
    c->recipe = recipe_by_name(part);
    if (!c->recipe)
        return fail(e, ERR_ARG, "quality: unknown type '%s' (expected one of: %s)", part, recipe_names);
    for (const char *p = recipe + n; *p; p += n) {
        n = strcspn(++p, "+");
        snprintf(part, sizeof part, "%.*s", (int)n, p);
        TRY(add_modifier(s, part, c, e));
    }
    return OK;
}

/* Ways of computing are compared on whole recipes: a class of tensors says nothing about them. */
static int runs_on(const char *recipe, const char *engine) {
    return !strchr(recipe, '=') || !strchr(engine, ':');
}

static enum status run_recipe(struct sweep *s, const char *recipe, struct error *e) {
    struct overrides overrides = {0};
    struct convert_options c = {.in = s->o->model,
                                .out = s->model_path,
                                .overrides = &overrides,
                                .allow_requantize = 1,
                                .threads = s->o->threads ? s->o->threads : 2};
    struct model *m = NULL;
    char engine[64];
    enum status st = parse_recipe(s, recipe, &c, e);
    if (st == OK) st = convert_write(&c, NULL, e);
    if (st == OK) st = model_open(&m, s->model_path, e);
    for (int i = 0; i < sweep_count(s->o->engines) && st == OK; i++)
        if (runs_on(recipe, word(s->o->engines, i, engine, sizeof engine)))
            st = run_one(s, m, recipe, engine, NULL, e);
    model_close(m);
    overrides_free(&overrides);
    unlink(s->model_path);
    return st;
}

/* A mistake in the last word of a list should not be found after an hour. */
static enum status check_lists(struct sweep *s, struct error *e) {
    char text[128];
    struct perplexity_options p;
    for (int i = 0; i < sweep_count(s->o->engines); i++)
        TRY(choose_engine(word(s->o->engines, i, text, sizeof text), 0, &p, e));
    for (int i = 0; i < sweep_count(s->o->recipes); i++) {
        struct overrides overrides = {0};
        struct convert_options c = {.overrides = &overrides};
        enum status st = parse_recipe(s, word(s->o->recipes, i, text, sizeof text), &c, e);
        overrides_free(&overrides);
        if (st != OK) return st;
    }
    return OK;
}

/* ---- all ---- */

static enum status prepare(struct sweep *s, const struct model *m, struct error *e) {
    const struct sweep_options *o = s->o;
    int adds_bos = 0;
    if (o->imatrix) TRY(imatrix_open(&s->imatrix, o->imatrix, e));
    TRY(check_lists(s, e));
    TRY(text_ids(m, o->text, o->special, &s->text, &adds_bos, e));
    s->bos = adds_bos ? m->config.bos_id : -1;
    s->windows = windows_chunks((int)s->text.n, o->n_ctx);
    if (o->chunks > 0 && o->chunks < s->windows.n) s->windows.n = o->chunks;
    if (s->windows.n < 1)
        return fail(e, ERR_ARG, "%s: too short (found %zu ids, expected at least %d; -c makes that fewer)",
                    o->text, s->text.n, o->n_ctx);
    TRY(text_fits(m, s->windows.size, e));
    snprintf(s->folder, sizeof s->folder, "%.200s/lfm2-quality-XXXXXX", cmd_temporary_folder());
    if (!mkdtemp(s->folder)) {
        enum status st = fail(e, ERR_IO, "%s: cannot be made: %s", s->folder, strerror(errno));
        s->folder[0] = 0;
        return st;
    }
    snprintf(s->base_path, sizeof s->base_path, "%s/base", s->folder);
    snprintf(s->model_path, sizeof s->model_path, "%s/model.gguf", s->folder);
    /* Gigabytes, which a program that is told to end must not leave. */
    unfinished_add(s->folder), unfinished_add(s->base_path), unfinished_add(s->model_path);
    char recipe[128], engine[64];
    s->total = 1;
    for (int i = 0; i < sweep_count(o->recipes); i++)
        for (int k = 0; k < sweep_count(o->engines); k++)
            s->total += runs_on(word(o->recipes, i, recipe, sizeof recipe),
                                word(o->engines, k, engine, sizeof engine));
    return OK;
}

static void finish(struct sweep *s) {
    if (s->folder[0]) {
        unlink(s->base_path);
        rmdir(s->folder);
        unfinished_done(s->base_path), unfinished_done(s->model_path), unfinished_done(s->folder);
    }
    base_close(&s->base);
    quality_free(&s->points);
    for (int i = 0; i < s->n_plain; i++) quality_free(&s->plain[i].points);
    free(s->plain);
    routes_free(&s->routes);
    tokens_free(&s->text);
    imatrix_close(s->imatrix);
}

enum status sweep_run(struct rows *rows, struct rows *pairs, struct model_row *model,
                      const struct sweep_options *o, struct error *e) {
    struct sweep s = {.o = o, .rows = rows, .pairs = pairs};
    struct model *m = NULL;
    char recipe[128];
    enum status st = model_open(&m, o->model, e);
    if (st == OK) *model = model_row(m);
    if (st == OK) st = prepare(&s, m, e);
    if (st == OK) st = make_base(&s, m, e);
    model_close(m);
    for (int i = 0; i < sweep_count(o->recipes) && st == OK; i++)
        st = run_recipe(&s, word(o->recipes, i, recipe, sizeof recipe), e);
    finish(&s);
    return st;
}
