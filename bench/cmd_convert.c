/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_convert: `lfm2 quantize` and `lfm2 convert`, two command lines of one converter. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/cmd.h"
#include "bench/progress.h"
#include "data/convert.h"
#include "data/cpus.h"

static const char quantize_usage[] = "usage: lfm2 quantize [options] IN OUT.gguf TYPE [THREADS]\n\n"
                                     "Writes a model with the tensor types that llama-quantize would choose "
                                     "for TYPE: F32, F16, BF16, Q8_0, Q6_K,\n"
                                     "Q5_K_M, Q4_K_M or Q4_0. IN is a GGUF file or a Hugging Face folder.";

static const char convert_usage[] =
    "usage: lfm2 convert IN -o OUT.gguf [--type TYPE] [--lora ADAPTER[:FACTOR]]\n"
    "       lfm2 convert --merge MODEL:WEIGHT,MODEL:WEIGHT --base BASE -o OUT.gguf [--type TYPE]\n\n"
    "Writes a Hugging Face folder (config.json, safetensors, tokenizer) or a GGUF file as one GGUF file.\n"
    "--merge writes BASE + the sum of WEIGHT x (MODEL - BASE). All is computed in float32 and rounded once.";

/* What both commands say about types of one's own and importance. */
struct quality_options {
    const char *type[CLASS_COUNT]; /* but CLASS_PATTERN's */
    struct option_list patterns;   /* "REGEX=TYPE" */
    const char *imatrix;
    struct overrides overrides;
    struct imatrix *matrix;
};

#define QUALITY_OPTIONS(q)                                                                                   \
    {"--imatrix", OPTION_TEXT, &(q).imatrix, "FILE",                                                         \
     "fit Q4_0 (and Q4_1) with this importance matrix, GGUF or .dat"},                                       \
        {"--token-embedding-type", OPTION_TEXT, &(q).type[CLASS_EMBEDDING], "T", "of the embedding"},        \
        {"--output-tensor-type", OPTION_TEXT, &(q).type[CLASS_HEAD], "T",                                    \
         "of the head, which may be the embedding"},                                                         \
        {"--tensor-type", OPTION_LIST, &(q).patterns, "REGEX=T",                                             \
         "of matrices whose name matches; may be repeated, the first counts"},                               \
        {"--experts-type", OPTION_TEXT, &(q).type[CLASS_EXPERTS], "T", "of the experts"},                    \
        {"--dense-type", OPTION_TEXT, &(q).type[CLASS_DENSE], "T", "of dense layers' gate, up and down"},    \
        {"--attention-type", OPTION_TEXT, &(q).type[CLASS_ATTENTION], "T", "of q, k, v and output"},         \
        {"--conv-type", OPTION_TEXT, &(q).type[CLASS_CONV], "T", "of the convolutions' matrices"},           \
        {"--router-type", OPTION_TEXT, &(q).type[CLASS_ROUTER], "T",                                         \
         "round routers through this type (stored as F32; default: do not)"},                                \
    {                                                                                                        \
        "--taps-type", OPTION_TEXT, &(q).type[CLASS_TAPS], "T", "the same for the convolutions' taps"        \
    }

static void quality_free_options(struct quality_options *q) {
    overrides_free(&q->overrides);
    imatrix_close(q->matrix);
}

static enum status apply(struct quality_options *q, struct convert_options *o, struct error *e) {
    for (int c = 0; c < CLASS_COUNT; c++)
        if (q->type[c]) TRY(overrides_add(&q->overrides, (enum tensor_class)c, NULL, q->type[c], e));
    for (int i = 0; i < q->patterns.n; i++) {
        char pattern[256];
        const char *text = q->patterns.at[i], *equals = strrchr(text, '=');
        if (!equals || equals == text || (size_t)(equals - text) >= sizeof pattern)
            return fail(e, ERR_ARG, "--tensor-type: expected REGEX=TYPE (found '%.64s')", text);
        snprintf(pattern, sizeof pattern, "%.*s", (int)(equals - text), text);
        TRY(overrides_add(&q->overrides, CLASS_PATTERN, pattern, equals + 1, e));
    }
    if (q->imatrix) TRY(imatrix_open(&q->matrix, q->imatrix, e));
    o->overrides = q->overrides.n ? &q->overrides : NULL;
    o->imatrix = q->matrix;
    return OK;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct shown {
    struct progress line;
    double start;
};

static void show(void *arg, uint64_t done, uint64_t total) {
    struct shown *s = arg;
    progress_show(&s->line, (double)done / (double)total, "%.2f of %.2f GB, %.0f MB/s", (double)done * 1e-9,
                  (double)total * 1e-9, (double)done * 1e-6 / (seconds() - s->start + 1e-9));
}

/* 0, or -1 with *e saying what cannot be. */
static int check(const char *cmd, const struct convert_options *o, const char *type, int force,
                 struct error *e) {
    if (type && !o->recipe)
        fail(e, ERR_ARG, "%s: unknown type '%s' (expected one of: %s)", cmd, type, recipe_names);
    else
        return cmd_output_file(cmd, o->out, force, e) ? -1 : 0;
    return -1;
}

static int write_file(struct convert_options *o, struct quality_options *q, struct error *e) {
    struct shown shown = {.start = seconds()};
    struct convert_result r;
    o->progress = show;
    o->progress_arg = &shown;
    enum status status = apply(q, o, e);
    if (status == OK) status = convert_write(o, &r, e);
    o->progress = NULL, o->progress_arg = NULL;
    progress_end(&shown.line);
    if (status != OK) return cmd_fail(e);
    printf("%s: %s, %.4g million weights, %.3f GB from %.3f GB, %.1f s\n", o->out,
           o->recipe ? o->recipe->name : "types kept", (double)r.n_params * 1e-6, (double)r.out_bytes * 1e-9,
           (double)r.in_bytes * 1e-9, seconds() - shown.start);
    if (o->imatrix) printf("%d tensors fitted with %s\n", r.n_weighted, q->imatrix);
    if (r.n_fallback)
        printf("%d tensors have rows that do not fit the blocks of their type: they became Q8_0 or F16\n",
               r.n_fallback);
    if (r.no_tokenizer) printf("there is no tokenizer in %s: the file takes token ids only\n", o->in);
    return 0;
}

int cmd_quantize(int argc, char **argv) {
    const char *words[4] = {0};
    int n = 0, force = 0;
    struct convert_options o = {.threads = usable_cpus()};
    struct quality_options q = {0};
    struct error e = {0};
    const struct option_spec specs[] = {
        {"--allow-requantize", OPTION_FLAG, &o.allow_requantize, NULL,
         "round weights a second time when IN is quantised already"},
        {"-t,--threads", OPTION_THREADS, &o.threads, "N",
         "threads (default: one per available CPU), also as the last word"},
        QUALITY_OPTIONS(q),
        {"--force", OPTION_FLAG, &force, NULL, "replace OUT.gguf when it exists"},
        {0},
    };
    int parsed = options_parse(argc, argv, quantize_usage, specs, words, 4, &n, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (n < 3) {
        fail(&e, ERR_ARG, "quantize: %s is missing; see lfm2 quantize --help",
             n == 0   ? "IN"
             : n == 1 ? "OUT.gguf"
                      : "TYPE");
        return cmd_fail(&e);
    }
    if (n == 4) {
        char *end;
        long threads = strtol(words[3], &end, 10);
        if (end == words[3] || *end || threads < 1 || threads > OPTION_MAX_THREADS) {
            fail(&e, ERR_ARG, "quantize: bad number of threads (found '%s', expected 1 to %d)", words[3],
                 OPTION_MAX_THREADS);
            return cmd_fail(&e);
        }
        o.threads = (int)threads;
    }
    o.in = words[0];
    o.out = words[1];
    o.recipe = recipe_by_name(words[2]);
    int code = check("quantize", &o, words[2], force, &e) ? cmd_fail(&e) : write_file(&o, &q, &e);
    quality_free_options(&q);
    return code;
}

int cmd_convert(int argc, char **argv) {
    const char *in = NULL, *type = NULL, *base = NULL;
    int n = 0, force = 0;
    struct convert_options o = {.threads = usable_cpus()};
    struct quality_options q = {0};
    struct error e = {0};
    const struct option_spec specs[] = {
        {"-o,--output", OPTION_TEXT, &o.out, "FILE", "the GGUF file to write"},
        {"--type", OPTION_TEXT, &type, "TYPE",
         "F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M or Q4_0 (default: each tensor keeps its type)"},
        {"--lora", OPTION_TEXT, &o.adapters, "F[:S]",
         "add a PEFT adapter, S times (default 1); may be repeated"},
        {"--merge", OPTION_TEXT, &o.merges, "M:W,M:W", "add W times what M differs by from --base"},
        {"--base", OPTION_TEXT, &base, "MODEL", "what --merge starts from"},
        {"--allow-requantize", OPTION_FLAG, &o.allow_requantize, NULL,
         "round weights a second time when IN is quantised already"},
        {"-t,--threads", OPTION_THREADS, &o.threads, "N", "threads (default: one per available CPU)"},
        QUALITY_OPTIONS(q),
        {"--force", OPTION_FLAG, &force, NULL, "replace the output when it exists"},
        {0},
    };
    int parsed = options_parse(argc, argv, convert_usage, specs, &in, 1, &n, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (!o.out)
        fail(&e, ERR_ARG, "convert: -o FILE is missing; see lfm2 convert --help");
    else if (o.merges && !base)
        fail(&e, ERR_ARG, "convert: --merge needs --base MODEL; see lfm2 convert --help");
    else if (base && !o.merges)
        fail(&e, ERR_ARG, "convert: --base is for --merge; see lfm2 convert --help");
    else if (!in == !base)
        fail(&e, ERR_ARG, "convert: %s; see lfm2 convert --help",
             in ? "with --merge, the models are given by --merge and --base only"
                : "the model to convert is missing");
    if (e.code) return cmd_fail(&e);
    o.in = in ? in : base;
    o.recipe = type ? recipe_by_name(type) : NULL;
    int code = check("convert", &o, type, force, &e) ? cmd_fail(&e) : write_file(&o, &q, &e);
    quality_free_options(&q);
    return code;
}
