/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: the table of fuzzers, and files that never touch a disk. */
#include "tests/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const struct fuzzer fuzzers[] = {
    {"gguf", fuzz_gguf, 1 << 15},
    {"folder", fuzz_folder, 1 << 14},
    {"safetensors", fuzz_safetensors, 1 << 12},
    {"lora", fuzz_lora, 1 << 13},
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

void fuzz_folder_open(struct fuzz_folder *f) {
    const char *where = getenv("TMPDIR");
    snprintf(f->path, sizeof f->path, "%s/lfm2-fuzz-XXXXXX", where ? where : "/tmp");
    if (!mkdtemp(f->path)) abort();
    f->n = 0;
}

void fuzz_folder_add(struct fuzz_folder *f, const char *name, const void *bytes, size_t n) {
    char path[FUZZ_PATH];
    if (f->n == sizeof f->fd / sizeof *f->fd) abort();
    f->fd[f->n] = fuzz_file(path, bytes, n);
    if (asprintf(&f->link[f->n], "%s/%s", f->path, name) < 0) abort();
    if (symlink(path, f->link[f->n++])) abort();
}

void fuzz_folder_close(struct fuzz_folder *f) {
    for (int i = 0; i < f->n; i++) unlink(f->link[i]), free(f->link[i]), close(f->fd[i]);
    rmdir(f->path);
}
