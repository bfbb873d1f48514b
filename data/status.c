/* status: fail() formats the one sentence that describes a fault. */
#include "data/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status fail(struct error *e, enum status code, const char *fmt, ...) {
    if (!e) return code;
    e->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    for (char *p = e->text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f) *p = '?';
    }
    return code;
}
