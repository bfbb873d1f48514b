/* SPDX-License-Identifier: Apache-2.0 */
/* json: the quota, in the allocator that jansson calls; files, read whole and parsed. */
#include "data/json.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/buffer.h"

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

enum status json_read(json_t **out, const char *path, size_t max_bytes, size_t flags, struct error *e) {
    struct buffer text = {0};
    json_error_t why = {0};
    *out = NULL;
    enum status status = buffer_read(&text, path, max_bytes, e);
    if (status == OK && text.n == 0)
        status = fail(e, ERR_FORMAT, "%s: empty file (expected JSON)", path);
    else if (status == OK && !(*out = json_parse(text.data, text.n, flags, &why)))
        status = fail(e, ERR_FORMAT, "%s: not JSON, line %d: %s", path, why.line, why.text);
    buffer_free(&text);
    if (status != OK || json_is_object(*out)) return status;
    json_decref(*out);
    *out = NULL;
    return fail(e, ERR_FORMAT, "%s: not a JSON object (expected an object in braces)", path);
}
