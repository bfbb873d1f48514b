/* SPDX-License-Identifier: Apache-2.0 */
/* folder: a temporary folder of a test, and its files. For suites with
 * .init = folder_begin, .fini = folder_end. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include "data/buffer.h"

extern char folder[64];

/* Makes it; also fixes the day that results carry, and BLAS's threads. */
void folder_begin(void);
void folder_end(void);

/* The path of a file in it; good until 512 calls later. */
const char *in(const char *name);

/* 0 when it failed. */
int write_file(const char *path, const char *bytes, size_t n);
/* The whole file and a NUL, which does not count, emptied first; 0 when it failed. */
int read_text(const char *path, struct buffer *out);
/* 1: both are there, not empty, and equal. */
int same_file(const char *a, const char *b);
/* The same of the results and samples of GSM8K and the model "tiny" in two folders here. */
int same_results(const char *a, const char *b);
/* Whole lines; 0 when the file is not there. */
int lines_of(const char *path);

#endif
