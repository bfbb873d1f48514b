/* SPDX-License-Identifier: Apache-2.0 */
/* json_rows: rows of any table (data/records.h) as an array of JSON objects, or as CSV with a header line. */
#ifndef BENCH_JSON_ROWS_H
#define BENCH_JSON_ROWS_H

#include <jansson.h>
#include <stdio.h>

#include "data/records.h"

/* A number that is not finite becomes null. */
json_t *json_rows(const struct table *t, const void *rows, size_t n);
void json_rows_print(FILE *to, const struct table *t, const void *rows, size_t n);
/* Texts are quoted; a number that is not finite is empty. */
void csv_rows_print(FILE *to, const struct table *t, const void *rows, size_t n);

#endif
