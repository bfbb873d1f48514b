/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_chat: `lfm2 chat`, a conversation on the terminal or from a pipe, one turn per line. Keys and values
 * stay between turns: a turn feeds the end of the last answer and what is new. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/chat_turns.h"
#include "bench/cmd.h"
#include "bench/text_input.h"
#include "bench/text_model.h"
#include "data/chat.h"

static const char usage[] =
    "usage: lfm2 chat -m FILE [-p TEXT | -f FILE] [-sys TEXT] [--tools FILE.json] [options]\n\n"
    "Reads one turn per line from standard input and writes the answers to standard output, in the model's "
    "own chat\ntemplate. Ctrl-C ends an answer and keeps the conversation; at the prompt it quits, as Ctrl-D "
    "does.\n"
    "  TEXT\\       a line that ends with a backslash: the turn goes on with the next line\n"
    "  /tool TEXT  a tool's response; the model goes on when all calls of its answer have one\n"
    "  /clear      starts a new conversation\n"
    "With -p or -f that text, of any number of lines, is the only turn.\n"
    "Tool calls in an answer are shown on standard error too, as one line of JSON each.";

enum { CONTEXT = 8192 /* tokens without -c */ };

struct chat {
    struct text_model t;
    enum chat_template template;
    struct buffer bos;
    const char *system;        /* NULL: none */
    const char *prompt, *file; /* the only turn; NULL: turns come from standard input */
    int no_thinking;
    json_t *tools; /* NULL: none */
    json_t *messages;
    size_t awaited; /* calls of the last answer that have no response yet */
    /* The conversation up to the last question, as rendered, and the answer to it as it went into messages:
     * what the next rendering should begin with. */
    struct buffer asked, answer;
    int cut; /* 1: the last answer ended at a stop text, and the timeline holds more than it */
    /* Before the last answer, for templates that change answers once they are given (thoughts are taken out),
     * and for answers that a stop text may end. */
    struct snapshot before;
};

static enum status start(struct chat *c, struct error *e) {
    json_decref(c->messages);
    c->messages = json_array();
    if (!c->messages) return fail(e, ERR_MEMORY, "out of memory for messages");
    c->asked.n = c->answer.n = c->t.g.timeline.n = c->awaited = 0;
    c->cut = 0;
    c->before.position = 0;
    if (c->t.g.session) c->t.g.engine->reset(c->t.g.session);
    return c->system ? chat_add(c->messages, "system", c->system, strlen(c->system), e) : OK;
}

static enum status pick_template(struct chat *c, const char *name, const char *file, struct error *e) {
    if (name) return chat_template_named(&c->template, name, e);
    return chat_template_of(&c->template, tokenizer_chat_template(c->t.tokenizer), file, e);
}

static int begins_with(const struct buffer *text, size_t at, const struct buffer *part) {
    return at <= text->n && part->n <= text->n - at &&
           (part->n == 0 || memcmp(text->data + at, part->data, part->n) == 0);
}

/* The tokens of text from byte `from` on. When the text goes on with the token that the answer ended with,
 * that is not repeated. */
static enum status encode_rest(struct chat *c, const struct chat_text *text, size_t from, struct tokens *out,
                               struct error *e) {
    struct chat_text rest = {0};
    const struct tokens *line = &c->t.g.timeline;
    buffer_add(&rest.text, text->text.data + from, text->text.n - from);
    enum status status = buffer_check(&rest.text, e);
    rest.literal = calloc(text->n_literal + 1, sizeof *rest.literal);
    if (status == OK && !rest.literal) status = fail(e, ERR_MEMORY, "out of memory for a conversation");
    for (size_t i = 0; status == OK && i < text->n_literal; i++) {
        struct span s = text->literal[i];
        if (s.end > from)
            rest.literal[rest.n_literal++] = (struct span){s.start > from ? s.start - from : 0, s.end - from};
    }
    if (status == OK) status = chat_encode(c->t.tokenizer, &rest, out, e);
    chat_text_free(&rest);
    if (status != OK || line->n == 0 || out->n == 0) return status;
    if (tokenizer_ends(c->t.tokenizer, line->ids[line->n - 1]) && out->ids[0] == line->ids[line->n - 1])
        memmove(out->ids, out->ids + 1, --out->n * sizeof *out->ids);
    return OK;
}

static size_t common(const struct tokens *a, const struct tokens *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n]) n++;
    return n;
}

/* What the timeline becomes for this rendering: its first *keep tokens and then *more. The session is *behind
 * the snapshot when keep is less than it holds. */
static enum status continuation(struct chat *c, const struct chat_text *text, size_t *keep,
                                struct tokens *more, struct error *e) {
    const struct tokens *line = &c->t.g.timeline;
    *keep = line->n;
    if (line->n && !c->cut && begins_with(&text->text, 0, &c->asked) &&
        begins_with(&text->text, c->asked.n, &c->answer))
        return encode_rest(c, text, c->asked.n + c->answer.n, more, e);
    TRY(chat_encode(c->t.tokenizer, text, more, e));
    size_t same = common(line, more), before = (size_t)c->before.position;
    *keep = c->before.data && before <= same ? before : 0;
    more->n -= *keep;
    memmove(more->ids, more->ids + *keep, more->n * sizeof *more->ids);
    return OK;
}

/* Brings the timeline to the new rendering; refused, with nothing changed, when it does not fit. */
static enum status advance(struct chat *c, const struct chat_text *text, struct error *e) {
    struct tokens more = {0};
    struct generator *g = &c->t.g;
    size_t keep = 0;
    enum status status = continuation(c, text, &keep, &more, e);
    if (status == OK && keep + more.n > (size_t)g->max_tokens)
        status = fail(e, ERR_ARG,
                      "chat: this turn does not fit into the context (%zu tokens, expected at most %d); "
                      "/clear starts anew, -c N takes more",
                      keep + more.n, g->max_tokens);
    if (status == OK && (size_t)g->engine->position(g->session) > keep) {
        if (keep)
            status = g->engine->restore(g->session, &c->before, e);
        else
            g->engine->reset(g->session), c->before.position = 0;
    }
    if (status == OK) g->timeline.n = keep;
    for (size_t i = 0; status == OK && i < more.n; i++) status = tokens_add(&g->timeline, more.ids[i], e);
    tokens_free(&more);
    return status;
}

/* Templates other than these two take thoughts out of earlier answers. */
static int changes_answers(enum chat_template t) {
    return t != CHAT_LFM2 && t != CHAT_CHATML;
}

/* Feeds all but the last token, which generate needs, and keeps that state. */
static enum status prepare(struct chat *c, struct error *e) {
    struct generator *g = &c->t.g;
    size_t n = g->timeline.n;
    struct generate_result r;
    int n_predict = c->t.generate.n_predict;
    enum status status = OK;
    g->timeline.n = n - 1;
    c->t.generate.n_predict = 0;
    if ((size_t)g->engine->position(g->session) < n - 1) status = text_model_generate(&c->t, &r, e);
    c->t.generate.n_predict = n_predict;
    g->timeline.n = n;
    return status == OK && !interrupted ? g->engine->save(g->session, &c->before, e) : status;
}

/* The calls in the answer, shown and counted. */
static enum status show_calls(struct chat *c, struct error *e) {
    struct buffer content = {0};
    json_t *calls = NULL;
    const char *text = c->answer.n ? c->answer.data : "";
    TRY(chat_parse_answer(c->template, text, c->answer.n, &content, &calls, e));
    c->awaited = json_array_size(calls);
    calls_print(calls);
    json_decref(calls);
    buffer_free(&content);
    return OK;
}

/* Appends the bytes of tokens [first, n) up to the stop text that ended the answer. What was written may lack
 * special tokens; the conversation keeps those. */
static enum status decode_cut(struct chat *c, size_t first, size_t n, struct buffer *text, struct error *e) {
    const int32_t *ids = c->t.g.timeline.ids;
    unsigned flags = c->t.generate.special ? TOKENS_SPECIAL : 0;
    struct buffer shown = {0}, piece = {0};
    size_t so_far = 0, k = first;
    enum status status = tokenizer_decode(c->t.tokenizer, ids + first, n - first, flags, &shown, e);
    size_t end = generate_stop_at(&c->t.generate, shown.data, shown.n);
    for (; status == OK && k < n; k++) {
        piece.n = 0;
        status = tokenizer_decode(c->t.tokenizer, ids + k, 1, flags, &piece, e);
        if (so_far + piece.n > end) break;
        so_far += piece.n;
    }
    if (status == OK)
        status = tokenizer_decode(c->t.tokenizer, ids + first, k - first, TOKENS_SPECIAL, text, e);
    if (status == OK && end > so_far) buffer_add(text, shown.data + so_far, end - so_far);
    buffer_free(&shown), buffer_free(&piece);
    return status;
}

/* Adds the answer, tokens from `first` on, to the messages, as text that JSON can hold. */
static enum status keep_answer(struct chat *c, size_t first, struct error *e) {
    struct buffer text = {0};
    const struct tokens *line = &c->t.g.timeline;
    size_t n = line->n;
    if (n > first && tokenizer_ends(c->t.tokenizer, line->ids[n - 1])) n--;
    c->answer.n = 0;
    enum status status = OK;
    if (n > first && c->cut)
        status = decode_cut(c, first, n, &text, e);
    else if (n > first)
        status = tokenizer_decode(c->t.tokenizer, line->ids + first, n - first, TOKENS_SPECIAL, &text, e);
    for (size_t i = 0; i < text.n;) {
        size_t size = utf8_decode(text.data + i, text.n - i, NULL);
        buffer_add(&c->answer, size ? text.data + i : "\uFFFD", size ? size : 3);
        i += size ? size : 1;
    }
    buffer_free(&text);
    if (status == OK) status = buffer_check(&c->answer, e);
    if (status == OK)
        status = chat_add(c->messages, "assistant", c->answer.n ? c->answer.data : "", c->answer.n, e);
    return status == OK ? show_calls(c, e) : status;
}

/* The line of the answer ends. */
static void end_line(struct chat *c) {
    if (!c->t.write_error && (putchar('\n') == EOF || fflush(stdout) != 0)) c->t.write_error = errno;
}

static enum status answer(struct chat *c, const struct chat_text *text, struct error *e) {
    struct generator *g = &c->t.g;
    struct generate_result r;
    size_t first = g->timeline.n;
    c->asked.n = 0;
    buffer_add(&c->asked, text->text.data, text->text.n);
    TRY(buffer_check(&c->asked, e));
    if (changes_answers(c->template) || c->t.generate.n_stop) TRY(prepare(c, e));
    TRY(text_model_generate(&c->t, &r, e));
    c->cut = r.end == END_STOP;
    if (r.end == END_CONTEXT)
        fprintf(stderr, "\nlfm2: chat: the context of %d tokens is full, the answer is cut\n", g->max_tokens);
    end_line(c);
    return r.end == END_READER ? OK : keep_answer(c, first, e);
}

/* One turn: the answer to it is written, or a line says why not. Only what ends the program is an error. */
static enum status turn(struct chat *c, const char *role, const struct buffer *said, struct error *e) {
    struct chat_text text = {0};
    struct error refused = {0};
    struct chat_options o = {.bos = c->bos.n ? c->bos.data : NULL, .no_thinking = c->no_thinking};
    size_t messages = json_array_size(c->messages);
    enum status status = chat_add(c->messages, role, said->data, said->n, &refused);
    int waits = strcmp(role, "tool") == 0 && c->awaited > 1;
    if (status == OK && !waits) status = chat_render(c->template, c->messages, c->tools, &o, &text, &refused);
    if (status == OK && !waits) status = advance(c, &text, &refused);
    if (status != OK) {
        if (json_array_size(c->messages) > messages) json_array_remove(c->messages, messages);
        chat_text_free(&text);
        int is_end = status == ERR_MEMORY || c->prompt || c->file;
        return is_end ? (*e = refused, status) : (cmd_fail(&refused), OK);
    }
    c->awaited = waits ? c->awaited - 1 : 0;
    if (!waits) status = answer(c, &text, e);
    chat_text_free(&text);
    return status;
}

static enum status converse(struct chat *c, struct error *e) {
    const char *prompt = isatty(STDIN_FILENO) ? "> " : NULL;
    struct buffer said = {0};
    enum turn_kind kind = TURN_USER;
    enum status status = OK;
    while (status == OK && !c->t.write_error) {
        interrupted = 0;
        status = turn_read(stdin, prompt, &kind, &said, e);
        if (status != OK || kind == TURN_END) break;
        if (kind == TURN_CLEAR)
            status = start(c, e);
        else
            status = turn(c, kind == TURN_TOOL ? "tool" : "user", &said, e);
    }
    buffer_free(&said);
    return status;
}

/* A file's last newline is its last line's end, not part of the question. */
static enum status answer_one(struct chat *c, struct error *e) {
    struct buffer said = {0};
    enum status status = text_input(&said, c->prompt, c->file, e);
    if (!c->prompt && said.n && said.data[said.n - 1] == '\n') said.n--;
    if (status == OK && said.n == 0) status = fail(e, ERR_ARG, "chat: the question is empty");
    if (status == OK) status = turn(c, "user", &said, e);
    buffer_free(&said);
    return status;
}

static enum status chat(struct chat *c, const struct text_options *o, const char *template, const char *tools,
                        struct error *e) {
    int max_tokens;
    if (tools) TRY(tools_read(&c->tools, tools, e));
    TRY(text_model_open(&c->t, o, "chat", e));
    TRY(pick_template(c, template, o->model, e));
    tokenizer_bos_text(c->t.tokenizer, &c->bos);
    TRY(buffer_check(&c->bos, e));
    TRY(start(c, e));
    TRY(text_model_context(&c->t, o, CONTEXT, &max_tokens, e));
    TRY(text_model_start(&c->t, o, max_tokens, e));
    catch_signals(0);
    TRY(c->prompt || c->file ? answer_one(c, e) : converse(c, e));
    text_model_timings(&c->t);
    return OK;
}

int cmd_chat(int argc, char **argv) {
    struct text_options o = text_options_none();
    struct chat c = {0};
    const char *template = NULL, *tools = NULL;
    const struct option_spec specs[] = {
        {"-p,--prompt", OPTION_TEXT, &c.prompt, "TEXT", "the only turn"},
        {"-f,--file", OPTION_TEXT, &c.file, "FILE", "a file with the only turn (gzip is unpacked)"},
        TEXT_OPTIONS(o),
        {"-sys,--system-prompt", OPTION_TEXT, &c.system, "TEXT", "the system message"},
        {"--chat-template", OPTION_TEXT, &template, "NAME",
         "lfm2, lfm2.5, lfm2.5-8b, qwen3 or chatml (default: the model's own)"},
        {"--tools", OPTION_TEXT, &tools, "FILE", "a JSON array of the tools that the model may call"},
        {"--no-thinking", OPTION_FLAG, &c.no_thinking, NULL, "Qwen3: answer without thinking first"},
        {"--special", OPTION_FLAG, &o.special, NULL, "special tokens of answers are written"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    enum status status = OK;
    if (c.prompt && c.file) status = fail(&e, ERR_ARG, "chat: expected one of -p TEXT and -f FILE, not both");
    if (status == OK) status = chat(&c, &o, template, tools, &e);
    json_decref(c.messages), json_decref(c.tools);
    buffer_free(&c.bos), buffer_free(&c.asked), buffer_free(&c.answer);
    snapshot_free(&c.before);
    text_model_close(&c.t);
    return status == OK ? 0 : cmd_fail(&e);
}
