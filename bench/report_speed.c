/* SPDX-License-Identifier: Apache-2.0 */
/* report_speed: the throughput tables of RESULTS.md, and ours beside what others published. */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"
#include "data/mapped.h"

enum { MAX_ENGINES = 8, PROTOCOL = 4, PUBLISHED_FIELDS = 9 };

static int is_ours(const struct throughput_row *r) {
    return !strcmp(r->engine, "optimized");
}

void report_model_text(FILE *to, const struct report_source *s, const char *name) {
    const struct model_row *m = report_model(s, name);
    md_text(to, name);
    if (!m) return;
    fprintf(to, ", %s", m->recipe);
    if (m->synthetic) fprintf(to, ", **synthetic weights**");
}

static void print_interval(FILE *to, const struct throughput_row *r) {
    char a[32], b[32];
    if (r->repetitions == 1)
        fprintf(to, "once");
    else
        fprintf(to, "%s – %s", md_rate(a, r->ci_lo), md_rate(b, r->ci_hi));
}

static void print_peer(FILE *to, const struct throughput_row *ours, const struct throughput_row *peer) {
    char a[32];
    if (!peer) {
        fprintf(to, " - | - |");
        return;
    }
    fprintf(to, " %s |", md_rate(a, peer->median_ts));
    if (peer->ratio > 0 && peer->repetitions > 1)
        fprintf(to, " **%.2f** (%.2f – %.2f) |", peer->ratio, peer->ratio_lo, peer->ratio_hi);
    else if (ours && peer->median_ts > 0)
        fprintf(to, " **%.2f** |", ours->median_ts / peer->median_ts);
    else
        fprintf(to, " - |");
}

/* Different engines among rows [0, n), "optimized" left out; sorted by name. */
static int other_engines(const struct throughput_row *rows, size_t n, const char *out[MAX_ENGINES]) {
    int k = 0;
    for (size_t i = 0; i < n; i++) {
        int at = 0;
        if (is_ours(&rows[i])) continue;
        while (at < k && strcmp(out[at], rows[i].engine) < 0) at++;
        if ((at < k && !strcmp(out[at], rows[i].engine)) || k == MAX_ENGINES) continue;
        memmove(out + at + 1, out + at, (size_t)(k - at) * sizeof *out);
        out[at] = rows[i].engine;
        k++;
    }
    return k;
}

static const struct throughput_row *find_engine(const struct throughput_row *rows, size_t n,
                                                const char *engine) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(rows[i].engine, engine)) return &rows[i];
    return NULL;
}

/* What the columns of a group's table depend on. */
struct columns {
    const char *engines[MAX_ENGINES]; /* beside ours */
    int n_engines, limits, memory;
    const struct model_row *model;
};

static void print_memory(FILE *to, const struct throughput_row *ours, const struct model_row *m) {
    if (!ours || ours->peak_rss <= 0)
        fprintf(to, " - |");
    else if (m && m->bytes > 0)
        fprintf(to, " %.2f (%.2f) |", 1e-9 * (double)ours->peak_rss,
                (double)ours->peak_rss / (double)m->bytes);
    else
        fprintf(to, " %.2f |", 1e-9 * (double)ours->peak_rss);
}

/* One line: all engines' rows [0, n) of the same test. */
static void print_test(FILE *to, const struct throughput_row *rows, size_t n, const struct columns *c) {
    const struct throughput_row *ours = find_engine(rows, n, "optimized");
    char a[32], b[32];
    fprintf(to, "| ");
    md_text(to, rows->test);
    if (ours) {
        fprintf(to, " | **%s** | ", md_rate(a, ours->median_ts));
        print_interval(to, ours);
        fprintf(to, " |");
    } else {
        fprintf(to, " | - | - |");
    }
    if (ours && ours->share_hi > 0 && ours->repetitions > 1)
        fprintf(to, " %s | %.0f %% of %s (%.0f – %.0f) |", md_rate(b, ours->limit_ts),
                100 * ours->share_of_limit, ours->limited_by, 100 * ours->share_lo, 100 * ours->share_hi);
    else if (ours && ours->limit_ts > 0)
        fprintf(to, " %s | %.1f %% of %s |", md_rate(b, ours->limit_ts), 100 * ours->share_of_limit,
                ours->limited_by);
    else if (c->limits)
        fprintf(to, " - | - |");
    if (c->memory) print_memory(to, ours, c->model);
    for (int i = 0; i < c->n_engines; i++) print_peer(to, ours, find_engine(rows, n, c->engines[i]));
    fprintf(to, "\n");
}

/* "loaded in 0.2 – 12.3 s; ": the least and the most of the whole number at that offset of our rows, times
 * scale; nothing where all are 0, not known. */
static void print_range(FILE *to, const struct throughput_row *rows, size_t n, const char *what,
                        size_t offset, double scale, const char *format) {
    double lo = INFINITY, hi = 0;
    char a[48], b[48];
    for (size_t i = 0; i < n; i++) {
        int64_t value;
        memcpy(&value, (const char *)&rows[i] + offset, sizeof value);
        if (!is_ours(&rows[i]) || value <= 0) continue;
        lo = fmin(lo, scale * (double)value);
        hi = fmax(hi, scale * (double)value);
    }
    if (!(hi > 0)) return;
    snprintf(a, sizeof a, format, lo);
    snprintf(b, sizeof b, format, hi);
    fprintf(to, "%s %s%s%s%s; ", what, a, strcmp(a, b) ? " – " : "", strcmp(a, b) ? b : "",
            scale < 1 ? " s" : "");
}

static void print_notes(FILE *to, const struct throughput_row *rows, size_t n) {
    const struct throughput_row *ours = find_engine(rows, n, "optimized");
    int64_t same = 1;
    if (!ours) return;
    for (size_t i = 0; i < n; i++)
        if (is_ours(&rows[i])) same &= rows[i].output_same != 0;
    fprintf(to, "\n");
    print_range(to, rows, n, "Repetitions:", offsetof(struct throughput_row, repetitions), 1, "%.0f");
    print_range(to, rows, n, "loaded in", offsetof(struct throughput_row, load_ns), 1e-9, "%.1f");
    print_range(to, rows, n, "from opening the file to the first token",
                offsetof(struct throughput_row, first_token_ns), 1e-9, "%.1f");
    fprintf(to, "%s.\nKernels: ",
            same ? "every repetition of a test gave the same logits, byte for byte"
                 : "**repetitions of a test gave different logits**");
    md_text(to, ours->kernels);
    fprintf(to, "\n");
}

/* Rows [0, n): one model with one number of threads. */
static void print_group(FILE *to, const struct report_source *s, const struct throughput_row *rows,
                        size_t n) {
    struct columns c = {.model = report_model(s, rows->model)};
    c.n_engines = other_engines(rows, n, c.engines);
    for (size_t i = 0; i < n; i++) {
        c.limits |= rows[i].limit_ts > 0;
        c.memory |= is_ours(&rows[i]) && rows[i].peak_rss > 0;
    }
    fprintf(to, "\n#### ");
    report_model_text(to, s, rows->model);
    fprintf(to, ", %lld thread%s\n\n| test | tok/s | 95 %% interval |%s%s", (long long)rows->threads,
            rows->threads == 1 ? "" : "s", c.limits ? " limit tok/s | share of the limit |" : "",
            c.memory ? " resident, GB (× file) |" : "");
    for (int i = 0; i < c.n_engines; i++) {
        fprintf(to, " ");
        md_text(to, c.engines[i]);
        fprintf(to, " tok/s | ours ÷ theirs |");
    }
    fprintf(to, "\n|---|--:|--:|%s%s", c.limits ? "--:|--:|" : "", c.memory ? "--:|" : "");
    for (int i = 0; i < c.n_engines; i++) fprintf(to, "--:|--:|");
    fprintf(to, "\n");
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && !strcmp(rows[j].test, rows[i].test)) j++;
        print_test(to, rows + i, j - i, &c);
        i = j;
    }
    print_notes(to, rows, n);
}

void report_speeds(FILE *to, const struct report_source *s) {
    for (size_t i = 0; i < s->n_speeds;) {
        size_t j = i;
        while (j < s->n_speeds && !strcmp(s->speeds[j].model, s->speeds[i].model) &&
               s->speeds[j].threads == s->speeds[i].threads)
            j++;
        print_group(to, s, s->speeds + i, j - i);
        i = j;
    }
}

/* The technical report's four tests: prefill of 1K and 4K, 100 tokens after 1K and 4K. */
static const struct {
    int64_t prompt, gen, depth;
    const char *heading;
} protocol[PROTOCOL] = {{1024, 0, 0, "prefill 1K"},
                        {4096, 0, 0, "prefill 4K"},
                        {0, 100, 1024, "decode after 1K"},
                        {0, 100, 4096, "decode after 4K"}};

/* A record without the decode of 100 tokens may have another number of tokens at that depth, which will do.
 */
static const struct throughput_row *find_protocol(const struct report_source *s, const char *model,
                                                  const char *engine, int64_t threads, int test) {
    const struct throughput_row *near = NULL;
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        if (strcmp(r->model, model) || strcmp(r->engine, engine) || r->threads != threads ||
            r->n_prompt != protocol[test].prompt || r->n_depth != protocol[test].depth ||
            report_test_of(r) == TEST_MIXED)
            continue;
        if (r->n_gen == protocol[test].gen) return r;
        if (r->n_gen && protocol[test].gen && !near) near = r;
    }
    return near;
}

/* Says which tests the rows of this machine are. */
static void print_protocol_tests(FILE *to, const struct report_source *s) {
    const char *separator = "Tests behind the rows of this machine: ";
    for (int test = 0; test < PROTOCOL; test++)
        for (size_t i = 0; i < s->n_speeds; i++) {
            const struct throughput_row *r = &s->speeds[i];
            if (find_protocol(s, r->model, r->engine, r->threads, test) != r) continue;
            fprintf(to, "%s`%s`", separator, r->test);
            separator = ", ";
            break;
        }
    fprintf(to, ".\n");
}

struct published_row {
    char field[5][96]; /* source, device, software, weights, model */
    double speed[PROTOCOL];
};

static int split(char *line, char *out[], int max) {
    int n = 0;
    for (char *s = line; s; n++) {
        char *comma = strchr(s, ',');
        if (comma) *comma = 0;
        if (n < max) out[n] = s;
        s = comma ? comma + 1 : NULL;
    }
    return n;
}

static enum status parse_published(struct published_row *row, char *line, const char *path, int number,
                                   struct error *e) {
    char *field[PUBLISHED_FIELDS], *end;
    int n = split(line, field, PUBLISHED_FIELDS);
    if (n != PUBLISHED_FIELDS)
        return fail(e, ERR_FORMAT, "%s: line %d: found %d fields, expected %d", path, number, n,
                    PUBLISHED_FIELDS);
    for (int i = 0; i < 5; i++) snprintf(row->field[i], sizeof row->field[i], "%s", field[i]);
    for (int i = 0; i < PROTOCOL; i++) {
        row->speed[i] = strtod(field[5 + i], &end);
        if (*end || !(row->speed[i] >= 0))
            return fail(e, ERR_FORMAT, "%s: line %d: '%s' is not a speed", path, number, field[5 + i]);
    }
    return OK;
}

static enum status read_published(struct rows *out, const struct table *t, const char *path,
                                  struct error *e) {
    char line[1024];
    int number = 0, heading = 1;
    TRY(regular_file(path, e));
    FILE *f = fopen(path, "re");
    if (!f) return fail(e, ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    enum status st = OK;
    while (st == OK && fgets(line, sizeof line, f)) {
        struct published_row row;
        number++;
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] == '#' || !line[0]) continue;
        if (heading) { /* the column names */
            heading = 0;
            continue;
        }
        st = parse_published(&row, line, path, number, e);
        if (st == OK && rows_add(out, t, &row)) st = fail(e, ERR_MEMORY, "report: out of memory");
    }
    fclose(f);
    return st;
}

static void print_speeds4(FILE *to, const double speed[PROTOCOL]) {
    char a[32];
    for (int i = 0; i < PROTOCOL; i++) fprintf(to, " %s |", md_rate(a, speed[i]));
    fprintf(to, "\n");
}

/* Ours and the peers' four speeds per model at the most threads measured. Returns how many lines. */
static int print_protocol_here(FILE *to, const struct report_source *s) {
    int lines = 0;
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        double speed[PROTOCOL] = {0};
        int first = 1, any = 0;
        for (size_t j = 0; j < i && first; j++)
            first = strcmp(s->speeds[j].model, r->model) || strcmp(s->speeds[j].engine, r->engine) ||
                    s->speeds[j].threads != r->threads;
        if (!first) continue;
        for (int test = 0; test < PROTOCOL; test++) {
            const struct throughput_row *found = find_protocol(s, r->model, r->engine, r->threads, test);
            speed[test] = found ? found->median_ts : 0;
            any |= found != NULL;
        }
        if (!any) continue;
        fprintf(to, "| **this machine**, %lld thread%s | ", (long long)r->threads,
                r->threads == 1 ? "" : "s");
        md_text(to, is_ours(r) ? "lfm2" : r->engine);
        fprintf(to, " | measured here | ");
        report_model_text(to, s, r->model);
        fprintf(to, " |");
        print_speeds4(to, speed);
        lines++;
    }
    return lines;
}

/* LFM2 / Qwen3 among the published rows that share source, device and software. */
static void print_published_ratios(FILE *to, const struct published_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            if (strncmp(rows[i].field[4], "LFM2", 4) || strncmp(rows[j].field[4], "Qwen3", 5)) continue;
            if (strcmp(rows[i].field[0], rows[j].field[0]) || strcmp(rows[i].field[1], rows[j].field[1]))
                continue;
            fprintf(to, "| ");
            md_text(to, rows[i].field[1]);
            fprintf(to, " | ");
            md_text(to, rows[i].field[2]);
            fprintf(to, " | %s ÷ %s, published: %s |", rows[i].field[4], rows[j].field[4], rows[i].field[0]);
            for (int t = 0; t < PROTOCOL; t++)
                if (rows[i].speed[t] > 0 && rows[j].speed[t] > 0)
                    fprintf(to, " %.2f |", rows[i].speed[t] / rows[j].speed[t]);
                else
                    fprintf(to, " - |");
            fprintf(to, "\n");
        }
}

static const struct model_row *model_of_arch(const struct report_source *s, const char *arch) {
    for (size_t i = 0; i < s->n_models; i++)
        if (!strcmp(s->models[i].arch, arch)) return &s->models[i];
    return NULL;
}

/* Same engine, threads and test of the second model. */
static const struct throughput_row *counterpart(const struct report_source *s, const struct throughput_row *r,
                                                const char *model) {
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *c = &s->speeds[i];
        if (!strcmp(c->model, model) && !strcmp(c->engine, r->engine) && c->threads == r->threads &&
            !strcmp(c->test, r->test) && c->median_ts > 0)
            return c;
    }
    return NULL;
}

/* The widest the ratio can be with both medians inside their intervals. */
static void print_ratio(FILE *to, const struct throughput_row *a, const struct throughput_row *b) {
    fprintf(to, "**%.2f**", a->median_ts / b->median_ts);
    if (a->ci_lo > 0 && b->ci_lo > 0) fprintf(to, " (%.2f – %.2f)", a->ci_lo / b->ci_hi, a->ci_hi / b->ci_lo);
}

/* The four ratios of one engine with so many threads; nothing when there is none. */
static void print_ratio_row(FILE *to, const struct report_source *s, const struct throughput_row *r,
                            const struct model_row *lfm2, const struct model_row *qwen3) {
    const struct throughput_row *a[PROTOCOL], *b[PROTOCOL];
    int any = 0;
    for (int t = 0; t < PROTOCOL; t++) {
        a[t] = find_protocol(s, lfm2->name, r->engine, r->threads, t);
        b[t] = a[t] ? counterpart(s, a[t], qwen3->name) : NULL;
        any |= b[t] != NULL;
    }
    if (!any) return;
    fprintf(to, "| **this machine**, %lld thread%s | ", (long long)r->threads, r->threads == 1 ? "" : "s");
    md_text(to, is_ours(r) ? "lfm2" : r->engine);
    fprintf(to, " | %s ÷ %s, measured here |", lfm2->name, qwen3->name);
    for (int t = 0; t < PROTOCOL; t++) {
        fprintf(to, " ");
        if (b[t])
            print_ratio(to, a[t], b[t]);
        else
            fprintf(to, "-");
        fprintf(to, " |");
    }
    fprintf(to, "\n");
}

static void print_ratios_here(FILE *to, const struct report_source *s, const struct model_row *lfm2,
                              const struct model_row *qwen3) {
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        int first = !strcmp(r->model, lfm2->name);
        for (size_t j = 0; j < i && first; j++)
            first = strcmp(s->speeds[j].model, r->model) || strcmp(s->speeds[j].engine, r->engine) ||
                    s->speeds[j].threads != r->threads;
        if (first) print_ratio_row(to, s, r, lfm2, qwen3);
    }
}

static void print_ratios_by_length(FILE *to, const struct report_source *s, const struct model_row *lfm2,
                                   const struct model_row *qwen3) {
    char a[32], b[32];
    int any = 0;
    for (size_t i = 0; i < s->n_speeds; i++)
        any |= !strcmp(s->speeds[i].model, lfm2->name) && counterpart(s, &s->speeds[i], qwen3->name) != NULL;
    if (!any) return;
    fprintf(
        to,
        "\nThe same ratio for every test that both models ran (the interval is the widest that the two 95 %% "
        "intervals allow):\n\n| test | threads | engine | %s tok/s | %s tok/s | ratio |\n"
        "|---|--:|---|--:|--:|--:|\n",
        lfm2->name, qwen3->name);
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i], *c;
        if (strcmp(r->model, lfm2->name) || !(c = counterpart(s, r, qwen3->name))) continue;
        fprintf(to, "| ");
        md_text(to, r->test);
        fprintf(to, " | %lld | ", (long long)r->threads);
        md_text(to, is_ours(r) ? "lfm2" : r->engine);
        fprintf(to, " | %s | %s | ", md_rate(a, r->median_ts), md_rate(b, c->median_ts));
        print_ratio(to, r, c);
        fprintf(to, " |\n");
    }
}

static void print_headings(FILE *to) {
    for (int i = 0; i < PROTOCOL; i++) fprintf(to, " %s |", protocol[i].heading);
}

static void print_beside(FILE *to, const struct report_source *s, const struct published_row *rows,
                         size_t n) {
    const struct model_row *lfm2 = model_of_arch(s, "lfm2moe"), *qwen3 = model_of_arch(s, "qwen3");
    fprintf(
        to,
        "The protocol of the LFM2 technical report: tokens per second for prompts of 1K and 4K tokens, and "
        "for "
        "100 tokens decoded after 1K and 4K. **Rows not marked \"this machine\" were measured by others on "
        "other machines with trained weights**; they are here for scale, not for comparison row by row.\n\n"
        "| machine | software | source | model |");
    print_headings(to);
    fprintf(to, "\n|---|---|---|---|--:|--:|--:|--:|\n");
    int here = print_protocol_here(to, s);
    for (size_t i = 0; i < n; i++) {
        const struct published_row *r = &rows[i];
        fprintf(to, "| %s | %s | %s | %s, %s |", r->field[1], r->field[2], r->field[0], r->field[4],
                r->field[3]);
        print_speeds4(to, r->speed);
    }
    fprintf(to, "\n");
    if (here)
        print_protocol_tests(to, s);
    else
        fprintf(to, "This record has none of these four tests; `lfm2 bench --preset report` runs them.\n");
    fprintf(
        to,
        "\nSources: \"technical report\" is Table 2 of arXiv 2511.23404 as public notes quote it; \"card's "
        "charts\" "
        "are the bar charts of the LFM2-8B-A1B model card as a press article read them. The two differ by "
        "more than a factor of three on similar phones.\n\nHow much faster is LFM2 than Qwen3? What matters "
        "across machines is the ratio:\n\n| machine | software | ratio |");
    print_headings(to);
    fprintf(to, "\n|---|---|---|--:|--:|--:|--:|\n");
    if (lfm2 && qwen3) print_ratios_here(to, s, lfm2, qwen3);
    print_published_ratios(to, rows, n);
    if (lfm2 && qwen3) print_ratios_by_length(to, s, lfm2, qwen3);
}

enum status report_published(FILE *to, const struct report_source *s, const char *published,
                             struct error *e) {
    const struct table t = {.name = "published", .row_bytes = sizeof(struct published_row)};
    struct rows rows = {0};
    enum status st = read_published(&rows, &t, published, e);
    if (st == OK) print_beside(to, s, rows.data, rows.n);
    free(rows.data);
    return st;
}
