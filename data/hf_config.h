/* SPDX-License-Identifier: Apache-2.0 */
/* hf_config: config.json of a Hugging Face folder as the keys that a GGUF file of the same model has. Private
 * to data/hf.c. */
#ifndef DATA_HF_CONFIG_H
#define DATA_HF_CONFIG_H

#include "data/gguf_write.h"
#include "data/names.h"

struct hf_config {
    const struct arch *arch;
    int n_layers, n_experts; /* n_experts 0 without experts */
    int tied;                /* 1: lm_head is the embedding, whatever a file holds under that name */
};

/* folder: where config.json lies. Values are checked for type and range here, and against each other and the
 * tensors by whoever reads the keys. */
enum status hf_config_put(struct gguf_writer *w, const char *folder, struct hf_config *out, struct error *e);

#endif
