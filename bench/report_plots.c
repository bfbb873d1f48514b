/* SPDX-License-Identifier: Apache-2.0 */
/* report_plots: writes the data of each figure to a temporary file and lets gnuplot draw it (plots/ holds the
 * scripts). A data file is one block per series: a line with the quoted title, then rows; two empty lines
 * between. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/cmd.h"
#include "bench/report.h"
#include "data/unfinished.h"

/* A figure's data file, and the style of its blocks as the scripts want it: "ours ours limit", "1 2 1". */
struct drawing {
    char path[256];
    FILE *file;
    char kinds[512], colours[256];
    int blocks;
};

static enum status drawing_open(struct drawing *d, struct error *e) {
    memset(d, 0, sizeof *d);
    snprintf(d->path, sizeof d->path, "%.200s/lfm2-plot-XXXXXX", cmd_temporary_folder());
    int fd = mkstemp(d->path);
    d->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (d->file) {
        unfinished_add(d->path);
        return OK;
    }
    if (fd >= 0) close(fd);
    return fail(e, ERR_IO, "%s: cannot be created", d->path);
}

static void drawing_close(struct drawing *d) {
    if (d->file) fclose(d->file);
    unlink(d->path), unfinished_done(d->path);
}

static void append(char *to, size_t size, const char *word) {
    size_t n = strlen(to);
    snprintf(to + n, size - n, "%s%s", n ? " " : "", word);
}

/* Starts a block; its title ends at the newline that the caller writes. */
static void block(struct drawing *d, const char *kind, int colour, const char *title) {
    char text[16];
    snprintf(text, sizeof text, "%d", colour);
    append(d->kinds, sizeof d->kinds, kind);
    append(d->colours, sizeof d->colours, text);
    if (d->blocks++) fprintf(d->file, "\n\n");
    fputc('"', d->file);
    for (const char *s = title; *s; s++) fputc(*s == '"' || (unsigned char)*s < 32 ? ' ' : *s, d->file);
    fprintf(d->file, "\"\n");
}

/* A model's name in a legend. Names of synthetic models end by saying so, which the title of each figure
 * does. */
static const char *legend_name(char out[64], const char *name) {
    static const char suffix[] = " (synthetic)";
    size_t n = strlen(name), m = sizeof suffix - 1;
    snprintf(out, 64, "%.*s", (int)(n > m && !strcmp(name + n - m, suffix) ? n - m : n), name);
    return out;
}

static enum status gnuplot(const char *scripts, const char *script, const char *const *words,
                           struct error *e) {
    char path[4200], *argv[16] = {(char *)"gnuplot", (char *)"-c", path};
    struct child child;
    int n = 3;
    snprintf(path, sizeof path, "%s/%s", scripts, script);
    if (access(path, R_OK) != 0)
        return fail(e, ERR_IO, "%s: not found; run lfm2 report in the repository's root folder", path);
    while (*words && n < 15) argv[n++] = (char *)*words++;
    if (child_run(&child, argv, NULL) != OK)
        return fail(e, ERR_IO, "gnuplot cannot be run; install the package gnuplot-nox");
    free(child.out);
    if (child.exit_code)
        return fail(e, ERR_IO, "%s: gnuplot failed (%s)", path,
                    child.last_line[0] ? child.last_line : "it gave no reason");
    return OK;
}

/* Where a row stands on the x axis: the prompt's length, or the mean number of tokens in front of a decoded
 * one. */
static double x_of(const struct throughput_row *r) {
    return report_test_of(r) == TEST_PREFILL ? (double)r->n_prompt
                                             : (double)r->n_depth + 0.5 * (double)r->n_gen;
}

/* Decode tests of one chart share a number of generated tokens: the one that most rows have, the larger on a
 * tie. */
static int64_t common_gen(const struct report_source *s) {
    int64_t best = 0;
    size_t best_count = 0;
    for (size_t i = 0; i < s->n_speeds; i++) {
        size_t count = 0;
        if (report_test_of(&s->speeds[i]) != TEST_DECODE) continue;
        for (size_t j = 0; j < s->n_speeds; j++)
            count += report_test_of(&s->speeds[j]) == TEST_DECODE && s->speeds[j].n_gen == s->speeds[i].n_gen;
        if (count > best_count || (count == best_count && s->speeds[i].n_gen > best)) {
            best = s->speeds[i].n_gen;
            best_count = count;
        }
    }
    return best;
}

static int drawn(const struct throughput_row *r, enum report_test test, int64_t gen) {
    if (report_test_of(r) != test) return 0;
    return test == TEST_PREFILL ? r->n_depth == 0 : r->n_gen == gen;
}

/* A curve needs two points. What a sweep over threads adds to a chart of lengths has one, and a figure of its
 * own. */
static int lone(const struct report_source *s, const struct throughput_row *r, enum report_test test,
                int64_t gen) {
    int here = 0, others = 0;
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *x = &s->speeds[i];
        if (!drawn(x, test, gen) || strcmp(x->model, r->model) || strcmp(x->engine, r->engine)) continue;
        if (x->threads == r->threads)
            here++;
        else
            others++;
    }
    return here < 2 && others > here;
}

static int same_series(const struct throughput_row *a, const struct throughput_row *b) {
    return !strcmp(a->model, b->model) && !strcmp(a->engine, b->engine) && a->threads == b->threads;
}

static int colour_of(const struct report_source *s, const char *model) {
    const struct model_row *m = report_model(s, model);
    return m ? (int)(m - s->models) + 1 : (int)s->n_models + 1;
}

/* What a panel shows. */
struct panel {
    const struct report_source *source;
    enum report_test test;
    int64_t gen;
    int share;  /* 1: per cent of the limit; 0: tokens per second */
    double top; /* largest median drawn */
};

static int in_panel(const struct panel *p, const struct throughput_row *r) {
    return drawn(r, p->test, p->gen) && !lone(p->source, r, p->test, p->gen) &&
           (!p->share || r->limit_ts > 0);
}

static int several_threads(const struct panel *p) {
    const struct throughput_row *first = NULL;
    for (size_t i = 0; i < p->source->n_speeds; i++) {
        const struct throughput_row *r = &p->source->speeds[i];
        if (!in_panel(p, r)) continue;
        if (first && first->threads != r->threads) return 1;
        first = r;
    }
    return 0;
}

/* The first row of its series in this panel. */
static int starts_series(const struct panel *p, size_t i) {
    const struct throughput_row *rows = p->source->speeds;
    if (!in_panel(p, &rows[i])) return 0;
    for (size_t j = 0; j < i; j++)
        if (in_panel(p, &rows[j]) && same_series(&rows[j], &rows[i])) return 0;
    return 1;
}

/* "peer", "peer2", ...: each engine beside ours has marks of its own, the same in all panels. */
static const char *kind_of(const struct report_source *s, const char *engine) {
    static const char *const kinds[] = {"peer", "peer2", "peer3", "peer4"};
    size_t k = 0;
    if (!strcmp(engine, "optimized")) return "ours";
    for (size_t i = 0; i < s->n_speeds && strcmp(s->speeds[i].engine, engine); i++) {
        size_t j = 0;
        while (strcmp(s->speeds[j].engine, s->speeds[i].engine)) j++;
        k += j == i && strcmp(s->speeds[i].engine, "optimized");
    }
    return kinds[k % (sizeof kinds / sizeof *kinds)];
}

/* The optimized engine with another option is ours as well. */
static const char *legend_engine(char out[128], const char *engine) {
    size_t n = strlen("optimized");
    int ours = !strncmp(engine, "optimized", n) && (!engine[n] || engine[n] == ',');
    snprintf(out, 128, "%s%s", ours ? "lfm2" : "", ours ? engine + n : engine);
    return out;
}

static void write_series(struct drawing *d, const struct panel *p, size_t first) {
    const struct report_source *s = p->source;
    const struct throughput_row *r = &s->speeds[first];
    char title[256], name[64], engine[128], threads[32] = "";
    if (several_threads(p))
        snprintf(threads, sizeof threads, ", %lld thread%s", (long long)r->threads,
                 r->threads == 1 ? "" : "s");
    snprintf(title, sizeof title, "%s, %s%s", legend_name(name, r->model), legend_engine(engine, r->engine),
             threads);
    block(d, kind_of(s, r->engine), colour_of(s, r->model), title);
    for (size_t i = first; i < s->n_speeds; i++) {
        const struct throughput_row *x = &s->speeds[i];
        if (!in_panel(p, x) || !same_series(x, r)) continue;
        if (p->share)
            fprintf(d->file, "%g %.6g\n", x_of(x), 100 * x->share_of_limit);
        else
            fprintf(d->file, "%g %.6g %.6g %.6g\n", x_of(x), x->median_ts,
                    x->ci_lo > 0 ? x->ci_lo : x->median_ts, x->ci_hi > 0 ? x->ci_hi : x->median_ts);
    }
}

/* The limit as a line of its own; far above everything measured it would flatten the chart, so that it is
 * only named. One per model and number of threads. */
static void write_limit(struct drawing *d, const struct panel *p, size_t first) {
    const struct report_source *s = p->source;
    const struct throughput_row *r = &s->speeds[first];
    double lowest = INFINITY, highest = 0;
    char title[256], name[64], a[32], b[32], threads[32] = "";
    for (size_t i = first; i < s->n_speeds; i++) {
        const struct throughput_row *x = &s->speeds[i];
        if (!in_panel(p, x) || !same_series(x, r) || !(x->limit_ts > 0)) continue;
        lowest = fmin(lowest, x->limit_ts);
        highest = fmax(highest, x->limit_ts);
    }
    if (!(highest > 0)) return;
    int off = lowest > 4 * p->top;
    if (several_threads(p)) snprintf(threads, sizeof threads, ", %lld thr.", (long long)r->threads);
    if (off)
        snprintf(title, sizeof title, "%s%s, limit: %s to %s, above this chart", legend_name(name, r->model),
                 threads, md_rate(a, lowest), md_rate(b, highest));
    else
        snprintf(title, sizeof title, "%s%s, limit of the machine", legend_name(name, r->model), threads);
    block(d, off ? "off" : "limit", colour_of(s, r->model), title);
    for (size_t i = first; i < s->n_speeds; i++) {
        const struct throughput_row *x = &s->speeds[i];
        if (!in_panel(p, x) || !same_series(x, r) || !(x->limit_ts > 0)) continue;
        double y = off ? NAN : x->limit_ts;
        fprintf(d->file, "%g %.6g %.6g %.6g\n", x_of(x), y, y, y);
    }
}

static void write_panel(struct drawing *d, struct panel *p) {
    const struct report_source *s = p->source;
    p->gen = common_gen(s);
    for (size_t i = 0; i < s->n_speeds; i++)
        if (in_panel(p, &s->speeds[i])) p->top = fmax(p->top, s->speeds[i].median_ts);
    for (size_t i = 0; i < s->n_speeds; i++)
        if (starts_series(p, i)) write_series(d, p, i);
    for (size_t i = 0; i < s->n_speeds && !p->share; i++)
        if (starts_series(p, i) && !strcmp(s->speeds[i].engine, "optimized")) write_limit(d, p, i);
    fflush(d->file);
}

/* "LFM2-8B-A1B and Qwen3-1.7B", with what must be said of the weights. */
static void print_title(char *out, size_t size, const char *what, const struct report_source *s) {
    int synthetic = 0;
    for (size_t i = 0; i < s->n_models; i++) synthetic |= s->models[i].synthetic != 0;
    snprintf(out, size, "%s%s\n%s", what, synthetic ? ", synthetic weights" : "", s->machine->cpu);
}

static enum status draw_throughput(const struct report_source *s, enum report_test test, const char *output,
                                   const char *scripts, struct error *e) {
    struct panel p = {.source = s, .test = test};
    struct drawing d;
    char title[512];
    TRY(drawing_open(&d, e));
    write_panel(&d, &p);
    print_title(title, sizeof title, test == TEST_PREFILL ? "Prefill" : "Decode", s);
    const char *words[] = {
        d.path,  output,
        title,   test == TEST_PREFILL ? "prompt length (tokens)" : "context (tokens, mean over the test)",
        d.kinds, d.colours,
        NULL};
    enum status st = gnuplot(scripts, "throughput.gp", words, e);
    drawing_close(&d);
    return st;
}

static enum status draw_share(const struct report_source *s, const char *output, const char *scripts,
                              struct error *e) {
    struct panel prefill = {.source = s, .test = TEST_PREFILL, .share = 1};
    struct panel decode = {.source = s, .test = TEST_DECODE, .share = 1};
    struct drawing left, right;
    char title[512];
    print_title(title, sizeof title, "Share of what this machine's measured limits allow", s);
    TRY(drawing_open(&left, e));
    enum status st = drawing_open(&right, e);
    if (st == OK) {
        write_panel(&left, &prefill);
        write_panel(&right, &decode);
        const char *words[] = {left.blocks ? left.path : "",
                               right.blocks ? right.path : "",
                               output,
                               left.kinds,
                               left.colours,
                               right.kinds,
                               right.colours,
                               title,
                               NULL};
        st = gnuplot(scripts, "share.gp", words, e);
        drawing_close(&right);
    }
    drawing_close(&left);
    return st;
}

/* One line per model, engine and test that was measured with several numbers of threads. */
static enum status draw_threads(const struct report_source *s, const char *output, const char *scripts,
                                struct error *e) {
    struct drawing d;
    char title[512], name[64], engine[128], text[512];
    TRY(drawing_open(&d, e));
    print_title(title, sizeof title, "Speed against threads", s);
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        int first = report_thread_counts(s, i) > 1;
        for (size_t j = 0; j < i && first; j++)
            first = strcmp(s->speeds[j].model, r->model) || strcmp(s->speeds[j].engine, r->engine) ||
                    strcmp(s->speeds[j].test, r->test);
        if (!first) continue;
        snprintf(text, sizeof text, "%s, %s, %s", legend_name(name, r->model),
                 legend_engine(engine, r->engine), r->test);
        block(&d, report_test_of(r) == TEST_PREFILL ? "ours" : "peer", colour_of(s, r->model), text);
        for (size_t j = i; j < s->n_speeds; j++) {
            const struct throughput_row *x = &s->speeds[j];
            if (strcmp(x->model, r->model) || strcmp(x->engine, r->engine) || strcmp(x->test, r->test))
                continue;
            fprintf(d.file, "%lld %.6g %.6g %.6g\n", (long long)x->threads, x->median_ts,
                    x->ci_lo > 0 ? x->ci_lo : x->median_ts, x->ci_hi > 0 ? x->ci_hi : x->median_ts);
        }
    }
    fflush(d.file);
    const char *words[] = {d.path, output, title, "threads", d.kinds, d.colours, NULL};
    enum status st = gnuplot(scripts, "throughput.gp", words, e);
    drawing_close(&d);
    return st;
}

/* One line per phase, with the reference's choice of experts where there are any; own: with the engine's. */
static void write_layers(struct drawing *d, const struct report_source *s, const struct report_parity *p,
                         const char *phase, int own) {
    char title[256], name[64];
    int started = 0, routers = parity_has_router(&p->rows);
    snprintf(title, sizeof title, "%s, %s%s", legend_name(name, p->model.name), phase,
             own       ? ", own experts"
             : routers ? ", reference's experts"
                       : "");
    for (size_t k = 0; k < p->rows.n_layers; k++) {
        const struct parity_layer_row *r = &p->rows.layers[k];
        double nmse = routers && !own ? r->residual_nmse_routed : r->residual_nmse;
        if (strcmp(r->phase, phase) || !(nmse > 0)) continue;
        if (!started++)
            block(d,
                  own                        ? "limit"
                  : strcmp(phase, "prefill") ? "peer"
                                             : "ours",
                  colour_of(s, p->model.name), title);
        fprintf(d->file, "%lld %.6g\n", (long long)r->layer, nmse);
    }
}

static enum status draw_parity(const struct report_source *s, const char *output, const char *scripts,
                               struct error *e) {
    struct drawing d;
    char title[512];
    print_title(title, sizeof title, "Error of the residual stream, optimized against the float32 reference",
                s);
    TRY(drawing_open(&d, e));
    for (size_t i = 0; i < s->n_parity; i++) {
        if (!report_parity_is_main(s, i)) continue;
        write_layers(&d, s, &s->parity[i], "prefill", 0);
        write_layers(&d, s, &s->parity[i], "decode", 0);
        if (parity_has_router(&s->parity[i].rows)) write_layers(&d, s, &s->parity[i], "prefill", 1);
    }
    fflush(d.file);
    const char *words[] = {d.path, output, d.kinds, d.colours, title, NULL};
    enum status st = d.blocks ? gnuplot(scripts, "parity.gp", words, e) : OK;
    drawing_close(&d);
    return st;
}

/* One line per engine through the recipes; those with +imatrix stand beside it. Instruction sets differ by
 * less than a line's width. */
static void write_quality(struct drawing *d, const struct report_source *s, const char *engine, int colour,
                          int fitted) {
    char title[256];
    int started = 0;
    snprintf(title, sizeof title, "%s%s%s", engine,
             !strcmp(engine, "reference") ? ": weights alone"
             : strstr(engine, " kv-")     ? ": and keys and values in int8"
                                          : ": weights and int8 activations",
             fitted ? ", fitted with an importance matrix" : "");
    for (size_t i = 0; i < s->n_quality; i++) {
        const struct quality_row *r = &s->quality[i];
        if (strcmp(r->engine, engine) || strchr(r->recipe, '=') || !(r->kl_mean > 0)) continue;
        if ((strchr(r->recipe, '+') != NULL) != fitted) continue;
        if (!started++) block(d, fitted ? "peer" : "ours", colour, title);
        fprintf(d->file, "%.6g %.6g %.6g %.6g \"%s\"\n", r->bits_per_weight, r->kl_mean,
                fmax(r->kl_mean - 1.96 * r->kl_se, r->kl_mean / 10), r->kl_mean + 1.96 * r->kl_se,
                fitted || colour > 1 ? "" : r->recipe);
    }
}

static enum status draw_quality(const struct report_source *s, const char *output, const char *scripts,
                                struct error *e) {
    struct drawing d;
    char title[256];
    int colour = 0;
    snprintf(title, sizeof title, "KL divergence from the model in float32, %s", s->quality[0].model);
    TRY(drawing_open(&d, e));
    for (size_t i = 0; i < s->n_quality; i++) {
        size_t first = 0;
        while (strcmp(s->quality[first].engine, s->quality[i].engine)) first++;
        if (first < i) continue;
        if (strchr(s->quality[i].engine, ' ') && !strstr(s->quality[i].engine, " kv-")) continue;
        colour++;
        write_quality(&d, s, s->quality[i].engine, colour, 0);
        write_quality(&d, s, s->quality[i].engine, colour, 1);
    }
    fflush(d.file);
    const char *words[] = {d.path, output, d.kinds, d.colours, title, NULL};
    enum status st = d.blocks ? gnuplot(scripts, "quality.gp", words, e) : OK;
    drawing_close(&d);
    return st;
}

/* A place on the x axis per task, filter and protocol: scores of two protocols never share one. */
static int same_place(const struct eval_row *a, const struct eval_row *b) {
    return !strcmp(a->task, b->task) && !strcmp(a->filter, b->filter) && !strcmp(a->metric, b->metric) &&
           !strcmp(a->protocol, b->protocol);
}

static int same_curve(const struct eval_row *a, const struct eval_row *b) {
    return !strcmp(a->model, b->model) && !strcmp(a->recipe, b->recipe) && !strcmp(a->engine, b->engine);
}

static int eval_drawn(const struct report_source *s, const struct eval_row *r) {
    return !*r->parent && report_eval_counts(s, r);
}

static int eval_is_first(const struct report_source *s, size_t at,
                         int (*same)(const struct eval_row *, const struct eval_row *)) {
    for (size_t i = 0; i < at; i++)
        if (eval_drawn(s, &s->evals[i]) && same(&s->evals[i], &s->evals[at])) return 0;
    return eval_drawn(s, &s->evals[at]);
}

static int eval_place(const struct report_source *s, size_t at) {
    int place = 0;
    for (size_t i = 0; i < s->n_evals; i++) {
        if (!eval_is_first(s, i, same_place)) continue;
        if (same_place(&s->evals[i], &s->evals[at])) return place;
        place++;
    }
    return place;
}

/* The first block names the places. */
static enum status draw_eval(const struct report_source *s, const char *output, const char *scripts,
                             struct error *e) {
    struct drawing d;
    char title[256];
    TRY(drawing_open(&d, e));
    block(&d, "off", 0, "places");
    for (size_t i = 0; i < s->n_evals; i++) {
        const struct eval_row *r = &s->evals[i];
        if (eval_is_first(s, i, same_place))
            fprintf(d.file, "%d \"%s\\n%s\\n%s\"\n", eval_place(s, i), r->task,
                    strcmp(r->filter, "none") ? r->filter : r->metric,
                    strcmp(r->protocol, "card") ? "" : "card-like");
    }
    for (size_t i = 0; i < s->n_evals; i++) {
        const struct eval_row *r = &s->evals[i];
        if (!eval_is_first(s, i, same_curve)) continue;
        snprintf(title, sizeof title, "%s %s, %s", r->model, r->recipe, r->engine);
        block(&d, strcmp(r->engine, "reference") ? "ours" : "peer", d.blocks, title);
        for (size_t k = i; k < s->n_evals; k++) {
            const struct eval_row *x = &s->evals[k];
            if (!eval_drawn(s, x) || !same_curve(x, r)) continue;
            fprintf(d.file, "%d %.6g %.6g %.6g\n", eval_place(s, k), x->value,
                    isnan(x->lo) ? x->value : x->lo, isnan(x->hi) ? x->value : x->hi);
        }
    }
    fflush(d.file);
    const char *words[] = {d.path, output, d.kinds, d.colours, "Scores with 95 % intervals", NULL};
    enum status st = gnuplot(scripts, "eval.gp", words, e);
    drawing_close(&d);
    return st;
}

enum status report_plots(const struct report_source *s, const char *prefix, const char *dir,
                         const char *scripts, struct error *e) {
    char output[4400];
    for (int figure = 0; figure < FIGURE_COUNT; figure++) {
        if (!report_has_figure(s, figure)) continue;
        snprintf(output, sizeof output, "%s/%s%s", dir, prefix, report_figure_names[figure]);
        if (figure == FIGURE_PREFILL) TRY(draw_throughput(s, TEST_PREFILL, output, scripts, e));
        if (figure == FIGURE_DECODE) TRY(draw_throughput(s, TEST_DECODE, output, scripts, e));
        if (figure == FIGURE_SHARE) TRY(draw_share(s, output, scripts, e));
        if (figure == FIGURE_THREADS) TRY(draw_threads(s, output, scripts, e));
        if (figure == FIGURE_PARITY) TRY(draw_parity(s, output, scripts, e));
        if (figure == FIGURE_QUALITY) TRY(draw_quality(s, output, scripts, e));
        if (figure == FIGURE_EVAL) TRY(draw_eval(s, output, scripts, e));
    }
    return OK;
}
