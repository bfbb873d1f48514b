/* SPDX-License-Identifier: Apache-2.0 */
/* text_input: the text that a command works on, and the one that it writes. */
#ifndef BENCH_TEXT_INPUT_H
#define BENCH_TEXT_INPUT_H

#include "data/buffer.h"

/* Appends prompt when it is not NULL, else the file (unpacked when it is gzip), else standard input. More
 * than 1 GiB is ERR_UNSUPPORTED. */
enum status text_input(struct buffer *out, const char *prompt, const char *file, struct error *e);

/* To standard output, at once: exactly these bytes; on a terminal without control characters, since what a
 * model says must not drive it. 0, or -1 and errno. */
int text_output(const char *bytes, size_t n);

#endif
