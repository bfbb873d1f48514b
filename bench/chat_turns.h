/* SPDX-License-Identifier: Apache-2.0 */
/* chat_turns: what `lfm2 chat` reads: turns from standard input, tools from a file; and how it shows calls.
 */
#ifndef BENCH_CHAT_TURNS_H
#define BENCH_CHAT_TURNS_H

#include <jansson.h>
#include <stdio.h>

#include "data/buffer.h"

enum turn_kind {
    TURN_USER,
    TURN_TOOL,  /* "/tool TEXT": a tool's response */
    TURN_CLEAR, /* "/clear" */
    TURN_END,   /* end of input */
};

/* The next turn that is not empty. A line that ends with a backslash goes on with the next line. *text is
 * emptied first; free it with buffer_free. prompt is shown on standard error before each line; NULL: not. */
enum status turn_read(FILE *in, const char *prompt, enum turn_kind *kind, struct buffer *text,
                      struct error *e);

/* An array of tools, as in OpenAI's API, or one tool. json_decref it; *out is NULL on error. */
enum status tools_read(json_t **out, const char *path, struct error *e);

/* One line of JSON for each call, on standard error. */
void calls_print(const json_t *calls);

#endif
