/* SPDX-License-Identifier: Apache-2.0 */
/* gguf: reads the container format GGUF, versions 2 and 3
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The file is memory-mapped and nothing is
 * copied but the header: tensor data point into the map. Every count, size and offset is
 * checked before it is used, since files come from strangers; what the keys and tensors mean is the business
 * of data/model.c. */
#ifndef DATA_GGUF_H
#define DATA_GGUF_H

#include <stdint.h>

#include "data/mapped.h"
#include "data/quant.h"
#include "data/status.h"

/* Values are the ids of the format. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
    GGUF_TYPE_COUNT = 13,
};

enum { GGUF_MAX_DIMS = 4, GGUF_MAX_NAME = 64 };

/* Bytes inside the map, without a terminating NUL. */
struct gguf_string {
    const char *data;
    uint64_t size;
};

struct gguf_kv {
    struct gguf_string key;
    enum gguf_type type;
    enum gguf_type element; /* type of the elements of an array; else = type */
    uint64_t count;         /* elements of an array; else 1 */
    const uint8_t *data;    /* the value as stored, unaligned; for strings the first length field */
    uint64_t size;          /* bytes of the value */
};

struct gguf_tensor {
    char name[GGUF_MAX_NAME];
    enum tensor_type type;
    int n_dims;
    int64_t dims[GGUF_MAX_DIMS]; /* fastest first; unused ones are 1 */
    uint64_t offset;             /* from gguf.data_offset */
    uint64_t bytes;
    const void *data;   /* in the map, aligned to gguf.alignment (at least 8) */
    const char *source; /* what the file it came from calls it: the name, except in data/hf.h */
    /* Where each of the dims[2] matrices lies, if not one behind the other (data is then NULL); else NULL. */
    const void *const *planes;
};

struct gguf {
    char path[4096];
    struct mapped file;
    uint8_t *bytes;     /* a copy of the file's header, or all there is: gguf_of_bytes */
    const uint8_t *map; /* the file, or bytes */
    uint64_t size;
    uint32_t version;
    uint32_t alignment;
    uint64_t data_offset; /* where the tensor data starts: everything before it is the header */
    struct gguf_kv *kv;   /* in file order */
    uint64_t n_kv;
    struct gguf_tensor *tensors; /* in file order */
    uint64_t n_tensors;
    struct gguf_tensor **by_name; /* sorted */
};

/* Maps and checks a file. *out is NULL on error. */
enum status gguf_open(struct gguf **out, const char *path, struct error *e);
void gguf_close(struct gguf *g); /* NULL is fine */

/* The same from memory: bytes comes from malloc and belongs to *out, or is freed on error. */
enum status gguf_of_bytes(struct gguf **out, const char *path, uint8_t *bytes, uint64_t size,
                          struct error *e);

/* Fills by_name after tensors were added by hand. ERR_FORMAT when two have the same name. */
enum status gguf_sort_names(struct gguf *g, struct error *e);

/* NULL when there is none. */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);

/* A row as it is stored; rows of stacked matrices are numbered through. */
const void *gguf_tensor_row(const struct gguf_tensor *t, int64_t row);
int64_t gguf_tensor_rows(const struct gguf_tensor *t); /* of all stacked matrices */

/* Typed values. A missing key, another type or a value outside [low, high] is ERR_SHAPE, with a text that
 * names file and key. Integers of all widths are accepted for an integer. */
enum status gguf_int(const struct gguf *g, const char *key, int64_t low, int64_t high, int64_t *out,
                     struct error *e);
enum status gguf_f32(const struct gguf *g, const char *key, float *out,
                     struct error *e); /* F32 or F64, finite */
enum status gguf_bool(const struct gguf *g, const char *key, int *out, struct error *e);
enum status gguf_text(const struct gguf *g, const char *key, struct gguf_string *out, struct error *e);
/* The array under key, of elements of the given type. */
enum status gguf_array(const struct gguf *g, const char *key, enum gguf_type element,
                       const struct gguf_kv **out, struct error *e);

/* Element i of an integer array (or the scalar itself for i = 0); i < count. */
int64_t gguf_int_at(const struct gguf_kv *kv, uint64_t i);

/* Walks an array of strings: start with *cursor = kv->data and call it kv->count times. */
struct gguf_string gguf_string_next(const uint8_t **cursor);

/* "u32", "string", ... */
const char *gguf_type_name(enum gguf_type type);
/* Bytes of one value; 0 for strings, arrays and unknown types. */
unsigned gguf_type_size(enum gguf_type type);

#endif
