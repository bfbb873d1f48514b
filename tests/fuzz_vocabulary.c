/* fuzz_vocabulary: damaged vocabularies of Hugging Face folders. The input is up to three texts with a NUL
 * between them: tokenizer.json and tokenizer_config.json; or, with a third, vocab.json, tokenizer_config.json
 * and merges.txt. What opens must encode any text, or say why not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    const char *text = (const char *)bytes, *where = getenv("TMPDIR");
    const char *first = n ? memchr(text, 0, n) : NULL;
    const char *second = first ? memchr(first + 1, 0, n - (size_t)(first + 1 - text)) : NULL;
    const char *const *name = names[second != NULL];
    char folder[200], link[3][256], path[FUZZ_PATH];
    int fd[3];
    snprintf(folder, sizeof folder, "%s/lfm2-fuzz-XXXXXX", where ? where : "/tmp");
    if (!mkdtemp(folder)) abort();
    int parts = second ? 3 : first ? 2 : 1;
    for (int i = 0; i < parts; i++) {
        const char *end = i == 0 ? first : i == 1 ? second : NULL;
        const char *begin = i == 0 ? text : (i == 1 ? first : second) + 1;
        fd[i] = fuzz_file(path, begin, (size_t)((end ? end : text + n) - begin));
        snprintf(link[i], sizeof link[i], "%s/%s", folder, name[i]);
        if (symlink(path, link[i])) abort();
    }
    use(folder, text, n < 512 ? n : 512);
    for (int i = 0; i < parts; i++) unlink(link[i]), close(fd[i]);
    rmdir(folder);
}
