/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_quality: `lfm2 quality` prints and records a sweep. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/json_rows.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/sweep.h"

static const char usage[] =
    "usage: lfm2 quality -m MODEL -f TEXT [options]\n\n"
    "Writes MODEL in each recipe (one temporary file at a time), runs it on each engine over the text, and "
    "compares\nwith MODEL itself on the reference engine: perplexity, KL divergence, same top-1, router "
    "flips. "
    "A recipe may have\n+imatrix and +CLASS=TYPE: Q4_0+imatrix, F32+experts=Q4_0, Q4_0+router=Q8_0.";

static void show(void *arg, const char *what, int done, int total, double share) {
    progress_show(arg, (done + share) / total, "quality: run %d of %d (%s)", done + 1, total, what);
}

static enum status store(const char *path, const struct sweep_options *o, const struct model_row *model,
                         const struct rows *rows, const struct rows *pairs, struct error *e) {
    struct record *record = record_new("quality");
    if (!record) return fail(e, ERR_MEMORY, "quality: out of memory");
    machine_attributes(record, o->threads);
    record_rows(record, &models_table, model, 1);
    record_rows(record, &quality_table, rows->data, rows->n);
    if (pairs->n) record_rows(record, &kl_pairs_table, pairs->data, pairs->n);
    enum status st = records_append(path, record, NULL, e);
    record_free(record);
    return st;
}

static enum status present(const char *output, const struct model_row *model, const struct rows *rows,
                           struct error *e) {
    const struct quality_row *r = rows->data;
    if (!strcmp(output, "json"))
        json_rows_print(stdout, &quality_table, r, rows->n);
    else if (!strcmp(output, "csv"))
        csv_rows_print(stdout, &quality_table, r, rows->n);
    else {
        printf("## quality of %s over %s, %lld chunks of %lld ids, %lld scored positions\n\n", model->name,
               r->text, (long long)r->windows, (long long)r->n_ctx, (long long)r->positions);
        quality_print_table(stdout, r, rows->n);
    }
    return fflush(stdout) == 0 ? OK : fail(e, ERR_IO, "standard output: %s", strerror(errno));
}

static enum status check(const struct sweep_options *o, const char *output, const char *record,
                         struct error *e) {
    const char *missing = !o->model ? "-m MODEL" : !o->text ? "-f TEXT" : NULL;
    if (missing) return fail(e, ERR_ARG, "quality: %s is missing; see lfm2 quality --help", missing);
    if (strcmp(output, "md") && strcmp(output, "csv") && strcmp(output, "json"))
        return fail(e, ERR_ARG, "quality: unknown output format '%s' (expected md, csv or json)", output);
    if (o->n_ctx < 4 || o->n_ctx > 1 << 24)
        return fail(e, ERR_ARG, "quality: -c must be from 4 to %d (found %d)", 1 << 24, o->n_ctx);
    return record ? records_check(record, e) : OK;
}

int cmd_quality(int argc, char **argv) {
    struct progress line = {0};
    struct sweep_options o = {.engines = "reference,optimized",
                              .recipes = "F32,BF16,Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0",
                              .n_ctx = 512,
                              .chunks = -1,
                              .progress = show,
                              .progress_arg = &line};
    const char *output = "md", *record = NULL;
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &o.model, "MODEL", "GGUF file or Hugging Face folder, best as trained"},
        {"-f,--file", OPTION_TEXT, &o.text, "FILE", "the text (gzip is unpacked)"},
        {"--recipes", OPTION_TEXT, &o.recipes, "R,R,..", "default: F32,BF16,Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0"},
        {"--engine", OPTION_TEXT, &o.engines, "E,E,..",
         "default: reference,optimized; optimized:avx2 allows no stronger kernels,\noptimized:kv-q8_0 caches "
         "keys "
         "and values as int8"},
        {"--imatrix", OPTION_TEXT, &o.imatrix, "FILE", "what +imatrix fits with"},
        {"-c,--ctx-size", OPTION_INT, &o.n_ctx, "N", "ids per chunk (default: 512)"},
        {"--chunks", OPTION_INT, &o.chunks, "N", "at most N chunks (default: -1, all)"},
        {"--special", OPTION_FLAG, &o.special, NULL, "text such as <|im_end|> becomes its special token"},
        {"-t,--threads", OPTION_THREADS, &o.threads, "N", "threads (default: one per available CPU)"},
        {"-o,--output", OPTION_TEXT, &output, "md|csv|json", "how to print (default: md)"},
        {"--record", OPTION_TEXT, &record, "FILE", "add the result to this HDF5 record"},
        {0},
    };
    struct error e = {0};
    struct rows rows = {0}, pairs = {0};
    struct model_row model = {0};
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status st = check(&o, output, record, &e);
    if (st == OK && cmd_isa_mask(&o.cpu_mask, &e)) st = e.code;
    if (st == OK) st = sweep_run(&rows, &pairs, &model, &o, &e);
    progress_end(&line);
    if (st == OK) st = present(output, &model, &rows, &e);
    if (st == OK && record) st = store(record, &o, &model, &rows, &pairs, &e);
    free(rows.data);
    free(pairs.data);
    return st == OK ? 0 : cmd_fail(&e);
}
