/* fuzz_imatrix: damaged importance matrices, and files of log-probabilities; the first byte of either is its
 * own. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/base_file.h"
#include "data/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static double sum; /* keeps the reads */

static void read_base(const char *path) {
    struct base_file b;
    struct error e;
    if (base_open(&b, path, &e) == OK && b.header.n_vocab < 1 << 20) {
        float *p = calloc((size_t)b.header.n_vocab, sizeof *p);
        for (int c = 0; p && c < b.header.n_chunks && c < 4; c++)
            for (int i = 0; i < chunk_scored(b.header.n_ctx) && i < 4; i++)
                if (base_read(&b, c, i, p, &e) == OK) sum += (double)p[b.header.n_vocab - 1];
        free(p);
    }
    base_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    char path[64];
    struct error e;
    struct imatrix *m;
    int fd = memfd_create("fuzz_imatrix", 0);
    if (fd < 0 || (n && write(fd, bytes, n) != (ssize_t)n)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (imatrix_open(&m, path, &e) == OK) {
        for (int i = 0; i < m->n; i++)
            for (int64_t k = 0; k < m->entries[i].planes * m->entries[i].cols; k++)
                sum += (double)m->entries[i].values[k];
        imatrix_close(m);
    }
    read_base(path);
    close(fd);
    return 0;
}
