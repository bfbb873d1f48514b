/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_imatrix: `lfm2 imatrix`, with llama-imatrix's flags and file. */
#include <stdio.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/importance.h"
#include "bench/progress.h"
#include "bench/text_ids.h"

static const char usage[] =
    "usage: lfm2 imatrix -m FILE -f TEXT -o OUT.gguf [options]\n\n"
    "Reads the text with the reference engine, in chunks of -c ids as llama-imatrix does, and writes the "
    "mean "
    "square\nof every input of every matrix: what `lfm2 quantize --imatrix` and llama-quantize take.";

struct arguments {
    const char *model, *file, *out;
    int n_ctx, chunks, threads, special, force;
};

static void show(void *arg, int done, int total) {
    progress_show(arg, (double)done / total, "imatrix: %d of %d chunks", done, total);
}

static enum status write_file(const struct arguments *a, const struct importance *x, const struct windows *w,
                              struct error *e) {
    const char *slash = strrchr(a->file, '/');
    int unseen = 0;
    TRY(imatrix_write(a->out, x->sums, x->n, slash ? slash + 1 : a->file, (uint32_t)w->n, (uint32_t)w->size,
                      e));
    for (int i = 0; i < x->n; i++)
        for (int64_t p = 0; p < x->sums[i].planes; p++) unseen += x->sums[i].counts[p] == 0;
    printf("%s: %d matrices, %d chunks of %d ids\n", a->out, x->n, w->n, w->size);
    if (unseen) printf("%d matrices of experts saw no token: their columns count alike\n", unseen);
    return OK;
}

static enum status run(const struct arguments *a, const struct model *m, struct error *e) {
    struct tokens text = {0};
    struct importance x = {0};
    struct progress line = {0};
    int adds_bos = 0;
    enum status st = text_ids(m, a->file, a->special, &text, &adds_bos, e);
    struct windows w = windows_chunks((int)text.n, a->n_ctx);
    if (a->chunks > 0 && a->chunks < w.n) w.n = a->chunks;
    if (st == OK && w.n < 1)
        st = fail(e, ERR_ARG, "%s: too short (found %zu ids, expected at least %d; -c makes that fewer)",
                  a->file, text.n, a->n_ctx);
    if (st == OK) st = text_fits(m, w.size, e);
    if (st == OK) st = importance_new(&x, m, e);
    if (st == OK)
        st = importance_collect(&x, m, text.ids, &w, adds_bos ? m->config.bos_id : -1, a->threads, show,
                                &line, e);
    progress_end(&line);
    if (st == OK) st = write_file(a, &x, &w, e);
    importance_free(&x);
    tokens_free(&text);
    return st;
}

static enum status check(const struct arguments *a, struct error *e) {
    const char *missing = !a->model ? "-m FILE" : !a->file ? "-f TEXT" : !a->out ? "-o OUT.gguf" : NULL;
    if (missing) return fail(e, ERR_ARG, "imatrix: %s is missing; see lfm2 imatrix --help", missing);
    if (a->n_ctx < 1 || a->n_ctx > 1 << 24)
        return fail(e, ERR_ARG, "imatrix: -c must be from 1 to %d (found %d)", 1 << 24, a->n_ctx);
    TRY(cmd_output_apart(a->out, (const char *[]){a->model, a->file}, 2, e));
    return cmd_output_file("imatrix", a->out, a->force, e);
}

int cmd_imatrix(int argc, char **argv) {
    struct arguments a = {.n_ctx = 512, .chunks = -1};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &a.model, "FILE", "the model, best in F32, F16 or BF16"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE", "the text (gzip is unpacked)"},
        {"-o,--output", OPTION_TEXT, &a.out, "FILE", "the GGUF file to write"},
        {"-c,--ctx-size", OPTION_INT, &a.n_ctx, "N", "ids per chunk (default: 512)"},
        {"--chunks", OPTION_INT, &a.chunks, "N", "at most N chunks (default: -1, all)"},
        {"--special", OPTION_FLAG, &a.special, NULL, "text such as <|im_end|> becomes its special token"},
        {"-t,--threads", OPTION_THREADS, &a.threads, "N", "threads (default: one per available CPU)"},
        {"--force", OPTION_FLAG, &a.force, NULL, "replace the output when it exists"},
        {0},
    };
    struct error e = {0};
    struct model *m = NULL;
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status st = check(&a, &e);
    if (st == OK) st = model_open(&m, a.model, &e);
    if (st == OK) st = run(&a, m, &e);
    model_close(m);
    return st == OK ? 0 : cmd_fail(&e);
}
