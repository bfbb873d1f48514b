/* SPDX-License-Identifier: Apache-2.0 */
/* chat: messages to the text a model was trained on, and its answers back to tool calls. The Jinja templates
 * of the models are not interpreted: each known one is a C function with the same output, byte for byte, and
 * a file's own template is only recognised. An unknown template is refused, since a nearly right prompt gives
 * silently worse answers.
 *
 * Messages are JSON as in OpenAI's API: [{"role": "user", "content": "..."}, ...]; tools an array of objects.
 * Where a template would end with a Python exception (no messages, content of the wrong type) the result is
 * ERR_ARG; content null beside tool_calls, usual in that API, counts as empty in templates that would fail on
 * it. */
#ifndef DATA_CHAT_H
#define DATA_CHAT_H

#include <jansson.h>

#include "data/tokenizer.h"

enum chat_template {
    CHAT_LFM2,     /* LFM2-350M to 8B-A1B: tools between <|tool_list_start|> and <|tool_list_end|> */
    CHAT_LFM25,    /* LFM2.5 Instruct: earlier answers lose their thinking */
    CHAT_LFM25_8B, /* LFM2.5-8B-A1B: the same, and structured tool calls and thinking */
    CHAT_QWEN3,
    CHAT_CHATML, /* roles and contents only */
    CHAT_TEMPLATES,
};

/* "lfm2", "lfm2.5", "lfm2.5-8b", "qwen3", "chatml" */
extern const char *const chat_template_names[CHAT_TEMPLATES];
enum status chat_template_named(enum chat_template *out, const char *name, struct error *e);
/* From the Jinja source that came with the file; NULL when there was none. By its SHA-256, else by what only
 * templates of that kind contain. The error names the file and --chat-template. */
enum status chat_template_of(enum chat_template *out, const char *source, const char *file, struct error *e);

struct chat_options {
    const char *bos;   /* text of BOS, tokenizer_bos_text; NULL: none. Qwen3 has none and ignores it */
    int no_answer;     /* 1: do not end with the header of the answer to come */
    int no_thinking;   /* Qwen3: an empty thought before the answer, so that the model does not think */
    int keep_thinking; /* LFM2.5: earlier thoughts stay */
};

/* A rendered conversation, and which of its bytes came from people and tools: those never become special
 * tokens. In answers of the model only the marks of tool calls and thoughts do. Start with {0}; free with
 * chat_text_free. */
struct chat_text {
    struct buffer text;
    struct span *literal; /* ascending */
    size_t n_literal, capacity;
};
void chat_text_free(struct chat_text *c);

/* tools: NULL or an empty array for none. *out is emptied first. */
enum status chat_render(enum chat_template template, const json_t *messages, const json_t *tools,
                        const struct chat_options *o, struct chat_text *out, struct error *e);
/* Appends the ids of a rendered conversation, special tokens as such, BOS where the template put it. */
enum status chat_encode(const struct tokenizer *t, const struct chat_text *c, struct tokens *out,
                        struct error *e);

/* Appends {"role": role, "content": content[0..n)}. ERR_ARG when content is not UTF-8. */
enum status chat_add(json_t *messages, const char *role, const char *content, size_t n, struct error *e);

/* Splits an answer (decoded with its special tokens) into its text and its tool calls: *calls becomes an
 * array of
 * {"name": ..., "arguments": {...}}, empty without calls, to be freed with json_decref; *content gets the
 * rest. LFM2: <|tool_call_start|>[f(a="x", n=1)]<|tool_call_end|>, arguments by name, Python's literals.
 * Qwen3: <tool_call>{"name": ..., "arguments": ...}</tool_call>. What cannot be read stays in the text. */
enum status chat_parse_answer(enum chat_template template, const char *text, size_t n, struct buffer *content,
                              json_t **calls, struct error *e);

#endif
