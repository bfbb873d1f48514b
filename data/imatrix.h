/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix: importance matrices, the mean squared input of every column of every matrix over some text, in
 * llama.cpp's two file formats: GGUF (NAME.in_sum2 and NAME.counts, both read and written) and the older .dat
 * (read). Files from strangers are checked before use. */
#ifndef DATA_IMATRIX_H
#define DATA_IMATRIX_H

#include "data/gguf.h"

struct imatrix_entry {
    char name[GGUF_MAX_NAME]; /* of the matrix: "blk.0.attn_q.weight" */
    int64_t planes, cols;     /* planes: experts, else 1 */
    float *values;            /* [planes, cols] mean squares, finite and >= 0; 1 where nothing was seen */
};
struct imatrix {
    char path[4096];
    struct imatrix_entry *entries;
    int n;
    int64_t chunks;    /* of text; 0: not told */
    char dataset[128]; /* the text's name; "" */
};
enum status imatrix_open(struct imatrix **out, const char *path, struct error *e);
void imatrix_close(struct imatrix *m); /* NULL is fine */

/* The values for a matrix, [dims[2], dims[0]]. *values NULL: the file has none for it. ERR_SHAPE: others. */
enum status imatrix_find(const struct imatrix *m, const struct gguf_tensor *t, const float **values,
                         struct error *e);

/* Sums to be written: rows counted per plane. */
struct imatrix_sums {
    char name[GGUF_MAX_NAME];
    int64_t planes, cols;
    double *squares; /* [planes, cols] */
    int64_t *counts; /* [planes] */
};
enum status imatrix_write(const char *path, const struct imatrix_sums *sums, int n, const char *dataset,
                          uint32_t chunks, uint32_t chunk_size, struct error *e);

#endif
