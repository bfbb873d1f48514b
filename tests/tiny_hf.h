/* SPDX-License-Identifier: Apache-2.0 */
/* tiny_hf: the folder that Hugging Face's Transformers would write for a tiny model: config.json and
 * safetensors, in the layouts that official checkpoints have. Names are spelled out here and not taken from
 * data/names.c. */
#ifndef TESTS_TINY_HF_H
#define TESTS_TINY_HF_H

#include "tests/tiny.h"

struct tiny_hf {
    int fused;                /* 1: experts as gate_up_proj and down_proj, as newer versions write them */
    int shards;               /* files; 0: model.safetensors alone, without an index */
    enum tensor_type vectors; /* of norms, taps and routers; the expert bias is always F32 */
    int old_config; /* 1: full_attn_idxs, block_ff_dim before its reduction, theta (LFM2-1.2B's file);
                       needs F = 256 k */
};

/* Copies the weights of a GGUF file that tiny_write made from s, with matrices of F32, F16 or BF16, into an
 * existing folder. */
enum status tiny_hf_write(const char *folder, const char *gguf, const struct tiny_spec *s,
                          const struct tiny_hf *o, struct error *e);

/* A safetensors file, for tests that write a header by hand: 8 bytes of length, the header, n bytes of data.
 */
int tiny_safetensors(const char *path, const char *header, const void *data, size_t n);

#endif
