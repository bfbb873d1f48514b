/* SPDX-License-Identifier: Apache-2.0 */
/* folder: mkdtemp and nftw. */
#include "tests/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char folder[64];

void folder_begin(void) {
    snprintf(folder, sizeof folder, "/tmp/lfm2-eval-XXXXXX");
    if (!mkdtemp(folder)) folder[0] = 0;
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

void folder_end(void) {
    if (folder[0]) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *in(const char *name) {
    static char paths[512][160];
    static int at;
    at = (at + 1) % 512;
    snprintf(paths[at], sizeof paths[at], "%s/%s", folder, name);
    return paths[at];
}

int write_file(const char *path, const char *bytes, size_t n) {
    FILE *f = fopen(path, "w");
    if (!f) return 0;
    int good = fwrite(bytes, 1, n, f) == n;
    return fclose(f) == 0 && good;
}

int read_text(const char *path, struct buffer *out) {
    struct error e = {0};
    out->n = 0;
    int good = buffer_read(out, path, 1u << 30, &e) == OK;
    buffer_add(out, "", 1); /* a NUL, also after nothing */
    out->n--;
    return good && !out->failed;
}

int same_file(const char *a, const char *b) {
    struct buffer x = {0}, y = {0};
    int same =
        read_text(a, &x) && read_text(b, &y) && x.n > 0 && x.n == y.n && memcmp(x.data, y.data, x.n) == 0;
    buffer_free(&x);
    buffer_free(&y);
    return same;
}

int same_results(const char *a, const char *b) {
    static const char *const names[] = {"tiny/results_2023-11-14T22-13-20.json",
                                        "tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl"};
    char x[256], y[256];
    int same = 1;
    for (int i = 0; i < 2; i++) {
        snprintf(x, sizeof x, "%s/%s", in(a), names[i]);
        snprintf(y, sizeof y, "%s/%s", in(b), names[i]);
        same &= same_file(x, y);
    }
    return same;
}

int lines_of(const char *path) {
    struct buffer text = {0};
    int n = 0;
    if (read_text(path, &text))
        for (size_t i = 0; i < text.n; i++) n += text.data[i] == '\n';
    buffer_free(&text);
    return n;
}
