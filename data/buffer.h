/* SPDX-License-Identifier: Apache-2.0 */
/* buffer: bytes that grow, whole files read into them, and UTF-8 one character at a time. What the tokenizer
 * and the chat templates write into. */
#ifndef DATA_BUFFER_H
#define DATA_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

/* Start with {0}; free with buffer_free. A failed allocation sets `failed` and drops what is added from then
 * on, so that a writer checks once, at its end, with buffer_check. After any add the bytes are followed by a
 * NUL that n does not count. */
struct buffer {
    char *data;
    size_t n, capacity;
    int failed;
};

void buffer_free(struct buffer *b);
void buffer_add(struct buffer *b, const void *bytes, size_t n);
void buffer_text(struct buffer *b, const char *text);
__attribute__((format(printf, 2, 3))) void buffer_format(struct buffer *b, const char *fmt, ...);
enum status buffer_check(const struct buffer *b, struct error *e); /* ERR_MEMORY after a failed add */

/* Appends a whole file, unpacked when it is gzip. More than max_bytes, or gzip that becomes more than a
 * hundred times as long and 1 MiB, is ERR_UNSUPPORTED; ERR_IO what is not a regular file: a FIFO would be
 * waited for, a device read without end. */
enum status buffer_read(struct buffer *b, const char *path, size_t max_bytes, struct error *e);
/* The same of a file that the user names: it may be a pipe. */
enum status buffer_read_input(struct buffer *b, const char *path, size_t max_bytes, struct error *e);

/* Bytes of the well-formed UTF-8 character at the start of text[0..n), 1 to 4; 0 when there is none: a stray
 * or missing continuation byte, an overlong form, a surrogate, a value above U+10FFFF. *code may be NULL. */
size_t utf8_decode(const char *text, size_t n, uint32_t *code);

/* Bytes of code's UTF-8 form, written to out. */
size_t utf8_encode(uint32_t code, char out[4]);

/* Appends text as a terminal may have it: control characters other than line feed and tab, and bytes that are
 * not UTF-8, become '?'. */
void buffer_shown(struct buffer *b, const char *text, size_t n);

/* 1: text[0..n), n < 4, is the beginning of a well-formed character that more bytes could complete. */
int utf8_incomplete(const char *text, size_t n);

#endif
