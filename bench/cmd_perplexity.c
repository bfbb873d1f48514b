/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_perplexity: `lfm2 perplexity`, with llama-perplexity's definitions, flags and files. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/json_rows.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/quality_rows.h"
#include "bench/records.h"
#include "bench/text_ids.h"

static const char usage[] =
    "usage: lfm2 perplexity -m FILE -f TEXT [options]\n"
    "       lfm2 perplexity -m FILE -f TEXT --kl-divergence-base BASE        (writes BASE)\n"
    "       lfm2 perplexity -m FILE --kl-divergence-base BASE --kl-divergence  (compares with it)\n\n"
    "Perplexity as llama-perplexity defines it: chunks of -c ids, the first id of each replaced by BOS where "
    "the\nvocabulary wants one, the second half of each chunk scored. BASE is llama-perplexity's file too: "
    "each program\nreads what the other wrote. Its ids are those of the text, so that -f is not needed to "
    "compare.";

struct arguments {
    struct cache_types cache;
    const char *model, *lora, *packed, *engine, *file, *base, *output, *record;
    int n_ctx, chunks, stride, threads, batch, compare, whole, special;
};

struct watch {
    struct progress line;
};

static void show(void *arg, int64_t done, int64_t total, double mean_nll) {
    struct watch *w = arg;
    progress_show(&w->line, (double)done / (double)total, "perplexity: %lld of %lld ids, so far %.4f",
                  (long long)done, (long long)total, exp(mean_nll));
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum status check_base(const struct base_file *b, const struct model *m, struct error *e) {
    if (b->header.n_vocab != m->config.n_vocab)
        return fail(e, ERR_SHAPE, "%s: made with another vocabulary (found %d tokens, expected %d of %s)",
                    b->path, (int)b->header.n_vocab, m->config.n_vocab, m->path);
    return OK;
}

static enum status cut(const struct arguments *a, int n, struct perplexity_options *o, struct error *e) {
    o->windows = a->whole    ? windows_whole(n)
                 : a->stride ? windows_sliding(n, a->n_ctx, a->stride)
                             : windows_chunks(n, a->n_ctx);
    if (o->windows.n < 1)
        return fail(e, ERR_ARG, "%s: too short (found %d ids, expected at least %d; -c makes that fewer)",
                    a->file, n, a->whole ? 2 : a->n_ctx);
    if (a->chunks >= 0 && a->chunks < o->windows.n) o->windows.n = a->chunks;
    return OK;
}

/* The ids and windows, of a text or of the base file. */
static enum status prepare(const struct arguments *a, const struct model *m, struct base_file *base,
                           struct tokens *text, struct perplexity_options *o, struct error *e) {
    int adds_bos = 0;
    o->bos = -1;
    if (a->compare) {
        TRY(base_open(base, a->base, e));
        TRY(check_base(base, m, e));
        TRY(text_adds_bos(m, &adds_bos, e));
        o->ids = base->ids;
        o->windows = windows_chunks(base->header.n_ctx, base->header.n_ctx);
        o->windows.n = base->header.n_chunks; /* all ids together may be more than an int counts */
        if (a->chunks >= 0 && a->chunks < o->windows.n) o->windows.n = a->chunks;
        o->base = base;
    } else {
        TRY(text_ids(m, a->file, a->special, text, &adds_bos, e));
        o->ids = text->ids;
        TRY(cut(a, (int)text->n, o, e));
    }
    if (adds_bos) o->bos = m->config.bos_id;
    return text_fits(m, o->windows.size, e);
}

static enum status run(const struct arguments *a, const struct model *m, struct perplexity_options *o,
                       struct perplexity_result *r, struct error *e) {
    struct base_writer writer = {0};
    struct watch watch = {0};
    enum status st = OK;
    if (a->base && !a->compare) {
        struct base_header h = {o->windows.size, m->config.n_vocab, o->windows.n};
        st = base_create(&writer, a->base, &h, o->ids, e);
        o->save = &writer;
    }
    o->engine = engine_by_name(a->engine);
    o->engine_options =
        (struct engine_options){.threads = a->threads, .max_batch = a->batch, .packed = a->packed};
    o->progress = show, o->progress_arg = &watch;
    if (st == OK && cmd_isa_mask(&o->engine_options.cpu_mask, e)) st = e->code;
    if (st == OK) st = cmd_kv_type(&o->engine_options.kv_type, &a->cache, o->engine, e);
    if (st == OK) st = perplexity_run(r, m, o, e);
    progress_end(&watch.line);
    if (st == OK && o->save) st = base_finish(&writer, e);
    base_abandon(&writer);
    o->save = NULL, o->progress = NULL, o->progress_arg = NULL; /* they are of this function */
    return st;
}

static enum status store(const struct arguments *a, const struct model *m, const struct quality_row *row,
                         struct error *e) {
    struct record *record = record_new("perplexity");
    struct model_row model = model_row(m);
    if (!record) return fail(e, ERR_MEMORY, "perplexity: out of memory");
    machine_attributes(record, a->threads);
    record_rows(record, &models_table, &model, 1);
    record_rows(record, &quality_table, row, 1);
    enum status st = records_append(a->record, record, NULL, e);
    record_free(record);
    return st;
}

static enum status present(const struct arguments *a, const struct model *m,
                           const struct perplexity_options *o, const struct perplexity_result *r,
                           struct error *e) {
    struct quality_row row;
    if (quality_row_make(&row, m, a->engine, r, &o->windows) ||
        (a->compare && quality_row_compare(&row, r, file_name(a->base))))
        return fail(e, ERR_MEMORY, "perplexity: out of memory");
    if (a->file) snprintf(row.text, sizeof row.text, "%s", file_name(a->file));
    if (!strcmp(a->output, "json"))
        json_rows_print(stdout, &quality_table, &row, 1);
    else if (!strcmp(a->output, "csv"))
        csv_rows_print(stdout, &quality_table, &row, 1);
    else {
        printf("## perplexity of %s (%s, %.2f bits per weight), %s\n\n", row.model, row.recipe,
               row.bits_per_weight, a->engine);
        quality_print_one(stdout, &row);
        printf("\n%s; %.1f s\n", row.kernels, row.seconds);
        if (a->base && !a->compare)
            printf("%s: log-probabilities of %lld positions\n", a->base, (long long)row.positions);
    }
    if (fflush(stdout) != 0) return fail(e, ERR_IO, "standard output: %s", strerror(errno));
    return a->record ? store(a, m, &row, e) : OK;
}

static enum status check(const struct arguments *a, struct error *e) {
    const char *missing = !a->model                 ? "-m FILE"
                          : a->compare && !a->base  ? "--kl-divergence-base FILE"
                          : !a->compare && !a->file ? "-f TEXT"
                                                    : NULL;
    if (missing) return fail(e, ERR_ARG, "perplexity: %s is missing; see lfm2 perplexity --help", missing);
    if (!engine_by_name(a->engine))
        return fail(e, ERR_ARG, "perplexity: unknown engine '%s' (expected reference or optimized)",
                    a->engine);
    if (strcmp(a->output, "md") && strcmp(a->output, "csv") && strcmp(a->output, "json"))
        return fail(e, ERR_ARG, "perplexity: unknown output format '%s' (expected md, csv or json)",
                    a->output);
    if (a->n_ctx < 4 || a->n_ctx > 1 << 24)
        return fail(e, ERR_ARG, "perplexity: -c must be from 4 to %d (found %d)", 1 << 24, a->n_ctx);
    if (a->batch < 0 || a->chunks < -1 || a->chunks == 0)
        return fail(e, ERR_ARG, "perplexity: -b may not be negative, --chunks is 1 or more, or -1");
    if (a->stride < 0 || a->stride >= a->n_ctx)
        return fail(e, ERR_ARG, "perplexity: --ppl-stride must be less than -c (found %d and %d)", a->stride,
                    a->n_ctx);
    if ((a->stride || a->whole) && (a->base || (a->stride && a->whole)))
        return fail(e, ERR_ARG,
                    "perplexity: --ppl-stride, --whole and --kl-divergence-base exclude each "
                    "other: base files hold chunks");
    if (a->base && !a->compare)
        TRY(cmd_output_apart(a->base, (const char *[]){a->model, a->file, a->packed}, 3, e));
    return a->record ? records_check(a->record, e) : OK;
}

int cmd_perplexity(int argc, char **argv) {
    struct arguments a = {.engine = "optimized", .output = "md", .n_ctx = 512, .chunks = -1};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &a.model, "FILE", "the model: a GGUF file or a Hugging Face folder"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE", "the text (gzip is unpacked)"},
        {"-c,--ctx-size", OPTION_INT, &a.n_ctx, "N", "ids per chunk (default: 512)"},
        {"--chunks", OPTION_INT, &a.chunks, "N", "at most N chunks (default: -1, all)"},
        {"--ppl-stride", OPTION_INT, &a.stride, "N",
         "instead of chunks, windows of -c ids that move by N ids, of each the last N scored"},
        {"--whole", OPTION_FLAG, &a.whole, NULL, "instead of chunks, the whole text at once, all scored"},
        {"--kl-divergence-base,--save-all-logits", OPTION_TEXT, &a.base, "FILE",
         "write the log-probabilities of every scored position;\nwith --kl-divergence: read them"},
        {"--kl-divergence", OPTION_FLAG, &a.compare, NULL,
         "compare with the base: KL divergence, same top-1, change of p"},
        {"--engine", OPTION_TEXT, &a.engine, "NAME", "reference or optimized (default)"},
        {"--special", OPTION_FLAG, &a.special, NULL, "text such as <|im_end|> becomes its special token"},
        {"--lora", OPTION_TEXT, &a.lora, "F[:S]", "add a PEFT adapter, S times (default 1); may be repeated"},
        CACHE_OPTIONS(a.cache),
        {"--packed", OPTION_TEXT, &a.packed, "FILE",
         "the model's packed file (lfm2 pack), optimized engine only"},
        {"-t,--threads", OPTION_THREADS, &a.threads, "N", "threads (default: one per available CPU)"},
        {"-b,--batch-size", OPTION_INT, &a.batch, "N", "tokens computed at once (default: 512)"},
        {"-o,--output", OPTION_TEXT, &a.output, "md|csv|json", "how to print (default: md)"},
        {"--record", OPTION_TEXT, &a.record, "FILE", "add the result to this HDF5 record"},
        {0},
    };
    struct error e = {0};
    struct model *m = NULL;
    struct base_file base = {0};
    struct tokens text = {0};
    struct perplexity_options o = {0};
    struct perplexity_result r = {0};
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status st = check(&a, &e);
    if (st == OK) st = model_open_lora(&m, a.model, a.lora, &e);
    if (st == OK) st = prepare(&a, m, &base, &text, &o, &e);
    if (st == OK) st = run(&a, m, &o, &r, &e);
    if (st == OK) st = present(&a, m, &o, &r, &e);
    quality_free(&r.quality);
    base_close(&base), tokens_free(&text), model_close(m);
    return st == OK ? 0 : cmd_fail(&e);
}
