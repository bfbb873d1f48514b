/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_image: see the header. */
#include "tests/gguf_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void give_up(const char *what, const char *name) {
    fprintf(stderr, "gguf_image: %s %s\n", what, name);
    exit(3);
}

void *image_memory(struct image *im, uint64_t n) {
    void *p = calloc(1, n + 1);
    if (!p || im->n_owned == (int)(sizeof im->owned / sizeof *im->owned))
        give_up("no memory for", "an image");
    return im->owned[im->n_owned++] = p;
}

static char *copy_text(struct image *im, const char *s, uint64_t n) {
    return memcpy(image_memory(im, n), s, n);
}

void image_of(struct image *im, const struct gguf *g) {
    memset(im, 0, sizeof *im);
    *im = (struct image){.magic = 0x46554747,
                         .version = 3,
                         .n_keys = IMAGE_TRUE,
                         .n_tensors = IMAGE_TRUE,
                         .alignment = g->alignment};
    if (g->n_kv > IMAGE_MAX - 8 || g->n_tensors > IMAGE_MAX - 8) give_up("too many entries in", g->path);
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        uint64_t before = kv->type == GGUF_ARRAY ? 12 : 0; /* element type and count stand before the data */
        im->keys[im->keys_n++] = (struct image_key){.name = kv->key.data,
                                                    .name_size = kv->key.size,
                                                    .name_bytes = kv->key.size,
                                                    .type = kv->type,
                                                    .value = kv->data - before,
                                                    .size = kv->size + before};
    }
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        struct image_tensor *to = &im->tensors[im->tensors_n++];
        *to = (struct image_tensor){.name = t->name,
                                    .name_size = strlen(t->name),
                                    .name_bytes = strlen(t->name),
                                    .n_dims = (uint32_t)t->n_dims,
                                    .type = t->type,
                                    .data = t->data,
                                    .bytes = t->bytes};
        for (int k = 0; k < 6; k++) to->dims[k] = k < t->n_dims ? (uint64_t)t->dims[k] : 1;
    }
}

void image_free(struct image *im) {
    for (int i = 0; i < im->n_owned; i++) free(im->owned[i]);
    im->n_owned = 0;
}

/* ---- writing ---- */

static void put(FILE *f, const void *p, uint64_t n) {
    if (n) fwrite(p, 1, n, f);
}
static void put32(FILE *f, uint32_t v) {
    put(f, &v, sizeof v);
}
static void put64(FILE *f, uint64_t v) {
    put(f, &v, sizeof v);
}
static void put_padding(FILE *f, uint64_t alignment) {
    while ((uint64_t)ftell(f) % alignment) fputc(0, f);
}

int image_write(const struct image *im, const char *path) {
    FILE *f = fopen(path, "wb");
    if (!f) return -1;
    put32(f, im->magic), put32(f, im->version);
    put64(f, im->n_tensors == IMAGE_TRUE ? (uint64_t)im->tensors_n : im->n_tensors);
    put64(f, im->n_keys == IMAGE_TRUE ? (uint64_t)im->keys_n : im->n_keys);
    for (int i = 0; i < im->keys_n; i++) {
        const struct image_key *k = &im->keys[i];
        put64(f, k->name_size), put(f, k->name, k->name_bytes), put32(f, k->type), put(f, k->value, k->size);
    }
    uint64_t offset = 0;
    for (int i = 0; i < im->tensors_n; i++) {
        const struct image_tensor *t = &im->tensors[i];
        put64(f, t->name_size), put(f, t->name, t->name_bytes), put32(f, t->n_dims);
        for (uint32_t k = 0; k < t->n_dims && k < 6; k++) put64(f, t->dims[k]);
        put32(f, t->type), put64(f, t->offset_set ? t->offset : offset);
        offset += (t->bytes + im->alignment - 1) / im->alignment * im->alignment;
    }
    put_padding(f, im->alignment);
    for (int i = 0; i < im->tensors_n; i++) {
        put(f, im->tensors[i].data, im->tensors[i].bytes);
        put_padding(f, im->alignment);
    }
    fflush(f);
    long size = ftell(f);
    int bad = 0;
    if (im->cut) bad = ftruncate(fileno(f), size - (long)im->cut), fseek(f, 0, SEEK_END);
    for (uint64_t i = 0; i < im->extra; i++) fputc('x', f);
    fflush(f);
    if (im->keep) bad |= ftruncate(fileno(f), (long)im->keep);
    bad |= ferror(f);
    return fclose(f) || bad ? -1 : 0;
}

/* ---- keys ---- */

static struct image_key *find_key(struct image *im, const char *name) {
    for (int i = 0; i < im->keys_n; i++)
        if (im->keys[i].name_bytes == strlen(name) && memcmp(im->keys[i].name, name, strlen(name)) == 0)
            return &im->keys[i];
    return NULL;
}

struct image_key *image_key(struct image *im, const char *name) {
    struct image_key *k = find_key(im, name);
    if (k) return k;
    if (im->keys_n == IMAGE_MAX) give_up("no room for key", name);
    k = &im->keys[im->keys_n++];
    *k = (struct image_key){.name = name, .name_size = strlen(name), .name_bytes = strlen(name)};
    return k;
}

void image_drop_key(struct image *im, const char *name) {
    struct image_key *k = find_key(im, name);
    if (!k) give_up("no key", name);
    memmove(k, k + 1, (size_t)(im->keys + im->keys_n - (k + 1)) * sizeof *k);
    im->keys_n--;
}

static void set(struct image *im, const char *name, uint32_t type, const void *value, uint64_t n) {
    struct image_key *k = image_key(im, name);
    k->type = type, k->value = copy_text(im, value, n), k->size = n;
}
void image_u32(struct image *im, const char *name, uint32_t v) {
    set(im, name, GGUF_U32, &v, sizeof v);
}
void image_u64(struct image *im, const char *name, uint64_t v) {
    set(im, name, GGUF_U64, &v, sizeof v);
}
void image_i32(struct image *im, const char *name, int32_t v) {
    set(im, name, GGUF_I32, &v, sizeof v);
}
void image_f32(struct image *im, const char *name, float v) {
    set(im, name, GGUF_F32, &v, sizeof v);
}

void image_text(struct image *im, const char *name, const char *v) {
    uint64_t n = strlen(v);
    char *bytes = image_memory(im, 8 + n);
    memcpy(bytes, &n, 8), memcpy(bytes + 8, v, n);
    set(im, name, GGUF_STRING, bytes, 8 + n);
}

void image_array(struct image *im, const char *name, uint32_t element, uint64_t stated, const void *bytes,
                 uint64_t n) {
    char *value = image_memory(im, 12 + n);
    memcpy(value, &element, 4), memcpy(value + 4, &stated, 8);
    if (n) memcpy(value + 12, bytes, n);
    set(im, name, GGUF_ARRAY, value, 12 + n);
}

void image_i32s(struct image *im, const char *name, const int32_t *v, uint64_t n) {
    image_array(im, name, GGUF_I32, n, v, n * sizeof *v);
}

static const char *text_at(const struct image_key *k, uint64_t i) {
    const char *p = (const char *)k->value + 12;
    for (uint64_t n; i > 0; i--) memcpy(&n, p, 8), p += 8 + n;
    return p;
}

void image_element(struct image *im, const char *name, uint64_t i, const char *text, uint64_t n) {
    struct image_key *k = image_key(im, name);
    const char *at = text_at(k, i), *after = text_at(k, i + 1), *start = k->value;
    uint64_t before = (uint64_t)(at - start), rest = k->size - (uint64_t)(after - start);
    char *value = image_memory(im, before + 8 + n + rest);
    memcpy(value, start, before), memcpy(value + before, &n, 8), memcpy(value + before + 8, text, n);
    memcpy(value + before + 8 + n, after, rest);
    k->value = value, k->size = before + 8 + n + rest;
}

void image_more(struct image *im, const char *name, const char *text, uint64_t n) {
    struct image_key *k = image_key(im, name);
    uint64_t count, length = strlen(text), piece = 8 + length;
    char *value = image_memory(im, k->size + n * piece), *p = value + k->size;
    memcpy(value, k->value, k->size);
    memcpy(&count, value + 4, 8), count += n, memcpy(value + 4, &count, 8);
    for (uint64_t i = 0; i < n; i++, p += piece) memcpy(p, &length, 8), memcpy(p + 8, text, length);
    k->value = value, k->size += n * piece;
}

/* ---- tensors ---- */

struct image_tensor *image_tensor(struct image *im, const char *name) {
    for (int i = 0; i < im->tensors_n; i++)
        if (strcmp(im->tensors[i].name, name) == 0) return &im->tensors[i];
    give_up("no tensor", name);
    return NULL;
}

void image_drop_tensor(struct image *im, const char *name) {
    struct image_tensor *t = image_tensor(im, name);
    memmove(t, t + 1, (size_t)(im->tensors + im->tensors_n - (t + 1)) * sizeof *t);
    im->tensors_n--;
}

struct image_tensor *image_add_tensor(struct image *im, const char *name, uint32_t type, uint64_t cols,
                                      uint64_t rows) {
    if (im->tensors_n == IMAGE_MAX) give_up("no room for tensor", name);
    struct image_tensor *t = &im->tensors[im->tensors_n++];
    *t = (struct image_tensor){.name = name,
                               .name_size = strlen(name),
                               .name_bytes = strlen(name),
                               .n_dims = rows ? 2 : 1,
                               .type = type,
                               .dims = {cols, rows ? rows : 1, 1, 1, 1, 1}};
    image_data(im, t, type_row_bytes((enum tensor_type)type, (int64_t)cols) * (rows ? rows : 1));
    return t;
}

void *image_data(struct image *im, struct image_tensor *t, uint64_t n) {
    void *data = n ? image_memory(im, n) : copy_text(im, t->data, t->bytes);
    t->data = data;
    if (n) t->bytes = n;
    return data;
}
