/* SPDX-License-Identifier: Apache-2.0 */
/* synth_parts: what the files of synth share. Private to them. */
#ifndef DATA_SYNTH_PARTS_H
#define DATA_SYNTH_PARTS_H

#include "data/gguf_write.h"
#include "data/synth.h"

/* One tensor to be: its values are mean + sd * (a bell-shaped variate within +-3). */
struct synth_tensor {
    char name[64];
    enum tensor_type type;
    int n_dims;
    int64_t dims[3]; /* fastest first */
    int64_t weights;
    float mean, sd;
};

struct synth_plan {
    struct synth_tensor *tensors;
    int n;
};

/* The tensors of a model in file order; free plan->tensors. */
enum status synth_plan_make(struct synth_plan *plan, const struct synth_shape *s, const char *recipe,
                            struct error *e);

int synth_is_attention(const struct synth_shape *s, int layer);

/* Metadata: hyper-parameters and the byte-level vocabulary. */
enum status synth_put_metadata(struct gguf_writer *w, const struct synth_options *o, struct error *e);
enum status synth_put_vocabulary(struct gguf_writer *w, const struct synth_shape *s, struct error *e);

/* The value of GGUF's general.file_type for a recipe. */
uint32_t synth_file_type(const char *recipe);

/* out[i] = weight first + i of the tensor, for n weights; first is a multiple of 4. */
void synth_values(uint64_t seed, const struct synth_tensor *t, int64_t first, float *out, int64_t n);

#endif
