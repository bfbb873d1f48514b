/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_image: a GGUF file taken apart so that every field can be changed to a lie, and put together again.
 * What is not changed stays true: offsets and counts are computed unless they are set. For making bad files
 * only. */
#ifndef TESTS_GGUF_IMAGE_H
#define TESTS_GGUF_IMAGE_H

#include <stdint.h>

#include "data/gguf.h"

enum { IMAGE_MAX = 160 };

struct image_key {
    const char *name;
    uint64_t name_size; /* as the file will state it */
    uint64_t name_bytes;
    uint32_t type;
    const void *value; /* as stored, after the type */
    uint64_t size;
};

struct image_tensor {
    const char *name;
    uint64_t name_size, name_bytes;
    uint32_t n_dims, type;
    uint64_t dims[6];
    uint64_t offset;
    int offset_set;
    const void *data;
    uint64_t bytes;
};

struct image {
    uint32_t magic, version;
    uint64_t n_keys, n_tensors; /* as the file will state them; IMAGE_TRUE: as many as there are */
    struct image_key keys[IMAGE_MAX];
    struct image_tensor tensors[IMAGE_MAX];
    int keys_n, tensors_n;
    uint64_t alignment;
    uint64_t cut, extra; /* bytes taken from, then added to, the end */
    uint64_t keep;       /* bytes of the file that are written; 0: all */
    void *owned[64];
    int n_owned;
};
#define IMAGE_TRUE (UINT64_MAX - 12345)

/* g must stay open while the image is used. */
void image_of(struct image *im, const struct gguf *g);
void image_free(struct image *im);
/* Returns 0, or -1 when the file cannot be written. */
int image_write(const struct image *im, const char *path);

/* n zero bytes that live as long as the image. */
void *image_memory(struct image *im, uint64_t n);

/* The key, or a new one of that name at the end. */
struct image_key *image_key(struct image *im, const char *name);
void image_drop_key(struct image *im, const char *name);
void image_u32(struct image *im, const char *name, uint32_t v);
void image_u64(struct image *im, const char *name, uint64_t v);
void image_i32(struct image *im, const char *name, int32_t v);
void image_f32(struct image *im, const char *name, float v);
void image_text(struct image *im, const char *name, const char *v);
void image_i32s(struct image *im, const char *name, const int32_t *v, uint64_t n);
/* An array whose length field says `stated`, followed by these bytes. */
void image_array(struct image *im, const char *name, uint32_t element, uint64_t stated, const void *bytes,
                 uint64_t n);
/* Element i of an array of strings becomes these bytes; the others stay. */
void image_element(struct image *im, const char *name, uint64_t i, const char *text, uint64_t n);
/* An array of strings gets n copies of text more. */
void image_more(struct image *im, const char *name, const char *text, uint64_t n);

/* The tensor; ends the program when there is none, which is a mistake in a case. */
struct image_tensor *image_tensor(struct image *im, const char *name);
void image_drop_tensor(struct image *im, const char *name);
/* One more tensor, of zeros. */
struct image_tensor *image_add_tensor(struct image *im, const char *name, uint32_t type, uint64_t cols,
                                      uint64_t rows);
/* Its data become n zero bytes, or a copy that may be changed when n is 0. */
void *image_data(struct image *im, struct image_tensor *t, uint64_t n);

#endif
