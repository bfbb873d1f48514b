/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run: `lfm2 run` continues a text. Standard output gets the new text and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/text_input.h"
#include "bench/text_model.h"

static const char usage[] =
    "usage: lfm2 run -m FILE (-p TEXT | -f FILE | < TEXT) [options]\n\n"
    "Continues a text, exactly as given (`lfm2 chat` uses the model's chat template), until the model ends, "
    "-n tokens\nare there or the context is full. Ctrl-C ends the text too. Timings are on standard error.";

enum { ROOM = 4096 /* tokens of answer that the context has room for when neither -c nor -n is given */ };

struct arguments {
    struct text_options text;
    const char *prompt, *file;
    int no_bos, lookup, ignore_eos;
};

/* The prompt, in the timeline. A file's last newline is its last line's end, not part of the text. */
static enum status take_prompt(const struct arguments *a, struct text_model *t, struct error *e) {
    struct buffer text = {0};
    unsigned flags = (a->no_bos ? 0 : TOKENS_BOS) | (a->text.special ? TOKENS_SPECIAL : 0);
    enum status status = text_input(&text, a->prompt, a->file, e);
    if (!a->prompt && text.n && text.data[text.n - 1] == '\n') text.n--;
    if (status == OK) status = tokenizer_encode(t->tokenizer, text.data, text.n, flags, &t->g.timeline, e);
    buffer_free(&text);
    if (status == OK && t->g.timeline.n == 0) status = fail(e, ERR_ARG, "run: the prompt is empty");
    return status;
}

static enum status open_session(const struct arguments *a, struct text_model *t, struct error *e) {
    size_t n = t->g.timeline.n;
    int room = a->text.n_predict >= 0 ? a->text.n_predict : ROOM, max_tokens;
    int fallback = n + (size_t)room < INT32_MAX ? (int)n + room : INT32_MAX;
    TRY(text_model_context(t, &a->text, fallback, &max_tokens, e));
    if (n > (size_t)max_tokens)
        return fail(e, ERR_ARG,
                    "%s: the prompt is longer than the context (found %zu tokens, expected at most %d)%s",
                    a->file ? a->file : "run", n, max_tokens, a->text.context ? "; -c N takes more" : "");
    return text_model_start(t, &a->text, max_tokens, e);
}

static enum status run(const struct arguments *a, struct text_model *t, struct error *e) {
    struct generate_result r;
    TRY(text_model_open(t, &a->text, "run", e));
    TRY(take_prompt(a, t, e));
    TRY(open_session(a, t, e));
    t->generate.lookup = a->lookup ? LOOKUP_DRAFT : 0;
    t->generate.ignore_eos = a->ignore_eos;
    catch_signals(1);
    TRY(text_model_generate(t, &r, e));
    if (isatty(STDOUT_FILENO)) putchar('\n'), fflush(stdout);
    text_model_timings(t);
    if (r.end == END_CONTEXT)
        return fail(e, ERR_ARG, "run: the context of %d tokens is full, the text is cut%s", t->g.max_tokens,
                    t->g.max_tokens < t->model->config.context_length ? "; -c N takes more" : "");
    return OK;
}

int cmd_run(int argc, char **argv) {
    struct arguments a = {.text = text_options_none()};
    struct text_model t = {0};
    const struct option_spec specs[] = {
        {"-p,--prompt", OPTION_TEXT, &a.prompt, "TEXT", "the text to continue"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE",
         "a file with the text (gzip is unpacked); without -p and -f\nit comes from standard input"},
        TEXT_OPTIONS(a.text),
        {"--special", OPTION_FLAG, &a.text.special, NULL,
         "text such as <|im_end|> in the prompt becomes its special token;\nspecial tokens are written"},
        {"--ignore-eos", OPTION_FLAG, &a.ignore_eos, NULL, "never choose a token that ends the text"},
        {"--no-bos", OPTION_FLAG, &a.no_bos, NULL, "add no BOS where the vocabulary asks for one"},
        {"--lookup", OPTION_FLAG, &a.lookup, NULL,
         "prompt lookup: guess from earlier text, for speed; the text stays the same"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status status = OK;
    if (a.prompt && a.file)
        status = fail(&e, ERR_ARG, "run: expected one of -p TEXT and -f FILE, not both");
    else if (!a.prompt && !a.file && isatty(STDIN_FILENO))
        status = fail(&e, ERR_ARG, "run: no text to continue; see lfm2 run --help");
    if (status == OK) status = run(&a, &t, &e);
    text_model_close(&t);
    return status == OK ? 0 : cmd_fail(&e);
}
