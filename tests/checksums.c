/* SPDX-License-Identifier: Apache-2.0 */
/* checksums: two numbers that tell whether two GGUF files hold the same tensors. */
#include "tests/checksums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/gguf.h"

static int compare_tensors(const void *a, const void *b) {
    return strcmp((*(const struct gguf_tensor *const *)a)->name,
                  (*(const struct gguf_tensor *const *)b)->name);
}

enum status gguf_checksums(const char *path, unsigned long *types, unsigned long *bytes, struct error *e) {
    struct gguf *g;
    char line[128];
    TRY(gguf_open(&g, path, e));
    const struct gguf_tensor **sorted = calloc(g->n_tensors + 1, sizeof *sorted);
    for (uint64_t i = 0; sorted && i < g->n_tensors; i++) sorted[i] = &g->tensors[i];
    if (sorted) qsort(sorted, g->n_tensors, sizeof *sorted, compare_tensors);
    *types = *bytes = crc32(0, NULL, 0);
    for (uint64_t i = 0; sorted && i < g->n_tensors; i++) {
        int n = snprintf(line, sizeof line, "%s %s\n", sorted[i]->name, type_info(sorted[i]->type)->name);
        *types = crc32(*types, (const unsigned char *)line, (unsigned)n);
        *bytes = crc32(*bytes, sorted[i]->data, (unsigned)sorted[i]->bytes);
    }
    enum status status = sorted ? OK : fail(e, ERR_MEMORY, "%s: out of memory", path);
    free(sorted);
    gguf_close(g);
    return status;
}
