/* SPDX-License-Identifier: Apache-2.0 */
/* corpus: bad files by number, each made from one small good model by one lie, with the command that meets it
 * and what its answer must say. The numbers and their order are those of the list in SECURITY.md. Cases that
 * no file can show (faults while a program runs) are in tests/test_faults.c under their numbers. */
#ifndef TESTS_CORPUS_H
#define TESTS_CORPUS_H

#include "tests/gguf_image.h"

/* What a case makes its files in. */
struct making {
    const char *folder; /* an empty one */
    const char *file;   /* folder/model.gguf */
    struct image im;    /* the good model; written to file afterwards unless `written` */
    int written;
    int failed;
};

struct corpus_case {
    int number;
    const char *id;
    int code;            /* exit code: 2, or 0 where the odd file is right */
    const char *mention; /* part of the line on stderr, in exit code 2 */
    const char *command; /* NULL: `info` and `logits`; % is the file */
    void (*make)(struct making *);
};

extern const struct corpus_case corpus_gguf[];    /* 1 to 58 */
extern const struct corpus_case corpus_text[];    /* 59 to 68: splits, vocabularies, texts */
extern const struct corpus_case corpus_folders[]; /* 69 to 84: safetensors */
extern const struct corpus_case corpus_others[];  /* 85 on: HDF5, options, things that are no files */
/* Each ends with a number 0. */

/* The good model that all cases are made from: lfm2moe, 4 layers, with a vocabulary; about 300 kB. */
enum status corpus_base(const char *path, struct error *e);

/* Fills the folder, which must be empty, with the case's files. base: an open corpus_base. */
int corpus_make(const struct corpus_case *c, const struct gguf *base, const char *folder);

/* For cases: writes a file of the folder. */
void making_file(struct making *m, const char *name, const void *bytes, uint64_t n);
void making_text(struct making *m, const char *name, const char *text);

#endif
