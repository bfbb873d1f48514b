/* fuzz_vocabulary: damaged tokenizer.json files. What opens must encode any text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    open_json((const char *)bytes, n);
    return 0;
}
