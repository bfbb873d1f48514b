/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_imatrix: damaged importance matrices in both formats, and damaged files of log-probabilities. */
#include <stdlib.h>
#include <unistd.h>

#include "bench/base_file.h"
#include "data/imatrix.h"
#include "tests/fuzz.h"

static double sum; /* keeps the reads */

void fuzz_imatrix(const uint8_t *bytes, size_t n) {
    char path[FUZZ_PATH];
    struct error e;
    struct imatrix *m;
    int fd = fuzz_file(path, bytes, n);
    if (imatrix_open(&m, path, &e) == OK) {
        for (int i = 0; i < m->n; i++)
            for (int64_t k = 0; k < m->entries[i].planes * m->entries[i].cols; k++)
                if (!(m->entries[i].values[k] >= 0)) abort(); /* so says the header */
        imatrix_close(m);
    }
    close(fd);
}

void fuzz_base(const uint8_t *bytes, size_t n) {
    char path[FUZZ_PATH];
    struct base_file b;
    struct error e;
    int fd = fuzz_file(path, bytes, n);
    if (base_open(&b, path, &e) == OK) {
        /* The whole file was measured: a row of this many probabilities lies in it. */
        float *p = malloc((size_t)b.header.n_vocab * sizeof *p);
        for (int c = 0; p && c < b.header.n_chunks; c++)
            for (int i = 0; i < chunk_scored(b.header.n_ctx); i++)
                if (base_read(&b, c, i, p, &e) == OK) sum += (double)p[b.header.n_vocab - 1];
        free(p);
    }
    base_close(&b);
    close(fd);
}
