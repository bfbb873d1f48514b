/* SPDX-License-Identifier: Apache-2.0 */
/* json: the quota, in the allocator that jansson calls; map, parse, unmap. */
#include "data/json.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/buffer.h"
#include "data/mapped.h"

enum { TIMES = 48, MORE = 1 << 20 };

static _Thread_local size_t left = SIZE_MAX;
static _Thread_local int spent;

/* What is freed is not given back, so that free() stays free(): at most a table's growth is counted twice. */
static void *take(size_t n) {
    if (left == SIZE_MAX) return malloc(n);
    if (n > left) {
        spent = 1;
        return NULL;
    }
    left -= n;
    return malloc(n);
}

static void install(void) {
    json_set_alloc_funcs(take, free);
}

void json_quota_begin(size_t n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    left = n < SIZE_MAX / TIMES - MORE ? n * TIMES + MORE : SIZE_MAX - 1;
    spent = 0;
}

int json_quota_end(void) {
    left = SIZE_MAX;
    return spent;
}

json_t *json_parse(const char *text, size_t n, size_t flags, json_error_t *why) {
    json_quota_begin(n);
    json_t *value = json_loadb(text, n, flags, why);
    if (json_quota_end() && !value) {
        why->line = 1; /* jansson has no line of an allocation that failed */
        snprintf(why->text, sizeof why->text, "it would take more than %d times its size in memory", TIMES);
    }
    return value;
}

static enum status parse_object(json_t **out, const char *path, const char *text, size_t n, size_t flags,
                                struct error *e) {
    json_error_t why = {0};
    if (!(*out = json_parse(text, n, flags, &why)))
        return fail(e, ERR_FORMAT, "%s: not JSON, line %d: %s", path, why.line, why.text);
    if (json_is_object(*out)) return OK;
    json_decref(*out);
    *out = NULL;
    return fail(e, ERR_FORMAT, "%s: not a JSON object (expected an object in braces)", path);
}

enum status json_open(json_t **out, const char *path, uint64_t max_bytes, struct error *e) {
    *out = NULL;
    struct mapped file;
    TRY(mapped_open(&file, path, "JSON", e));
    enum status status =
        file.size > max_bytes
            ? fail(e, ERR_UNSUPPORTED,
                   "%s: too large (found %" PRIu64 " bytes, expected at most %" PRIu64 ")", path, file.size,
                   max_bytes)
            : parse_object(out, path, (const char *)file.data, (size_t)file.size, JSON_REJECT_DUPLICATES, e);
    mapped_close(&file);
    return status;
}

enum status json_read(json_t **out, const char *path, size_t max_bytes, size_t flags, struct error *e) {
    *out = NULL;
    struct buffer text = {0};
    enum status status = buffer_read(&text, path, max_bytes, e);
    if (status == OK) status = parse_object(out, path, text.data ? text.data : "", text.n, flags, e);
    buffer_free(&text);
    return status;
}
