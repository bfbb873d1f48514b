/* fuzz_tokenizer: text from anybody. The first byte chooses what the rest is: a text to encode and decode
 * (which must give it back), a tokenizer.json, a model's answer with tool calls, or messages for every chat
 * template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/chat.h"
#include "data/tokenizer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* All bytes, a few merges, two added tokens. */
static struct tokenizer *small_vocabulary(void) {
    static const char *const more[] = {"ab", "abc", "\u0120\u0120", "python", "<|bos|>", "<|im_end|>"};
    struct tokenizer *t = NULL;
    struct error e;
    if (vocab_begin(&t, "small", 262, &e) != OK) abort();
    for (uint32_t b = 0, moved = 256; b < 256; b++) {
        int visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        char text[4];
        if (vocab_add(t, b, text, utf8_encode(visible ? b : moved++, text), TOKEN_NORMAL, &e) != OK) abort();
    }
    for (int i = 0; i < 6; i++)
        if (vocab_add(t, 256 + i, more[i], strlen(more[i]),
                      i < 3   ? TOKEN_NORMAL
                      : i < 4 ? TOKEN_ADDED
                              : TOKEN_SPECIAL,
                      &e) != OK)
            abort();
    if (vocab_index(t, 3, &e) != OK || merge_add_line(t, "a b", 3, 0, &e) != OK ||
        merge_add_line(t, "ab c", 4, 1, &e) != OK || merge_add(t, "\u0120", 2, "\u0120", 2, 2, &e) != OK ||
        vocab_finish(t, pre_tokenizer_named("lfm2", 4), &e) != OK)
        abort();
    return t;
}

static void round_trip(const char *text, size_t n, unsigned flags) {
    static struct tokenizer *t;
    struct tokens ids = {0};
    struct buffer whole = {0}, pieces = {0};
    struct token_stream s = {0};
    struct error e;
    if (!t) t = small_vocabulary();
    if (tokenizer_encode(t, text, n, flags, &ids, &e) != OK ||
        tokenizer_decode(t, ids.ids, ids.n, TOKENS_SPECIAL, &whole, &e) != OK)
        abort();
    for (size_t i = 0; i < ids.n; i++)
        if (tokenizer_stream(t, &s, ids.ids[i], TOKENS_SPECIAL, &pieces, &e) != OK) abort();
    tokenizer_stream_end(&s, &pieces);
    if (whole.n != n || pieces.n != n || (n && (memcmp(whole.data, text, n) || memcmp(pieces.data, text, n))))
        abort();
    struct buffer normal = {0};
    size_t valid = 0, step;
    while (valid < n && (step = utf8_decode(text + valid, n - valid, NULL))) valid += step;
    if (nfc_normalize(text, valid, &normal, &e) != OK) abort();
    tokens_free(&ids), buffer_free(&whole), buffer_free(&pieces), buffer_free(&normal);
}

static void open_json(const char *text, size_t n) {
    static char folder[64], path[96];
    struct tokenizer *t;
    struct tokens ids = {0};
    struct error e;
    if (!*folder) {
        strcpy(folder, "/tmp/lfm2-fuzz-XXXXXX");
        if (!mkdtemp(folder)) abort();
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    }
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0) abort();
    if (tokenizer_open(&t, path, &e) == OK)
        tokenizer_encode(t, text, n, TOKENS_BOS | TOKENS_SPECIAL, &ids, &e);
    tokens_free(&ids), tokenizer_close(t);
}

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
    switch (bytes[0] % 6) {
    case 0:
    case 1:
        round_trip(text, n - 1, bytes[0] % 6 ? TOKENS_SPECIAL : 0);
        break;
    case 2:
        open_json(text, n - 1);
        break;
    case 3:
        parse_answer(text, n - 1, CHAT_LFM2);
        break;
    case 4:
        parse_answer(text, n - 1, CHAT_QWEN3);
        break;
    default:
        render(text, n - 1);
    }
    return 0;
}
