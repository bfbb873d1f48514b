/* SPDX-License-Identifier: Apache-2.0 */
/* status: how every library function reports failure.
 * Library code never prints, exits or aborts. The function that detects a fault writes one sentence with
 * fail(); everyone above forwards the code with TRY(). A program prints error.text once and maps the code to
 * an exit code. */
#ifndef DATA_STATUS_H
#define DATA_STATUS_H

enum status {
    OK = 0,
    ERR_IO = -1,          /* the operating system refused: open, read, write, map */
    ERR_FORMAT = -2,      /* a file's bytes break its format */
    ERR_SHAPE = -3,       /* well-formed, but not the sizes or types this model needs */
    ERR_UNSUPPORTED = -4, /* well-formed, but something this program does not do */
    ERR_MEMORY = -5,      /* an allocation failed, or would not fit */
    ERR_ARG = -6,         /* the caller asked for something impossible */
};

struct error {
    enum status code;
    char text[512]; /* one line, no newline: "FILE: what is wrong (found X, expected Y)" */
};

/* Fills *e (if not NULL) and returns code, so that `return fail(e, ERR_IO, "%s: ...", path);` is one line.
 * Control characters and bytes that are not printable ASCII or UTF-8 are replaced by '?', since texts may
 * quote names from files nobody trusts. */
__attribute__((format(printf, 3, 4))) enum status fail(struct error *e, enum status code, const char *fmt,
                                                       ...);
#ifdef __clang_analyzer__ /* it looks at one file at a time and would not know that `code` is returned */
#define fail(e, code, ...) ((void)(fail)(e, code, __VA_ARGS__), (code))
#endif

/* What fail() does to its text: every control character and every byte outside valid UTF-8 becomes '?'. For
 * other texts from files that will be printed. */
void text_clean(char *text);

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        enum status try_status_ = (call);                                                                    \
        if (try_status_ != OK) return try_status_;                                                           \
    } while (0)

#endif
