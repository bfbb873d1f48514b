/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_kernels: `lfm2 kernels`: is every row of the kernel table right, and how fast is it? */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/baseline.h"
#include "bench/cmd.h"
#include "bench/kernels.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/progress.h"

enum { MAX_COMPLAINTS = 3, BASELINE_PASSES = 3 }; /* complaints per row; the rest is counted */

struct run {
    int seed, only, threads, check, bench;
    const char *ops, *isas, *format, *path;
    unsigned cpu_mask;
    struct kernel_result *results; /* [n_kernels] */
    int *complaints;               /* [n_kernels] */
    struct rows rows, limits, samples, comparison;
    struct baseline_options names;
    struct host host;
    struct baseline baseline;
    struct timed_list timed;
    struct progress progress;
};

/* Failures go where they do not spoil csv and json. */
static FILE *remarks(const struct run *run) {
    return strcmp(run->format, "md") == 0 ? stdout : stderr;
}

static void complain(const struct failure *f, void *user) {
    struct run *run = user;
    if (run->complaints[f->kernel - kernels]++ >= MAX_COMPLAINTS) return;
    progress_end(&run->progress);
    fprintf(remarks(run),
            "FAIL %s_%s %s pad=%d %s, seed %d case %d: %s\n"
            "     replay: lfm2 kernels --op %s --isa %s --seed %d --case %d\n",
            f->kernel->op_name, f->kernel->isa, f->shape_text, f->shape->pad,
            pattern_names[f->shape->pattern], run->seed, f->index, f->why, f->kernel->op_name, f->kernel->isa,
            run->seed, f->index);
}

static void show_limits(void *arg, const char *what, int done, int total) {
    progress_show(arg, (double)done / total, "kernels: limits, %s", what);
}

static void show_kernels(void *arg, const char *what, double share) {
    progress_show(arg, share, "kernels: %s", what);
}

/* --- output --- */

static const struct kernel_row *row_at(const struct run *run, size_t i) {
    return (const struct kernel_row *)run->rows.data + i;
}

static const char *verdict_of(const struct run *run, const struct kernel_row *r) {
    for (int k = 0; k < n_kernels; k++)
        if (strcmp(kernels[k].op_name, r->op) == 0 && strcmp(kernels[k].isa, r->isa) == 0)
            return kernel_state_names[run->results[k].state];
    return "";
}

static void print_check(const struct run *run) {
    printf("| kernel                   | cases |   values | worst error, %% of bound | verdict |\n"
           "|--------------------------|------:|---------:|------------------------:|---------|\n");
    for (int i = 0; i < n_kernels; i++) {
        const struct kernel_result *r = &run->results[i];
        char missing[120], name[64];
        if (!r->selected) continue;
        snprintf(name, sizeof name, "%s_%s", kernels[i].op_name, kernels[i].isa);
        if (r->state == KERNEL_SKIP) {
            kernel_missing(&kernels[i], missing, sizeof missing);
            printf("| %-24s |       |          |                         | SKIP: this CPU lacks %s |\n", name,
                   missing);
            continue;
        }
        printf("| %-24s | %5d | %8.0f | %23.1f | %s", name, r->cases, r->values, 100 * r->worst,
               kernel_state_names[r->state]);
        if (r->failures) printf(" in %d cases", r->failures);
        printf(" |\n");
    }
}

/* A number that is not known prints as nothing. */
static const char *known(char *text, size_t size, const char *format, double value) {
    text[0] = 0;
    if (value > 0) snprintf(text, size, format, value);
    return text;
}

static void print_times(const struct run *run) {
    printf(
        "\n%d thread(s); * chosen by dispatch; error: worst of all checked cases, in %% of its bound\n\n"
        "| kernel                    | shape                |       us |   GB/s | GMAC/s | of limit   | x "
        "scalar "
        "| error | |\n"
        "|---------------------------|----------------------|---------:|-------:|-------:|------------|-----"
        "----:"
        "|------:|-|\n",
        run->threads);
    for (size_t i = 0; i < run->rows.n; i++) {
        const struct kernel_row *r = row_at(run, i);
        char name[64], macs[32], share[32], times[32];
        if (!(r->median_ns > 0)) continue;
        snprintf(name, sizeof name, "%s_%s%s", r->op, r->isa, r->chosen ? "*" : "");
        printf("| %-25s | %-20s | %8.2f | %6.1f | %6s | %4s %-5s | %8s | %5.0f | %s |\n", name, r->shape,
               r->median_ns * 1e-3, r->gb_s, known(macs, sizeof macs, "%.1f", r->gmac_s),
               known(share, sizeof share, "%.2f", r->share_of_limit), r->limited_by,
               known(times, sizeof times, "%.1f", r->times_scalar), 100 * r->error_share, verdict_of(run, r));
    }
}

static void print_csv(const struct run *run) {
    printf(
        "op,isa,shape,verdict,chosen,fastest,threads,seed,cases,error_share,median_ns,ci_lo_ns,ci_hi_ns,gb_s,"
        "gmac_s,share_of_limit,limited_by,times_scalar\n");
    for (size_t i = 0; i < run->rows.n; i++) {
        const struct kernel_row *r = row_at(run, i);
        printf("%s,%s,\"%s\",%s,%d,%d,%d,%d,%d,%.4g,%.1f,%.1f,%.1f,%.3f,%.3f,%.4f,%s,%.3f\n", r->op, r->isa,
               r->shape, verdict_of(run, r), (int)r->chosen, (int)r->fastest, (int)r->threads, (int)r->seed,
               (int)r->cases, r->error_share, r->median_ns, r->ci_lo_ns, r->ci_hi_ns, r->gb_s, r->gmac_s,
               r->share_of_limit, r->limited_by, r->times_scalar);
    }
}

static int print_json(const struct run *run) {
    json_t *all = json_array();
    const struct sample_row *ns = run->samples.data;
    for (size_t i = 0; i < run->rows.n; i++) {
        const struct kernel_row *r = row_at(run, i);
        json_t *list = json_array();
        for (int64_t k = 0; k < r->samples_count; k++)
            json_array_append_new(list, json_real(sample_ns(&ns[r->samples_first + k])));
        json_t *row =
            json_pack("{ssssssss sb sb sI sI sI}", "op", r->op, "isa", r->isa, "shape", r->shape, "verdict",
                      verdict_of(run, r), "chosen", (int)r->chosen, "fastest", (int)r->fastest, "threads",
                      (json_int_t)r->threads, "seed", (json_int_t)r->seed, "cases", (json_int_t)r->cases);
        /* JSON has no infinity: an error without bound is null. */
        json_object_set_new(row, "error_share",
                            isfinite(r->error_share) ? json_real(r->error_share) : json_null());
        json_object_update_new(row, json_pack("{sf sf sf sf sf sf ss sf so}", "median_ns", r->median_ns,
                                              "ci_lo_ns", r->ci_lo_ns, "ci_hi_ns", r->ci_hi_ns, "gb_s",
                                              r->gb_s, "gmac_s", r->gmac_s, "share_of_limit",
                                              r->share_of_limit, "limited_by", r->limited_by, "times_scalar",
                                              r->times_scalar, "samples_ns", list));
        json_array_append_new(all, row);
    }
    int bad = json_dumpf(all, stdout, JSON_INDENT(2)) != 0;
    printf("\n");
    json_decref(all);
    return bad;
}

/* Dispatch takes the last row of an op; a person ordered them. Speak up where the clock clearly disagrees. */
static void warn_chosen(const struct run *run) {
    for (size_t i = 0; i < run->rows.n; i++) {
        const struct kernel_row *chosen = row_at(run, i), *best = NULL;
        if (!chosen->chosen || !(chosen->median_ns > 0)) continue;
        for (size_t j = 0; j < run->rows.n; j++) {
            const struct kernel_row *r = row_at(run, j);
            if (r->fastest && strcmp(r->op, chosen->op) == 0 && strcmp(r->shape, chosen->shape) == 0)
                best = r;
        }
        if (best && best->ci_hi_ns < chosen->ci_lo_ns && best->median_ns * 1.03 < chosen->median_ns)
            fprintf(stderr, "lfm2: warning: dispatch takes %s_%s, but %s is %.2fx as fast on %s\n",
                    chosen->op, chosen->isa, best->isa, chosen->median_ns / best->median_ns, chosen->shape);
    }
}

/* --- the run --- */

static enum status store(struct run *run, struct error *e) {
    struct record *r = record_new("kernels");
    if (!r) return fail(e, ERR_MEMORY, "kernels: out of memory");
    machine_attributes(r, run->threads);
    record_rows(r, &kernels_table, run->rows.data, run->rows.n);
    record_rows(r, &limits_table, run->limits.data, run->limits.n);
    record_rows(r, &samples_table, run->samples.data, run->samples.n);
    if (run->names.compare) record_rows(r, &comparison_table, run->comparison.data, run->comparison.n);
    enum status st = run->path ? records_append(run->path, r, NULL, e) : OK;
    if (!st && run->names.save)
        st = baseline_save(r, &run->timed, run->names.folder, run->names.save, &run->host, e);
    record_free(r);
    return st;
}

static enum status check_baselines(struct run *run, struct error *e) {
    const struct baseline_options *n = &run->names;
    if (!n->save && !n->compare) return OK;
    if (!run->bench) return fail(e, ERR_ARG, "kernels: baselines are of timings; give --bench, too");
    if (n->compare && strcmp(run->format, "csv") == 0)
        return fail(e, ERR_ARG, "kernels: -o csv: a comparison prints as md or json");
    machine_host(&run->host);
    if (n->compare) TRY(baseline_open(&run->baseline, n->folder, n->compare, "kernels", &run->host, e));
    return n->save ? baseline_check(n->folder, n->save, &run->host, e) : OK;
}

static enum status check_arguments(struct run *run, struct error *e) {
    if (strcmp(run->format, "md") != 0 && strcmp(run->format, "csv") != 0 && strcmp(run->format, "json") != 0)
        return fail(e, ERR_ARG, "kernels: -o %s: unknown format (expected md, csv or json)", run->format);
    if (run->only < -1) return fail(e, ERR_ARG, "kernels: --case %d: expected 0 or more", run->only);
    if (kernels_pick(run->ops, run->isas, run->results) == 0)
        return fail(e, ERR_ARG,
                    "kernels: --op %s --isa %s: no row of the kernel table (`lfm2 kernels` lists them)",
                    run->ops ? run->ops : "*", run->isas ? run->isas : "*");
    TRY(check_baselines(run, e));
    return run->path ? records_check(run->path, e) : OK;
}

static enum status check_and_time(struct run *run, struct error *e) {
    uint64_t seed = (uint64_t)run->seed;
    if (kernels_check(seed, run->only, run->results, complain, run) != 0)
        return fail(e, ERR_MEMORY, "kernels: out of memory");
    int left = 0;
    for (int k = 0; k < n_kernels; k++) left += run->results[k].selected;
    if (left == 0) return fail(e, ERR_ARG, "kernels: --case %d: no selected op has so many cases", run->only);
    if (!run->bench) return kernels_checked_rows(seed, run->cpu_mask, run->results, &run->rows, e);
    struct limits_options limits = {
        .threads = run->threads, .quick = 1, .progress = show_limits, .progress_arg = &run->progress};
    int passes = run->names.save || run->names.compare ? BASELINE_PASSES : 1;
    struct kernels_time_options o = {.threads = run->threads,
                                     .passes = passes,
                                     .cpu_mask = run->cpu_mask,
                                     .limits = &run->limits,
                                     .progress = show_kernels,
                                     .progress_arg = &run->progress};
    char warnings[512];
    if (machine_warnings(warnings, sizeof warnings, run->threads))
        for (char *line = strtok(warnings, "\n"); line; line = strtok(NULL, "\n"))
            fprintf(stderr, "lfm2: warning: %s\n", line);
    TRY(limits_measure(&limits, &run->limits, &run->samples, e));
    enum status st = kernels_time(&o, seed, run->results, &run->rows, &run->samples, e);
    progress_end(&run->progress);
    return st;
}

static enum status print_all(struct run *run, struct error *e) {
    if (strcmp(run->format, "csv") == 0) print_csv(run);
    int json = strcmp(run->format, "json") == 0;
    if (json && run->names.compare)
        compare_print_json(stdout, run->baseline.title, &run->comparison);
    else if (json && print_json(run))
        return fail(e, ERR_IO, "kernels: cannot print");
    if (strcmp(run->format, "md") == 0) {
        printf("seed %d\n\n", run->seed);
        print_check(run);
        if (run->bench) print_times(run);
        if (run->names.compare) compare_print(stdout, run->baseline.title, &run->comparison);
    }
    warn_chosen(run);
    return OK;
}

static enum status go(struct run *run, int *wrong, struct error *e) {
    run->results = calloc((size_t)n_kernels, sizeof *run->results);
    run->complaints = calloc((size_t)n_kernels, sizeof *run->complaints);
    if (!run->results || !run->complaints) return fail(e, ERR_MEMORY, "kernels: out of memory");
    TRY(check_arguments(run, e));
    TRY(check_and_time(run, e));
    if (run->bench) TRY(timed_kernels(&run->timed, &run->rows, &run->samples, e));
    /* With --op or --isa most of the baseline is absent on purpose. */
    if (run->names.compare)
        TRY(compare(&run->comparison, &run->baseline.timed, &run->timed, !run->ops && !run->isas,
                    (uint64_t)run->seed, e));
    TRY(print_all(run, e));
    for (int k = 0; k < n_kernels; k++) {
        const struct kernel_result *r = &run->results[k];
        *wrong += r->selected && r->state != KERNEL_PASS && r->state != KERNEL_SKIP;
    }
    *wrong += compare_count(&run->comparison, "worse");
    return run->path || run->names.save ? store(run, e) : OK;
}

int cmd_kernels(int argc, char **argv) {
    struct error e = {0};
    struct run run = {.seed = 1, .only = -1, .threads = 1, .format = "md", .names.folder = "baselines"};
    const struct option_spec specs[] = {
        {"--check", OPTION_FLAG, &run.check, NULL, "compare every row with a float64 oracle (always done)"},
        {"--bench", OPTION_FLAG, &run.bench, NULL, "then time the rows that passed"},
        {"--op", OPTION_TEXT, &run.ops, "NAME", "only these ops; * and ? match, commas separate"},
        {"--isa", OPTION_TEXT, &run.isas, "NAME", "only these instruction sets, likewise"},
        {"--seed", OPTION_INT, &run.seed, "N", "seed of the inputs (default: 1)"},
        {"--case", OPTION_INT, &run.only, "N", "only case N of each op, as a FAIL line names it"},
        {"-t,--threads", OPTION_THREADS, &run.threads, "N",
         "threads of --bench, pinned, each on data of its own\n"
         "(default: 1; the check needs no more)"},
        {"-o,--output", OPTION_TEXT, &run.format, "FORMAT", "md, csv or json (default: md)"},
        {"--record", OPTION_TEXT, &run.path, "FILE.h5",
         "append the run to a record file (default: not stored)"},
        BASELINE_OPTIONS(run.names),
        {0},
    };
    int parsed =
        options_parse(argc, argv,
                      "usage: lfm2 kernels [options]\n\nChecks every row of the kernel table; exit code 1 "
                      "when one is wrong. Rows that this CPU\ncannot run are listed and skipped.",
                      specs, NULL, 0, NULL, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (cmd_isa_mask(&run.cpu_mask, &e)) return cmd_fail(&e);
    int wrong = 0;
    enum status st = go(&run, &wrong, &e);
    free(run.results);
    free(run.complaints);
    free(run.rows.data);
    free(run.limits.data);
    free(run.samples.data);
    free(run.comparison.data);
    timed_free(&run.timed);
    baseline_close(&run.baseline);
    return st ? cmd_fail(&e) : wrong ? 1 : 0;
}
