/* SPDX-License-Identifier: Apache-2.0 */
/* hf: a Hugging Face folder (config.json and safetensors) seen as if it were a GGUF file: the same keys, the
 * same tensor names, dimensions fastest first. So there is one loader and one converter for both containers.
 * Matrices stay mapped as they are, experts wherever they lie; vectors, taps and routers, which a GGUF file
 * always has in float32, are small converted copies where the folder has them in 16 bits. Knows nothing of
 * tokenizers. */
#ifndef DATA_HF_H
#define DATA_HF_H

#include "data/gguf.h"
#include "data/names.h"
#include "data/safetensors.h"

struct hf {
    struct gguf *index; /* path is the folder */
    struct safetensors *files;
    const struct arch *arch;
    const void **planes; /* of all tensors that have some */
    void **copies;       /* [n_copies] */
    size_t n_copies;
};

/* path: the folder, or one .safetensors file with config.json beside it. *out is NULL on error. */
enum status hf_open(struct hf **out, const char *path, struct error *e);
void hf_close(struct hf *h); /* NULL is fine */

/* 1: path looks like one for hf_open: a folder, or a name that ends in .safetensors. */
int hf_is(const char *path);

/* The folder of path, as hf_open takes it: path itself, or what is before the last '/'. Returns 0, or -1 when
 * it does not fit. */
int hf_folder(const char *path, char *out, size_t size);

#endif
