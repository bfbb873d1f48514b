/* SPDX-License-Identifier: Apache-2.0 */
/* Generating text: what is chosen, what is written, and where it ends. Models are synthetic, so the text is
 * nonsense, but it has a vocabulary and is the same each time. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/generate.h"
#include "bench/text_input.h"
#include "data/model.h"
#include "data/synth.h"
#include "tests/run_command.h"
#include "tests/tiny.h"

enum { CONTEXT = 512, N = 64 };

static const char *const shapes[] = {"tiny-lfm2moe", "tiny-lfm2", "tiny-qwen3"};
static const char prompt[] = "the rain in the rain in the plain, and the rain in";

static char directory[256], model_path[300], out_path[300], err_path[300], in_path[300];

static void begin(void) {
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", directory);
    snprintf(out_path, sizeof out_path, "%s/out", directory);
    snprintf(err_path, sizeof err_path, "%s/err", directory);
    snprintf(in_path, sizeof in_path, "%s/in", directory);
}

static void end(void) {
    tiny_directory_remove(directory);
}

TestSuite(generate, .init = begin, .fini = end);

static void write_model(const char *shape) {
    struct error e = {0};
    struct synth_options o = {
        .shape = synth_shape_by_name(shape), .recipe = "q4_0", .seed = 1, .threads = 1, .path = model_path};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
}

/* A model, one conversation on it, and what was written. */
struct fixture {
    struct model *m;
    struct tokenizer *t;
    struct generator g;
    struct generate_options o;
    struct generate_result r;
    struct buffer text;
    int pieces, interrupt_after;
    volatile sig_atomic_t interrupt;
};

static int collect(void *arg, const char *bytes, size_t n) {
    struct fixture *f = arg;
    cr_assert_gt(n, 0);
    buffer_add(&f->text, bytes, n);
    if (++f->pieces == f->interrupt_after) f->interrupt = 1;
    return 0;
}

static void sample_with(struct fixture *f, struct sampler_options s) {
    struct error e = {0};
    sampler_close(f->g.sampler);
    cr_assert_eq(sampler_open(&f->g.sampler, &s, tokenizer_size(f->t), &e), OK, "%s", e.text);
}

/* Opens the model at model_path, greedy, with the prompt in the timeline. */
static void fixture_open(struct fixture *f, const struct engine *engine, int max_tokens) {
    struct error e = {0};
    struct engine_options o = {.threads = 1, .max_tokens = max_tokens, .no_pin = 1};
    *f = (struct fixture){0};
    cr_assert_eq(model_open(&f->m, model_path, &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_of_model(&f->t, f->m, &e), OK, "%s", e.text);
    f->g = (struct generator){
        .engine = engine, .tokenizer = f->t, .n_vocab = f->m->config.n_vocab, .max_tokens = max_tokens};
    cr_assert_eq(engine->open(&f->g.session, f->m, &o, &e), OK, "%s", e.text);
    sample_with(f, sampler_greedy());
    f->o = (struct generate_options){.n_predict = N, .interrupt = &f->interrupt, .text = collect, .arg = f};
    cr_assert_eq(tokenizer_encode(f->t, prompt, strlen(prompt), TOKENS_BOS, &f->g.timeline, &e), OK);
}

static void fixture_close(struct fixture *f) {
    f->g.engine->close(f->g.session);
    sampler_close(f->g.sampler);
    generator_free(&f->g);
    buffer_free(&f->text);
    tokenizer_close(f->t);
    model_close(f->m);
}

/* The first n_prompt tokens again, as if nothing had been generated. */
static void rewind_to(struct fixture *f, size_t n_prompt) {
    f->g.engine->reset(f->g.session);
    f->g.timeline.n = n_prompt;
    f->text.n = 0;
    f->pieces = 0;
}

static void go(struct fixture *f) {
    struct error e = {0};
    cr_assert_eq(generate(&f->g, &f->o, &f->r, &e), OK, "%s", e.text);
}

static int32_t highest(const float *x, int n) {
    int32_t best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* The engine asked directly, one token at a time, says the same. */
static void expect_argmax(const struct engine *engine) {
    struct fixture f;
    struct error e = {0};
    fixture_open(&f, engine, CONTEXT);
    int n_prompt = (int)f.g.timeline.n, V = f.m->config.n_vocab;
    go(&f);
    cr_assert_eq(f.r.prompt_tokens, n_prompt);
    cr_assert_eq((size_t)f.r.tokens, f.g.timeline.n - (size_t)n_prompt);
    float *logits = malloc((size_t)V * sizeof *logits);
    engine->reset(f.g.session);
    cr_assert_eq(engine->feed(f.g.session, f.g.timeline.ids, n_prompt, logits, 1, &e), OK);
    for (int i = n_prompt; i < (int)f.g.timeline.n; i++) {
        cr_assert_eq(f.g.timeline.ids[i], highest(logits, tokenizer_size(f.t)), "token %d", i);
        cr_assert_eq(engine->feed(f.g.session, f.g.timeline.ids + i, 1, logits, 1, &e), OK);
    }
    struct buffer want = {0};
    tokenizer_decode(f.t, f.g.timeline.ids + n_prompt, (size_t)f.r.tokens, 0, &want, &e);
    cr_assert(want.n == f.text.n && memcmp(want.data, f.text.data, want.n) == 0, "text and tokens differ");
    cr_assert(f.r.end == END_MODEL || f.r.tokens == N);
    buffer_free(&want);
    free(logits);
    fixture_close(&f);
}

Test(generate, greedy_is_argmax_step_by_step) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        write_model(shapes[i]);
        expect_argmax(&engine_reference);
        expect_argmax(&engine_optimized);
    }
}

Test(generate, a_stop_text_ends_the_answer_wherever_tokens_meet) {
    struct fixture f;
    write_model("tiny-lfm2");
    fixture_open(&f, &engine_optimized, CONTEXT);
    size_t n_prompt = f.g.timeline.n;
    struct sampler_options hot = {.temperature = 2, .top_p = 1, .repeat_penalty = 1, .seed = 7};
    f.o.n_predict = 24;
    sample_with(&f, hot);
    go(&f);
    char *full = malloc(f.text.n);
    size_t n = f.text.n;
    memcpy(full, f.text.data, n);
    cr_assert_gt(n, 24);
    int ended = 0;
    for (size_t size = 1; size <= 7; size += 3)
        for (size_t at = 0; at + size <= n; at += 2) {
            char stop[8] = {0};
            memcpy(stop, full + at, size);
            if (strlen(stop) != size) continue; /* a NUL in the text */
            const char *const stops[] = {"never in the text", stop};
            f.o.stop = stops, f.o.n_stop = 2;
            rewind_to(&f, n_prompt);
            sample_with(&f, hot);
            go(&f);
            size_t want = (size_t)((char *)memmem(full, n, stop, size) - full);
            cr_assert_eq(f.r.end, END_STOP, "stop at %zu of %zu bytes", at, size);
            cr_assert(f.text.n == want && (want == 0 || memcmp(f.text.data, full, want) == 0),
                      "stop at %zu of %zu bytes: %zu bytes written, expected %zu", at, size, f.text.n, want);
            ended++;
        }
    cr_assert_gt(ended, 20);
    free(full);
    fixture_close(&f);
}

/* Plain and with lookup from the same start; adds up what lookup proposed. */
static void expect_same(struct fixture *f, size_t n_prompt, struct sampler_options s, int lookup,
                        int *proposed, int *accepted) {
    int32_t plain[CONTEXT], longer[CONTEXT];
    rewind_to(f, n_prompt);
    sample_with(f, s);
    f->o.lookup = 0, f->o.n_predict = N;
    go(f);
    size_t n = f->g.timeline.n;
    memcpy(plain, f->g.timeline.ids, n * sizeof *plain);
    go(f);
    size_t n_longer = f->g.timeline.n;
    memcpy(longer, f->g.timeline.ids, n_longer * sizeof *longer);

    rewind_to(f, n_prompt);
    sample_with(f, s);
    f->o.lookup = lookup;
    go(f);
    cr_assert_eq(f->g.timeline.n, n, "lookup %d: %zu tokens, expected %zu", lookup, f->g.timeline.n, n);
    cr_assert_arr_eq(f->g.timeline.ids, plain, n * sizeof *plain);
    cr_assert_leq((size_t)f->g.engine->position(f->g.session), n - 1);
    cr_assert_eq(f->r.steps <= f->r.tokens - 1 && f->r.accepted <= f->r.proposed, 1);
    *proposed += f->r.proposed, *accepted += f->r.accepted;
    f->o.lookup = 0; /* the state it leaves is a state to go on from */
    go(f);
    cr_assert_eq(f->g.timeline.n, n_longer);
    cr_assert_arr_eq(f->g.timeline.ids, longer, n_longer * sizeof *longer);
}

Test(generate, prompt_lookup_changes_nothing_but_the_steps) {
    const int lookups[] = {1, 4, LOOKUP_MAX};
    int proposed = 0, accepted = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct fixture f;
        write_model(shapes[i]);
        fixture_open(&f, &engine_optimized, CONTEXT);
        size_t n_prompt = f.g.timeline.n;
        for (int k = 0; k < 3; k++) {
            struct sampler_options s = sampler_greedy();
            expect_same(&f, n_prompt, s, lookups[k], &proposed, &accepted);
            s.repeat_penalty = 1.1;
            expect_same(&f, n_prompt, s, lookups[k], &proposed, &accepted);
            s = (struct sampler_options){
                .temperature = 0.7, .top_k = 4, .top_p = 1, .repeat_penalty = 1, .seed = (uint64_t)k};
            expect_same(&f, n_prompt, s, lookups[k], &proposed, &accepted);
        }
        fixture_close(&f);
    }
    cr_assert(accepted > 0 && proposed > accepted,
              "%d of %d: right and wrong guesses must both have been met", accepted, proposed);
}

Test(generate, an_interrupted_answer_can_be_gone_on_with) {
    struct fixture f;
    write_model("tiny-lfm2moe");
    fixture_open(&f, &engine_optimized, CONTEXT);
    size_t n_prompt = f.g.timeline.n;
    go(&f);
    size_t n = f.g.timeline.n;
    int32_t *whole = malloc(n * sizeof *whole);
    memcpy(whole, f.g.timeline.ids, n * sizeof *whole);
    rewind_to(&f, n_prompt);
    f.interrupt_after = 5;
    go(&f);
    cr_assert_eq(f.r.end, END_INTERRUPT);
    cr_assert_lt(f.g.timeline.n, n);
    f.interrupt = 1;
    go(&f); /* in the prompt already */
    cr_assert(f.r.end == END_INTERRUPT && f.r.tokens == 0);
    f.interrupt = 0, f.interrupt_after = 0;
    f.o.n_predict = (int)(n - f.g.timeline.n);
    go(&f);
    cr_assert_eq(f.g.timeline.n, n);
    cr_assert_arr_eq(f.g.timeline.ids, whole, n * sizeof *whole);
    free(whole);
    fixture_close(&f);
}

Test(generate, the_context_is_a_limit) {
    struct fixture f;
    struct error e = {0};
    write_model("tiny-qwen3");
    fixture_open(&f, &engine_optimized, CONTEXT);
    int n_prompt = (int)f.g.timeline.n;
    fixture_close(&f);

    fixture_open(&f, &engine_optimized, n_prompt - 1);
    cr_assert_eq(generate(&f.g, &f.o, &f.r, &e), ERR_ARG);
    cr_assert(strstr(e.text, "context"), "%s", e.text);
    cr_assert(f.g.engine->position(f.g.session) == 0 && (int)f.g.timeline.n == n_prompt && f.text.n == 0);
    fixture_close(&f);

    for (int lookup = 0; lookup <= 8; lookup += 8) {
        fixture_open(&f, &engine_optimized, n_prompt + 10);
        f.o.n_predict = -1, f.o.lookup = lookup;
        go(&f);
        cr_assert_eq(f.r.end, END_CONTEXT);
        cr_assert_eq(f.r.tokens, 11, "ten are fed and one follows them (found %d)", f.r.tokens);
        cr_assert_eq(generate(&f.g, &f.o, &f.r, &e), ERR_ARG);
        fixture_close(&f);
    }
}

static size_t read_file(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    fclose(f);
    return n;
}

/* Runs a command with input from a text; its output is left in out_path and err_path. */
static int run(int (*cmd)(int, char **), const char *name, const char *input, const char *const *words) {
    FILE *f = fopen(in_path, "wb");
    cr_assert(f && fputs(input, f) >= 0 && fclose(f) == 0);
    return run_command(cmd, name, words, in_path, out_path, err_path);
}
#define RUN(input, ...)  run(cmd_run, "run", input, (const char *const[]){__VA_ARGS__, NULL})
#define CHAT(input, ...) run(cmd_chat, "chat", input, (const char *const[]){__VA_ARGS__, NULL})

Test(generate, run_writes_the_text_and_nothing_else) {
    struct fixture f;
    char out[4096], err[4096];
    write_model("tiny-lfm2moe");
    fixture_open(&f, &engine_optimized, CONTEXT);
    go(&f);
    for (int i = 0; i < 3; i++) {
        int code = i == 0 ? RUN("", "-m", model_path, "-p", prompt, "-n", "64", "--temp", "0")
                   : i == 1
                       ? RUN(prompt, "-m", model_path, "-n", "64", "--temp", "0", "--lookup")
                       : RUN(prompt, "-m", model_path, "-n", "64", "--temp", "0", "-f", in_path, "-b", "5");
        size_t n = read_file(out_path, out, sizeof out);
        read_file(err_path, err, sizeof err);
        cr_assert_eq(code, 0, "%s", err);
        cr_assert(n == f.text.n && memcmp(out, f.text.data, n) == 0, "way %d: other text", i);
        cr_assert(strstr(err, "tokens per second"), "%s", err);
    }
    fixture_close(&f);
}

Test(generate, run_refuses_what_cannot_be) {
    char err[4096];
    write_model("tiny-lfm2moe");
    cr_assert_eq(RUN("", "-m", model_path, "-p", prompt, "-c", "4"), 2);
    read_file(err_path, err, sizeof err);
    cr_assert(strstr(err, "context") && strchr(err, '\n') == err + strlen(err) - 1, "%s", err);
    cr_assert_eq(RUN("", "-m", model_path, "-p", prompt, "-c", "64", "--temp", "0"), 2, "the answer is cut");
    cr_assert_eq(RUN("", "-m", model_path, "--no-bos"), 2, "no text at all");
    cr_assert_eq(RUN("", "-m", model_path, "-p", "a", "-f", in_path), 2);
    cr_assert_eq(RUN("", "-m", model_path, "-p", "a", "--stop", ""), 2);
    cr_assert_eq(RUN("", "-m", model_path, "-p", "a", "--temp", "-1"), 2);
    cr_assert_eq(RUN("", "-m", model_path, "-p", "a", "-c", "1000000"), 2);
    cr_assert_eq(RUN("", "-m", model_path, "-p", "a", "--engine", "magic"), 2);
}

Test(generate, logits_takes_text) {
    char path[300];
    write_model("tiny-lfm2moe");
    snprintf(path, sizeof path, "%s/l.h5", directory);
    const char *const words[] = {"-m", model_path, "-p", prompt, "-o", path, NULL};
    const char *const both[] = {"-m", model_path, "-p", prompt, "--ids", "1", "-o", path, NULL};
    cr_assert_eq(run(cmd_logits, "logits", "", words), 0);
    cr_assert_eq(access(path, R_OK), 0);
    cr_assert_eq(run(cmd_logits, "logits", "", both), 2);
}

/* Tokens that the whole conversation took to feed, from the timings. */
static int fed(const char *err) {
    const char *line = strstr(err, "prompt eval");
    int n = -1;
    cr_assert(line && sscanf(line, "prompt eval time = %*f ms / %d", &n) == 1, "%s", err);
    return n;
}

Test(generate, chat_feeds_only_what_is_new) {
    char err[4096];
    int turns[4] = {0};
    write_model("tiny-lfm2moe");
    for (int i = 1; i <= 3; i++) {
        const char *input = i == 1 ? "hello\n" : i == 2 ? "hello\nhello\n" : "hello\nhello\nhello";
        cr_assert_eq(CHAT(input, "-m", model_path, "--chat-template", "lfm2", "-n", "4", "--temp", "0"), 0);
        read_file(err_path, err, sizeof err);
        turns[i] = fed(err);
    }
    cr_assert_gt(turns[1], 0);
    /* A later turn has no BOS and feeds the last answer's last token and its end mark. */
    cr_assert_eq(turns[3] - turns[2], turns[2] - turns[1]);
    cr_assert_leq(turns[2] - turns[1], turns[1] + 8);
}

Test(generate, chat_refuses_a_turn_and_goes_on) {
    char err[4096], out[4096];
    write_model("tiny-lfm2moe");
    cr_assert_eq(CHAT("hi\nthis is much too long for the little room that is left in this context\n\xff\n"
                      "/clear\nhi\n",
                      "-m", model_path, "--chat-template", "chatml", "-n", "4", "--temp", "0", "-c", "48"),
                 0);
    read_file(out_path, out, sizeof out);
    read_file(err_path, err, sizeof err);
    cr_assert(strstr(err, "context"), "%s", err);
    cr_assert(strstr(err, "UTF-8"), "%s", err);
    char *second = strchr(out, '\n') + 1;
    size_t n = (size_t)(second - out);
    cr_assert(n > 1 && strlen(second) == n && memcmp(out, second, n) == 0,
              "after /clear the same question has the same answer");
    cr_assert_eq(CHAT("hi\n", "-m", model_path), 2, "no template is known");
    cr_assert_eq(CHAT("hi\n", "-m", model_path, "--chat-template", "magic"), 2);
}

Test(generate, chat_answers_one_question_and_ends) {
    char expected[4096], out[4096], err[4096];
    write_model("tiny-lfm2moe");
    cr_assert_eq(
        CHAT("two\\\nlines\n", "-m", model_path, "--chat-template", "lfm2", "-n", "8", "--temp", "0"), 0);
    size_t n = read_file(out_path, expected, sizeof expected);
    cr_assert_gt(n, 1);
    for (int i = 0; i < 2; i++) { /* standard input is not read: with -f it is the file */
        int code = i == 0 ? CHAT("no\n", "-m", model_path, "--chat-template", "lfm2", "-n", "8", "--temp",
                                 "0", "-p", "two\nlines")
                          : CHAT("two\nlines\n", "-m", model_path, "--chat-template", "lfm2", "-n", "8",
                                 "--temp", "0", "-f", in_path);
        cr_assert_eq(code, 0, "way %d", i);
        cr_assert_eq(read_file(out_path, out, sizeof out), n, "way %d", i);
        cr_assert(memcmp(out, expected, n) == 0, "way %d: another answer", i);
    }
    cr_assert_eq(CHAT("", "-m", model_path, "--chat-template", "lfm2", "-p", "a", "-f", in_path), 2);
    cr_assert_eq(CHAT("", "-m", model_path, "--chat-template", "lfm2", "-p", ""), 2);
    cr_assert_eq(CHAT("", "-m", model_path, "--chat-template", "lfm2", "-p", "\xff"), 2);
    cr_assert_eq(CHAT("", "-m", model_path, "--chat-template", "lfm2", "-p", "too long", "-c", "4"), 2);
    read_file(err_path, err, sizeof err);
    cr_assert(strstr(err, "context") && strchr(err, '\n') == err + strlen(err) - 1, "%s", err);
}

/* Fills text, all zeros, up to and with the mark '$': a terminal hands on what was written in pieces. */
static void read_to_mark(int fd, char *text, size_t size) {
    for (size_t n = 0; n < size && !strchr(text, '$'); n++)
        if (read(fd, text + n, 1) != 1) return;
}

/* What a model says does not drive the terminal; a pipe gets every byte. */
Test(generate, a_terminal_gets_no_control_characters, .timeout = 60) {
    static const char said[] = "a\033[2J\r\n\t\xc2\x9b \xc3\xa9 \xff\177.$",
                      shown[] = "a?[2J?\r\n\t? \xc3\xa9 ??.$";
    char got[2][64] = {"", ""};
    int ends[2], terminal = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0 && pipe(ends) == 0);
    int slave = open(ptsname(terminal), O_RDWR | O_NOCTTY), kept = dup(STDOUT_FILENO);
    struct termios mode;
    cr_assert(slave >= 0 && tcgetattr(slave, &mode) == 0);
    mode.c_oflag = OPOST | ONLCR; /* tabs stay tabs */
    cr_assert_eq(tcsetattr(slave, TCSANOW, &mode), 0);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(i ? ends[1] : slave, STDOUT_FILENO);
        cr_expect_eq(text_output(said, sizeof said - 1), 0);
        read_to_mark(i ? ends[0] : terminal, got[i], sizeof got[i] - 1);
    }
    dup2(kept, STDOUT_FILENO);
    cr_expect_str_eq(got[0], shown);
    cr_expect_str_eq(got[1], said);
}
