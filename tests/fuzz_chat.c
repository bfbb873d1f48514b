/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_chat: answers of models with tool calls, and conversations for every template. The first byte chooses
 * which, and the options; a conversation is {"messages": [...], "tools": [...]}. */
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "tests/fuzz.h"

static void parse_answer(enum chat_template template, const char *text, size_t n) {
    struct buffer content = {0};
    json_t *calls;
    struct error e;
    if (chat_parse_answer(template, text, n, &content, &calls, &e) != OK) abort();
    if (json_array_size(calls) == 0 && (content.n != n || (n && memcmp(content.data, text, n)))) abort();
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (!json_is_string(json_object_get(json_array_get(calls, i), "name")) ||
            !json_is_object(json_object_get(json_array_get(calls, i), "arguments")))
            abort();
    json_decref(calls), buffer_free(&content);
}

static void render(enum chat_template template, unsigned options, const char *text, size_t n) {
    json_t *all = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    struct chat_text out = {0};
    struct chat_options o = {.bos = options & 1 ? "<s>" : NULL,
                             .no_answer = options >> 1 & 1,
                             .no_thinking = options >> 2 & 1,
                             .keep_thinking = options >> 3 & 1};
    struct error e;
    enum status status =
        chat_render(template, json_object_get(all, "messages"), json_object_get(all, "tools"), &o, &out, &e);
    for (size_t k = 0; status == OK && k < out.n_literal; k++)
        if (out.literal[k].start >= out.literal[k].end || out.literal[k].end > out.text.n ||
            (k && out.literal[k].start < out.literal[k - 1].end))
            abort();
    chat_text_free(&out);
    json_decref(all);
}

void fuzz_chat(const uint8_t *bytes, size_t n) {
    if (n == 0) return;
    const char *text = (const char *)bytes + 1;
    unsigned kind = bytes[0] & 15;
    if (kind < 8)
        parse_answer(kind & 1 ? CHAT_QWEN3 : CHAT_LFM2, text, n - 1);
    else
        render((enum chat_template)(kind % CHAT_TEMPLATES), bytes[0] >> 4, text, n - 1);
}
