/* SPDX-License-Identifier: Apache-2.0 */
/* buffer: growing byte arrays, file reading, UTF-8. */
#include "data/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/mapped.h"

void buffer_free(struct buffer *b) {
    free(b->data);
    *b = (struct buffer){0};
}

static int reserve(struct buffer *b, size_t more) {
    if (b->failed || more > SIZE_MAX / 4 - b->n) return b->failed = 1, 0;
    size_t need = b->n + more + 1;
    if (need <= b->capacity) return 1;
    size_t capacity = b->capacity * 2 > need ? b->capacity * 2 : need + 64;
    char *data = realloc(b->data, capacity);
    if (!data) return b->failed = 1, 0;
    b->data = data, b->capacity = capacity;
    return 1;
}

void buffer_add(struct buffer *b, const void *bytes, size_t n) {
    if (!reserve(b, n)) return;
    if (n) memcpy(b->data + b->n, bytes, n);
    b->n += n;
    b->data[b->n] = 0;
}

void buffer_text(struct buffer *b, const char *text) {
    buffer_add(b, text, strlen(text));
}

void buffer_format(struct buffer *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(b, (size_t)n)) return;
    va_start(args, fmt);
    vsnprintf(b->data + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}

enum status buffer_check(const struct buffer *b, struct error *e) {
    return b->failed ? fail(e, ERR_MEMORY, "out of memory for a text of %zu bytes", b->n) : OK;
}

enum status buffer_read_input(struct buffer *b, const char *path, size_t max_bytes, struct error *e) {
    enum { PIECE = 1 << 16, TIMES = 100, MORE = 1 << 20 };
    struct stat st;
    if (stat(path, &st) != 0) return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return fail(e, ERR_IO, "%s: is a folder (expected a file)", path);
    gzFile f = gzopen(path, "rb");
    if (!f) return fail(e, ERR_IO, "%s: %s", path, errno ? strerror(errno) : "cannot be opened");
    enum status status = OK;
    int got = 1;
    for (size_t total = 0; status == OK && got > 0; total += (size_t)(got > 0 ? got : 0)) {
        if (total > max_bytes)
            status = fail(e, ERR_UNSUPPORTED, "%s: too large (expected at most %zu bytes)", path, max_bytes);
        else if (S_ISREG(st.st_mode) && total > (size_t)st.st_size * TIMES + MORE)
            status =
                fail(e, ERR_UNSUPPORTED,
                     "%s: gzip that unpacks to far more than data does (found %lld bytes, expected at most "
                     "%d times as many unpacked)",
                     path, (long long)st.st_size, TIMES);
        else if (!reserve(b, PIECE))
            status = fail(e, ERR_MEMORY, "%s: out of memory", path);
        else if ((got = gzread(f, b->data + b->n, PIECE)) < 0)
            status = fail(e, ERR_IO, "%s: cannot be read (damaged gzip data, or an input error)", path);
        else
            b->n += (size_t)got, b->data[b->n] = 0;
    }
    int code = gzclose_r(f); /* Z_BUF_ERROR: the gzip stream stops in the middle */
    if (status == OK && code != Z_OK) status = fail(e, ERR_IO, "%s: the gzip data stop too early", path);
    return status;
}

enum status buffer_read(struct buffer *b, const char *path, size_t max_bytes, struct error *e) {
    TRY(regular_file(path, e));
    return buffer_read_input(b, path, max_bytes, e);
}

size_t utf8_decode(const char *text, size_t n, uint32_t *code) {
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0) return 0;
    size_t length = s[0] < 0x80   ? 1
                    : s[0] < 0xc2 ? 0
                    : s[0] < 0xe0 ? 2
                    : s[0] < 0xf0 ? 3
                    : s[0] < 0xf5 ? 4
                                  : 0;
    if (length == 0 || length > n) return 0;
    uint32_t c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if ((length == 3 && c < 0x800) || (length == 4 && c < 0x10000)) return 0;
    if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff) return 0;
    if (code) *code = c;
    return length;
}

size_t utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) return out[0] = (char)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c);
    return n;
}

void buffer_shown(struct buffer *b, const char *text, size_t n) {
    uint32_t c = 0;
    for (size_t i = 0, size; i < n; i += size ? size : 1) {
        size = utf8_decode(text + i, n - i, &c);
        int control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
        if (size && !control)
            buffer_add(b, text + i, size);
        else
            buffer_add(b, "?", 1);
    }
}

int utf8_incomplete(const char *text, size_t n) {
    /* What could follow decides nothing but validity, so the two extreme continuations are tried. */
    char low[4], high[4];
    if (n == 0 || n > 3) return 0;
    memset(low, 0x80, sizeof low), memset(high, 0xbf, sizeof high);
    memcpy(low, text, n), memcpy(high, text, n);
    size_t a = utf8_decode(low, 4, NULL), b = utf8_decode(high, 4, NULL);
    return a > n || b > n;
}
