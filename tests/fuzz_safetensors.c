/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_safetensors: damaged safetensors files. Reads every byte that the reader vouches for. */
#include <unistd.h>

#include "data/safetensors.h"
#include "tests/fuzz.h"

static uint64_t sum; /* keeps the reads */

void fuzz_safetensors(const uint8_t *bytes, size_t n) {
    char path[FUZZ_PATH];
    struct error e;
    struct safetensors *s;
    int fd = fuzz_file(path, bytes, n);
    if (safetensors_open(&s, path, &e) == OK) {
        for (size_t i = 0; i < s->n_tensors; i++)
            for (uint64_t b = 0; b < s->tensors[i].bytes; b++) sum += s->tensors[i].data[b];
        safetensors_close(s);
    }
    close(fd);
}
