/* SPDX-License-Identifier: Apache-2.0 */
/* ids: parsing "1,2,3". */
#include "bench/ids.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum status ids_parse(const char *text, int32_t **out, int *n, struct error *e) {
    size_t count = 1;
    *out = NULL;
    for (const char *p = text; *p; p++) count += *p == ',';
    if (count > INT_MAX || !(*out = malloc(count * sizeof **out)))
        return fail(e, ERR_MEMORY, "--ids: no memory for %zu ids", count);
    const char *p = text;
    for (size_t i = 0; i < count; i++) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (end == p || errno || v < INT32_MIN || v > INT32_MAX || (*end != ',' && *end != 0))
            return fail(e, ERR_ARG, "--ids needs whole numbers separated by commas (found '%.20s')", p);
        (*out)[i] = (int32_t)v;
        p = end + 1;
    }
    *n = (int)count;
    return OK;
}
