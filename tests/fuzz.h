/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: the readers that are fed damaged input, each as a function of bytes. tests/libfuzzer.c gives them to
 * clang's libFuzzer (`make fuzz`); tests/test_fuzz.c gives them the files of tests/fuzz/NAME/ in every build.
 * A finding ends the process: by abort() where something promised does not hold, else by a sanitizer. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef void fuzz_run(const uint8_t *bytes, size_t n);

struct fuzzer {
    const char *name;
    fuzz_run *run;
    size_t max_bytes; /* of an input: small ones are tried more often */
};
extern const struct fuzzer fuzzers[]; /* ends with a name NULL */

fuzz_run fuzz_gguf, fuzz_folder, fuzz_safetensors, fuzz_lora, fuzz_vocabulary, fuzz_imatrix, fuzz_base,
    fuzz_packed;                                             /* files */
fuzz_run fuzz_tokenizer, fuzz_chat, fuzz_rows, fuzz_extract; /* texts */

enum { FUZZ_PATH = 64 };

/* A file in memory with these bytes, under a path that can be opened by name. Close the descriptor that comes
 * back. */
int fuzz_file(char path[FUZZ_PATH], const void *bytes, size_t n);

/* A folder, under $TMPDIR or /tmp, of such files. */
struct fuzz_folder {
    char path[200], *link[3];
    int fd[3], n;
};
void fuzz_folder_open(struct fuzz_folder *f);
void fuzz_folder_add(struct fuzz_folder *f, const char *name, const void *bytes, size_t n);
void fuzz_folder_close(struct fuzz_folder *f); /* and removes it */

#endif
