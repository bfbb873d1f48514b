/* SPDX-License-Identifier: Apache-2.0 */
/* pystr: Python's str methods on UTF-8. Letter case comes from the C library's tables for C.UTF-8, with the
 * two rules of str.lower() that no table of single characters has. */
#include "eval/pystr.h"

#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <wctype.h>

struct pystr pystr_of(const char *s) {
    return (struct pystr){s, strlen(s)};
}
struct pystr pystr_in(const struct buffer *b) {
    return (struct pystr){b->data ? b->data : "", b->n};
}
int pystr_equal(struct pystr a, struct pystr b) {
    return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}
int pystr_is(struct pystr a, const char *s) {
    return pystr_equal(a, pystr_of(s));
}

int pystr_starts(struct pystr a, const char *s) {
    size_t n = strlen(s);
    return a.n >= n && memcmp(a.s, s, n) == 0;
}

int pystr_ends(struct pystr a, const char *s) {
    size_t n = strlen(s);
    return a.n >= n && memcmp(a.s + a.n - n, s, n) == 0;
}

size_t pystr_find(struct pystr a, struct pystr s) {
    if (s.n == 0) return 0;
    const char *found = a.n ? memmem(a.s, a.n, s.s, s.n) : NULL;
    return found ? (size_t)(found - a.s) : a.n;
}

size_t pystr_rfind(struct pystr a, struct pystr s) {
    size_t last = a.n;
    if (s.n > a.n) return last;
    for (size_t at = a.n - s.n + 1; at-- > 0;)
        if (memcmp(a.s + at, s.s, s.n) == 0) return at;
    return last;
}

struct pystr pystr_from(struct pystr a, size_t at) {
    if (at > a.n) at = a.n;
    return (struct pystr){a.s + at, a.n - at};
}

struct pystr pystr_slice(struct pystr a, size_t at, size_t n) {
    a = pystr_from(a, at);
    return (struct pystr){a.s, n < a.n ? n : a.n};
}

size_t pystr_next(struct pystr a, size_t at, uint32_t *code) {
    size_t n = utf8_decode(a.s + at, a.n - at, code);
    if (n) return n;
    if (code) *code = 0xfffd;
    return 1;
}

size_t pystr_length(struct pystr a) {
    size_t length = 0;
    for (size_t at = 0; at < a.n; at += pystr_next(a, at, NULL)) length++;
    return length;
}

struct pystr pystr_skip(struct pystr a, size_t characters) {
    size_t at = 0;
    for (; at < a.n && characters; characters--) at += pystr_next(a, at, NULL);
    return pystr_from(a, at);
}

int pystr_isspace(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

struct pystr pystr_lstrip(struct pystr a) {
    size_t at = 0;
    uint32_t code;
    while (at < a.n) {
        size_t n = pystr_next(a, at, &code);
        if (!pystr_isspace(code)) break;
        at += n;
    }
    return pystr_from(a, at);
}

/* The character that ends before `at`, and where it begins. */
static size_t pystr_before(struct pystr a, size_t at, uint32_t *code) {
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && ((unsigned char)a.s[start] & 0xc0) == 0x80) start--;
    if (pystr_next(a, start, code) == at - start) return start;
    *code = 0xfffd;
    return at - 1;
}

struct pystr pystr_rstrip(struct pystr a) {
    uint32_t code;
    while (a.n) {
        size_t at = pystr_before(a, a.n, &code);
        if (!pystr_isspace(code)) break;
        a.n = at;
    }
    return a;
}

struct pystr pystr_strip(struct pystr a) {
    return pystr_rstrip(pystr_lstrip(a));
}

struct pystr pystr_strip_of(struct pystr a, const char *ascii) {
    while (a.n && a.s[0] && strchr(ascii, a.s[0])) a = pystr_from(a, 1);
    while (a.n && a.s[a.n - 1] && strchr(ascii, a.s[a.n - 1])) a.n--;
    return a;
}

void pystr_put(struct buffer *out, struct pystr a) {
    buffer_add(out, a.s, a.n);
}

/* NULL only when the C library has no Unicode locale at all; then only ASCII has case. */
static locale_t unicode;
static void open_unicode(void) {
    const char *names[] = {"C.UTF-8", "C.utf8", "en_US.UTF-8"};
    for (int i = 0; i < 3 && !unicode; i++) unicode = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
}

static locale_t unicode_locale(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_unicode);
    return unicode;
}

static uint32_t lower_of(uint32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    locale_t l = unicode_locale();
    return l ? (uint32_t)towlower_l((wint_t)c, l) : c;
}

static int has_upper(uint32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z';
    locale_t l = unicode_locale();
    return l && iswupper_l((wint_t)c, l);
}

static int has_lower(uint32_t c) {
    if (c < 0x80) return c >= 'a' && c <= 'z';
    locale_t l = unicode_locale();
    return l && iswlower_l((wint_t)c, l);
}

/* Characters that Unicode lets stand inside a word when it looks for a final sigma; those that occur. */
static int ignorable(uint32_t c) {
    return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xad || c == 0xb7 ||
           c == 0x2019 || (c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f);
}

static int cased(uint32_t c) {
    return has_upper(c) || has_lower(c);
}

/* 1: the sigma at `at`, n bytes long, ends a word: a cased character before it, none after it. */
static int final_sigma(struct pystr a, size_t at, size_t n) {
    uint32_t code = 0;
    size_t i = at;
    do {
        if (i == 0) return 0;
        i = pystr_before(a, i, &code);
    } while (ignorable(code));
    if (!cased(code)) return 0;
    for (i = at + n; i < a.n; i += pystr_next(a, i, NULL)) {
        pystr_next(a, i, &code);
        if (!ignorable(code)) return !cased(code);
    }
    return 1;
}

void pystr_lower(struct buffer *out, struct pystr a) {
    uint32_t code;
    for (size_t at = 0, n; at < a.n; at += n) {
        n = pystr_next(a, at, &code);
        char bytes[4];
        if (code == 0xfffd && n == 1)
            buffer_add(out, a.s + at, 1);
        else if (code == 0x130)
            buffer_text(out, "i\xcc\x87"); /* the only letter that becomes two */
        else if (code == 0x3a3)
            buffer_text(out, final_sigma(a, at, n) ? "\xcf\x82" : "\xcf\x83");
        else
            buffer_add(out, bytes, utf8_encode(lower_of(code), bytes));
    }
}

void pystr_replace(struct buffer *out, struct pystr a, const char *from, const char *to) {
    struct pystr wanted = pystr_of(from);
    for (;;) {
        size_t at = pystr_find(a, wanted);
        buffer_add(out, a.s, at);
        if (at >= a.n) return;
        buffer_text(out, to);
        a = pystr_from(a, at + wanted.n);
    }
}

static int all_in_case(struct pystr a, int upper) {
    int any = 0;
    uint32_t code;
    for (size_t at = 0; at < a.n; at += pystr_next(a, at, NULL)) {
        pystr_next(a, at, &code);
        if (upper ? has_lower(code) : has_upper(code)) return 0;
        any |= upper ? has_upper(code) : has_lower(code);
    }
    return any;
}

int pystr_isupper(struct pystr a) {
    return all_in_case(a, 1);
}
int pystr_islower(struct pystr a) {
    return all_in_case(a, 0);
}
