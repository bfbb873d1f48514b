/* fuzz: the table of fuzzers, and files that never touch a disk. */
#include "tests/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const struct fuzzer fuzzers[] = {
    {"gguf", fuzz_gguf, 1 << 15},
    {"safetensors", fuzz_safetensors, 1 << 12},
    {"vocabulary", fuzz_vocabulary, 1 << 14},
    {"imatrix", fuzz_imatrix, 1 << 12},
    {"base", fuzz_base, 1 << 12},
    {"packed", fuzz_packed, 96},
    {"tokenizer", fuzz_tokenizer, 1 << 10},
    {"chat", fuzz_chat, 1 << 12},
    {"rows", fuzz_rows, 1 << 12},
    {"extract", fuzz_extract, 1 << 10},
    {NULL, NULL, 0},
};

int fuzz_file(char path[FUZZ_PATH], const void *bytes, size_t n) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (n && write(fd, bytes, n) != (ssize_t)n)) abort();
    snprintf(path, FUZZ_PATH, "/proc/self/fd/%d", fd);
    return fd;
}
