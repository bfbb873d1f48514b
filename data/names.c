/* names: the tables. */
#include "data/names.h"

#define COUNT(a)  (int)(sizeof(a) / sizeof *(a))
#define CONFIG(f) offsetof(struct config, f)
#define LAYER(f)  offsetof(struct layer, f)
#define EXPERT(f) offsetof(struct expert, f)

const struct arch archs[] = {
    {"lfm2moe", .has_conv = 1, .has_experts = 1},
    {"lfm2", .has_conv = 1},
    {"qwen3", .has_conv = 0},
};
const int n_archs = COUNT(archs);
const char arch_names[] = "lfm2moe, lfm2 or qwen3";

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

const struct layer_tensor layer_tensors[] = {
    {"blk.%d.attn_norm.weight", PART_ALL, DIM_1, DIM_D, 1, 0, LAYER(mixer_norm)},
    {"blk.%d.ffn_norm.weight", PART_ALL, DIM_1, DIM_D, 1, 0, LAYER(ffn_norm)},
    {"blk.%d.shortconv.in_proj.weight", PART_CONV, DIM_3D, DIM_D, 0, 0, LAYER(conv_in)},
    {"blk.%d.shortconv.conv.weight", PART_CONV, DIM_D, DIM_TAPS, 1, 0, LAYER(conv_taps)},
    {"blk.%d.shortconv.out_proj.weight", PART_CONV, DIM_D, DIM_D, 0, 0, LAYER(conv_out)},
    {"blk.%d.attn_q.weight", PART_ATTENTION, DIM_HEADS, DIM_D, 0, 0, LAYER(q)},
    {"blk.%d.attn_k.weight", PART_ATTENTION, DIM_KV_HEADS, DIM_D, 0, 0, LAYER(k)},
    {"blk.%d.attn_v.weight", PART_ATTENTION, DIM_KV_HEADS, DIM_D, 0, 0, LAYER(v)},
    {"blk.%d.attn_output.weight", PART_ATTENTION, DIM_D, DIM_HEADS, 0, 0, LAYER(o)},
    {"blk.%d.attn_q_norm.weight", PART_ATTENTION, DIM_1, DIM_HEAD, 1, 0, LAYER(q_norm)},
    {"blk.%d.attn_k_norm.weight", PART_ATTENTION, DIM_1, DIM_HEAD, 1, 0, LAYER(k_norm)},
    {"blk.%d.ffn_gate.weight", PART_DENSE, DIM_FF, DIM_D, 0, 0, LAYER(gate)},
    {"blk.%d.ffn_up.weight", PART_DENSE, DIM_FF, DIM_D, 0, 0, LAYER(up)},
    {"blk.%d.ffn_down.weight", PART_DENSE, DIM_D, DIM_FF, 0, 0, LAYER(down)},
    {"blk.%d.ffn_gate_inp.weight", PART_MOE, DIM_EXPERTS, DIM_D, 1, 0, LAYER(router)},
    {"blk.%d.exp_probs_b.bias", PART_MOE, DIM_1, DIM_EXPERTS, 1, 1, LAYER(router_bias)},
    {"blk.%d.ffn_gate_exps.weight", PART_EXPERT, DIM_EXPERT_FF, DIM_D, 0, 0, EXPERT(gate)},
    {"blk.%d.ffn_up_exps.weight", PART_EXPERT, DIM_EXPERT_FF, DIM_D, 0, 0, EXPERT(up)},
    {"blk.%d.ffn_down_exps.weight", PART_EXPERT, DIM_D, DIM_EXPERT_FF, 0, 0, EXPERT(down)},
};
const int n_layer_tensors = COUNT(layer_tensors);

const char *const final_norm_names[] = {"token_embd_norm.weight", "output_norm.weight"};
const int n_final_norm_names = COUNT(final_norm_names);
