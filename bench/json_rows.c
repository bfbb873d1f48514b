/* SPDX-License-Identifier: Apache-2.0 */
/* json_rows: walks the list of fields. */
#include "bench/json_rows.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static json_t *json_field(const struct field *f, const void *at) {
    double x;
    int64_t k;
    switch (f->kind) {
    case FIELD_F64:
        memcpy(&x, at, sizeof x);
        return isfinite(x) ? json_real(x) : json_null();
    case FIELD_I64:
        memcpy(&k, at, sizeof k);
        return json_integer(k);
    default:
        return json_string(at);
    }
}

json_t *json_rows(const struct table *t, const void *rows, size_t n) {
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        const char *row = (const char *)rows + i * t->row_bytes;
        json_t *object = json_object();
        for (int f = 0; f < t->n_fields; f++) {
            json_t *value = json_field(&t->fields[f], row + t->fields[f].offset);
            json_object_set_new(object, t->fields[f].name, value ? value : json_null());
        }
        json_array_append_new(array, object);
    }
    return array;
}

void json_rows_print(FILE *to, const struct table *t, const void *rows, size_t n) {
    json_t *array = json_rows(t, rows, n);
    json_dumpf(array, to, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fprintf(to, "\n");
    json_decref(array);
}

static void csv_field(FILE *to, const struct field *f, const void *at) {
    double x;
    int64_t k;
    switch (f->kind) {
    case FIELD_F64:
        memcpy(&x, at, sizeof x);
        if (isfinite(x)) fprintf(to, "%.9g", x);
        return;
    case FIELD_I64:
        memcpy(&k, at, sizeof k);
        fprintf(to, "%" PRId64, k);
        return;
    default:
        fputc('"', to);
        for (const char *s = at; *s; s++) fprintf(to, *s == '"' ? "\"\"" : "%c", *s);
        fputc('"', to);
    }
}

void csv_rows_print(FILE *to, const struct table *t, const void *rows, size_t n) {
    for (int f = 0; f < t->n_fields; f++) fprintf(to, "%s%s", f ? "," : "", t->fields[f].name);
    fprintf(to, "\n");
    for (size_t i = 0; i < n; i++)
        for (int f = 0; f < t->n_fields; f++) {
            csv_field(to, &t->fields[f], (const char *)rows + i * t->row_bytes + t->fields[f].offset);
            fputc(f + 1 < t->n_fields ? ',' : '\n', to);
        }
}
