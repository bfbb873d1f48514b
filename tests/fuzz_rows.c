/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_rows: damaged data sets. The first byte chooses the format that the file's name promises. */
#include <stdlib.h>

#include "data/rows.h"
#include "tests/fuzz.h"

void fuzz_rows(const uint8_t *bytes, size_t n) {
    static const char *const names[] = {"a.jsonl", "a.json", "a.csv", "a.tsv"};
    struct rows r = {0};
    struct error e;
    if (n == 0) return;
    rows_parse(&r, names[bytes[0] % 4], (const char *)bytes + 1, n - 1, &e);
    for (size_t i = 0; i < r.n; i++)
        if (!r.row[i].value == !r.row[i].fault) abort(); /* a row is good or says why not */
    rows_free(&r);
}
