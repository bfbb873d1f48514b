/* SPDX-License-Identifier: Apache-2.0 */
/* model: what a weight file means. A model is a list of layers; a layer is a mixer (gated short convolution
 * or GQA attention) and an ffn (dense SwiGLU or a mixture of experts): h += mixer(rmsnorm(h, mixer_norm));  h
 * += ffn(rmsnorm(h, ffn_norm)) model_open checks every tensor's name, type and shape against the
 * hyper-parameters before anyone computes with it, so engines need no checks of their own. Holds no model
 * mathematics.
 *
 * Dimension letters used everywhere: T tokens, D width, H heads, G kv heads, d head size, F ffn width,
 * E experts, k chosen experts, V vocabulary, L layers. */
#ifndef DATA_MODEL_H
#define DATA_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "data/quant.h"
#include "data/status.h"

/* A matrix as stored: rows x cols, a row contiguous, y = W x with x[cols], y[rows]. Vectors have rows 1.
 * data points into the mapped file and is read-only; cols is a multiple of the type's block. */
struct tensor {
    const char *name;
    enum tensor_type type;
    int64_t rows, cols;
    const void *data; /* NULL: this layer has no such tensor; aligned to its elements at least */
    size_t bytes;
};

enum mixer_kind { MIXER_CONV, MIXER_ATTENTION };
enum ffn_kind { FFN_DENSE, FFN_MOE };

struct config {
    char arch[32];      /* "lfm2moe", "lfm2", "qwen3": GGUF's general.architecture */
    char name[64];      /* general.name, or "" */
    int n_layers;       /* L */
    int n_embd;         /* D */
    int n_heads;        /* H */
    int n_kv_heads;     /* G, of the attention layers */
    int head_dim;       /* d; H*d may differ from D */
    int n_ff;           /* F of dense layers */
    int n_expert_ff;    /* F of one expert; 0 without experts */
    int n_experts;      /* E; 0 without experts */
    int n_experts_used; /* k */
    int n_dense_layers; /* leading layers with a dense ffn */
    int expert_norm;    /* 1: chosen weights are divided by (their sum + 1e-6) */
    float expert_scale; /* routed_scaling_factor */
    int conv_taps;      /* 3; 0 without convolution layers */
    int n_vocab;        /* V: rows of the embedding */
    int context_length; /* tokens the file declares */
    float rope_theta;
    float norm_eps;
    int bos_id, eos_id; /* -1 when the file has none */
};

struct expert {
    struct tensor gate, up, down; /* w1 [F, D], w3 [F, D], w2 [D, F] */
};

struct layer {
    enum mixer_kind mixer;
    enum ffn_kind ffn;
    struct tensor mixer_norm, ffn_norm; /* [D] F32 */
    /* MIXER_CONV: B,C,x = split(in_proj(u)); out_proj(C * conv(B*x)) */
    struct tensor conv_in;   /* [3D, D] */
    struct tensor conv_taps; /* [D, taps] F32; tap taps-1 multiplies the newest column */
    struct tensor conv_out;  /* [D, D] */
    /* MIXER_ATTENTION */
    struct tensor q, k, v, o;     /* [H*d, D], [G*d, D], [G*d, D], [D, H*d] */
    struct tensor q_norm, k_norm; /* [d] F32 */
    /* FFN_DENSE: down(silu(gate x) * up x) */
    struct tensor gate, up, down; /* [F, D], [F, D], [D, F] */
    /* FFN_MOE */
    struct tensor router;      /* [E, D] F32 */
    struct tensor router_bias; /* [E] F32, added for the choice only; data NULL when the file has none */
    struct expert *experts;    /* [E] */
};

struct model {
    struct config config;
    struct layer *layers;    /* [L] */
    struct tensor embedding; /* [V, D] */
    struct tensor norm;      /* [D] F32, the final RMSNorm */
    struct tensor head;      /* [V, D]; the same data as embedding when tied */
    int tied;
    struct lora **adapters; /* [n_adapters], merged */
    int n_adapters;
    char path[4096];
    char header_sha256[65]; /* of everything before the tensor data, of all files, and of adapters, hex */
    uint64_t file_bytes;    /* of all files with tensors */
    uint64_t n_params;      /* weights in the file(s) */
    int synthetic;          /* 1: the file says that it was made by `lfm2 synth` */
    char recipe[16];        /* type of most of the matrix bytes: "Q4_0" */
    struct gguf *index;     /* all keys and tensors, under GGUF's names whatever the container */
    struct gguf *gguf; /* the same when the container is a GGUF file, with its tokenizer's keys; else NULL */
    struct hf *hf;     /* the container when it is a Hugging Face folder; else NULL */
};

/* Opens and checks a model: a GGUF file, or a Hugging Face folder (config.json and safetensors; one of its
 * .safetensors files names it too). *out is NULL on error. Close with model_close(NULL is fine).
 * The files stay mapped until then. */
enum status model_open(struct model **out, const char *path, struct error *e);

/* The same with low-rank adapters added to the weights in memory (data/lora.h): "F[:factor],F[:factor],...",
 * NULL for none. */
enum status model_open_lora(struct model **out, const char *path, const char *adapters, struct error *e);
void model_close(struct model *m);

/* Tells the kernel that a tensor's mapped pages are not needed soon (they can be read again from the file),
 * so that a packed copy and the original are never both resident. */
void model_release_pages(const struct model *m, const struct tensor *t);

/* Bytes of weights read and multiply-accumulates done for one decoded token at an empty context, head
 * included: the floor that speeds are compared with. kv_bytes: per token of context, f16. */
struct model_cost {
    double bytes_per_token;       /* weights as stored, the k chosen experts only */
    double macs_per_token;        /* without the head */
    double head_macs;             /* V*D */
    double kv_bytes_per_position; /* f16 keys and values of all attention layers */
};
struct model_cost model_cost(const struct model *m);

#endif
