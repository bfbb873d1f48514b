/* fuzz_packed: damaged packed files, which are HDF5. Each is opened in a child of its own, because the
 * library has known faults: one that ends a child is counted and said, and only what our own code makes of a
 * file that the library opened is a finding. Packed and record files are caches of their user, never a
 * stranger's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct packed_id id = {
    .layout = "none", .header_sha256 = "0", .model_bytes = 1, .weights_bytes = 4096, .sample = 7};

/* The good file that inputs are differences from: two bytes of place and one of value, for each. */
static uint8_t *good_file(size_t *size) {
    static uint8_t bytes[1 << 14];
    char path[] = "/tmp/lfm2-fuzz-packed-XXXXXX";
    struct packed_writer *w;
    struct error e;
    static char zeros[4096];
    int fd = mkstemp(path);
    if (fd < 0 || packed_create(&w, path, &id, &e) != OK || packed_add(w, zeros, sizeof zeros, &e) != OK ||
        packed_commit(w, &e) != OK)
        abort();
    close(fd);
    FILE *f = fopen(path, "rb");
    *size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    unlink(path);
    return bytes;
}

static uint64_t sum; /* keeps the reads */

static void open_it(const char *path) {
    struct packed p;
    struct error e;
    if (packed_open(&p, path, &id, &e) == OK) {
        for (size_t i = 0; i < id.weights_bytes; i++) sum += p.weights[i];
        packed_close(&p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static uint8_t *good, changed[1 << 14];
    static size_t size;
    static unsigned long ended;
    char path[64];
    if (!good) good = good_file(&size);
    memcpy(changed, good, size);
    for (size_t i = 0; i + 3 <= n; i += 3)
        changed[((size_t)bytes[i] << 8 | bytes[i + 1]) % size] = bytes[i + 2];
    int fd = memfd_create("fuzz_packed", 0), status = 0;
    if (fd < 0 || write(fd, changed, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(5);
        open_it(path);
        _exit(0);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status)
        fprintf(stderr, "a damaged HDF5 file ended the library (%lu so far)\n", ++ended);
    close(fd);
    return 0;
}
