/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_vocabulary: damaged vocabularies of Hugging Face folders. The input is up to three texts with a NUL
 * between them: tokenizer.json and tokenizer_config.json; or, with a third, vocab.json, tokenizer_config.json
 * and merges.txt. What opens must encode any text, or say why not. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"
#include "tests/fuzz.h"

static void use(const char *folder, const char *text, size_t n) {
    struct tokenizer *t;
    struct tokens ids = {0};
    struct buffer back = {0};
    struct error e;
    if (tokenizer_open(&t, folder, &e) == OK &&
        tokenizer_encode(t, text, n, TOKENS_BOS | TOKENS_SPECIAL, &ids, &e) == OK &&
        tokenizer_decode(t, ids.ids, ids.n, TOKENS_SPECIAL, &back, &e) != OK)
        abort();
    tokens_free(&ids), buffer_free(&back), tokenizer_close(t);
}

void fuzz_vocabulary(const uint8_t *bytes, size_t n) {
    static const char *const names[2][3] = {{"tokenizer.json", "tokenizer_config.json", NULL},
                                            {"vocab.json", "tokenizer_config.json", "merges.txt"}};
    const char *text = (const char *)bytes;
    const char *first = n ? memchr(text, 0, n) : NULL;
    const char *second = first ? memchr(first + 1, 0, n - (size_t)(first + 1 - text)) : NULL;
    const char *const *name = names[second != NULL];
    struct fuzz_folder f;
    fuzz_folder_open(&f);
    for (int i = 0; i < (second ? 3 : first ? 2 : 1); i++) {
        const char *end = i == 0 ? first : i == 1 ? second : NULL;
        const char *begin = i == 0 ? text : (i == 1 ? first : second) + 1;
        fuzz_folder_add(&f, name[i], begin, (size_t)((end ? end : text + n) - begin));
    }
    use(f.path, text, n < 512 ? n : 512);
    fuzz_folder_close(&f);
}
