/* SPDX-License-Identifier: Apache-2.0 */
/* test_chat_tools: what `lfm2 chat` reads as turns and tools, and a model that calls a tool. That model is
 * made here: its layers do nothing, and its head answers each token with the next one of a given text. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chat_turns.h"
#include "bench/cmd.h"
#include "data/chat.h"
#include "data/gguf.h"
#include "data/gguf_write.h"
#include "data/synth.h"
#include "data/tokenizer.h"
#include "tests/directory.h"
#include "tests/run_command.h"
#include "tests/tiny.h"

/* Each token once: the end of the prompt, the call, the end of the answer. */
static const char script[] = "\n<|tool_call_start|>[f(x=1)]<|tool_call_end|><|im_end|>";

TestSuite(chat_tools, .init = make_directory, .fini = remove_directory);

static const char *write_text(const char *name, const char *text) {
    const char *path = in_directory(name);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static struct buffer read_file(const char *path) {
    struct buffer b = {0};
    struct error e = {0};
    cr_assert_eq(buffer_read(&b, path, 1 << 20, &e), OK, "%s", e.text);
    if (!b.data) buffer_text(&b, "");
    return b;
}

static void expect_turn(FILE *in, enum turn_kind kind, const char *text) {
    struct buffer b = {0};
    struct error e = {0};
    enum turn_kind found;
    cr_assert_eq(turn_read(in, NULL, &found, &b, &e), OK, "%s", e.text);
    cr_expect_eq(found, kind, "'%s'", text);
    if (text) cr_expect_str_eq(b.data, text);
    buffer_free(&b);
}

Test(chat_tools, lines_become_turns) {
    FILE *in = fopen(
        write_text("in", "one\r\n\n\ntwo \\\nmore\\\n\n/clear\n/tool {\"t\": 1}\\\n2\n/tools\nlast"), "r");
    cr_assert_not_null(in);
    expect_turn(in, TURN_USER, "one");
    expect_turn(in, TURN_USER, "two \nmore\n");
    expect_turn(in, TURN_CLEAR, "/clear");
    expect_turn(in, TURN_TOOL, "{\"t\": 1}\n2");
    expect_turn(in, TURN_USER, "/tools");
    expect_turn(in, TURN_USER, "last");
    expect_turn(in, TURN_END, NULL);
    fclose(in);
}

static enum status read_tools(const char *text, size_t *n, struct error *e) {
    json_t *tools;
    enum status status = tools_read(&tools, write_text("tools.json", text), e);
    cr_assert_eq(status == OK, tools != NULL);
    *n = json_array_size(tools);
    json_decref(tools);
    return status;
}

Test(chat_tools, a_file_of_tools_is_checked) {
    static const char *const bad[] = {
        "",
        "{",
        "[",
        "[]",
        "{}",
        "1",
        "\"f\"",
        "[1]",
        "[[]]",
        "[null]",
        "[{\"name\": 1}]",
        "{\"function\": {}}",
        "[{\"name\": \"f\"}, {\"type\": \"function\"}]",
        "{\"name\": \"f\", \"name\": \"g\"}",
        "[{\"name\": \"\xff\"}]",
    };
    struct error e = {0};
    size_t n;
    cr_assert_eq(read_tools("{\"name\": \"f\"}", &n, &e), OK, "%s", e.text);
    cr_assert_eq(n, 1);
    cr_assert_eq(
        read_tools("[{\"name\": \"f\"}, {\"type\": \"function\", \"function\": {\"name\": \"g\"}}]", &n, &e),
        OK, "%s", e.text);
    cr_assert_eq(n, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e.text[0] = 0;
        cr_expect_eq(read_tools(bad[i], &n, &e), ERR_FORMAT, "%s", bad[i]);
        cr_expect(strstr(e.text, "tools.json: ") && !strchr(e.text, '\n'), "'%s': %s", bad[i], e.text);
    }
}

/* The tokens of the script, each one once. */
static struct tokens script_tokens(const char *path) {
    struct tokenizer *t;
    struct tokens ids = {0};
    struct error e = {0};
    cr_assert_eq(tokenizer_open(&t, path, &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_encode(t, script, strlen(script), TOKENS_SPECIAL, &ids, &e), OK);
    for (size_t i = 0; i < ids.n; i++)
        for (size_t k = 0; k < i; k++) cr_assert_neq(ids.ids[i], ids.ids[k], "token %zu comes twice", i);
    tokenizer_close(t);
    return ids;
}

/* Token i of the script is the unit vector i + 1, every other token the unit vector 0; in the head the row of
 * the next token is that vector. */
static float *scripted_matrix(const struct tokens *ids, int64_t rows, int64_t cols, int is_head) {
    float *x = calloc((size_t)(rows * cols), sizeof *x);
    cr_assert(x && (int64_t)ids->n < cols);
    for (int64_t r = 0; r < rows && !is_head; r++) x[r * cols] = 1;
    for (size_t i = 0; i < ids->n; i++) {
        if (is_head && i + 1 < ids->n) x[ids->ids[i + 1] * cols + (int64_t)i + 1] = 1;
        if (!is_head) x[ids->ids[i] * cols] = 0, x[ids->ids[i] * cols + (int64_t)i + 1] = 1;
    }
    return x;
}

static int is_silenced(const char *name) {
    return strstr(name, "ffn_down.weight") || strstr(name, "attn_output.weight") ||
           strstr(name, "out_proj.weight");
}

static void write_scripted(const char *path) {
    struct error e = {0};
    struct gguf *g;
    struct gguf_writer *w;
    const char *plain = in_directory("plain.gguf");
    struct synth_options o = {
        .shape = synth_shape_by_name("tiny-lfm2"), .recipe = "f32", .seed = 1, .threads = 1, .path = plain};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    struct tokens ids = script_tokens(plain);
    cr_assert_eq(gguf_open(&g, plain, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_new(&w, path, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_kv; i++) gguf_put_kv(w, &g->kv[i]);
    const struct gguf_tensor *embedding = gguf_tensor_find(g, "token_embd.weight");
    for (uint64_t i = 0; i < g->n_tensors; i++)
        gguf_put_tensor(w, g->tensors[i].name, g->tensors[i].type, g->tensors[i].n_dims, g->tensors[i].dims);
    gguf_put_tensor(w, "output.weight", TYPE_F32, 2, embedding->dims);
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i <= g->n_tensors; i++) {
        const struct gguf_tensor *t = i < g->n_tensors ? &g->tensors[i] : embedding;
        float *made = t == embedding ? scripted_matrix(&ids, t->dims[1], t->dims[0], i == g->n_tensors)
                      : is_silenced(t->name) ? calloc(1, t->bytes)
                                             : NULL;
        cr_assert_eq(gguf_writer_data(w, made ? made : t->data, t->bytes, &e), OK, "%s", e.text);
        free(made);
    }
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w), gguf_close(g), tokens_free(&ids);
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++) n++;
    return n;
}

/* Tokens fed as prompts over all turns, from the timings. */
static int fed(const char *err) {
    const char *line = strstr(err, "prompt eval");
    int n = -1;
    cr_assert(line && sscanf(line, "prompt eval time = %*f ms / %d", &n) == 1, "%s", err);
    return n;
}

static struct buffer talk(const char *input, const char *option, const char *value, struct buffer *said) {
    const char *in = write_text("in", input), *out = in_directory("out"), *err = in_directory("err");
    const char *const words[] = {"-m",
                                 in_directory("m.gguf"),
                                 "--chat-template",
                                 "lfm2",
                                 "--temp",
                                 "0",
                                 "-n",
                                 "40",
                                 "-t",
                                 "1",
                                 option,
                                 value,
                                 NULL};
    int code = run_command(cmd_chat, "chat", words, in, out, err);
    struct buffer errors = read_file(err);
    cr_assert_eq(code, 0, "%s", errors.data);
    *said = read_file(out);
    return errors;
}

Test(chat_tools, calls_are_shown_as_json_and_answered) {
    const char *tools = write_text("tools.json", "[{\"name\": \"f\", \"parameters\": {\"x\": \"integer\"}}]");
    struct buffer said, errors;
    write_scripted(in_directory("m.gguf"));
    errors = talk("hello\n/tool {\"answer\": 2}\n", "--tools", tools, &said);
    cr_expect_eq(count(errors.data, "tool call: {\"name\":\"f\",\"arguments\":{\"x\":1}}\n"), 2, "%s",
                 errors.data);
    cr_expect_str_eq(said.data, "[f(x=1)]\n[f(x=1)]\n");
    int with_tools = fed(errors.data);
    buffer_free(&said), buffer_free(&errors);
    errors = talk("hello\n/tool {\"answer\": 2}\n", NULL, NULL, &said);
    cr_expect_lt(fed(errors.data), with_tools, "the list of tools is part of the prompt");
    buffer_free(&said), buffer_free(&errors);
}

/* Tokens of the second question, when the first was answered with this text. */
static int conversation_tokens(const char *answered) {
    struct tokenizer *t;
    struct tokens ids = {0};
    struct chat_text text = {0};
    struct buffer bos = {0};
    struct error e = {0};
    json_t *messages = json_array();
    cr_assert_eq(tokenizer_open(&t, in_directory("m.gguf"), &e), OK, "%s", e.text);
    tokenizer_bos_text(t, &bos);
    struct chat_options o = {.bos = bos.n ? bos.data : NULL};
    cr_assert_eq(chat_add(messages, "user", "hello", 5, &e), OK);
    cr_assert_eq(chat_add(messages, "assistant", answered, strlen(answered), &e), OK);
    cr_assert_eq(chat_add(messages, "user", "again", 5, &e), OK);
    cr_assert_eq(chat_render(CHAT_LFM2, messages, NULL, &o, &text, &e), OK, "%s", e.text);
    cr_assert_eq(chat_encode(t, &text, &ids, &e), OK, "%s", e.text);
    int n = (int)ids.n;
    tokens_free(&ids), chat_text_free(&text), buffer_free(&bos), json_decref(messages), tokenizer_close(t);
    return n;
}

/* The session goes back to one token before the answer and is fed what was shown of it. */
Test(chat_tools, the_conversation_holds_what_was_shown) {
    struct buffer said, errors;
    write_scripted(in_directory("m.gguf"));
    errors = talk("hello\nagain\n", "--stop", "=1", &said);
    cr_expect_str_eq(said.data, "[f(x\n[f(x\n");
    cr_expect_eq(fed(errors.data), conversation_tokens("<|tool_call_start|>[f(x") + 1, "%s", errors.data);
    cr_expect_neq(conversation_tokens("<|tool_call_start|>[f(x"),
                  conversation_tokens("<|tool_call_start|>[f(x=1"));
    buffer_free(&said), buffer_free(&errors);
    errors = talk("hello\nagain\n", NULL, NULL, &said);
    cr_expect_str_eq(said.data, "[f(x=1)]\n[f(x=1)]\n", "nothing is cut without a stop text");
    buffer_free(&said), buffer_free(&errors);
}

/* Tokens generated after the first, from the timings. */
static int runs(const char *model, const char *option) {
    const char *out = in_directory("out"), *err = in_directory("err");
    const char *const words[] = {"-m", model, "-p", ")", "-n", "8", "--temp", "0", "-t", "1", option, NULL};
    cr_assert_eq(run_command(cmd_run, "run", words, "/dev/null", out, err), 0);
    struct buffer said = read_file(err);
    const char *line = strstr(said.data, "\n            eval");
    int n = -1;
    cr_assert(line && sscanf(line, " eval time = %*f ms / %d", &n) == 1, "%s", said.data);
    buffer_free(&said);
    return n;
}

Test(chat_tools, the_end_of_a_text_can_be_ignored) {
    const char *model = in_directory("m.gguf");
    write_scripted(model);
    cr_expect_eq(runs(model, NULL), 2, "] and two marks");
    cr_expect_eq(runs(model, "--ignore-eos"), 7);
}
