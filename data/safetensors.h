/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: reads the container format of that name (https://github.com/huggingface/safetensors), one file
 * or a folder of files. Files are mapped and tensor data is not copied. Every rule of the format is checked:
 * a file from a stranger can be refused, but not be misread. What the tensors mean is the business of
 * data/hf.c. */
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "data/mapped.h"
#include "data/quant.h"
#include "data/status.h"

enum { SAFETENSORS_MAX_DIMS = 8 };

struct safetensors_tensor {
    char *name;
    enum tensor_type type;              /* F32, F16 or BF16 */
    int n_dims;                         /* 0: a single number */
    int64_t dims[SAFETENSORS_MAX_DIMS]; /* slowest first; unused ones are 1 */
    uint64_t begin, bytes;              /* of the file's data; bytes may be 0 */
    const uint8_t *data;                /* in the map, with the alignment that the file gave it: any */
    int file;                           /* index of safetensors.files */
};

struct safetensors_file {
    char *path;
    struct mapped map;
    uint64_t header_bytes; /* everything before the data */
};

struct safetensors {
    struct safetensors_file *files;
    int n_files;
    struct safetensors_tensor *tensors; /* sorted by name, no name twice */
    size_t n_tensors;
};

/* One file. *out is NULL on error. */
enum status safetensors_open(struct safetensors **out, const char *path, struct error *e);

/* A folder: the files that its model.safetensors.index.json names, which must hold exactly the tensors that
 * it says and lie in the folder itself, or else its model.safetensors. The links that a download cache is
 * made of are followed: a folder's owner makes those, an index file cannot. */
enum status safetensors_open_folder(struct safetensors **out, const char *path, struct error *e);

void safetensors_close(struct safetensors *s); /* NULL is fine */

/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name);

#endif
