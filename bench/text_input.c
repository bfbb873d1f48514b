/* SPDX-License-Identifier: Apache-2.0 */
/* text_input: -p, -f or standard input; and standard output. */
#include "bench/text_input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 30 };

static enum status read_stdin(struct buffer *b, struct error *e) {
    char piece[1 << 16];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
        buffer_add(b, piece, n);
        if (b->n > MAX_FILE)
            return fail(e, ERR_UNSUPPORTED, "standard input: too large (expected at most 1 GiB)");
    }
    if (ferror(stdin)) return fail(e, ERR_IO, "standard input: %s", strerror(errno));
    return OK;
}

enum status text_input(struct buffer *out, const char *prompt, const char *file, struct error *e) {
    if (prompt)
        buffer_text(out, prompt);
    else
        TRY(file ? buffer_read_input(out, file, MAX_FILE, e) : read_stdin(out, e));
    return buffer_check(out, e);
}

int text_output(const char *bytes, size_t n) {
    struct buffer shown = {0};
    int terminal = isatty(STDOUT_FILENO);
    if (terminal) buffer_shown(&shown, bytes, n), bytes = shown.data, n = shown.n;
    int bad = shown.failed || (n && fwrite(bytes, 1, n, stdout) != n) || fflush(stdout) != 0;
    if (shown.failed) errno = ENOMEM;
    buffer_free(&shown);
    return bad ? -1 : 0;
}
