/* SPDX-License-Identifier: Apache-2.0 */
/* json: text from strangers, parsed with jansson within a quota of memory: "{},{},{}" becomes eighty times as
 * many bytes in memory, and real files at most fifteen, rows of small numbers some forty. Also whole
 * files of one object. */
#ifndef DATA_JSON_H
#define DATA_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "data/status.h"

/* Between begin and end this thread's values take at most 48 times n bytes and 1 MiB, all together. What
 * would take more fails like an allocation. Not to be nested. */
void json_quota_begin(size_t n);
int json_quota_end(void); /* 1: it did not suffice */

/* json_loadb within the quota of the text; NULL and a sentence in why->text on error. */
json_t *json_parse(const char *text, size_t n, size_t flags, json_error_t *why);

/* The object in a file of at most max_bytes, which may be gzip; json_decref it. flags: jansson's. *out is
 * NULL on error. */
enum status json_read(json_t **out, const char *path, size_t max_bytes, size_t flags, struct error *e);

#endif
