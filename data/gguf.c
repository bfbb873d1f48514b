/* SPDX-License-Identifier: Apache-2.0 */
/* gguf: parses the directory of a mapped file. A cursor that never passes the end of the map reads
 * everything; lookups and typed values are in data/gguf_get.c. */
#include "data/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No real file comes near these; they bound the time and memory a hostile one can take. */
enum {
    MAX_ENTRIES = 1 << 20,
    MAX_KEY = 65535, /* the format's own limit */
    MAX_STRING = 1 << 30,
    MAX_HEADER = 1 << 30,
    MIN_KV_BYTES = 8 + 1 + 4 + 1,
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
};

struct cursor {
    const struct gguf *g;
    const uint8_t *bytes; /* of the file's start */
    uint64_t at, end;     /* at <= end */
    struct error *e;
};

static uint64_t left(const struct cursor *c) {
    return c->end - c->at;
}

static enum status need(const struct cursor *c, uint64_t n, const char *what) {
    if (n <= left(c)) return OK;
    return fail(c->e, ERR_FORMAT,
                "%s: file ends inside %s (found %" PRIu64 " bytes left, expected %" PRIu64 ")", c->g->path,
                what, left(c), n);
}

static enum status read_u32(struct cursor *c, uint32_t *v, const char *what) {
    TRY(need(c, sizeof *v, what));
    memcpy(v, c->bytes + c->at, sizeof *v);
    c->at += sizeof *v;
    return OK;
}

static enum status read_u64(struct cursor *c, uint64_t *v, const char *what) {
    TRY(need(c, sizeof *v, what));
    memcpy(v, c->bytes + c->at, sizeof *v);
    c->at += sizeof *v;
    return OK;
}

static enum status read_string(struct cursor *c, struct gguf_string *s, const char *what) {
    TRY(read_u64(c, &s->size, what));
    if (s->size > MAX_STRING)
        return fail(c->e, ERR_FORMAT,
                    "%s: %s: string too long (found %" PRIu64 " bytes, expected at most %d)", c->g->path,
                    what, s->size, MAX_STRING);
    TRY(need(c, s->size, what));
    s->data = (const char *)c->bytes + c->at;
    c->at += s->size;
    return OK;
}

/* Keys and tensor names go into messages and comparisons with C strings: no control characters, no NUL. */
static int is_plain(struct gguf_string s) {
    for (uint64_t i = 0; i < s.size; i++)
        if (s.data[i] < 0x20 || s.data[i] > 0x7e) return 0;
    return s.size > 0;
}

static enum status read_header(struct cursor *c, struct gguf *g) {
    uint32_t magic;
    TRY(read_u32(c, &magic, "the magic number"));
    if (magic != 0x46554747)
        return fail(c->e, ERR_FORMAT, "%s: not a GGUF file (found first bytes 0x%08x, expected \"GGUF\")",
                    g->path, __builtin_bswap32(magic));
    TRY(read_u32(c, &g->version, "the version"));
    if (g->version && (g->version & 0xffff) == 0)
        return fail(c->e, ERR_UNSUPPORTED, "%s: big-endian GGUF file (found version 0x%08x, expected 2 or 3)",
                    g->path, g->version);
    if (g->version != 2 && g->version != 3)
        return fail(c->e, ERR_UNSUPPORTED, "%s: unsupported GGUF version (found %u, expected 2 or 3)",
                    g->path, g->version);
    TRY(read_u64(c, &g->n_tensors, "the tensor count"));
    TRY(read_u64(c, &g->n_kv, "the key count"));
    if (g->n_kv > MAX_ENTRIES || g->n_kv > left(c) / MIN_KV_BYTES)
        return fail(c->e, ERR_FORMAT,
                    "%s: impossible number of keys (found %" PRIu64 " in %" PRIu64 " bytes)", g->path,
                    g->n_kv, left(c));
    if (g->n_tensors > MAX_ENTRIES || g->n_tensors > left(c) / MIN_TENSOR_BYTES)
        return fail(c->e, ERR_FORMAT,
                    "%s: impossible number of tensors (found %" PRIu64 " in %" PRIu64 " bytes)", g->path,
                    g->n_tensors, left(c));
    g->kv = calloc(g->n_kv + 1, sizeof *g->kv);
    g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
    g->by_name = calloc(g->n_tensors + 1, sizeof *g->by_name);
    if (!g->kv || !g->tensors || !g->by_name)
        return fail(c->e, ERR_MEMORY, "%s: out of memory for %" PRIu64 " keys and %" PRIu64 " tensors",
                    g->path, g->n_kv, g->n_tensors);
    return OK;
}

static enum status skip_values(struct cursor *c, struct gguf_kv *kv, const char *what) {
    unsigned size = gguf_type_size(kv->element);
    if (size == 0 && kv->element != GGUF_STRING)
        return fail(c->e, kv->element == GGUF_ARRAY ? ERR_UNSUPPORTED : ERR_FORMAT,
                    "%s: %s: %s (found type %d, expected 0 to %d)", c->g->path, what,
                    kv->element == GGUF_ARRAY ? "an array of arrays is not supported" : "unknown value type",
                    (int)kv->element, GGUF_TYPE_COUNT - 1);
    uint64_t smallest = size ? size : sizeof(uint64_t);
    if (kv->count > left(c) / smallest)
        return fail(c->e, ERR_FORMAT,
                    "%s: %s: file ends inside the value (found %" PRIu64 " bytes left for %" PRIu64
                    " values of at least %" PRIu64 ")",
                    c->g->path, what, left(c), kv->count, smallest);
    kv->data = c->bytes + c->at;
    if (size) {
        c->at += kv->count * size;
    } else {
        struct gguf_string s;
        for (uint64_t i = 0; i < kv->count; i++) TRY(read_string(c, &s, what));
    }
    kv->size = (uint64_t)(c->bytes + c->at - kv->data);
    if (kv->element == GGUF_BOOL)
        for (uint64_t i = 0; i < kv->count; i++)
            if (kv->data[i] > 1)
                return fail(c->e, ERR_FORMAT, "%s: %s: bad bool (found %d, expected 0 or 1)", c->g->path,
                            what, kv->data[i]);
    return OK;
}

static enum status read_kv(struct cursor *c, struct gguf_kv *kv, uint64_t index) {
    char what[128];
    snprintf(what, sizeof what, "key %" PRIu64, index);
    TRY(read_string(c, &kv->key, what));
    if (kv->key.size > MAX_KEY || !is_plain(kv->key))
        return fail(c->e, ERR_FORMAT,
                    "%s: %s: bad name (found %" PRIu64 " bytes, expected 1 to %d printable ones)", c->g->path,
                    what, kv->key.size, MAX_KEY);
    snprintf(what, sizeof what, "key %.*s", (int)(kv->key.size < 100 ? kv->key.size : 100), kv->key.data);
    uint32_t type;
    TRY(read_u32(c, &type, what));
    if (type >= GGUF_TYPE_COUNT)
        return fail(c->e, ERR_FORMAT, "%s: %s: unknown value type (found %d, expected 0 to %d)", c->g->path,
                    what, (int)type, GGUF_TYPE_COUNT - 1);
    kv->type = kv->element = (enum gguf_type)type;
    kv->count = 1;
    if (kv->type == GGUF_ARRAY) {
        uint32_t element;
        TRY(read_u32(c, &element, what));
        if (element >= GGUF_TYPE_COUNT)
            return fail(c->e, ERR_FORMAT, "%s: %s: unknown element type (found %d, expected 0 to %d)",
                        c->g->path, what, (int)element, GGUF_TYPE_COUNT - 1);
        kv->element = (enum gguf_type)element;
        TRY(read_u64(c, &kv->count, what));
    }
    return skip_values(c, kv, what);
}

static int compare_keys(const void *a, const void *b) {
    const struct gguf_kv *x = *(struct gguf_kv *const *)a, *y = *(struct gguf_kv *const *)b;
    uint64_t n = x->key.size < y->key.size ? x->key.size : y->key.size;
    int order = memcmp(x->key.data, y->key.data, n);
    return order ? order : (x->key.size > y->key.size) - (x->key.size < y->key.size);
}

static enum status check_duplicate_keys(const struct gguf *g, struct error *e) {
    const struct gguf_kv **sorted = malloc((g->n_kv + 1) * sizeof *sorted);
    if (!sorted) return fail(e, ERR_MEMORY, "%s: out of memory", g->path);
    for (uint64_t i = 0; i < g->n_kv; i++) sorted[i] = &g->kv[i];
    qsort(sorted, g->n_kv, sizeof *sorted, compare_keys);
    enum status status = OK;
    for (uint64_t i = 1; i < g->n_kv && status == OK; i++)
        if (compare_keys(&sorted[i - 1], &sorted[i]) == 0)
            status = fail(e, ERR_FORMAT, "%s: key %.*s occurs twice", g->path,
                          (int)(sorted[i]->key.size < 200 ? sorted[i]->key.size : 200), sorted[i]->key.data);
    free(sorted);
    return status;
}

static enum status read_alignment(struct gguf *g, struct error *e) {
    g->alignment = 32;
    const struct gguf_kv *kv = gguf_find(g, "general.alignment");
    if (!kv) return OK;
    if (kv->type != GGUF_U32)
        return fail(e, ERR_FORMAT, "%s: key general.alignment: wrong type (found %s, expected u32)", g->path,
                    gguf_type_name(kv->type));
    int64_t a = gguf_int_at(kv, 0);
    /* Below 8 a tensor could start where a float may not. */
    if (a < 8 || a > 1 << 20 || (a & (a - 1)))
        return fail(e, ERR_FORMAT,
                    "%s: key general.alignment: bad value (found %" PRId64
                    ", expected a power of two from 8 to %d)",
                    g->path, a, 1 << 20);
    g->alignment = (uint32_t)a;
    return OK;
}

/* Bytes of the data of a tensor whose dims and type are filled in. */
static enum status measure(const struct cursor *c, struct gguf_tensor *t) {
    const struct type_info *info = type_info(t->type);
    int64_t n = 1, bytes;
    for (int i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 1)
            return fail(c->e, ERR_FORMAT,
                        "%s: tensor %s: bad dimension %d (found %" PRId64 ", expected at least 1)",
                        c->g->path, t->name, i, t->dims[i]);
        if (__builtin_mul_overflow(n, t->dims[i], &n))
            return fail(c->e, ERR_FORMAT,
                        "%s: tensor %s: number of weights overflows at dimension %d (found %" PRId64 ")",
                        c->g->path, t->name, i, t->dims[i]);
    }
    if (t->dims[0] % info->block)
        return fail(c->e, ERR_FORMAT,
                    "%s: tensor %s: row length (found %" PRId64
                    ", expected a multiple of %d, the block of %s)",
                    c->g->path, t->name, t->dims[0], info->block, info->name);
    if (__builtin_mul_overflow(n / info->block, (int64_t)info->bytes, &bytes))
        return fail(c->e, ERR_FORMAT, "%s: tensor %s: size overflows (found %" PRId64 " weights of %s)",
                    c->g->path, t->name, n, info->name);
    t->bytes = (uint64_t)bytes;
    return OK;
}

/* Types of other programs' files, by id, which their quantizer reads; NULL: none, or one that is gone. */
static const char *const other_types[] = {
    [6] = "Q5_0",     [7] = "Q5_1",   [10] = "Q2_K",   [11] = "Q3_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS",
    [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS",
    [29] = "IQ1_M",   [34] = "TQ1_0", [35] = "TQ2_0",  [39] = "MXFP4", [40] = "NVFP4",
};

static enum status refuse_type(const struct cursor *c, const struct gguf_tensor *t, int32_t type) {
    int n = (int)(sizeof other_types / sizeof *other_types);
    const char *name = type >= 0 && type < n ? other_types[type] : NULL;
    return fail(
        c->e, ERR_UNSUPPORTED,
        "%s: tensor %s: unsupported type (found id %d%s%s, expected F32, F16, BF16, Q4_0, Q4_1, Q8_0, "
        "Q4_K, Q5_K or Q6_K)%s",
        c->g->path, t->name, type, name ? ", " : "", name ? name : "",
        name ? "; llama-quantize --allow-requantize IN OUT Q8_0 writes a file without it" : "");
}

static enum status read_tensor(struct cursor *c, struct gguf_tensor *t, uint64_t index) {
    char what[128];
    snprintf(what, sizeof what, "the description of tensor %" PRIu64, index);
    struct gguf_string name;
    TRY(read_string(c, &name, what));
    if (name.size >= GGUF_MAX_NAME || !is_plain(name))
        return fail(c->e, ERR_FORMAT,
                    "%s: tensor %" PRIu64 ": bad name (found %" PRIu64
                    " bytes, expected 1 to %d printable ones)",
                    c->g->path, index, name.size, GGUF_MAX_NAME - 1);
    memcpy(t->name, name.data, name.size);
    t->source = t->name;
    uint32_t n_dims, type;
    TRY(read_u32(c, &n_dims, what));
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return fail(c->e, ERR_FORMAT, "%s: tensor %s: bad number of dimensions (found %u, expected 1 to %d)",
                    c->g->path, t->name, n_dims, GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < GGUF_MAX_DIMS; i++) {
        uint64_t dim = 1;
        if (i < t->n_dims) TRY(read_u64(c, &dim, what));
        t->dims[i] = (int64_t)dim; /* beyond INT64_MAX it turns negative, which measure() refuses */
    }
    TRY(read_u32(c, &type, what));
    if (!type_info((int32_t)type)) return refuse_type(c, t, (int32_t)type);
    t->type = (enum tensor_type)type;
    TRY(measure(c, t));
    return read_u64(c, &t->offset, what);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(struct gguf_tensor *const *)a)->name, (*(struct gguf_tensor *const *)b)->name);
}

enum status gguf_sort_names(struct gguf *g, struct error *e) {
    for (uint64_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_names);
    for (uint64_t i = 1; i < g->n_tensors; i++)
        if (compare_names(&g->by_name[i - 1], &g->by_name[i]) == 0)
            return fail(e, ERR_FORMAT, "%s: tensor %s occurs twice", g->path, g->by_name[i]->name);
    return OK;
}

static int compare_offsets(const void *a, const void *b) {
    uint64_t x = (*(struct gguf_tensor *const *)a)->offset, y = (*(struct gguf_tensor *const *)b)->offset;
    return (x > y) - (x < y);
}

/* Every tensor lies inside the file, on its own bytes, and nothing is hidden behind the last one. */
static enum status place_tensors(struct gguf *g, struct error *e) {
    uint64_t room = g->size - g->data_offset, end = 0; /* end <= room */
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_offsets);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = g->by_name[i];
        if (t->offset % g->alignment)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: unaligned data (found offset %" PRIu64 ", expected a multiple of %u)",
                        g->path, t->name, t->offset, g->alignment);
        if (t->offset < end)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: data overlaps tensor %s (found offset %" PRIu64
                        ", expected at least %" PRIu64 ")",
                        g->path, t->name, g->by_name[i - 1]->name, t->offset, end);
        if (t->offset > room || t->bytes > room - t->offset)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: data reaches past the end of the file (found %" PRIu64
                        " bytes of data, expected %" PRIu64 " at offset %" PRIu64 ")",
                        g->path, t->name, room, t->bytes, t->offset);
        t->data = g->map + g->data_offset + t->offset;
        end = t->offset + t->bytes;
    }
    if (room - end >= g->alignment)
        return fail(e, ERR_FORMAT,
                    "%s: unknown bytes after the last tensor (found %" PRIu64
                    ", expected less than %u of padding)",
                    g->path, room - end, g->alignment);
    return OK;
}

static enum status check_split(const struct gguf *g, struct error *e) {
    const struct gguf_kv *kv = gguf_find(g, "split.count");
    if (!kv) return OK;
    int64_t n;
    TRY(gguf_int(g, "split.count", 0, 65535, &n, e));
    if (n > 1)
        return fail(e, ERR_UNSUPPORTED,
                    "%s: one of %" PRId64 " split files, which are not supported; merge them with "
                    "llama-gguf-split --merge",
                    g->path, n);
    return OK;
}

static enum status parse(struct gguf *g, const uint8_t *bytes, uint64_t size, struct error *e) {
    struct cursor c = {.g = g, .bytes = bytes, .end = size, .e = e};
    TRY(read_header(&c, g));
    for (uint64_t i = 0; i < g->n_kv; i++) TRY(read_kv(&c, &g->kv[i], i));
    TRY(check_duplicate_keys(g, e));
    TRY(check_split(g, e));
    TRY(read_alignment(g, e));
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        TRY(read_tensor(&c, &g->tensors[i], i));
        g->by_name[i] = &g->tensors[i];
    }
    /* Without tensors the padding may be missing. */
    uint64_t padding = (g->alignment - c.at % g->alignment) % g->alignment;
    if (g->n_tensors == 0 && padding > left(&c)) padding = left(&c);
    TRY(need(&c, padding, "the padding before the tensor data"));
    g->data_offset = c.at + padding;
    TRY(place_tensors(g, e));
    return gguf_sort_names(g, e);
}

/* Strings and numbers are read again after they were checked, and somebody may write to a mapped file
 * meanwhile. So the header is copied, and what is kept is the copy, checked. */
static enum status parse_copy(struct gguf *g, struct error *e) {
    uint64_t size = g->data_offset;
    if (size > MAX_HEADER)
        return fail(e, ERR_UNSUPPORTED, "%s: header too large (found %" PRIu64 " bytes, expected at most %d)",
                    g->path, size, MAX_HEADER);
    g->bytes = malloc(size);
    if (!g->bytes)
        return fail(e, ERR_MEMORY, "%s: out of memory for a header of %" PRIu64 " bytes", g->path, size);
    memcpy(g->bytes, g->map, size);
    free(g->kv), free(g->tensors), free(g->by_name);
    g->kv = NULL, g->tensors = NULL, g->by_name = NULL;
    return parse(g, g->bytes, size, e);
}

/* On failure everything is given back. */
static enum status finish_open(struct gguf **out, struct gguf *g, enum status status, struct error *e) {
    if (status == OK) status = parse(g, g->map, g->size, e);
    if (status == OK && g->file.data) status = parse_copy(g, e);
    if (status == OK)
        *out = g;
    else
        gguf_close(g);
    return status;
}

enum status gguf_open(struct gguf **out, const char *path, struct error *e) {
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    enum status status;
    if (strlen(path) >= sizeof g->path) {
        status =
            fail(e, ERR_ARG, "%.64s...: path too long (expected less than %zu bytes)", path, sizeof g->path);
    } else {
        snprintf(g->path, sizeof g->path, "%s", path);
        status = mapped_open(&g->file, path, "GGUF", e);
    }
    g->map = g->file.data;
    g->size = g->file.size;
    return finish_open(out, g, status, e);
}

enum status gguf_of_bytes(struct gguf **out, const char *path, uint8_t *bytes, uint64_t size,
                          struct error *e) {
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) {
        free(bytes);
        return fail(e, ERR_MEMORY, "%s: out of memory", path);
    }
    snprintf(g->path, sizeof g->path, "%s", path);
    g->map = g->bytes = bytes;
    g->size = size;
    return finish_open(out, g, OK, e);
}

void gguf_close(struct gguf *g) {
    if (!g) return;
    mapped_close(&g->file);
    free(g->bytes);
    free(g->kv);
    free(g->tensors);
    free(g->by_name);
    free(g);
}
