/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_tokenize: `lfm2 tokenize` prints the token ids of a text, or the text of ids. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/cmd.h"
#include "bench/ids.h"
#include "bench/text_input.h"
#include "data/tokenizer.h"

static const char usage[] =
    "usage: lfm2 tokenize (-m FILE | --tokenizer PATH) (-p TEXT | -f FILE) [options]\n"
    "       lfm2 tokenize (-m FILE | --tokenizer PATH) --detokenize --ids 1,2,3\n\n"
    "Prints the token ids of a text on one line, separated by spaces, or with --detokenize the exact bytes "
    "of "
    "ids.\nWithout -p and -f the text comes from standard input.";

struct arguments {
    const char *model, *tokenizer, *prompt, *file, *ids;
    int no_bos, special, detokenize, stats;
};

static enum status print_ids(const struct arguments *a, const struct tokenizer *t, struct error *e) {
    struct buffer text = {0};
    struct tokens ids = {0};
    unsigned flags = (a->no_bos ? 0 : TOKENS_BOS) | (a->special ? TOKENS_SPECIAL : 0);
    enum status status = text_input(&text, a->prompt, a->file, e);
    int64_t start = now_ns();
    if (status == OK) status = tokenizer_encode(t, text.data, text.n, flags, &ids, e);
    int64_t ns = now_ns() - start;
    if (status == OK && a->stats)
        fprintf(stderr, "%zu bytes, %zu tokens, %.3f s, %.2f MB/s\n", text.n, ids.n, 1e-9 * (double)ns,
                1e3 * (double)text.n / (double)(ns ? ns : 1));
    for (size_t i = 0; status == OK && i < ids.n; i++) printf("%s%d", i ? " " : "", ids.ids[i]);
    if (status == OK) putchar('\n');
    buffer_free(&text), tokens_free(&ids);
    return status;
}

static enum status print_text(const struct arguments *a, const struct tokenizer *t, struct error *e) {
    struct buffer text = {0};
    int32_t *ids = NULL;
    int n = 0;
    enum status status = ids_parse(a->ids, &ids, &n, e);
    if (status == OK) status = tokenizer_decode(t, ids, (size_t)n, a->special ? TOKENS_SPECIAL : 0, &text, e);
    if (status == OK && text_output(text.data, text.n))
        status = fail(e, ERR_IO, "standard output: %s", strerror(errno));
    buffer_free(&text), free(ids);
    return status;
}

static enum status check_arguments(const struct arguments *a, struct error *e) {
    if (!a->model == !a->tokenizer)
        return fail(e, ERR_ARG,
                    "tokenize: expected one of -m FILE and --tokenizer PATH; see lfm2 tokenize --help");
    if (a->detokenize && (!a->ids || a->prompt || a->file))
        return fail(e, ERR_ARG,
                    "tokenize: --detokenize needs --ids 1,2,3 and no text; see lfm2 tokenize --help");
    if (!a->detokenize && a->ids)
        return fail(e, ERR_ARG, "tokenize: --ids needs --detokenize; see lfm2 tokenize --help");
    if (a->prompt && a->file)
        return fail(e, ERR_ARG, "tokenize: expected one of -p TEXT and -f FILE, not both");
    return OK;
}

int cmd_tokenize(int argc, char **argv) {
    struct arguments a = {0};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &a.model, "FILE", "take the vocabulary of this model, GGUF or a folder"},
        {"--tokenizer", OPTION_TEXT, &a.tokenizer, "PATH",
         "a folder with tokenizer.json, or with vocab.json and merges.txt; or a tokenizer.json"},
        {"-p,--prompt", OPTION_TEXT, &a.prompt, "TEXT", "the text"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE", "a file with the text (gzip is unpacked)"},
        {"--no-bos", OPTION_FLAG, &a.no_bos, NULL, "add no BOS where the vocabulary asks for one"},
        {"--special", OPTION_FLAG, &a.special, NULL,
         "text such as <|im_end|> becomes its special token;\nwith --detokenize special tokens are written"},
        {"--detokenize", OPTION_FLAG, &a.detokenize, NULL, "print the text of --ids"},
        {"--stats", OPTION_FLAG, &a.stats, NULL, "print bytes, tokens and speed on standard error"},
        {"--ids", OPTION_TEXT, &a.ids, "LIST", "token ids separated by commas"},
        {0},
    };
    struct error e = {0};
    struct tokenizer *t = NULL;
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status status = check_arguments(&a, &e);
    if (status == OK) status = tokenizer_open(&t, a.model ? a.model : a.tokenizer, &e);
    if (status == OK) status = a.detokenize ? print_text(&a, t, &e) : print_ids(&a, t, &e);
    tokenizer_close(t);
    if (status != OK) return cmd_fail(&e);
    if (fflush(stdout) == 0) return 0;
    fail(&e, ERR_IO, "standard output: %s", strerror(errno));
    return cmd_fail(&e);
}
