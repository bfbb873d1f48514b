/* fuzz_chat: answers of models with tool calls, and messages for every template. The first byte chooses
 * which. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void parse_answer(const char *text, size_t n, enum chat_template template) {
    struct buffer content = {0};
    json_t *calls;
    struct error e;
    if (chat_parse_answer(template, text, n, &content, &calls, &e) != OK) abort();
    if (json_array_size(calls) == 0 && (content.n != n || (n && memcmp(content.data, text, n)))) abort();
    json_decref(calls), buffer_free(&content);
}

static void render(const char *text, size_t n) {
    json_t *messages = json_loadb(text, n, 0, NULL);
    for (int i = 0; messages && i < CHAT_TEMPLATES; i++) {
        struct chat_text out = {0};
        struct chat_options o = {.bos = "<s>", .keep_thinking = n & 1};
        struct error e;
        enum status status =
            chat_render((enum chat_template)i, messages, n & 2 ? messages : NULL, &o, &out, &e);
        for (size_t k = 0; status == OK && k < out.n_literal; k++)
            if (out.literal[k].start >= out.literal[k].end || out.literal[k].end > out.text.n ||
                (k && out.literal[k].start < out.literal[k - 1].end))
                abort();
        chat_text_free(&out);
    }
    json_decref(messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    if (n == 0) return 0;
    const char *text = (const char *)bytes + 1;
    switch (bytes[0] % 3) {
    case 0:
        parse_answer(text, n - 1, CHAT_LFM2);
        break;
    case 1:
        parse_answer(text, n - 1, CHAT_QWEN3);
        break;
    default:
        render(text, n - 1);
    }
    return 0;
}
