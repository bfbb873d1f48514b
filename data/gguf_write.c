/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_write: collects the header in memory, then streams tensor data behind it. */
#include "data/gguf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "data/unfinished.h"

enum { ALIGNMENT = 32 };

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

struct gguf_writer {
    char path[4096], temporary[4096 + 32];
    int fd;             /* -1 before begin and after finish */
    int created;        /* the temporary file exists */
    struct error error; /* the first fault of the puts */
    struct bytes kv, infos;
    uint64_t n_kv, n_tensors;
    uint64_t *tensor_bytes; /* [n_tensors] */
    size_t capacity;        /* of tensor_bytes */
    uint64_t data_bytes;    /* all tensors, padded */
    uint64_t current, done; /* tensor being written, bytes of it written */
};

static uint64_t padded(uint64_t n) {
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

enum status gguf_writer_new(struct gguf_writer **out, const char *path, struct error *e) {
    *out = NULL;
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    w->fd = -1;
    if (strlen(path) >= sizeof w->path) {
        free(w);
        return fail(e, ERR_ARG, "%.64s...: path too long (found %zu bytes, expected less than %zu)", path,
                    strlen(path), sizeof w->path);
    }
    snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->temporary, sizeof w->temporary, "%s.tmp.%ld", path, (long)getpid());
    *out = w;
    return OK;
}

static void append(struct gguf_writer *w, struct bytes *b, const void *data, size_t n) {
    if (w->error.code) return;
    if (b->capacity - b->size < n) {
        size_t capacity = b->capacity ? b->capacity * 2 : 4096;
        while (capacity - b->size < n) capacity *= 2;
        uint8_t *grown = realloc(b->data, capacity);
        if (!grown) {
            fail(&w->error, ERR_MEMORY, "%s: out of memory for %zu bytes of header", w->path, capacity);
            return;
        }
        b->data = grown;
        b->capacity = capacity;
    }
    if (n) memcpy(b->data + b->size, data, n);
    b->size += n;
}

static void append_u32(struct gguf_writer *w, struct bytes *b, uint32_t v) {
    append(w, b, &v, sizeof v);
}
static void append_u64(struct gguf_writer *w, struct bytes *b, uint64_t v) {
    append(w, b, &v, sizeof v);
}

static void append_string(struct gguf_writer *w, struct bytes *b, const char *s, size_t n) {
    append_u64(w, b, n);
    append(w, b, s, n);
}

static void put_scalar(struct gguf_writer *w, const char *key, enum gguf_type type, const void *v, size_t n) {
    append_string(w, &w->kv, key, strlen(key));
    append_u32(w, &w->kv, type);
    append(w, &w->kv, v, n);
    w->n_kv++;
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v) {
    put_scalar(w, key, GGUF_U32, &v, 4);
}
void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t v) {
    put_scalar(w, key, GGUF_I32, &v, 4);
}
void gguf_put_f32(struct gguf_writer *w, const char *key, float v) {
    put_scalar(w, key, GGUF_F32, &v, 4);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, int v) {
    uint8_t byte = v != 0;
    put_scalar(w, key, GGUF_BOOL, &byte, 1);
}

void gguf_put_string(struct gguf_writer *w, const char *key, const char *v) {
    put_scalar(w, key, GGUF_STRING, NULL, 0);
    append_string(w, &w->kv, v, strlen(v));
}

static void put_array(struct gguf_writer *w, const char *key, enum gguf_type element, const void *v, size_t n,
                      size_t element_size) {
    put_scalar(w, key, GGUF_ARRAY, NULL, 0);
    append_u32(w, &w->kv, element);
    append_u64(w, &w->kv, n);
    append(w, &w->kv, v, n * element_size);
}

void gguf_put_u32s(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n) {
    put_array(w, key, GGUF_U32, v, n, sizeof *v);
}

void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n) {
    put_array(w, key, GGUF_I32, v, n, sizeof *v);
}

void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n) {
    put_array(w, key, GGUF_F32, v, n, sizeof *v);
}

void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *v, size_t n) {
    put_array(w, key, GGUF_STRING, NULL, n, 0);
    for (size_t i = 0; i < n; i++) append_string(w, &w->kv, v[i], strlen(v[i]));
}

void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv) {
    append_string(w, &w->kv, kv->key.data, kv->key.size);
    append_u32(w, &w->kv, kv->type);
    if (kv->type == GGUF_ARRAY) {
        append_u32(w, &w->kv, kv->element);
        append_u64(w, &w->kv, kv->count);
    }
    append(w, &w->kv, kv->data, kv->size);
    w->n_kv++;
}

/* Bytes of a tensor, or 0 after remembering why it cannot be written. */
static uint64_t tensor_size(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims,
                            const int64_t *dims) {
    const struct type_info *t = type_info(type);
    if (w->error.code) return 0;
    if (strlen(name) >= GGUF_MAX_NAME || !t || n_dims < 1 || n_dims > GGUF_MAX_DIMS) {
        fail(&w->error, ERR_ARG, "%s: tensor %s: name too long, unknown type or %d dimensions", w->path, name,
             n_dims);
        return 0;
    }
    int64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        if (dims[i] < 1 || __builtin_mul_overflow(n, dims[i], &n) || n > INT64_MAX / 8) {
            fail(&w->error, ERR_ARG, "%s: tensor %s: dimension %d is %" PRId64, w->path, name, i, dims[i]);
            return 0;
        }
    if (dims[0] % t->block) {
        fail(&w->error, ERR_ARG,
             "%s: tensor %s: rows of %" PRId64 " weights (expected a multiple of %d for %s)", w->path, name,
             dims[0], t->block, t->name);
        return 0;
    }
    return (uint64_t)(n / t->block) * (uint64_t)t->bytes;
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *dims) {
    uint64_t bytes = tensor_size(w, name, type, n_dims, dims);
    if (!bytes) return;
    if (w->n_tensors == w->capacity) {
        size_t capacity = w->capacity ? w->capacity * 2 : 256;
        uint64_t *grown = realloc(w->tensor_bytes, capacity * sizeof *grown);
        if (!grown) {
            fail(&w->error, ERR_MEMORY, "%s: out of memory for %zu tensors", w->path, capacity);
            return;
        }
        w->tensor_bytes = grown;
        w->capacity = capacity;
    }
    append_string(w, &w->infos, name, strlen(name));
    append_u32(w, &w->infos, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) append_u64(w, &w->infos, (uint64_t)dims[i]);
    append_u32(w, &w->infos, type);
    append_u64(w, &w->infos, w->data_bytes);
    w->tensor_bytes[w->n_tensors++] = bytes;
    w->data_bytes += padded(bytes);
}

static uint64_t header_size(const struct gguf_writer *w) {
    return padded(24 + w->kv.size + w->infos.size); /* magic, version, two counts */
}

uint64_t gguf_writer_size(const struct gguf_writer *w) {
    return header_size(w) + w->data_bytes;
}

static enum status write_all(struct gguf_writer *w, const void *data, size_t n, struct error *e) {
    const uint8_t *p = data;
    while (n) {
        ssize_t put = write(w->fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) /* a source that is mapped can be cut short while it is copied */
            return fail(e, ERR_IO, "%s: cannot write: %s", w->temporary,
                        errno == EFAULT ? "the file it is copied from became shorter" : strerror(errno));
        p += put;
        n -= (size_t)put;
    }
    return OK;
}

static enum status write_padding(struct gguf_writer *w, uint64_t n, struct error *e) {
    static const uint8_t zeros[ALIGNMENT];
    return write_all(w, zeros, (size_t)(padded(n) - n), e);
}

/* A full disk is better found now than after minutes of writing. */
static enum status check_room(struct gguf_writer *w, struct error *e) {
    struct statvfs fs;
    if (fstatvfs(w->fd, &fs))
        return fail(e, ERR_IO, "%s: cannot ask for free space: %s", w->path, strerror(errno));
    uint64_t room, need = gguf_writer_size(w);
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &room)) room = UINT64_MAX;
    if (room < need)
        return fail(e, ERR_IO, "%s: not enough disk space (found %.2f GB free, expected %.2f GB)", w->path,
                    (double)room * 1e-9, (double)need * 1e-9);
    return OK;
}

/* The finished file takes the place of what is there: a device or a folder is not to be replaced, and better
 * said now than after the work. */
static enum status check_place(const struct gguf_writer *w, struct error *e) {
    struct stat st;
    if (stat(w->path, &st) != 0 || S_ISREG(st.st_mode)) return OK;
    return fail(e, ERR_ARG, "%s: cannot be replaced by a model (found %s, expected a file)", w->path,
                S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
}

enum status gguf_writer_begin(struct gguf_writer *w, struct error *e) {
    if (w->error.code) return fail(e, w->error.code, "%s", w->error.text);
    TRY(check_place(w, e));
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) return fail(e, ERR_IO, "%s: cannot create: %s", w->path, strerror(errno));
    w->created = 1;
    unfinished_add(w->temporary);
    TRY(check_room(w, e));
    uint32_t start[2] = {0x46554747, 3}; /* "GGUF", version */
    uint64_t counts[2] = {w->n_tensors, w->n_kv};
    TRY(write_all(w, start, sizeof start, e));
    TRY(write_all(w, counts, sizeof counts, e));
    TRY(write_all(w, w->kv.data, w->kv.size, e));
    TRY(write_all(w, w->infos.data, w->infos.size, e));
    return write_padding(w, 24 + w->kv.size + w->infos.size, e);
}

enum status gguf_writer_keys(struct gguf_writer *w, struct gguf **out, struct error *e) {
    *out = NULL;
    if (w->error.code) return fail(e, w->error.code, "%s", w->error.text);
    uint32_t start[2] = {0x46554747, 3};
    uint64_t counts[2] = {0, w->n_kv};
    uint8_t *bytes = calloc(1, 24 + w->kv.size);
    if (!bytes) return fail(e, ERR_MEMORY, "%s: out of memory", w->path);
    memcpy(bytes, start, sizeof start);
    memcpy(bytes + 8, counts, sizeof counts);
    if (w->kv.size) memcpy(bytes + 24, w->kv.data, w->kv.size);
    return gguf_of_bytes(out, w->path, bytes, 24 + w->kv.size, e);
}

enum status gguf_writer_data(struct gguf_writer *w, const void *bytes, size_t n, struct error *e) {
    if (w->fd < 0) return fail(e, ERR_ARG, "%s: tensor data before the header", w->path);
    if (w->current == w->n_tensors || n > w->tensor_bytes[w->current] - w->done)
        return fail(e, ERR_ARG, "%s: %zu bytes do not fit tensor %" PRIu64 " of %" PRIu64, w->path, n,
                    w->current, w->n_tensors);
    TRY(write_all(w, bytes, n, e));
    w->done += n;
    if (w->done < w->tensor_bytes[w->current]) return OK;
    TRY(write_padding(w, w->done, e));
    w->current++;
    w->done = 0;
    return OK;
}

enum status gguf_writer_finish(struct gguf_writer *w, struct error *e) {
    if (w->fd < 0 || w->current != w->n_tensors)
        return fail(e, ERR_ARG, "%s: data of tensor %" PRIu64 " of %" PRIu64 " is missing", w->path,
                    w->current, w->n_tensors);
    int closed = close(w->fd);
    w->fd = -1;
    if (closed) return fail(e, ERR_IO, "%s: cannot write: %s", w->temporary, strerror(errno));
    TRY(put_in_place(w->temporary, w->path, e));
    w->created = 0;
    return OK;
}

void gguf_writer_free(struct gguf_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->created) unlink(w->temporary), unfinished_done(w->temporary);
    free(w->kv.data);
    free(w->infos.data);
    free(w->tensor_bytes);
    free(w);
}
