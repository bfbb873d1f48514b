/* SPDX-License-Identifier: Apache-2.0 */
/* chat: which template a file has, and conversations with the spans that must stay text. */
#include "data/chat.h"

#include <stdlib.h>
#include <string.h>

#include "data/chat_parts.h"
#include "data/sha256.h"

const char *const chat_template_names[CHAT_TEMPLATES] = {
    [CHAT_LFM2] = "lfm2",   [CHAT_LFM25] = "lfm2.5",  [CHAT_LFM25_8B] = "lfm2.5-8b",
    [CHAT_QWEN3] = "qwen3", [CHAT_CHATML] = "chatml",
};
#define CHOICES "--chat-template lfm2, lfm2.5, lfm2.5-8b, qwen3 or chatml"

static const struct {
    const char *sha256;
    enum chat_template template;
} known[] = {
    {"2294f49b51a0b9a1b0194add3f124237b5bd986599f43180eec49bba4de01365", CHAT_LFM2}, /* LFM2-8B-A1B */
    {"cef187400d62a59507aab3a642ea9a8d2a2ef263562bc3430560e116945273cf", CHAT_LFM2}, /* LFM2-350M */
    {"89e790f027916b5a2bca145a6a8454e06ffc7a5043bf3b6d97829aff86bb543f", CHAT_LFM2}, /* LFM2-2.6B */
    {"a805e50fed68938a076b07e2e602639611b50b1ced0e50f11eb92f1ba25be4dc",
     CHAT_CHATML}, /* LFM2-1.2B, July 2025 */
    {"f05bf4b967dc993bdc7a2fe6e43759ee218eb0eb340d68b063e1c4f8ad148176", CHAT_LFM25},    /* LFM2.5 Instruct */
    {"6d65c8804847ad74eea912dd7eca3dc1cf7a457b53a77f47d841a14121910963", CHAT_LFM25_8B}, /* LFM2.5-8B-A1B */
    {"87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5", CHAT_QWEN3},    /* Qwen3-0.6B */
    {"a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8", CHAT_QWEN3},    /* Qwen3-1.7B */
};

/* Re-saved files differ in white space and so in their hash. A template is taken for one of a kind when it
 * has all marks of the kind and none that would mean more. */
static const struct {
    enum chat_template template;
    const char *has[4], *has_not[4];
} marks[] = {
    {CHAT_LFM2, {"<|im_start|>", "<|tool_list_start|>", "<|tool_response_start|>"}, {"think"}},
    {CHAT_LFM25_8B, {"<|im_start|>", "render_tool_calls", "preserve_thinking", "List of tools: ["}, {0}},
    {CHAT_LFM25, {"<|im_start|>", "keep_past_thinking", "List of tools: ["}, {"render_tool_calls"}},
    {CHAT_QWEN3, {"<|im_start|>", "<tool_response>", "last_query_index", "enable_thinking"}, {"<function"}},
    {CHAT_CHATML, {"<|im_start|>", "<|im_end|>", "messages"}, {"tool", "think", "system", "raise"}},
};

enum status chat_template_named(enum chat_template *out, const char *name, struct error *e) {
    for (int i = 0; i < CHAT_TEMPLATES; i++)
        if (strcmp(chat_template_names[i], name) == 0) return *out = (enum chat_template)i, OK;
    return fail(e, ERR_ARG, "unknown chat template '%.40s' (expected " CHOICES ")", name);
}

static int has_marks(const char *source, size_t i) {
    for (int k = 0; k < 4; k++) {
        if (marks[i].has[k] && !strstr(source, marks[i].has[k])) return 0;
        if (marks[i].has_not[k] && strstr(source, marks[i].has_not[k])) return 0;
    }
    return 1;
}

enum status chat_template_of(enum chat_template *out, const char *source, const char *file, struct error *e) {
    if (!source) return fail(e, ERR_UNSUPPORTED, "%s: has no chat template; choose one with " CHOICES, file);
    char hex[SHA256_HEX];
    sha256_hex(source, strlen(source), hex);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].sha256, hex) == 0) return *out = known[i].template, OK;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has_marks(source, i)) return *out = marks[i].template, OK;
    return fail(e, ERR_UNSUPPORTED, "%s: unknown chat template (SHA-256 %.16s...); choose one with " CHOICES,
                file, hex);
}

void chat_text_free(struct chat_text *c) {
    buffer_free(&c->text);
    free(c->literal);
    *c = (struct chat_text){0};
}

void chat_add_template(struct chat_text *c, const char *text) {
    buffer_text(&c->text, text);
}

void chat_add_literal(struct chat_text *c, const char *text, size_t n) {
    if (n == 0) return;
    if (c->n_literal == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 16;
        struct span *literal = realloc(c->literal, capacity * sizeof *literal);
        if (!literal) {
            c->text.failed = 1; /* found by buffer_check at the end */
            return;
        }
        c->literal = literal, c->capacity = capacity;
    }
    size_t start = c->text.n;
    buffer_add(&c->text, text, n);
    c->literal[c->n_literal++] = (struct span){start, c->text.n};
}

void chat_add_answer(struct chat_text *c, const char *text, size_t n) {
    static const char *const own[] = {"<|tool_call_start|>", "<|tool_call_end|>", "<think>", "</think>"};
    size_t start = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '<') continue;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            size_t length = strlen(own[k]);
            if (n - i < length || memcmp(text + i, own[k], length) != 0) continue;
            chat_add_literal(c, text + start, i - start);
            chat_add_template(c, own[k]);
            start = i + length;
            i = start - 1;
            break;
        }
    }
    if (start < n) chat_add_literal(c, text + start, n - start); /* no text may be NULL */
}

enum status chat_encode(const struct tokenizer *t, const struct chat_text *c, struct tokens *out,
                        struct error *e) {
    return tokenizer_encode_around(t, c->text.data, c->text.n, c->literal, c->n_literal, TOKENS_SPECIAL, out,
                                   e);
}

enum status chat_add(json_t *messages, const char *role, const char *content, size_t n, struct error *e) {
    json_t *text = json_stringn(content, n);
    if (!text) return fail(e, ERR_ARG, "a message of the role %s is not UTF-8", role);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", text);
    if (!message || json_array_append_new(messages, message) != 0)
        return fail(e, ERR_MEMORY, "out of memory for a message of %zu bytes", n);
    return OK;
}
