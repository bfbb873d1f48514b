/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_get: lookups in an open file, and metadata as checked C values. */
#include "data/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned size;
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_U64] = {"u64", 8},
    [GGUF_I64] = {"i64", 8},     [GGUF_F64] = {"f64", 8},   [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0},
};

const char *gguf_type_name(enum gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].name : "?";
}
unsigned gguf_type_size(enum gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? types[type].size : 0;
}

static int is_integer(enum gguf_type t) {
    return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key) {
    uint64_t n = strlen(key);
    for (uint64_t i = 0; i < g->n_kv; i++)
        if (g->kv[i].key.size == n && memcmp(g->kv[i].key.data, key, n) == 0) return &g->kv[i];
    return NULL;
}

static int compare_name(const void *name, const void *t) {
    return strcmp(name, (*(struct gguf_tensor *const *)t)->name);
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name) {
    struct gguf_tensor **t = bsearch(name, g->by_name, g->n_tensors, sizeof *g->by_name, compare_name);
    return t ? *t : NULL;
}

int64_t gguf_tensor_rows(const struct gguf_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

const void *gguf_tensor_row(const struct gguf_tensor *t, int64_t row) {
    size_t bytes = type_row_bytes(t->type, t->dims[0]);
    if (!t->planes) return (const uint8_t *)t->data + (size_t)row * bytes;
    return (const uint8_t *)t->planes[row / t->dims[1]] + (size_t)(row % t->dims[1]) * bytes;
}

static enum status missing(const struct gguf *g, const char *key, const char *expected, struct error *e) {
    return fail(e, ERR_SHAPE, "%s: key %s is missing (expected %s)", g->path, key, expected);
}

static enum status mistyped(const struct gguf *g, const struct gguf_kv *kv, const char *key,
                            const char *expected, struct error *e) {
    return fail(e, ERR_SHAPE, "%s: key %s: wrong type (found %s%s, expected %s)", g->path, key,
                kv->type == GGUF_ARRAY ? "array of " : "", gguf_type_name(kv->element), expected);
}

int64_t gguf_int_at(const struct gguf_kv *kv, uint64_t i) {
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } v = {0};
    unsigned size = gguf_type_size(kv->element);
    memcpy(&v, kv->data + i * size, size);
    switch (kv->element) {
    case GGUF_U8:
        return v.u8;
    case GGUF_I8:
        return v.i8;
    case GGUF_U16:
        return v.u16;
    case GGUF_I16:
        return v.i16;
    case GGUF_U32:
        return v.u32;
    case GGUF_I32:
        return v.i32;
    case GGUF_U64:
        return v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64;
    default:
        return v.i64;
    }
}

enum status gguf_int(const struct gguf *g, const char *key, int64_t low, int64_t high, int64_t *out,
                     struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return missing(g, key, "an integer", e);
    if (!is_integer(kv->type)) return mistyped(g, kv, key, "an integer", e);
    int64_t v = gguf_int_at(kv, 0);
    if (v < low || v > high)
        return fail(e, ERR_SHAPE,
                    "%s: key %s: out of range (found %" PRId64 ", expected %" PRId64 " to %" PRId64 ")",
                    g->path, key, v, low, high);
    *out = v;
    return OK;
}

enum status gguf_f32(const struct gguf *g, const char *key, float *out, struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return missing(g, key, "a number", e);
    float v = 0;
    if (kv->type == GGUF_F32) {
        memcpy(&v, kv->data, sizeof v);
    } else if (kv->type == GGUF_F64) {
        double d;
        memcpy(&d, kv->data, sizeof d);
        v = fabs(d) <= 3e38 ? (float)d : INFINITY;
    } else {
        return mistyped(g, kv, key, "f32", e);
    }
    if (!isfinite(v))
        return fail(e, ERR_SHAPE, "%s: key %s: not finite (found %g, expected a finite number)", g->path, key,
                    (double)v);
    *out = v;
    return OK;
}

enum status gguf_bool(const struct gguf *g, const char *key, int *out, struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return missing(g, key, "bool", e);
    if (kv->type != GGUF_BOOL) return mistyped(g, kv, key, "bool", e);
    *out = kv->data[0];
    return OK;
}

enum status gguf_text(const struct gguf *g, const char *key, struct gguf_string *out, struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return missing(g, key, "string", e);
    if (kv->type != GGUF_STRING) return mistyped(g, kv, key, "string", e);
    const uint8_t *cursor = kv->data;
    *out = gguf_string_next(&cursor);
    return OK;
}

enum status gguf_array(const struct gguf *g, const char *key, enum gguf_type element,
                       const struct gguf_kv **out, struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv || kv->type != GGUF_ARRAY || kv->element != element) {
        char expected[32] = "array of ";
        strcat(expected, gguf_type_name(element));
        return kv ? mistyped(g, kv, key, expected, e) : missing(g, key, expected, e);
    }
    *out = kv;
    return OK;
}

struct gguf_string gguf_string_next(const uint8_t **cursor) {
    struct gguf_string s;
    memcpy(&s.size, *cursor, sizeof s.size);
    s.data = (const char *)*cursor + sizeof s.size;
    *cursor += sizeof s.size + s.size;
    return s;
}
