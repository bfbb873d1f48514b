/* names: what each architecture calls its hyper-parameters and tensors, as tables that data/model.c walks. A
 * new architecture of known layer kinds is rows here and nothing elsewhere. */
#ifndef DATA_NAMES_H
#define DATA_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "data/model.h"

/* Which architectures need a key. */
enum need { NEED_ALWAYS, NEED_CONV, NEED_EXPERTS, NEED_NEVER };

struct arch {
    const char *name; /* GGUF's general.architecture, and the prefix of its keys */
    int has_conv;     /* layers with head_count_kv 0 are short convolutions */
    int has_experts;  /* layers from leading_dense_block_count on are mixtures of experts */
};
extern const struct arch archs[];
extern const int n_archs;
extern const char arch_names[]; /* for error texts */

/* Hyper-parameters that are one number. A key that starts with '.' follows the architecture's name. The rest
 * (head_count_kv, feed_forward_length, head size) has its own code in data/model_config.c. */
struct int_key {
    const char *gguf;
    enum need need; /* NEED_NEVER: keeps fallback when the file has none */
    int low, high, fallback;
    size_t offset; /* of an int in struct config */
};
struct f32_key {
    const char *gguf;
    enum need need;
    float fallback;
    size_t offset; /* of a float in struct config; the value must be > 0 */
};
extern const struct int_key int_keys[];
extern const int n_int_keys;
extern const struct f32_key f32_keys[];
extern const int n_f32_keys;

#define KEY_KV_HEADS     ".attention.head_count_kv"
#define KEY_FF           ".feed_forward_length"
#define KEY_KEY_LENGTH   ".attention.key_length"
#define KEY_VALUE_LENGTH ".attention.value_length"
#define KEY_VOCAB_SIZE   ".vocab_size"
#define KEY_CONV_TAPS    ".shortconv.l_cache"
#define KEY_GATING       ".expert_gating_func"
#define KEY_EXPERT_NORM  ".expert_weights_norm"
#define KEY_ROPE_SCALING ".rope.scaling.type"
#define KEY_ROPE_DIMS    ".rope.dimension_count"

/* Optional keys, integer or bool, that must have this value: another one would ask for other mathematics. */
struct fixed_key {
    const char *gguf;
    int64_t value;
    const char *why; /* of the error text */
};
extern const struct fixed_key fixed_keys[];
extern const int n_fixed_keys;

/* Sizes a tensor's rows and columns are made of. */
enum dim {
    DIM_1,
    DIM_D,
    DIM_3D,
    DIM_HEADS,
    DIM_KV_HEADS,
    DIM_HEAD,
    DIM_FF,
    DIM_EXPERT_FF,
    DIM_EXPERTS,
    DIM_TAPS
};

/* Which layers have a tensor. */
enum part { PART_ALL, PART_CONV, PART_ATTENTION, PART_DENSE, PART_MOE, PART_EXPERT };

struct layer_tensor {
    const char *gguf; /* "%d" is to be filled with the layer */
    enum part part;   /* PART_EXPERT: 3-D, one matrix per expert */
    enum dim rows, cols;
    int f32;       /* 1: must be F32 */
    int optional;  /* 1: may be missing */
    size_t offset; /* of a struct tensor in struct layer; PART_EXPERT: in struct expert */
};
extern const struct layer_tensor layer_tensors[];
extern const int n_layer_tensors;

#define TENSOR_EMBEDDING "token_embd.weight"
#define TENSOR_HEAD      "output.weight"
/* LFM2 calls the final norm after the embedding; newer converters do not. */
extern const char *const final_norm_names[];
extern const int n_final_norm_names;

#endif
