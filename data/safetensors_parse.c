/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_parse: the header of one file: 8 bytes with its length, then a JSON object of a fixed form,
 *     {"__metadata__": {"key": "text", ...}, "NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0,
 * 12]}, ...} then the data. The form needs no general JSON: this reader takes memory for names only, whatever
 * a file claims. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors_parts.h"

enum {
    MAX_HEADER = 100000000, /* the format's own limit */
    MAX_NAME = 255,         /* longer names than any model has */
};

struct scanner {
    const char *path;
    const char *start, *at, *end;
    struct error *e;
};

struct text {
    char bytes[MAX_NAME + 1]; /* what did not fit is dropped */
    size_t n;                 /* bytes it really has */
};

static enum status bad(const struct scanner *s, const char *expected) {
    char found[16] = "the end";
    if (s->at < s->end) snprintf(found, sizeof found, "'%c'", *s->at);
    return fail(s->e, ERR_FORMAT, "%s: bad header at byte %td (found %s, expected %s)", s->path,
                8 + (s->at - s->start), found, expected);
}

static void skip_space(struct scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

/* 1 and past it when the next character is c. */
static int accept(struct scanner *s, char c) {
    skip_space(s);
    if (s->at == s->end || *s->at != c) return 0;
    s->at++;
    return 1;
}

static enum status expect(struct scanner *s, char c) {
    const char expected[] = {'\'', c, '\'', 0};
    return accept(s, c) ? OK : bad(s, expected);
}

static void add(struct text *t, char c) {
    if (t->n < MAX_NAME) t->bytes[t->n] = c;
    t->n++;
}

static enum status read_escape(struct scanner *s, struct text *t) {
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    const char *letter = s->at < s->end && *s->at ? strchr(letters, *s->at) : NULL;
    if (letter) {
        add(t, meaning[letter - letters]);
        s->at++;
        return OK;
    }
    if (s->at == s->end || *s->at != 'u') return bad(s, "an escape");
    s->at++;
    unsigned code = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit =
            s->at < s->end && *s->at ? strchr(digits, *s->at | (*s->at >= 'A' ? 32 : 0)) : NULL;
        if (!digit) return bad(s, "a hexadecimal digit");
        code = code << 4 | (unsigned)(digit - digits);
    }
    add(t, (char)(code & 0x7f));
    if (code == 0 || code >= 0x80) t->n = MAX_NAME + 1; /* no name, then */
    return OK;
}

/* Text that is too long for a name, or that holds characters no name has, comes back with n > MAX_NAME. */
static enum status read_text(struct scanner *s, struct text *t) {
    t->n = 0;
    TRY(expect(s, '"'));
    const char *begin = s->at;
    int plain = 1;
    while (s->at < s->end && *s->at != '"') {
        unsigned char c = (unsigned char)*s->at;
        if (c < 0x20) return bad(s, "no control character");
        s->at++;
        if (c == '\\') {
            TRY(read_escape(s, t));
        } else {
            add(t, (char)c);
            plain &= c < 0x7f;
        }
    }
    if (s->at == s->end) return bad(s, "the end of a text");
    if (!plain) {
        json_t *checked = json_stringn(begin, (size_t)(s->at - begin));
        json_decref(checked);
        if (!checked)
            return fail(s->e, ERR_FORMAT, "%s: bad header at byte %td (found bytes that are not UTF-8)",
                        s->path, 8 + (begin - s->start));
        t->n = MAX_NAME + 1;
    }
    t->bytes[t->n <= MAX_NAME ? t->n : 0] = 0;
    s->at++;
    return OK;
}

static enum status read_number(struct scanner *s, int64_t *v) {
    skip_space(s);
    if (s->at == s->end || *s->at < '0' || *s->at > '9') return bad(s, "a whole number");
    for (*v = 0; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(*v, (int64_t)10, v) ||
            __builtin_add_overflow(*v, (int64_t)(*s->at - '0'), v))
            return bad(s, "a number below 2^63");
    if (s->at < s->end && (*s->at == '.' || *s->at == 'e' || *s->at == 'E')) return bad(s, "a whole number");
    return OK;
}

/* [a, b, ...] of at most max numbers. */
static enum status read_numbers(struct scanner *s, int64_t *v, int max, int *n) {
    *n = 0;
    TRY(expect(s, '['));
    if (accept(s, ']')) return OK;
    do {
        if (*n == max) return bad(s, "fewer numbers in this list");
        TRY(read_number(s, &v[(*n)++]));
    } while (accept(s, ','));
    return expect(s, ']');
}

static enum status skip_metadata(struct scanner *s) {
    struct text t;
    TRY(expect(s, '{'));
    if (accept(s, '}')) return OK;
    do {
        TRY(read_text(s, &t));
        TRY(expect(s, ':'));
        TRY(read_text(s, &t));
    } while (accept(s, ','));
    return expect(s, '}');
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };

static enum status read_dtype(struct scanner *s, struct safetensors_tensor *t) {
    struct text dtype;
    TRY(read_text(s, &dtype));
    static const enum tensor_type known[] = {TYPE_F32, TYPE_F16, TYPE_BF16};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(dtype.bytes, type_info(known[i])->name) == 0) {
            t->type = known[i];
            return OK;
        }
    return fail(s->e, ERR_UNSUPPORTED,
                "%s: tensor %s: unsupported dtype (found %.32s, expected F32, F16 or BF16)", s->path, t->name,
                dtype.bytes);
}

/* The size of the data has to be that of the shape. */
static enum status check_size(const struct scanner *s, const struct safetensors_tensor *t,
                              const int64_t *offsets) {
    int64_t n = 1, bytes;
    for (int i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(n, t->dims[i], &n))
            return fail(s->e, ERR_FORMAT,
                        "%s: tensor %s: number of weights overflows at dimension %d (found %" PRId64 ")",
                        s->path, t->name, i, t->dims[i]);
    if (__builtin_mul_overflow(n, (int64_t)type_info(t->type)->bytes, &bytes))
        return fail(s->e, ERR_FORMAT, "%s: tensor %s: size overflows (found %" PRId64 " weights)", s->path,
                    t->name, n);
    if (offsets[1] < offsets[0] || offsets[1] - offsets[0] != bytes)
        return fail(s->e, ERR_FORMAT,
                    "%s: tensor %s: size of the data (found offsets %" PRId64 " to %" PRId64
                    ", expected %" PRId64 " bytes for its shape)",
                    s->path, t->name, offsets[0], offsets[1], bytes);
    return OK;
}

static enum status read_tensor(struct scanner *s, struct safetensors_tensor *t) {
    int64_t offsets[2];
    int n = 0, has = 0;
    for (int i = 0; i < SAFETENSORS_MAX_DIMS; i++) t->dims[i] = 1;
    TRY(expect(s, '{'));
    do {
        struct text key;
        TRY(read_text(s, &key));
        int bit = strcmp(key.bytes, "dtype") == 0          ? HAS_DTYPE
                  : strcmp(key.bytes, "shape") == 0        ? HAS_SHAPE
                  : strcmp(key.bytes, "data_offsets") == 0 ? HAS_OFFSETS
                                                           : 0;
        if (!bit || has & bit)
            return fail(s->e, ERR_FORMAT, "%s: tensor %s: bad description (found %s \"%.32s\")", s->path,
                        t->name, bit ? "a second" : "an unknown key", key.bytes);
        has |= bit;
        TRY(expect(s, ':'));
        if (bit == HAS_DTYPE)
            TRY(read_dtype(s, t));
        else if (bit == HAS_SHAPE)
            TRY(read_numbers(s, t->dims, SAFETENSORS_MAX_DIMS, &t->n_dims));
        else
            TRY(read_numbers(s, offsets, 2, &n));
    } while (accept(s, ','));
    TRY(expect(s, '}'));
    if (has != HAS_ALL || n != 2)
        return fail(s->e, ERR_FORMAT,
                    "%s: tensor %s: incomplete (expected dtype, shape and two data_offsets)", s->path,
                    t->name);
    TRY(check_size(s, t, offsets));
    t->begin = (uint64_t)offsets[0];
    t->bytes = (uint64_t)(offsets[1] - offsets[0]);
    return OK;
}

static enum status append(struct safetensors *all, size_t *capacity, const struct scanner *s,
                          const struct text *name, int file) {
    if (all->n_tensors == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 256;
        void *grown = realloc(all->tensors, more * sizeof *all->tensors);
        if (!grown) return fail(s->e, ERR_MEMORY, "%s: out of memory for %zu tensors", s->path, more);
        all->tensors = grown;
        *capacity = more;
    }
    int printable = name->n >= 1 && name->n <= MAX_NAME;
    for (size_t i = 0; printable && i < name->n; i++) printable = name->bytes[i] >= 0x20;
    if (!printable)
        return fail(s->e, ERR_FORMAT, "%s: bad tensor name (found %s, expected 1 to %d printable characters)",
                    s->path, name->n ? "more, or others" : "none", MAX_NAME);
    char *copy = strdup(name->bytes);
    if (!copy) return fail(s->e, ERR_MEMORY, "%s: out of memory", s->path);
    all->tensors[all->n_tensors++] = (struct safetensors_tensor){.name = copy, .file = file};
    return OK;
}

static enum status read_header(struct safetensors *all, struct scanner *s, int file) {
    size_t capacity = all->n_tensors; /* grown at the first tensor */
    int metadata = 0;
    TRY(expect(s, '{'));
    if (!accept(s, '}')) {
        do {
            struct text name;
            skip_space(s);
            TRY(read_text(s, &name));
            TRY(expect(s, ':'));
            if (strcmp(name.bytes, "__metadata__") == 0) {
                if (metadata++) return fail(s->e, ERR_FORMAT, "%s: __metadata__ occurs twice", s->path);
                TRY(skip_metadata(s));
                continue;
            }
            TRY(append(all, &capacity, s, &name, file));
            TRY(read_tensor(s, &all->tensors[all->n_tensors - 1]));
        } while (accept(s, ','));
        TRY(expect(s, '}'));
    }
    skip_space(s);
    return s->at == s->end ? OK : bad(s, "only white space");
}

static int compare_begins(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) -
           (x->bytes < y->bytes); /* empty ones before what begins at the same place */
}

/* The tensors fill the data exactly: no gap, no overlap, nothing behind the last. */
static enum status place(struct safetensors_file *f, struct safetensors_tensor *t, size_t n,
                         struct error *e) {
    uint64_t room = f->map.size - f->header_bytes, end = 0;
    if (n) qsort(t, n, sizeof *t, compare_begins);
    for (size_t i = 0; i < n; i++) {
        if (t[i].begin != end)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: %s (found offset %" PRIu64 ", expected %" PRIu64
                        ", where the tensor before it ends)",
                        f->path, t[i].name,
                        t[i].begin < end ? "data overlaps another tensor's" : "hole before it", t[i].begin,
                        end);
        if (t[i].bytes > room - end)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: data reaches past the end of the file (found %" PRIu64
                        " bytes of data, expected %" PRIu64 " at offset %" PRIu64 ")",
                        f->path, t[i].name, room, t[i].bytes, t[i].begin);
        t[i].data = f->map.data + f->header_bytes + end;
        end += t[i].bytes;
    }
    if (end != room)
        return fail(e, ERR_FORMAT,
                    "%s: unknown bytes after the last tensor (found %" PRIu64 ", expected none)", f->path,
                    room - end);
    return OK;
}

enum status safetensors_parse(struct safetensors *s, int file, struct error *e) {
    struct safetensors_file *f = &s->files[file];
    uint64_t n = 0, size = f->map.size;
    if (size < 8)
        return fail(e, ERR_FORMAT,
                    "%s: not a safetensors file (found %" PRIu64 " bytes, expected at least 8)", f->path,
                    size);
    memcpy(&n, f->map.data, sizeof n);
    if (n > MAX_HEADER)
        return fail(e, ERR_FORMAT,
                    "%s: not a safetensors file (found a header of %" PRIu64 " bytes, expected at most %d)",
                    f->path, n, MAX_HEADER);
    if (n > size - 8)
        return fail(e, ERR_FORMAT,
                    "%s: file ends inside the header (found %" PRIu64 " bytes, expected %" PRIu64 ")",
                    f->path, size, n + 8);
    const char *start = (const char *)f->map.data + 8;
    struct scanner scanner = {f->path, start, start, start + n, e};
    size_t first = s->n_tensors;
    TRY(read_header(s, &scanner, file));
    f->header_bytes = 8 + n;
    struct safetensors_tensor *own = s->n_tensors > first ? s->tensors + first : NULL; /* or there are none */
    return place(f, own, s->n_tensors - first, e);
}
