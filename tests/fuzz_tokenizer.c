/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_tokenizer: text from anybody, encoded and decoded, which must give it back. The first byte says
 * whether special tokens are looked for. Vocabularies are fuzz_vocabulary's business. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"
#include "tests/fuzz.h"

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

void fuzz_tokenizer(const uint8_t *bytes, size_t n) {
    if (n) round_trip((const char *)bytes + 1, n - 1, bytes[0] & 1 ? TOKENS_SPECIAL : 0);
}
