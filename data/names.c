/* SPDX-License-Identifier: Apache-2.0 */
/* names: the tables. */
#include "data/names.h"

#define COUNT(a)  (int)(sizeof(a) / sizeof *(a))
#define CONFIG(f) offsetof(struct config, f)
#define LAYER(f)  offsetof(struct layer, f)
#define EXPERT(f) offsetof(struct expert, f)

const struct arch archs[] = {
    {"lfm2moe", .has_conv = 1, .has_experts = 1, .model_type = "lfm2_moe", .style = HF_LFM2, .tied = 1},
    {"lfm2", .has_conv = 1, .model_type = "lfm2", .style = HF_LFM2, .adjusts_ff = 1, .tied = 1},
    {"qwen3", .has_conv = 0, .model_type = "qwen3", .style = HF_QWEN3},
};
const int n_archs = COUNT(archs);
const char arch_names[] = "lfm2moe, lfm2 or qwen3";
const char model_type_names[] = "lfm2_moe, lfm2 or qwen3";

/* Engines keep sizes and products of two sizes in int: the limits see to it that these fit. */
enum { MAX_DIM = 1 << 24, MAX_LAYERS = 1024, MAX_HEADS = 4096, MAX_EXPERTS = 4096 };

const struct int_key int_keys[] = {
    {".block_count", NEED_ALWAYS, 1, MAX_LAYERS, 0, CONFIG(n_layers)},
    {".context_length", NEED_ALWAYS, 1, MAX_DIM, 0, CONFIG(context_length)},
    {".embedding_length", NEED_ALWAYS, 1, MAX_DIM, 0, CONFIG(n_embd)},
    {".attention.head_count", NEED_ALWAYS, 1, MAX_HEADS, 0, CONFIG(n_heads)},
    {KEY_CONV_TAPS, NEED_CONV, 1, MAX_DIM, 0, CONFIG(conv_taps)},
    {".expert_count", NEED_EXPERTS, 1, MAX_EXPERTS, 0, CONFIG(n_experts)},
    {".expert_used_count", NEED_EXPERTS, 1, MAX_EXPERTS, 0, CONFIG(n_experts_used)},
    {".expert_feed_forward_length", NEED_EXPERTS, 1, MAX_DIM, 0, CONFIG(n_expert_ff)},
    {".leading_dense_block_count", NEED_EXPERTS, 0, MAX_LAYERS, 0, CONFIG(n_dense_layers)},
    {"tokenizer.ggml.bos_token_id", NEED_NEVER, 0, MAX_DIM, -1, CONFIG(bos_id)},
    {"tokenizer.ggml.eos_token_id", NEED_NEVER, 0, MAX_DIM, -1, CONFIG(eos_id)},
};
const int n_int_keys = COUNT(int_keys);

const struct f32_key f32_keys[] = {
    {".attention.layer_norm_rms_epsilon", NEED_ALWAYS, 0, CONFIG(norm_eps)},
    {".rope.freq_base", NEED_ALWAYS, 0, CONFIG(rope_theta)},
    {".expert_weights_scale", NEED_NEVER, 1, CONFIG(expert_scale)},
};
const int n_f32_keys = COUNT(f32_keys);

const struct fixed_key fixed_keys[] = {
    {".attention.sliding_window", 0, "attention windows are not supported"},
    {".attention.causal", 1, "attention that is not causal is not supported"},
    {".expert_shared_count", 0, "shared experts are not supported"},
};
const int n_fixed_keys = COUNT(fixed_keys);

/* Names of one layer in a folder; HF_LFM2 alone, or both families. */
#define HF(name)   "model.layers.%d." name
#define LFM2(l)    {[HF_LFM2] = HF(l)}, NULL, 0, 0
#define BOTH(l, q) {[HF_LFM2] = HF(l), [HF_QWEN3] = HF(q)}, NULL, 0, 0
#define EXPERTS(w, f, i, n)                                                                                  \
    {[HF_LFM2] = HF("feed_forward.experts.%d." w ".weight")}, HF("feed_forward.experts." f), i, n

const struct layer_tensor layer_tensors[] = {
    {"blk.%d.attn_norm.weight", BOTH("operator_norm.weight", "input_layernorm.weight"), PART_ALL, DIM_1,
     DIM_D, 1, 0, LAYER(mixer_norm)},
    {"blk.%d.ffn_norm.weight", BOTH("ffn_norm.weight", "post_attention_layernorm.weight"), PART_ALL, DIM_1,
     DIM_D, 1, 0, LAYER(ffn_norm)},
    {"blk.%d.shortconv.in_proj.weight", LFM2("conv.in_proj.weight"), PART_CONV, DIM_3D, DIM_D, 0, 0,
     LAYER(conv_in)},
    {"blk.%d.shortconv.conv.weight", LFM2("conv.conv.weight"), PART_CONV, DIM_D, DIM_TAPS, 1, 0,
     LAYER(conv_taps)},
    {"blk.%d.shortconv.out_proj.weight", LFM2("conv.out_proj.weight"), PART_CONV, DIM_D, DIM_D, 0, 0,
     LAYER(conv_out)},
    {"blk.%d.attn_q.weight", BOTH("self_attn.q_proj.weight", "self_attn.q_proj.weight"), PART_ATTENTION,
     DIM_HEADS, DIM_D, 0, 0, LAYER(q)},
    {"blk.%d.attn_k.weight", BOTH("self_attn.k_proj.weight", "self_attn.k_proj.weight"), PART_ATTENTION,
     DIM_KV_HEADS, DIM_D, 0, 0, LAYER(k)},
    {"blk.%d.attn_v.weight", BOTH("self_attn.v_proj.weight", "self_attn.v_proj.weight"), PART_ATTENTION,
     DIM_KV_HEADS, DIM_D, 0, 0, LAYER(v)},
    {"blk.%d.attn_output.weight", BOTH("self_attn.out_proj.weight", "self_attn.o_proj.weight"),
     PART_ATTENTION, DIM_D, DIM_HEADS, 0, 0, LAYER(o)},
    {"blk.%d.attn_q_norm.weight", BOTH("self_attn.q_layernorm.weight", "self_attn.q_norm.weight"),
     PART_ATTENTION, DIM_1, DIM_HEAD, 1, 0, LAYER(q_norm)},
    {"blk.%d.attn_k_norm.weight", BOTH("self_attn.k_layernorm.weight", "self_attn.k_norm.weight"),
     PART_ATTENTION, DIM_1, DIM_HEAD, 1, 0, LAYER(k_norm)},
    {"blk.%d.ffn_gate.weight", BOTH("feed_forward.w1.weight", "mlp.gate_proj.weight"), PART_DENSE, DIM_FF,
     DIM_D, 0, 0, LAYER(gate)},
    {"blk.%d.ffn_up.weight", BOTH("feed_forward.w3.weight", "mlp.up_proj.weight"), PART_DENSE, DIM_FF, DIM_D,
     0, 0, LAYER(up)},
    {"blk.%d.ffn_down.weight", BOTH("feed_forward.w2.weight", "mlp.down_proj.weight"), PART_DENSE, DIM_D,
     DIM_FF, 0, 0, LAYER(down)},
    {"blk.%d.ffn_gate_inp.weight", LFM2("feed_forward.gate.weight"), PART_MOE, DIM_EXPERTS, DIM_D, 1, 0,
     LAYER(router)},
    {"blk.%d.exp_probs_b.bias", LFM2("feed_forward.expert_bias"), PART_MOE, DIM_1, DIM_EXPERTS, 1, 1,
     LAYER(router_bias)},
    {"blk.%d.ffn_gate_exps.weight", EXPERTS("w1", "gate_up_proj", 0, 2), PART_EXPERT, DIM_EXPERT_FF, DIM_D, 0,
     0, EXPERT(gate)},
    {"blk.%d.ffn_up_exps.weight", EXPERTS("w3", "gate_up_proj", 1, 2), PART_EXPERT, DIM_EXPERT_FF, DIM_D, 0,
     0, EXPERT(up)},
    {"blk.%d.ffn_down_exps.weight", EXPERTS("w2", "down_proj", 0, 1), PART_EXPERT, DIM_D, DIM_EXPERT_FF, 0, 0,
     EXPERT(down)},
};
const int n_layer_tensors = COUNT(layer_tensors);

const char *const final_norm_names[] = {"token_embd_norm.weight", "output_norm.weight"};
const int n_final_norm_names = COUNT(final_norm_names);
const char *const hf_final_norm[HF_STYLES] = {"model.embedding_norm.weight", "model.norm.weight"};

const struct hf_key hf_keys[] = {
    {".block_count", {"num_hidden_layers"}, HF_INT, NEED_ALWAYS},
    {".context_length", {"max_position_embeddings"}, HF_INT, NEED_ALWAYS},
    {".embedding_length", {"hidden_size"}, HF_INT, NEED_ALWAYS},
    {".attention.head_count", {"num_attention_heads"}, HF_INT, NEED_ALWAYS},
    {KEY_KEY_LENGTH, {"head_dim"}, HF_INT, NEED_NEVER},
    {KEY_VALUE_LENGTH, {"head_dim"}, HF_INT, NEED_NEVER},
    {".attention.layer_norm_rms_epsilon", {"norm_eps", "rms_norm_eps"}, HF_FLOAT, NEED_ALWAYS},
    /* The same number under the names that different versions of Transformers write. */
    {".rope.freq_base",
     {"rope_parameters/rope_theta", "rope_parameters/full_attention/rope_theta", "rope_theta", "theta"},
     HF_FLOAT,
     NEED_ALWAYS},
    {KEY_VOCAB_SIZE, {"vocab_size"}, HF_INT, NEED_ALWAYS},
    {KEY_CONV_TAPS, {"conv_L_cache"}, HF_INT, NEED_CONV},
    {".expert_count", {"num_experts"}, HF_INT, NEED_EXPERTS},
    {".expert_used_count", {"num_experts_per_tok"}, HF_INT, NEED_EXPERTS},
    {".expert_feed_forward_length", {"moe_intermediate_size"}, HF_INT, NEED_EXPERTS},
    {".leading_dense_block_count", {"num_dense_layers"}, HF_INT, NEED_EXPERTS},
    {KEY_EXPERT_NORM, {"norm_topk_prob"}, HF_BOOL, NEED_NEVER},
    {".expert_weights_scale", {"routed_scaling_factor"}, HF_FLOAT, NEED_NEVER},
    {"tokenizer.ggml.bos_token_id", {"bos_token_id"}, HF_INT, NEED_NEVER},
    {"tokenizer.ggml.eos_token_id", {"eos_token_id"}, HF_INT, NEED_NEVER},
    {"tokenizer.ggml.padding_token_id", {"pad_token_id"}, HF_INT, NEED_NEVER},
};
const int n_hf_keys = COUNT(hf_keys);

const struct hf_fixed hf_fixed[] = {
    {"hidden_act", "\"silu\"", "other activations are not supported"},
    {"attention_bias", "false", "biases are not supported"},
    {"conv_bias", "false", "biases are not supported"},
    {"use_sliding_window", "false", "attention windows are not supported"},
    {"rope_scaling/rope_type", "\"default\"", "scaled rotations are not supported"},
    {"rope_scaling/type", "\"default\"", "scaled rotations are not supported"},
    {"rope_parameters/rope_type", "\"default\"", "scaled rotations are not supported"},
    {"rope_parameters/full_attention/rope_type", "\"default\"", "scaled rotations are not supported"},
    {"partial_rotary_factor", "1.0", "rotating a part of each head is not supported"},
    {"block_use_swiglu", "true", "other feed-forward blocks are not supported"},
    {"use_pos_enc", "true", "attention without positions is not supported"},
    {"use_expert_bias", "true", "experts without a bias are not supported"},
    {"quantization_config", "null", "quantised folders are not supported; take the original one"},
};
const int n_hf_fixed = COUNT(hf_fixed);
