/* SPDX-License-Identifier: Apache-2.0 */
/* The container: what the writer writes the reader reads back, and every way a file can lie is refused with a
 * text that names the file and the place. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/gguf.h"
#include "data/gguf_write.h"
#include "tests/tiny.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char directory[200], path[300];

static void setup(void) {
    cr_assert(tiny_directory(directory, sizeof directory) == 0);
    snprintf(path, sizeof path, "%s/model.gguf", directory);
}
static void teardown(void) {
    tiny_directory_remove(directory);
}

TestSuite(gguf, .init = setup, .fini = teardown);

/* ---- a file put together byte by byte, with every field open to change ---- */

struct bytes {
    uint8_t at[4096];
    size_t n;
};

static void put(struct bytes *b, const void *p, size_t n) {
    cr_assert(b->n + n <= sizeof b->at);
    memcpy(b->at + b->n, p, n);
    b->n += n;
}
static void put32(struct bytes *b, uint32_t v) {
    put(b, &v, 4);
}
static void put64(struct bytes *b, uint64_t v) {
    put(b, &v, 8);
}
static void put_text(struct bytes *b, const char *s) {
    put64(b, strlen(s));
    put(b, s, strlen(s));
}
/* A key up to its value. */
static void put_key(struct bytes *b, const char *name, uint32_t type) {
    put_text(b, name);
    put32(b, type);
}

/* Two tensors, a and b, behind one good key and whatever `keys` holds. */
struct spec {
    uint32_t magic, version;
    uint64_t n_tensors, n_kv;
    struct bytes keys;
    const char *name;
    uint64_t name_size;
    uint32_t n_dims, type;
    uint64_t dims[6], offset, a_offset;
    uint64_t padding, data;
};

static const struct spec good = {.magic = 0x46554747,
                                 .version = 3,
                                 .n_tensors = 2,
                                 .n_kv = 1,
                                 .name = "b",
                                 .name_size = 1,
                                 .n_dims = 2,
                                 .type = TYPE_Q8_0,
                                 .dims = {32, 2, 1, 1, 1, 1},
                                 .offset = 64,
                                 .padding = 32,
                                 .data = 160};

static void build(const struct spec *s, struct bytes *b) {
    b->n = 0;
    put32(b, s->magic);
    put32(b, s->version);
    put64(b, s->n_tensors);
    put64(b, s->n_kv);
    put_key(b, "general.architecture", GGUF_STRING);
    put_text(b, "none");
    put(b, s->keys.at, s->keys.n);
    put_text(b, "a");
    put32(b, 1);
    put64(b, 16);
    put32(b, TYPE_F32);
    put64(b, s->a_offset);
    put64(b, s->name_size);
    put(b, s->name, strlen(s->name));
    put32(b, s->n_dims);
    for (uint32_t i = 0; i < s->n_dims && i < 6; i++) put64(b, s->dims[i]);
    put32(b, s->type);
    put64(b, s->offset);
    while (s->padding && b->n % s->padding) put(b, "", 1);
    for (uint64_t i = 0; i < s->data; i++) put(b, &(uint8_t){(uint8_t)i}, 1);
}

static void store(const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* One X per lie: name, status, part of the text, the change. */
#define LIES(X)                                                                                              \
    X(magic, ERR_FORMAT, "not a GGUF file (found first bytes 0x46554747", s->magic = 0x47475546)             \
    X(version_0, ERR_UNSUPPORTED, "version (found 0, expected 2 or 3)", s->version = 0)                      \
    X(version_1, ERR_UNSUPPORTED, "version (found 1, expected 2 or 3)", s->version = 1)                      \
    X(version_4, ERR_UNSUPPORTED, "version (found 4, expected 2 or 3)", s->version = 4)                      \
    X(big_endian, ERR_UNSUPPORTED, "big-endian", s->version = 0x03000000)                                    \
    X(tensors_minus_1, ERR_FORMAT, "number of tensors (found 18446744073709551615",                          \
      s->n_tensors = UINT64_MAX)                                                                             \
    X(tensors_2_63, ERR_FORMAT, "number of tensors", s->n_tensors = 1ull << 63)                              \
    X(tensors_bomb, ERR_FORMAT, "number of tensors (found 60000", s->n_tensors = 60000)                      \
    X(tensors_more, ERR_FORMAT, "name", s->n_tensors = 3)                                                    \
    X(tensors_fewer, ERR_FORMAT, "bytes", s->n_tensors = 1)                                                  \
    X(keys_minus_1, ERR_FORMAT, "number of keys (found 18446744073709551615", s->n_kv = UINT64_MAX)          \
    X(keys_bomb, ERR_FORMAT, "number of keys (found 60000", s->n_kv = 60000)                                 \
    X(key_length_wraps, ERR_FORMAT, "key 1", s->n_kv = 2; put64(&s->keys, UINT64_MAX))                       \
    X(key_length_past_end, ERR_FORMAT, "key 1", s->n_kv = 2; put64(&s->keys, 5000))                          \
    X(key_empty, ERR_FORMAT, "key 1: bad name (found 0", s->n_kv = 2; put_key(&s->keys, "", GGUF_U32);       \
      put32(&s->keys, 1))                                                                                    \
    X(key_control, ERR_FORMAT, "key 1: bad name", s->n_kv = 2; put_key(&s->keys, "a\nb", GGUF_U32);          \
      put32(&s->keys, 1))                                                                                    \
    X(key_not_ascii, ERR_FORMAT, "key 1: bad name", s->n_kv = 2; put_key(&s->keys, "a\xff", GGUF_U32);       \
      put32(&s->keys, 1))                                                                                    \
    X(key_twice, ERR_FORMAT, "key general.architecture occurs twice", s->n_kv = 2;                           \
      put_key(&s->keys, "general.architecture", GGUF_U32); put32(&s->keys, 1))                               \
    X(type_count, ERR_FORMAT, "key k: unknown value type (found 13", s->n_kv = 2;                            \
      put_key(&s->keys, "k", 13))                                                                            \
    X(type_negative, ERR_FORMAT, "key k: unknown value type (found -1", s->n_kv = 2;                         \
      put_key(&s->keys, "k", UINT32_MAX))                                                                    \
    X(element_unknown, ERR_FORMAT, "key k: unknown element type (found 99", s->n_kv = 2;                     \
      put_key(&s->keys, "k", GGUF_ARRAY); put32(&s->keys, 99); put64(&s->keys, 1))                           \
    X(array_of_arrays, ERR_UNSUPPORTED, "key k: an array of arrays", s->n_kv = 2;                            \
      put_key(&s->keys, "k", GGUF_ARRAY); put32(&s->keys, GGUF_ARRAY); put64(&s->keys, 1))                   \
    X(array_overflow, ERR_FORMAT, "key k: file ends inside the value", s->n_kv = 2;                          \
      put_key(&s->keys, "k", GGUF_ARRAY); put32(&s->keys, GGUF_U64); put64(&s->keys, 1ull << 61))            \
    X(array_past_end, ERR_FORMAT, "key k: file ends inside the value", s->n_kv = 2;                          \
      put_key(&s->keys, "k", GGUF_ARRAY); put32(&s->keys, GGUF_U8); put64(&s->keys, 1000))                   \
    X(strings_bomb, ERR_FORMAT, "key k: file ends inside the value", s->n_kv = 2;                            \
      put_key(&s->keys, "k", GGUF_ARRAY); put32(&s->keys, GGUF_STRING); put64(&s->keys, 1 << 30))            \
    X(string_too_long, ERR_FORMAT, "key k: string too long", s->n_kv = 2;                                    \
      put_key(&s->keys, "k", GGUF_STRING); put64(&s->keys, 1ull << 31))                                      \
    X(string_past_end, ERR_FORMAT, "file ends inside key k", s->n_kv = 2;                                    \
      put_key(&s->keys, "k", GGUF_STRING); put64(&s->keys, 900))                                             \
    X(bool_2, ERR_FORMAT, "key k: bad bool (found 2", s->n_kv = 2; put_key(&s->keys, "k", GGUF_BOOL);        \
      put(&s->keys, "\2", 1))                                                                                \
    X(alignment_0, ERR_FORMAT, "general.alignment: bad value (found 0", s->n_kv = 2;                         \
      put_key(&s->keys, "general.alignment", GGUF_U32); put32(&s->keys, 0))                                  \
    X(alignment_13, ERR_FORMAT, "general.alignment: bad value (found 13", s->n_kv = 2;                       \
      put_key(&s->keys, "general.alignment", GGUF_U32); put32(&s->keys, 13))                                 \
    X(alignment_2_31, ERR_FORMAT, "general.alignment: bad value (found 2147483648", s->n_kv = 2;             \
      put_key(&s->keys, "general.alignment", GGUF_U32); put32(&s->keys, 1u << 31))                           \
    X(alignment_u64, ERR_FORMAT, "general.alignment: wrong type (found u64", s->n_kv = 2;                    \
      put_key(&s->keys, "general.alignment", GGUF_U64); put64(&s->keys, 32))                                 \
    X(alignment_string, ERR_FORMAT, "general.alignment: wrong type (found string", s->n_kv = 2;              \
      put_key(&s->keys, "general.alignment", GGUF_STRING); put_text(&s->keys, "32"))                         \
    X(split, ERR_UNSUPPORTED, "llama-gguf-split", s->n_kv = 2; put_key(&s->keys, "split.count", GGUF_U16);   \
      put(&s->keys, "\3\0", 2))                                                                              \
    X(name_64, ERR_FORMAT, "tensor 1: bad name (found 64",                                                   \
      s->name = "0123456789012345678901234567890123456789012345678901234567890123";                          \
      s->name_size = 64)                                                                                     \
    X(name_empty, ERR_FORMAT, "tensor 1: bad name (found 0", s->name = ""; s->name_size = 0)                 \
    X(name_wraps, ERR_FORMAT, "tensor 1", s->name_size = UINT64_MAX)                                         \
    X(name_twice, ERR_FORMAT, "tensor a occurs twice", s->name = "a")                                        \
    X(name_not_ascii, ERR_FORMAT, "tensor 1: bad name", s->name = "\xff")                                    \
    X(dims_0, ERR_FORMAT, "tensor b: bad number of dimensions (found 0", s->n_dims = 0)                      \
    X(dims_5, ERR_FORMAT, "tensor b: bad number of dimensions (found 5", s->n_dims = 5)                      \
    X(dims_minus_1, ERR_FORMAT, "tensor b: bad number of dimensions (found 4294967295",                      \
      s->n_dims = UINT32_MAX)                                                                                \
    X(first_dim_0, ERR_FORMAT, "tensor b: bad dimension 0 (found 0", s->dims[0] = 0)                         \
    X(last_dim_0, ERR_FORMAT, "tensor b: bad dimension 1 (found 0", s->dims[1] = 0)                          \
    X(dim_minus_1, ERR_FORMAT, "tensor b: bad dimension 1 (found -1", s->dims[1] = UINT64_MAX)               \
    X(weights_overflow, ERR_FORMAT, "tensor b: number of weights overflows", s->dims[1] = 1ull << 60)        \
    X(size_overflow, ERR_FORMAT, "tensor b: size overflows", s->type = TYPE_F32; s->dims[1] = 1ull << 57)    \
    X(type_removed, ERR_UNSUPPORTED, "tensor b: unsupported type (found id 4", s->type = 4)                  \
    X(type_later, ERR_UNSUPPORTED, "tensor b: unsupported type (found id 99", s->type = 99)                  \
    X(tensor_type_negative, ERR_UNSUPPORTED, "tensor b: unsupported type (found id -1",                      \
      s->type = UINT32_MAX)                                                                                  \
    X(row_not_blocks, ERR_FORMAT, "tensor b: row length (found 33, expected a multiple of 32",               \
      s->dims[0] = 33)                                                                                       \
    X(unaligned, ERR_FORMAT, "tensor b: unaligned data (found offset 65", s->offset = 65)                    \
    X(past_end, ERR_FORMAT, "tensor b: data reaches past the end", s->offset = 1 << 20)                      \
    X(offset_wraps, ERR_FORMAT, "tensor b: data reaches past the end", s->offset = UINT64_MAX - 31)          \
    X(one_byte_short, ERR_FORMAT, "tensor b: data reaches past the end", s->data = 64 + 68 - 1)              \
    X(huge, ERR_FORMAT, "tensor b: data reaches past the end", s->dims[1] = 1ull << 50)                      \
    X(overlap, ERR_FORMAT, "tensor b: data overlaps tensor a (found offset 32", s->offset = 32)              \
    X(no_data, ERR_FORMAT, "data reaches past the end", s->data = 0)                                         \
    X(trailing, ERR_FORMAT, "unknown bytes after the last tensor", s->data = 160 + 32)

#define X(id, status, text, ...)                                                                             \
    static void lie_##id(struct spec *s) {                                                                   \
        __VA_ARGS__;                                                                                         \
    }
LIES(X)
#undef X

static const struct {
    const char *id;
    enum status status;
    const char *text;
    void (*change)(struct spec *);
} lies[] = {
#define X(id, status, text, ...) {#id, status, text, lie_##id},
    LIES(X)
#undef X
};

static void expect_refusal(const char *what, enum status status, const char *text) {
    struct gguf *g = (struct gguf *)1;
    struct error e = {0};
    enum status found = gguf_open(&g, path, &e);
    cr_expect_eq(found, status, "%s: status %d (%s)", what, found, e.text);
    cr_expect_null(g, "%s", what);
    cr_expect_eq(e.code, found, "%s", what);
    cr_expect(strncmp(e.text, path, strlen(path)) == 0, "%s: does not name the file: %s", what, e.text);
    cr_expect(strstr(e.text, text) != NULL, "%s: '%s' lacks '%s'", what, e.text, text);
    if (found == OK) gguf_close(g);
}

Test(gguf, refuses_lies) {
    for (size_t i = 0; i < COUNT(lies); i++) {
        struct spec s = good;
        struct bytes b;
        lies[i].change(&s);
        build(&s, &b);
        store(b.at, b.n);
        expect_refusal(lies[i].id, lies[i].status, lies[i].text);
    }
}

/* Which of the lies above would also be found in a good file: none. */
Test(gguf, accepts_what_is_allowed) {
    for (int i = 0; i < 5; i++) {
        struct spec s = good;
        struct bytes b;
        if (i == 1) s.version = 2;
        if (i == 2) s.data = 64 + 68;              /* the last tensor unpadded */
        if (i == 3) s.a_offset = 96, s.offset = 0; /* out of order */
        if (i == 4) {
            s.n_kv = 2;
            put_key(&s.keys, "general.alignment", GGUF_U32);
            put32(&s.keys, 64);
            s.padding = 64;
            s.data = 192;
        }
        build(&s, &b);
        store(b.at, b.n);
        struct gguf *g;
        struct error e = {0};
        cr_assert_eq(gguf_open(&g, path, &e), OK, "%d: %s", i, e.text);
        const struct gguf_tensor *t = gguf_tensor_find(g, "b");
        cr_assert_not_null(t);
        cr_expect_eq(t->bytes, 68);
        cr_expect_eq(t->type, TYPE_Q8_0);
        cr_expect_eq(((const uint8_t *)t->data)[1], (uint8_t)(s.offset + 1));
        cr_expect_null(gguf_tensor_find(g, "c"));
        gguf_close(g);
    }
}

Test(gguf, refuses_every_truncation) {
    struct bytes b;
    build(&good, &b);
    size_t whole = b.n - (160 - 64 - 68);
    for (size_t n = 0; n < whole; n++) {
        store(b.at, n);
        char what[64];
        snprintf(what, sizeof what, "first %zu bytes", n);
        expect_refusal(what, ERR_FORMAT, "");
    }
}

/* Any one byte may be anything: the reader answers, and what it accepts can be walked to the end. */
Test(gguf, survives_any_byte) {
    struct bytes b;
    build(&good, &b);
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < b.n - 160; i++)
        for (size_t v = 0; v < COUNT(values); v++) {
            struct bytes changed = b;
            changed.at[i] = values[v];
            store(changed.at, changed.n);
            struct gguf *g;
            struct error e = {0};
            if (gguf_open(&g, path, &e) != OK) {
                cr_expect(e.text[0] != 0);
                continue;
            }
            unsigned sum = 0;
            for (uint64_t t = 0; t < g->n_tensors; t++)
                for (uint64_t k = 0; k < g->tensors[t].bytes; k++)
                    sum += ((const uint8_t *)g->tensors[t].data)[k];
            cr_expect_gt(sum, 0u);
            gguf_close(g);
        }
}

Test(gguf, refuses_what_is_no_file) {
    expect_refusal("missing", ERR_IO, "No such file");
    store("", 0);
    expect_refusal("empty", ERR_FORMAT, "empty file");
    store("# a text file, longer than any header\n", 38);
    expect_refusal("text", ERR_FORMAT, "not a GGUF file");
    cr_assert(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    expect_refusal("pipe", ERR_IO, "not a regular file");
    cr_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
    expect_refusal("directory", ERR_IO, "found a directory");
    cr_assert(rmdir(path) == 0);
}

/* ---- the writer ---- */

static struct gguf_writer *new_writer(void) {
    struct gguf_writer *w;
    struct error e = {0};
    cr_assert_eq(gguf_writer_new(&w, path, &e), OK, "%s", e.text);
    return w;
}

static void write_example(void) {
    struct gguf_writer *w = new_writer();
    struct error e = {0};
    gguf_put_u32(w, "u32", 4000000000u);
    gguf_put_i32(w, "i32", -7);
    gguf_put_f32(w, "f32", 0.5f);
    gguf_put_bool(w, "bool", 3);
    gguf_put_string(w, "string", "caf\xc3\xa9");
    gguf_put_u32s(w, "u32s", (uint32_t[]){1, UINT32_MAX}, 2);
    gguf_put_i32s(w, "i32s", (int32_t[]){-1, 0, 5}, 3);
    gguf_put_f32s(w, "f32s", (float[]){1.5f}, 1);
    gguf_put_strings(w, "strings", (const char *[]){"", "one", "\xc4\xa0two"}, 3);
    gguf_put_tensor(w, "m", TYPE_Q4_0, 3, (int64_t[]){64, 3, 2});
    gguf_put_tensor(w, "v", TYPE_F32, 1, (int64_t[]){5});
    uint8_t m[2 * 3 * 2 * 18];
    for (size_t i = 0; i < sizeof m; i++) m[i] = (uint8_t)(i * 7);
    uint64_t size = gguf_writer_size(w);
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_data(w, m, 100, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_data(w, m + 100, sizeof m - 100, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_data(w, (float[]){1, 2, 3, 4, 5}, 20, &e), OK, "%s", e.text);
    cr_assert_neq(access(path, F_OK), 0, "the final name exists before finish");
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq((uint64_t)st.st_size, size);
}

static void expect_example(const struct gguf *g) {
    struct error e = {0};
    int64_t i;
    float f;
    int b;
    struct gguf_string s;
    const struct gguf_kv *kv;
    cr_expect(gguf_int(g, "u32", 0, UINT32_MAX, &i, &e) == OK && i == 4000000000);
    cr_expect(gguf_int(g, "i32", -10, 0, &i, &e) == OK && i == -7);
    cr_expect(gguf_f32(g, "f32", &f, &e) == OK && f == 0.5f);
    cr_expect(gguf_bool(g, "bool", &b, &e) == OK && b == 1);
    cr_expect(gguf_text(g, "string", &s, &e) == OK && s.size == 5 && memcmp(s.data, "caf\xc3\xa9", 5) == 0);
    cr_expect(gguf_array(g, "u32s", GGUF_U32, &kv, &e) == OK && kv->count == 2 &&
              gguf_int_at(kv, 1) == UINT32_MAX);
    cr_expect(gguf_array(g, "i32s", GGUF_I32, &kv, &e) == OK && kv->count == 3 && gguf_int_at(kv, 0) == -1);
    cr_expect(gguf_array(g, "f32s", GGUF_F32, &kv, &e) == OK && kv->count == 1 && kv->size == 4);
    cr_assert(gguf_array(g, "strings", GGUF_STRING, &kv, &e) == OK && kv->count == 3);
    const uint8_t *cursor = kv->data;
    cr_expect_eq(gguf_string_next(&cursor).size, 0);
    s = gguf_string_next(&cursor);
    cr_expect(s.size == 3 && memcmp(s.data, "one", 3) == 0);
    s = gguf_string_next(&cursor);
    cr_expect(s.size == 5 && memcmp(s.data, "\xc4\xa0two", 5) == 0);
    cr_expect_eq(cursor, kv->data + kv->size);
}

Test(gguf, reads_back_what_was_written) {
    write_example();
    struct gguf *g;
    struct error e = {0};
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    cr_expect_eq(g->n_kv, 9);
    expect_example(g);
    const struct gguf_tensor *m = gguf_tensor_find(g, "m"), *v = gguf_tensor_find(g, "v");
    cr_assert(m && v);
    cr_expect(m->n_dims == 3 && m->dims[0] == 64 && m->dims[1] == 3 && m->dims[2] == 2 && m->dims[3] == 1);
    cr_expect_eq(m->bytes, 2 * 3 * 2 * 18);
    for (size_t i = 0; i < m->bytes; i++) cr_assert_eq(((const uint8_t *)m->data)[i], (uint8_t)(i * 7));
    cr_expect_eq((uintptr_t)v->data % 32, 0);
    cr_expect_eq(((const float *)v->data)[4], 5.0f);
    gguf_close(g);
}

Test(gguf, copies_keys_between_files) {
    write_example();
    struct gguf *from, *to;
    struct error e = {0};
    cr_assert_eq(gguf_open(&from, path, &e), OK, "%s", e.text);
    struct gguf_writer *w = new_writer();
    for (uint64_t i = 0; i < from->n_kv; i++) gguf_put_kv(w, &from->kv[i]);
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
    cr_assert_eq(gguf_open(&to, path, &e), OK, "%s", e.text);
    cr_expect_eq(to->n_kv, from->n_kv);
    expect_example(to);
    gguf_close(from);
    gguf_close(to);
}

Test(gguf, says_what_a_key_should_have_been) {
    write_example();
    struct gguf *g;
    struct error e = {0};
    int64_t i;
    float f;
    int b;
    struct gguf_string s;
    const struct gguf_kv *kv;
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
#define EXPECT_TEXT(call, expected)                                                                          \
    do {                                                                                                     \
        cr_expect_eq(call, ERR_SHAPE);                                                                       \
        cr_expect(strstr(e.text, expected) && strstr(e.text, path), "'%s' lacks '%s'", e.text, expected);    \
    } while (0)
    EXPECT_TEXT(gguf_int(g, "none", 0, 1, &i, &e), "key none is missing (expected an integer)");
    EXPECT_TEXT(gguf_int(g, "f32", 0, 1, &i, &e), "key f32: wrong type (found f32, expected an integer)");
    EXPECT_TEXT(gguf_int(g, "i32s", 0, 1, &i, &e),
                "key i32s: wrong type (found array of i32, expected an integer)");
    EXPECT_TEXT(gguf_int(g, "i32", 0, 9, &i, &e), "key i32: out of range (found -7, expected 0 to 9)");
    EXPECT_TEXT(gguf_f32(g, "u32", &f, &e), "key u32: wrong type (found u32, expected f32)");
    EXPECT_TEXT(gguf_bool(g, "u32", &b, &e), "key u32: wrong type (found u32, expected bool)");
    EXPECT_TEXT(gguf_text(g, "u32", &s, &e), "key u32: wrong type (found u32, expected string)");
    EXPECT_TEXT(gguf_array(g, "i32s", GGUF_STRING, &kv, &e),
                "key i32s: wrong type (found array of i32, expected array of string)");
    EXPECT_TEXT(gguf_array(g, "none", GGUF_STRING, &kv, &e),
                "key none is missing (expected array of string)");
    gguf_close(g);
}

static int files_left(void) {
    char command[400];
    snprintf(command, sizeof command, "test -z \"$(ls -A %s)\"", directory);
    return system(command) != 0;
}

Test(gguf, writer_leaves_no_half_file) {
    struct error e = {0};
    struct gguf_writer *w = new_writer();
    gguf_put_tensor(w, "v", TYPE_F32, 1, (int64_t[]){8});
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    cr_expect_eq(gguf_writer_data(w, (float[9]){0}, 36, &e), ERR_ARG, "more data than the tensor has");
    cr_expect_eq(gguf_writer_data(w, (float[9]){0}, 28, &e), OK);
    cr_expect_eq(gguf_writer_finish(w, &e), ERR_ARG, "data is missing");
    cr_expect(files_left());
    gguf_writer_free(w);
    cr_expect_not(files_left());
}

Test(gguf, writer_refuses_before_it_writes) {
    static const struct {
        const char *name, *text;
        enum tensor_type type;
        int64_t dims[2];
        enum status status;
    } cases[] = {
        {"v", "rows of 33 weights", TYPE_Q4_0, {33, 1}, ERR_ARG},
        {"v", "dimension 1 is 0", TYPE_F32, {32, 0}, ERR_ARG},
        {"v", "dimension 1 is", TYPE_F32, {1LL << 40, 1LL << 40}, ERR_ARG},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         "too long",
         TYPE_F32,
         {1, 1},
         ERR_ARG},
        {"v", "not enough disk space", TYPE_F32, {1LL << 30, 1LL << 24}, ERR_IO},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct error e = {0};
        struct gguf_writer *w = new_writer();
        gguf_put_tensor(w, cases[i].name, cases[i].type, 2, cases[i].dims);
        cr_expect_eq(gguf_writer_begin(w, &e), cases[i].status, "%zu", i);
        cr_expect(strstr(e.text, cases[i].text) != NULL, "%zu: %s", i, e.text);
        gguf_writer_free(w);
        cr_expect_not(files_left());
    }
    struct error e = {0};
    snprintf(path, sizeof path, "%s/none/model.gguf", directory);
    struct gguf_writer *w = new_writer();
    cr_expect_eq(gguf_writer_begin(w, &e), ERR_IO);
    cr_expect(strstr(e.text, "none/model.gguf") && strstr(e.text, "No such file"), "%s", e.text);
    gguf_writer_free(w);
}

/* rename would take a device's place, which is the system's loss. */
Test(gguf, writer_replaces_files_only) {
    char kept[sizeof path];
    for (int folder = 0; folder < 2; folder++) {
        struct error e = {0};
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", directory, folder ? "folder" : "pipe");
        memcpy(kept, path, sizeof kept);
        cr_assert_eq(folder ? mkdir(path, 0700) : mkfifo(path, 0600), 0);
        struct gguf_writer *w = new_writer();
        cr_expect_eq(gguf_writer_begin(w, &e), ERR_ARG);
        cr_expect(strstr(e.text, kept) && strstr(e.text, folder ? "a folder" : "a pipe"), "%s", e.text);
        gguf_writer_free(w);
        cr_expect(stat(kept, &st) == 0 && (folder ? S_ISDIR(st.st_mode) : S_ISFIFO(st.st_mode)));
        cr_expect_eq(remove(kept), 0);
        cr_expect_not(files_left());
    }
}

Test(status, texts_are_safe_to_print) {
    struct error e;
    fail(&e, ERR_ARG, "%s", "a\n\x1b[31m \xc3\xa9 \xff \xc0\x80 \xed\xa0\x80 \xe2\x82 \xc2\x9b \x7f");
    cr_expect_str_eq(e.text, "a??[31m \xc3\xa9 ? ?? ??? ?? ?? ?");
}
