/* fuzz_safetensors: damaged safetensors files. Reads every byte that the reader vouches for. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static uint64_t sum; /* keeps the reads */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    char path[64];
    struct error e;
    struct safetensors *s;
    int fd = memfd_create("fuzz_safetensors", 0);
    if (fd < 0 || (n && write(fd, bytes, n) != (ssize_t)n)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (safetensors_open(&s, path, &e) == OK) {
        for (size_t i = 0; i < s->n_tensors; i++)
            for (uint64_t b = 0; b < s->tensors[i].bytes; b++) sum += s->tensors[i].data[b];
        safetensors_close(s);
    }
    close(fd);
    return 0;
}
