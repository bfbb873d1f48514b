/* SPDX-License-Identifier: Apache-2.0 */
/* throughput_print: every row becomes one ordered JSON object; csv and sql are other spellings of it. */
#include "bench/throughput_print.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/machine.h"

struct context {
    const struct rows *throughput, *models, *samples;
    char cpu[256], commit[64], time[32];
};

static const struct model_row *find_model(const struct context *c, const char *name) {
    const struct model_row *m = c->models->data;
    for (size_t i = 0; i < c->models->n; i++)
        if (strcmp(m[i].name, name) == 0) return &m[i];
    return NULL;
}

static json_t *samples_of(const struct context *c, const struct throughput_row *r, int as_rate) {
    json_t *list = json_array();
    const struct sample_row *s = c->samples->data;
    for (int64_t i = 0; i < r->samples_count; i++) {
        int64_t ns = s[r->samples_first + i].ns;
        json_array_append_new(list, as_rate ? json_real(1e9 * (double)(r->n_prompt + r->n_gen) / (double)ns)
                                            : json_integer(ns));
    }
    return list;
}

static void text(json_t *o, const char *name, const char *value) {
    json_object_set_new(o, name, json_string(value));
}
static void integer(json_t *o, const char *name, int64_t v) {
    json_object_set_new(o, name, json_integer(v));
}
static void number(json_t *o, const char *name, double v) {
    json_object_set_new(o, name, json_real(v));
}

/* In llama-bench's order, then ours. */
static json_t *row_object(const struct context *c, const struct throughput_row *r) {
    json_t *o = json_object();
    const struct model_row *m = find_model(c, r->model);
    char type[64];
    snprintf(type, sizeof type, "%s %s", m ? m->arch : "", m ? m->recipe : "");
    text(o, "build_commit", c->commit);
    text(o, "cpu_info", c->cpu);
    text(o, "backends", r->engine);
    text(o, "model_filename", m ? m->file : "");
    text(o, "model_type", type);
    integer(o, "model_size", m ? m->bytes : 0);
    integer(o, "model_n_params", m ? m->params : 0);
    integer(o, "n_batch", r->n_batch);
    integer(o, "n_threads", r->threads);
    text(o, "type_k", "f16");
    text(o, "type_v", "f16");
    integer(o, "n_prompt", r->n_prompt);
    integer(o, "n_gen", r->n_gen);
    integer(o, "n_depth", r->n_depth);
    text(o, "test_time", c->time);
    integer(o, "avg_ns", (int64_t)r->avg_ns);
    integer(o, "stddev_ns", (int64_t)r->stddev_ns);
    number(o, "avg_ts", r->avg_ts);
    number(o, "stddev_ts", r->stddev_ts);
    text(o, "engine", r->engine);
    text(o, "model_name", r->model);
    text(o, "test", r->test);
    number(o, "median_ts", r->median_ts);
    number(o, "ci_lo", r->ci_lo);
    number(o, "ci_hi", r->ci_hi);
    number(o, "bytes_per_token", r->bytes_per_token);
    number(o, "macs_per_token", r->macs_per_token);
    number(o, "limit_ts", r->limit_ts);
    number(o, "share_of_limit", r->share_of_limit);
    number(o, "share_lo", r->share_lo);
    number(o, "share_hi", r->share_hi);
    text(o, "limited_by", r->limited_by);
    integer(o, "peak_rss", r->peak_rss);
    integer(o, "load_ns", r->load_ns);
    integer(o, "first_token_ns", r->first_token_ns);
    text(o, "kernels", r->kernels);
    text(o, "output_sha256", r->output_sha256);
    integer(o, "output_same", r->output_same);
    integer(o, "seed", r->seed);
    number(o, "ratio", r->ratio);
    number(o, "ratio_lo", r->ratio_lo);
    number(o, "ratio_hi", r->ratio_hi);
    return o;
}

/* A value between quotes, the quote inside doubled; numbers go bare in sql, quoted in csv as llama-bench
 * does. */
static void print_quoted(FILE *to, const json_t *v, char quote) {
    char buffer[64] = "";
    const char *s = json_string_value(v);
    if (json_is_integer(v)) snprintf(buffer, sizeof buffer, "%lld", (long long)json_integer_value(v));
    if (json_is_real(v)) snprintf(buffer, sizeof buffer, "%.6f", json_real_value(v));
    if (!s) s = buffer;
    fputc(quote, to);
    for (; *s; s++) {
        if (*s == quote) fputc(quote, to);
        fputc(*s, to);
    }
    fputc(quote, to);
}

static void print_names(FILE *to, json_t *o, const char *between) {
    const char *name;
    json_t *v;
    int n = 0;
    json_object_foreach(o, name, v) fprintf(to, "%s%s", n++ ? between : "", name);
}

static void print_csv(FILE *to, const struct context *c) {
    const struct throughput_row *r = c->throughput->data;
    for (size_t i = 0; i < c->throughput->n; i++) {
        json_t *o = row_object(c, &r[i]), *v;
        const char *name;
        int n = 0;
        if (i == 0) print_names(to, o, ",");
        if (i == 0) fputc('\n', to);
        json_object_foreach(o, name, v) {
            if (n++) fputc(',', to);
            print_quoted(to, v, '"');
        }
        fputc('\n', to);
        json_decref(o);
    }
}

static void print_sql(FILE *to, const struct context *c) {
    const struct throughput_row *r = c->throughput->data;
    for (size_t i = 0; i < c->throughput->n; i++) {
        json_t *o = row_object(c, &r[i]), *v;
        const char *name;
        int n = 0;
        if (i == 0) {
            fprintf(to, "CREATE TABLE IF NOT EXISTS llama_bench (\n");
            json_object_foreach(o, name, v) fprintf(to, "%s  %s %s", n++ ? ",\n" : "", name,
                                                    json_is_string(v)    ? "TEXT"
                                                    : json_is_integer(v) ? "INTEGER"
                                                                         : "REAL");
            fprintf(to, "\n);\n\n");
        }
        fprintf(to, "INSERT INTO llama_bench (");
        print_names(to, o, ", ");
        fprintf(to, ") VALUES (");
        n = 0;
        json_object_foreach(o, name, v) {
            if (n++) fprintf(to, ", ");
            print_quoted(to, v, '\'');
        }
        fprintf(to, ");\n");
        json_decref(o);
    }
}

static void print_json(FILE *to, const struct context *c, int lines) {
    const struct throughput_row *r = c->throughput->data;
    json_t *all = json_array();
    for (size_t i = 0; i < c->throughput->n; i++) {
        json_t *o = row_object(c, &r[i]);
        json_object_set_new(o, "samples_ns", samples_of(c, &r[i], 0));
        json_object_set_new(o, "samples_ts", samples_of(c, &r[i], 1));
        if (lines) {
            json_dumpf(o, to, JSON_COMPACT | JSON_REAL_PRECISION(9));
            fputc('\n', to);
        }
        json_array_append_new(all, o);
    }
    if (!lines) {
        json_dumpf(all, to, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', to);
    }
    json_decref(all);
}

enum { MD_COLUMNS = 10 };
static const char *const md_names[MD_COLUMNS] = {"model",          "size",         "params", "backend",
                                                 "threads",        "test",         "t/s",    "median",
                                                 "share of limit", "ours / theirs"};

static void md_cells(const struct context *c, const struct throughput_row *r, char cell[MD_COLUMNS][96]) {
    const struct model_row *m = find_model(c, r->model);
    const char *suffix = strstr(r->engine, " (llama-bench)");
    for (int k = 0; k < MD_COLUMNS; k++) cell[k][0] = 0;
    snprintf(cell[0], 96, "%s %s", r->model, m ? m->recipe : "");
    snprintf(cell[1], 96, "%.2f GiB", m ? (double)m->bytes / 0x1p30 : 0);
    snprintf(cell[2], 96, "%.2f B", m ? (double)m->params * 1e-9 : 0);
    snprintf(cell[3], 96, "%.*s", suffix ? (int)(suffix - r->engine) : 63, r->engine);
    snprintf(cell[4], 96, "%d", (int)r->threads);
    snprintf(cell[5], 96, "%s", r->test);
    snprintf(cell[6], 96, "%.2f ± %.2f", r->avg_ts, r->stddev_ts);
    snprintf(cell[7], 96, "%.2f (%.2f to %.2f)", r->median_ts, r->ci_lo, r->ci_hi);
    if (r->share_hi > 0)
        snprintf(cell[8], 96, "%.0f %% %s (%.0f to %.0f)", 100 * r->share_of_limit, r->limited_by,
                 100 * r->share_lo, 100 * r->share_hi);
    else if (r->limit_ts > 0)
        snprintf(cell[8], 96, "%.0f %% %s", 100 * r->share_of_limit, r->limited_by);
    if (r->ratio > 0) snprintf(cell[9], 96, "%.2f (%.2f to %.2f)", r->ratio, r->ratio_lo, r->ratio_hi);
}

/* Columns a text takes on a terminal: bytes that do not continue a UTF-8 sequence. */
static int width(const char *s) {
    int n = 0;
    for (; *s; s++) n += (*s & 0xc0) != 0x80;
    return n;
}

/* Numbers to the right, the empty last column left out. */
static void md_line(FILE *to, char cell[MD_COLUMNS][96], const int *wide, int columns) {
    for (int k = 0; k < columns; k++) {
        int pad = wide[k] - width(cell[k]), left = k == 0 || k == 3 || k == 5;
        fprintf(to, "| %*s%s%*s ", left ? 0 : pad, "", cell[k], left ? pad : 0, "");
    }
    fprintf(to, "|\n");
}

static void print_md(FILE *to, const struct context *c) {
    const struct throughput_row *r = c->throughput->data;
    char cell[MD_COLUMNS][96];
    int wide[MD_COLUMNS], columns = MD_COLUMNS - 1;
    for (int k = 0; k < MD_COLUMNS; k++) wide[k] = width(md_names[k]);
    for (size_t i = 0; i < c->throughput->n; i++) {
        md_cells(c, &r[i], cell);
        for (int k = 0; k < MD_COLUMNS; k++)
            if (width(cell[k]) > wide[k]) wide[k] = width(cell[k]);
        if (cell[MD_COLUMNS - 1][0]) columns = MD_COLUMNS;
    }
    for (int k = 0; k < columns; k++) snprintf(cell[k], sizeof cell[k], "%s", md_names[k]);
    md_line(to, cell, wide, columns);
    for (int k = 0; k < columns; k++) {
        fputc('|', to);
        for (int i = 0; i < wide[k] + 1; i++) fputc('-', to);
        fputc(k == 0 || k == 3 || k == 5 ? '-' : ':', to);
    }
    fprintf(to, "|\n");
    for (size_t i = 0; i < c->throughput->n; i++) {
        md_cells(c, &r[i], cell);
        md_line(to, cell, wide, columns);
    }
}

enum status throughput_format_check(const char *format, struct error *e) {
    static const char *const formats[] = {"md", "csv", "json", "jsonl", "sql"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(format, formats[i]) == 0) return OK;
    return fail(e, ERR_ARG, "bench: %s: unknown format (expected md, csv, json, jsonl or sql)", format);
}

enum status throughput_print(FILE *to, const char *format, const struct rows *throughput,
                             const struct rows *models, const struct rows *samples, struct error *e) {
    struct context c = {throughput, models, samples, "", "", ""};
    int dirty;
    time_t now = time(NULL);
    struct tm utc;
    TRY(throughput_format_check(format, e));
    machine_cpu_name(c.cpu, sizeof c.cpu);
    machine_commit(c.commit, sizeof c.commit, &dirty);
    gmtime_r(&now, &utc);
    strftime(c.time, sizeof c.time, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (strcmp(format, "md") == 0) print_md(to, &c);
    if (strcmp(format, "csv") == 0) print_csv(to, &c);
    if (strcmp(format, "sql") == 0) print_sql(to, &c);
    if (strcmp(format, "json") == 0) print_json(to, &c, 0);
    if (strcmp(format, "jsonl") == 0) print_json(to, &c, 1);
    return fflush(to) || ferror(to) ? fail(e, ERR_IO, "bench: cannot print the results") : OK;
}
