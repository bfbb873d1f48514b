/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_logits: `lfm2 logits` runs one engine on given ids and stores what it computed. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/ids.h"
#include "bench/text_ids.h"
#include "bench/text_input.h"
#include "data/golden.h"
#include "data/model.h"
#include "data/tokenizer.h"
#include "reference/engine.h"

static const char usage[] =
    "usage: lfm2 logits -m FILE (--ids 1,2,3 | -p TEXT | -f FILE) -o OUT.h5 [options]\n\n"
    "Feeds the ids, exactly as given, or those of a text to an engine and writes an HDF5 file with "
    "/logits, float32 [n, vocabulary],\n"
    "and /ids, int32 [n_ids]. n is 1, the last position; with --all every position.";

struct arguments {
    struct cache_types cache;
    const char *model, *lora, *packed, *engine, *ids, *prompt, *file, *out;
    int all, no_bos, special, threads, batch;
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_progress(int done, int n, double since) {
    double rate = done / (seconds() - since);
    fprintf(stderr, "\rlogits: %d of %d tokens, %.1f tok/s, %.0f s left ", done, n, rate, (n - done) / rate);
    if (done == n) fprintf(stderr, "\n");
}

/* Feeds all ids in pieces of one batch, so that progress can be shown. logits [n or 1, V]. */
static enum status feed_all(const struct engine *engine, struct session *s, const int32_t *ids, int n,
                            int piece, int all, float *logits, size_t V, struct error *e) {
    int show = isatty(STDERR_FILENO);
    double since = seconds();
    for (int done = 0; done < n;) {
        int count = n - done < piece ? n - done : piece;
        int wanted = all ? count : done + count == n;
        TRY(engine->feed(s, ids + done, count, wanted ? logits : NULL, wanted, e));
        logits += (size_t)wanted * V;
        done += count;
        if (show) show_progress(done, n, since);
    }
    return OK;
}

/* A file of NaN would compare as different from everything, much later. */
static enum status check_finite(const char *path, const float *logits, int rows, size_t V, struct error *e) {
    for (int r = 0; r < rows; r++)
        for (size_t i = 0; i < V; i++)
            if (!isfinite(logits[(size_t)r * V + i]))
                return fail(e, ERR_FORMAT,
                            "%s: computes logits that are not finite (found %g in row %d); its "
                            "weights are broken",
                            path, (double)logits[(size_t)r * V + i], r);
    return OK;
}

static enum status write_file(const struct arguments *a, const struct model *m, const float *logits, int rows,
                              const int32_t *ids, int n, struct error *e) {
    struct golden *g;
    TRY(golden_create(&g, a->out, e));
    enum status status = golden_write_f32(g, "logits", 2, (int64_t[]){rows, m->config.n_vocab}, logits, e);
    if (status == OK) status = golden_write_i32(g, "ids", 1, (int64_t[]){n}, ids, e);
    if (status == OK) status = golden_write_text(g, "engine", a->engine, e);
    if (status == OK) status = golden_write_text(g, "model_header_sha256", m->header_sha256, e);
    if (status == OK) return golden_commit(g, e);
    golden_close(g);
    return status;
}

static enum status run_model(const struct arguments *a, const struct model *m, const struct engine *engine,
                             const int32_t *ids, int n, struct error *e) {
    struct session *s = NULL;
    struct engine_options options = {
        .threads = a->threads, .max_tokens = n, .max_batch = a->batch, .packed = a->packed};
    int rows = a->all ? n : 1;
    size_t V = (size_t)m->config.n_vocab;
    float *logits = calloc((size_t)rows * V, sizeof *logits);
    enum status status = cmd_isa_mask(&options.cpu_mask, e) ? e->code : OK;
    if (status == OK) status = cmd_kv_type(&options.kv_type, &a->cache, engine, e);
    if (status == OK && !logits)
        status = fail(e, ERR_MEMORY, "logits: no memory for %d x %zu logits", rows, V);
    if (status == OK) status = engine->open(&s, m, &options, e);
    if (status == OK) status = feed_all(engine, s, ids, n, a->batch ? a->batch : 512, a->all, logits, V, e);
    if (s) engine->close(s);
    if (status == OK) status = check_finite(a->model, logits, rows, V, e);
    if (status == OK) status = write_file(a, m, logits, rows, ids, n, e);
    free(logits);
    return status;
}

/* From --ids or from a text; *out is allocated. */
static enum status take_ids(const struct arguments *a, const struct model *m, int32_t **out, int *n,
                            struct error *e) {
    if (a->ids) return ids_parse(a->ids, out, n, e);
    struct tokenizer *t = NULL;
    struct buffer text = {0};
    struct tokens ids = {0};
    unsigned flags = (a->no_bos ? 0 : TOKENS_BOS) | (a->special ? TOKENS_SPECIAL : 0);
    enum status status = tokenizer_of_model(&t, m, e);
    if (status == OK) status = text_input(&text, a->prompt, a->file, e);
    if (status == OK) status = tokenizer_encode(t, text.data, text.n, flags, &ids, e);
    if (status == OK && ids.n == 0) status = fail(e, ERR_ARG, "logits: the text is empty");
    buffer_free(&text), tokenizer_close(t);
    *out = ids.ids, *n = (int)ids.n;
    return status;
}

/* 0, or -1 with *e saying which option is missing or wrong. */
static int check_arguments(const struct arguments *a, struct error *e) {
    const char *missing = !a->model                           ? "-m FILE"
                          : !a->ids && !a->prompt && !a->file ? "--ids 1,2,3 or -p TEXT"
                          : !a->out                           ? "-o OUT.h5"
                                                              : NULL;
    if (missing)
        fail(e, ERR_ARG, "logits: %s is missing; see lfm2 logits --help", missing);
    else if (!!a->ids + !!a->prompt + !!a->file != 1)
        fail(e, ERR_ARG, "logits: expected one of --ids, -p and -f; see lfm2 logits --help");
    else if (!engine_by_name(a->engine))
        fail(e, ERR_ARG, "logits: unknown engine '%s' (expected reference or optimized)", a->engine);
    else if (a->batch < 0)
        fail(e, ERR_ARG, "logits: -b may not be negative");
    else if (cmd_output_file("logits", a->out, 1, e) == OK)
        return cmd_output_apart(a->out, (const char *[]){a->model, a->file, a->packed}, 3, e) ? -1 : 0;
    return -1;
}

int cmd_logits(int argc, char **argv) {
    struct arguments a = {.engine = "optimized"};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &a.model, "FILE", "the model: a GGUF file or a Hugging Face folder"},
        {"--lora", OPTION_TEXT, &a.lora, "F[:S]", "add a PEFT adapter, S times (default 1); may be repeated"},
        CACHE_OPTIONS(a.cache),
        {"--packed", OPTION_TEXT, &a.packed, "FILE",
         "the model's packed file (lfm2 pack), optimized engine only"},
        {"--engine", OPTION_TEXT, &a.engine, "NAME", "reference or optimized (default)"},
        {"--ids", OPTION_TEXT, &a.ids, "LIST", "token ids separated by commas; no BOS is added"},
        {"-p,--prompt", OPTION_TEXT, &a.prompt, "TEXT",
         "take the ids of this text, BOS first where the vocabulary has it"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE", "take the ids of this file's text"},
        {"--no-bos", OPTION_FLAG, &a.no_bos, NULL, "add no BOS to a text"},
        {"--special", OPTION_FLAG, &a.special, NULL, "text such as <|im_end|> becomes its special token"},
        {"--all", OPTION_FLAG, &a.all, NULL, "logits of every position, not only the last"},
        {"-t,--threads", OPTION_THREADS, &a.threads, "N", "threads (default: one per available CPU)"},
        {"-b,--batch-size", OPTION_INT, &a.batch, "N", "tokens computed at once (default: 512)"},
        {"-o,--output", OPTION_TEXT, &a.out, "FILE", "the HDF5 file to write"},
        {0},
    };
    struct error e = {0};
    struct model *m = NULL;
    int32_t *ids = NULL;
    int n = 0;
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);

    int failed = check_arguments(&a, &e) != 0 || model_open_lora(&m, a.model, a.lora, &e) != OK ||
                 take_ids(&a, m, &ids, &n, &e) != OK || text_fits(m, n, &e) != OK ||
                 run_model(&a, m, engine_by_name(a.engine), ids, n, &e) != OK;
    model_close(m);
    free(ids);
    return failed ? cmd_fail(&e) : 0;
}
