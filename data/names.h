/* SPDX-License-Identifier: Apache-2.0 */
/* names: what each architecture calls its hyper-parameters and tensors, as tables that data/model.c walks. A
 * new architecture of known layer kinds is rows here and nothing elsewhere. */
#ifndef DATA_NAMES_H
#define DATA_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "data/model.h"

/* Which architectures need a key. */
enum need { NEED_ALWAYS, NEED_CONV, NEED_EXPERTS, NEED_NEVER };

/* Whose names the tensors of a Hugging Face folder have. */
enum hf_style { HF_LFM2, HF_QWEN3, HF_STYLES };

struct arch {
    const char *name; /* GGUF's general.architecture, and the prefix of its keys */
    int has_conv;     /* layers with head_count_kv 0 are short convolutions */
    int has_experts;  /* layers from leading_dense_block_count on are mixtures of experts */
    /* Of Hugging Face folders: */
    const char *model_type; /* config.json */
    enum hf_style style;
    int adjusts_ff; /* 1: block_auto_adjust_ff_dim is true unless config.json says no */
    int tied;       /* tie_word_embeddings unless config.json says */
};
extern const struct arch archs[];
extern const int n_archs;
extern const char arch_names[]; /* for error texts */
extern const char model_type_names[];

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
enum layer_part { PART_ALL, PART_CONV, PART_ATTENTION, PART_DENSE, PART_MOE, PART_EXPERT };

struct layer_tensor {
    const char *gguf; /* "%d" is to be filled with the layer */
    /* In a folder; NULL: that family has none. PART_EXPERT: a second "%d" for the expert. */
    const char *hf[HF_STYLES];
    /* PART_EXPERT: instead of these, [E, halves * rows, cols] of which this tensor is one half. */
    const char *hf_fused;
    int half, halves;
    enum layer_part part; /* PART_EXPERT: 3-D, one matrix per expert */
    enum dim rows, cols;
    int f32;       /* 1: must be F32 */
    int optional;  /* 1: may be missing */
    size_t offset; /* of a struct tensor in struct layer; PART_EXPERT: in struct expert */
};
extern const struct layer_tensor layer_tensors[];
extern const int n_layer_tensors;

#define TENSOR_EMBEDDING "token_embd.weight"
#define TENSOR_HEAD      "output.weight"
extern const char *const hf_final_norm[HF_STYLES];
#define HF_EMBEDDING "model.embed_tokens.weight"
#define HF_HEAD      "lm_head.weight"
/* LFM2 calls the final norm after the embedding; newer converters do not. */
extern const char *const final_norm_names[];
extern const int n_final_norm_names;

/* What a folder's config.json says, under which key of GGUF. The first name found counts; '/' goes into an
 * object. The rest (architecture, kinds of layers, ffn width, tied head) has its own code in
 * data/hf_config.c. */
enum hf_kind { HF_INT, HF_FLOAT, HF_BOOL };
struct hf_key {
    const char *gguf; /* a key that starts with '.' follows the architecture's name */
    const char *hf[4];
    enum hf_kind kind;
    enum need need; /* NEED_NEVER: no key when the file has none */
};
extern const struct hf_key hf_keys[];
extern const int n_hf_keys;

/* Values of config.json that would ask for other mathematics unless they are missing, null or this one. */
struct hf_fixed {
    const char *hf;
    const char *value; /* as JSON */
    const char *why;   /* of the error text */
};
extern const struct hf_fixed hf_fixed[];
extern const int n_hf_fixed;

#endif
