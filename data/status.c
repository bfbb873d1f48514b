/* SPDX-License-Identifier: Apache-2.0 */
/* status: fail() formats the one sentence that describes a fault; text_clean() makes it safe to print. */
#include "data/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/buffer.h"

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

void text_clean(char *text) {
    for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
        uint32_t code = 0;
        size_t size = utf8_decode(text, left, &code);
        /* C0 and C1 controls drive terminals: an escape sequence in a tensor name must not. */
        int control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        n = size ? size : 1;
        if (!size || control) memset(text, '?', n);
    }
}
