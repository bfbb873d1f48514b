/* SPDX-License-Identifier: Apache-2.0 */
/* json: map, parse, unmap. */
#include "data/json.h"

#include <inttypes.h>

#include "data/mapped.h"

enum status json_open(json_t **out, const char *path, uint64_t max_bytes, struct error *e) {
    *out = NULL;
    struct mapped file;
    TRY(mapped_open(&file, path, "JSON", e));
    json_error_t error = {0};
    enum status status = OK;
    if (file.size > max_bytes)
        status =
            fail(e, ERR_UNSUPPORTED, "%s: too large (found %" PRIu64 " bytes, expected at most %" PRIu64 ")",
                 path, file.size, max_bytes);
    else if (!(*out = json_loadb((const char *)file.data, (size_t)file.size, JSON_REJECT_DUPLICATES, &error)))
        status = fail(e, ERR_FORMAT, "%s: not JSON, line %d: %s", path, error.line, error.text);
    else if (!json_is_object(*out))
        status = fail(e, ERR_FORMAT, "%s: not a JSON object", path);
    mapped_close(&file);
    if (status != OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}
