/* SPDX-License-Identifier: Apache-2.0 */
/* libfuzzer_gguf: one lie in a GGUF file whose form is right: a key dropped, repeated, renamed, of another
 * type or value; a tensor dropped, renamed, of other dimensions, type or place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/gguf_image.h"
#include "tests/libfuzzer.h"

enum { VALUE = 1 << 14 };

static uint64_t number(unsigned *state) {
    static const uint64_t interesting[] = {
        0,     1,       2,         3,          4,          8,          16,        31,
        32,    33,      64,        96,         255,        256,        512,       65535,
        65536, 1 << 20, INT32_MAX, 0x80000000, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX};
    return interesting[fuzz_next(state) % (sizeof interesting / sizeof *interesting)];
}

/* A copy of a value that may be changed, with room for VALUE bytes. */
static uint8_t *copy(struct image *im, struct image_key *k) {
    uint8_t *value = image_memory(im, VALUE + k->size);
    memcpy(value, k->value, k->size);
    k->value = value;
    return value;
}

static void change_key(struct image *im, unsigned *state) {
    struct image_key *k = &im->keys[fuzz_next(state) % (unsigned)im->keys_n];
    const struct image_key *other = &im->keys[fuzz_next(state) % (unsigned)im->keys_n];
    uint64_t v = number(state);
    switch (fuzz_next(state) % 7) {
    case 0:
        *k = im->keys[--im->keys_n];
        break;
    case 1:
        k->name = other->name, k->name_size = k->name_bytes = other->name_bytes;
        break;
    case 2:
        k->type = fuzz_next(state) % (GGUF_TYPE_COUNT + 1);
        break;
    case 3:
        k->type = other->type, k->value = other->value, k->size = other->size;
        break;
    case 4: /* a number; an array's element type, or the low half of its length */
        memcpy(copy(im, k), &v, k->size < 8 ? k->size : 8);
        break;
    case 5: { /* an element of an array, or a text's bytes */
        if (k->size < 16) break;
        uint8_t *value = copy(im, k);
        memcpy(value + 4 + 4 * (fuzz_next(state) % ((k->size - 8) / 4)), &v, 4);
        break;
    }
    default: {
        uint8_t *value = copy(im, k);
        k->size = LLVMFuzzerMutate(value, k->size, VALUE + k->size);
    }
    }
}

static void change_tensor(struct image *im, unsigned *state) {
    static const uint32_t types[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16, TYPE_Q4_0, TYPE_Q4_1,
                                     TYPE_Q8_0, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K};
    struct image_tensor *t = &im->tensors[fuzz_next(state) % (unsigned)im->tensors_n];
    const struct image_tensor *other = &im->tensors[fuzz_next(state) % (unsigned)im->tensors_n];
    switch (fuzz_next(state) % 7) {
    case 0:
        *t = im->tensors[--im->tensors_n];
        break;
    case 1:
        t->name = other->name, t->name_size = t->name_bytes = other->name_bytes;
        break;
    case 2:
        t->type = fuzz_next(state) % 4 ? types[fuzz_next(state) % (sizeof types / sizeof *types)]
                                       : (uint32_t)number(state);
        break;
    case 3:
        t->dims[fuzz_next(state) % GGUF_MAX_DIMS] = number(state);
        break;
    case 4:
        t->n_dims = fuzz_next(state) % (GGUF_MAX_DIMS + 2);
        break;
    case 5:
        t->offset = number(state), t->offset_set = 1;
        break;
    default:
        t->n_dims = other->n_dims, t->type = other->type, t->data = other->data, t->bytes = other->bytes;
        memcpy(t->dims, other->dims, sizeof t->dims);
    }
}

size_t mutate_gguf(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    static struct image im;
    char path[FUZZ_PATH];
    struct gguf *g;
    struct error e;
    unsigned state = seed;
    uint8_t *mine = malloc(n + 1);
    if (!mine) return 0;
    memcpy(mine, bytes, n);
    if (gguf_of_bytes(&g, "-", mine, n, &e) != OK) return 0;
    size_t size = 0;
    if (g->n_kv && g->n_kv < IMAGE_MAX / 2 && g->n_tensors < IMAGE_MAX / 2) {
        image_of(&im, g);
        if (g->n_tensors && fuzz_next(&state) & 1)
            change_tensor(&im, &state);
        else
            change_key(&im, &state);
        int fd = fuzz_file(path, "", 0);
        if (image_write(&im, path) == 0) {
            off_t end = lseek(fd, 0, SEEK_END);
            if (end > 0 && (size_t)end <= max && pread(fd, bytes, (size_t)end, 0) == end) size = (size_t)end;
        }
        close(fd);
        image_free(&im);
    }
    gguf_close(g);
    return size;
}
