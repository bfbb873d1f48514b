/* SPDX-License-Identifier: Apache-2.0 */
/* model_config: the hyper-parameters of a GGUF file, checked for sense. Private to data/model.c. */
#ifndef DATA_MODEL_CONFIG_H
#define DATA_MODEL_CONFIG_H

#include <stdint.h>

#include "data/gguf.h"
#include "data/model.h"

enum { CONFIG_MAX_LAYERS = 1024 };

struct layer_kinds {
    uint8_t attention[CONFIG_MAX_LAYERS]; /* 1: attention, 0: short convolution */
};

/* n_vocab is the number of rows of the embedding as stored; the shapes of tensors are checked by the caller.
 */
enum status config_read(struct config *c, struct layer_kinds *kinds, const struct gguf *g, struct error *e);

#endif
