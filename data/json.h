/* SPDX-License-Identifier: Apache-2.0 */
/* json: small JSON files, mapped and parsed with jansson; a second occurrence of a key is an error. */
#ifndef DATA_JSON_H
#define DATA_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "data/status.h"

/* The object in a file of at most max_bytes; json_decref it. *out is NULL on error. */
enum status json_open(json_t **out, const char *path, uint64_t max_bytes, struct error *e);

#endif
