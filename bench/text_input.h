/* SPDX-License-Identifier: Apache-2.0 */
/* text_input: the text that a command works on. */
#ifndef BENCH_TEXT_INPUT_H
#define BENCH_TEXT_INPUT_H

#include "data/buffer.h"

/* Appends prompt when it is not NULL, else the file (unpacked when it is gzip), else standard input. More
 * than 1 GiB is ERR_UNSUPPORTED. */
enum status text_input(struct buffer *out, const char *prompt, const char *file, struct error *e);

#endif
