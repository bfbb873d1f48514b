/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_limits: measures this machine and prints a table; --record keeps it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "data/cpus.h"

static void show_progress(void *arg, const char *what, int done, int total) {
    progress_show(arg, (double)done / total, "limits: %s", what);
}

static void what_of(const struct limits_row *r, char *text, size_t size) {
    if (r->bytes)
        snprintf(text, size, "%s %.1f GB", r->name, (double)r->bytes * 1e-9);
    else
        snprintf(text, size, "%s multiply-accumulate", r->name);
}

static void print_md(const struct rows *limits) {
    char cpu[256], what[64];
    const struct limits_row *r = limits->data;
    machine_cpu_name(cpu, sizeof cpu);
    printf("%s, %d CPUs; median of the repetitions, (lowest to highest), * the best of its kind\n\n", cpu,
           usable_cpus());
    printf("| limit                     | instructions | threads |    median | lowest to highest   |        "
           "|\n");
    printf("|---------------------------|--------------|--------:|----------:|---------------------|--------|"
           "\n");
    for (size_t i = 0; i < limits->n; i++, r++) {
        char range[64];
        what_of(r, what, sizeof what);
        snprintf(range, sizeof range, "(%.1f to %.1f)", r->lowest, r->highest);
        printf("| %-25s | %-12s | %7d | %8.1f%s | %-19s | %-6s |\n", what, r->isa, (int)r->threads, r->median,
               r->best ? "*" : " ", range, r->unit);
    }
}

static void print_csv(const struct rows *limits) {
    const struct limits_row *r = limits->data;
    printf("name,isa,threads,bytes,median,lowest,highest,unit,best\n");
    for (size_t i = 0; i < limits->n; i++, r++)
        printf("%s,%s,%d,%lld,%.3f,%.3f,%.3f,%s,%d\n", r->name, r->isa, (int)r->threads, (long long)r->bytes,
               r->median, r->lowest, r->highest, r->unit, (int)r->best);
}

static int print_json(const struct rows *limits, const struct rows *samples) {
    json_t *all = json_array();
    const struct limits_row *r = limits->data;
    const struct sample_row *ns = samples->data;
    for (size_t i = 0; i < limits->n; i++, r++) {
        json_t *list = json_array();
        for (int64_t k = 0; k < r->samples_count; k++)
            json_array_append_new(list, json_integer(ns[r->samples_first + k].ns));
        json_array_append_new(all, json_pack("{sssssIsIsfsfsfsssbso}", "name", r->name, "isa", r->isa,
                                             "threads", (json_int_t)r->threads, "bytes", (json_int_t)r->bytes,
                                             "median", r->median, "lowest", r->lowest, "highest", r->highest,
                                             "unit", r->unit, "best", (int)r->best, "samples_ns", list));
    }
    int bad = json_dumpf(all, stdout, JSON_INDENT(2)) != 0;
    printf("\n");
    json_decref(all);
    return bad;
}

static enum status store(const char *path, int threads, const struct rows *limits, const struct rows *samples,
                         struct error *e) {
    struct record *r = record_new("limits");
    if (!r) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    machine_attributes(r, threads);
    record_rows(r, &limits_table, limits->data, limits->n);
    record_rows(r, &samples_table, samples->data, samples->n);
    enum status st = records_append(path, r, NULL, e);
    record_free(r);
    return st;
}

static enum status measure_and_print(struct limits_options *o, const char *format, const char *path,
                                     struct rows *limits, struct rows *samples, struct error *e) {
    char warnings[512];
    if (strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 && strcmp(format, "json") != 0)
        return fail(e, ERR_ARG, "limits: -o %s: unknown format (expected md, csv or json)", format);
    if (path) TRY(records_check(path, e));
    if (machine_warnings(warnings, sizeof warnings, o->threads))
        for (char *line = strtok(warnings, "\n"); line; line = strtok(NULL, "\n"))
            fprintf(stderr, "lfm2: warning: %s\n", line);
    TRY(limits_measure(o, limits, samples, e));
    progress_end(o->progress_arg);
    if (strcmp(format, "md") == 0) print_md(limits);
    if (strcmp(format, "csv") == 0) print_csv(limits);
    if (strcmp(format, "json") == 0 && print_json(limits, samples))
        return fail(e, ERR_IO, "limits: cannot print");
    return path ? store(path, o->threads, limits, samples, e) : OK;
}

int cmd_limits(int argc, char **argv) {
    struct progress progress = {0};
    struct limits_options o = {.progress = show_progress, .progress_arg = &progress};
    const char *format = "md", *path = NULL;
    const struct option_spec specs[] = {
        {"-t,--threads", OPTION_THREADS, &o.threads, "N",
         "threads, pinned (default: one per CPU; one alone is measured too)"},
        {"-r,--repetitions", OPTION_INT, &o.repetitions, "N", "repetitions of each row (default: 7)"},
        {"--quick", OPTION_FLAG, &o.quick, NULL, "only the reading of 0.9 GB and the int8 peak, all threads"},
        {"-o,--output", OPTION_TEXT, &format, "FORMAT", "md, csv or json (default: md)"},
        {"--record", OPTION_TEXT, &path, "FILE.h5", "append the run to a record file (default: not stored)"},
        {0},
    };
    struct error e = {0};
    struct rows limits = {0}, samples = {0};
    int parsed = options_parse(
        argc, argv,
        "usage: lfm2 limits [options]\n\nMeasures what this machine can do at best: reading memory, and "
        "int8, bf16 and fp32\nmultiply-accumulates with each instruction set.",
        specs, NULL, 0, NULL, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (cmd_isa_mask(&o.cpu_mask, &e)) return cmd_fail(&e);
    enum status st = measure_and_print(&o, format, path, &limits, &samples, &e);
    free(limits.data);
    free(samples.data);
    return st ? cmd_fail(&e) : 0;
}
