/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_rows: damaged data sets. The first byte chooses the format that the file's name promises, or an
 * archive with JSON lines in it. */
#include <stdio.h>
#include <stdlib.h>

#include "data/rows.h"
#include "tests/fuzz.h"

static enum status read_archive(struct rows *r, const uint8_t *bytes, size_t n, struct error *e) {
    struct fuzz_folder f;
    char member[sizeof f.path + 16];
    fuzz_folder_open(&f);
    fuzz_folder_add(&f, "a.tar", bytes, n);
    snprintf(member, sizeof member, "%s/a.tar:a.jsonl", f.path);
    enum status status = rows_read(r, member, e);
    fuzz_folder_close(&f);
    return status;
}

void fuzz_rows(const uint8_t *bytes, size_t n) {
    static const char *const names[] = {"a.jsonl", "a.json", "a.csv", "a.tsv"};
    struct rows r = {0};
    struct error e;
    if (n == 0) return;
    if (bytes[0] == 't')
        read_archive(&r, bytes + 1, n - 1, &e);
    else
        rows_parse(&r, names[bytes[0] % 4], (const char *)bytes + 1, n - 1, &e);
    for (size_t i = 0; i < r.n; i++)
        if (!r.row[i].value == !r.row[i].fault) abort(); /* a row is good or says why not */
    rows_free(&r);
}
