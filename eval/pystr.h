/* SPDX-License-Identifier: Apache-2.0 */
/* pystr: what Python's str does with text, on UTF-8: lm-eval's prompts and scores depend on it. Bytes that
 * are not UTF-8 count as one character each. */
#ifndef EVAL_PYSTR_H
#define EVAL_PYSTR_H

#include <stddef.h>
#include <stdint.h>

#include "data/buffer.h"

/* A piece of text; not NUL-terminated, may contain NULs. Owned by whoever has the bytes. */
struct pystr {
    const char *s;
    size_t n;
};
struct pystr pystr_of(const char *s);          /* a C string */
struct pystr pystr_in(const struct buffer *b); /* a buffer's bytes */
int pystr_equal(struct pystr a, struct pystr b);
int pystr_is(struct pystr a, const char *s);
int pystr_starts(struct pystr a, const char *s);
int pystr_ends(struct pystr a, const char *s);
/* Where the first (last) occurrence of s begins; a.n when there is none. */
size_t pystr_find(struct pystr a, struct pystr s);
size_t pystr_rfind(struct pystr a, struct pystr s);
struct pystr pystr_from(struct pystr a, size_t at);            /* a[at:] in bytes */
struct pystr pystr_slice(struct pystr a, size_t at, size_t n); /* a[at:at+n] in bytes */

size_t pystr_next(struct pystr a, size_t at, uint32_t *code); /* bytes of the character at `at` < a.n */
size_t pystr_length(struct pystr a);                          /* len(): code points */
struct pystr pystr_skip(struct pystr a, size_t characters);   /* a[characters:] */
int pystr_isspace(uint32_t code);                             /* chr(code).isspace() */
struct pystr pystr_strip(struct pystr a);                     /* a.strip(), lstrip, rstrip */
struct pystr pystr_lstrip(struct pystr a);
struct pystr pystr_rstrip(struct pystr a);
struct pystr pystr_strip_of(struct pystr a, const char *ascii); /* a.strip("...") for ASCII characters */

void pystr_put(struct buffer *out, struct pystr a);
void pystr_lower(struct buffer *out, struct pystr a); /* a.lower() */
void pystr_replace(struct buffer *out, struct pystr a, const char *from,
                   const char *to); /* a.replace(from, to) */
/* Are all cased characters upper (lower) case, and is there one? */
int pystr_isupper(struct pystr a);
int pystr_islower(struct pystr a);

/* Python's \s as the inside of a PCRE2 class; PCRE2's own \s lacks U+001C to U+001F. */
#define PY_SPACE                                                                                             \
    "\\t-\\r\\x1c-\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

#endif
