/* SPDX-License-Identifier: Apache-2.0 */
/* status: fail() formats the one sentence that describes a fault; text_clean() makes it safe to print. */
#include "data/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status(fail)(struct error *e, enum status code, const char *fmt, ...) {
    if (!e) return code;
    e->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    text_clean(e->text);
    return code;
}

/* Bytes of the well-formed UTF-8 sequence at p, with its code point; 0 if there is none (overlong forms,
 * surrogates and a sequence cut short by the end of the text included). */
static int utf8_sequence(const unsigned char *p, unsigned *code) {
    static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n < 2) {
        *code = p[0];
        return n;
    }
    *code = p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) return 0;
        *code = *code << 6 | (p[i] & 0x3fu);
    }
    return *code < smallest[n] || *code > 0x10ffff || *code >> 11 == 0x1b ? 0 : n;
}

void text_clean(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p;) {
        unsigned code;
        int n = utf8_sequence(p, &code);
        /* C0 and C1 controls drive terminals: an escape sequence in a tensor name must not. */
        int control = n && (code < 0x20 || (code >= 0x7f && code < 0xa0));
        if (n && !control) {
            p += n;
            continue;
        }
        for (int i = 0; i < (n ? n : 1); i++) p[i] = '?';
        p += n ? n : 1;
    }
}
