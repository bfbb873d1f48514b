/* SPDX-License-Identifier: Apache-2.0 */
/* corpus_gguf: cases 1 to 58: header, key-values, tensors and hyper-parameters of a GGUF file. Each row is
 * number, name, exit code, what the answer mentions, the command (NULL: info and logits), and the lie. */
#include <math.h>
#include <string.h>

#include "tests/corpus.h"

#define A         "lfm2moe."
#define T(name)   image_tensor(&m->im, name)
#define KEY(name) image_key(&m->im, name)
/* A tensor that every case may spoil, and one of experts. */
#define Q  "blk.1.attn_q.weight"
#define UP "blk.2.ffn_up_exps.weight"
/* The end of what is said of a tensor's type. */
#define READ "expected F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K, Q5_K or Q6_K)"

static void put_raw(struct making *m, const char *key, uint32_t type, const void *value, uint64_t n) {
    struct image_key *k = image_key(&m->im, key);
    void *copy = image_memory(&m->im, n);
    if (n) memcpy(copy, value, n);
    k->type = type, k->value = copy, k->size = n;
}

static void all_i32(struct making *m, const char *key, int n, int first, int second) {
    int32_t v[8];
    for (int i = 0; i < n; i++) v[i] = i % 2 ? second : first;
    image_i32s(&m->im, key, v, (uint64_t)n);
}

/* The first float16 scale of each block of a Q4_0 tensor. */
static void set_scales(struct making *m, const char *name, uint16_t scale) {
    struct image_tensor *t = T(name);
    uint8_t *data = image_data(&m->im, t, 0);
    for (uint64_t i = 0; i + 18 <= t->bytes; i += 18) memcpy(data + i, &scale, 2);
}

static void set_floats(struct making *m, const char *name, float v) {
    struct image_tensor *t = T(name);
    float *data = image_data(&m->im, t, 0);
    for (uint64_t i = 0; i < t->bytes / 4; i++) data[i] = v;
}

static void retype(struct making *m, const char *name, enum tensor_type type) {
    struct image_tensor *t = T(name);
    uint64_t bytes = type_row_bytes(type, (int64_t)t->dims[0]);
    for (uint32_t k = 1; k < t->n_dims; k++) bytes *= t->dims[k];
    t->type = type;
    image_data(&m->im, t, bytes);
}

static void reshape(struct making *m, const char *name, uint32_t n, uint64_t a, uint64_t b, uint64_t c) {
    struct image_tensor *t = T(name);
    t->n_dims = n, t->dims[0] = a, t->dims[1] = b, t->dims[2] = c;
}

/* Where a tensor lies when every one follows the one before. */
static uint64_t true_offset(const struct making *m, const struct image_tensor *t) {
    uint64_t at = 0, alignment = m->im.alignment;
    for (const struct image_tensor *u = m->im.tensors; u < t; u++)
        at += (u->bytes + alignment - 1) / alignment * alignment;
    return at;
}

/* Two tensors of the same size: the second lies before the first. */
static void swap_offsets(struct making *m, const char *a, const char *b) {
    struct image_tensor *s = T(a), *t = T(b);
    s->offset = true_offset(m, t), t->offset = true_offset(m, s);
    s->offset_set = t->offset_set = 1;
}

static void cut_text(struct making *m, const char *key, uint64_t length) {
    put_raw(m, key, GGUF_STRING, &length, sizeof length);
}

/* The last key, so that what it claims reaches to the end of the file. */
static void array_of(struct making *m, uint32_t element, uint64_t stated) {
    image_array(&m->im, "k", element, stated, NULL, 0);
}

#define HEADER(X)                                                                                            \
    X(1, empty, 2, "empty", NULL, making_file(m, "model.gguf", "", 0))                                       \
    X(2, cut_1, 2, "magic", NULL, m->im.keep = 1)                                                            \
    X(2, cut_2, 2, "magic", NULL, m->im.keep = 2)                                                            \
    X(2, cut_3, 2, "magic", NULL, m->im.keep = 3)                                                            \
    X(2, cut_5, 2, "version", NULL, m->im.keep = 5)                                                          \
    X(2, cut_6, 2, "version", NULL, m->im.keep = 6)                                                          \
    X(2, cut_7, 2, "version", NULL, m->im.keep = 7)                                                          \
    X(2, cut_8, 2, "tensor count", NULL, m->im.keep = 8)                                                     \
    X(2, cut_9, 2, "tensor count", NULL, m->im.keep = 9)                                                     \
    X(2, cut_10, 2, "tensor count", NULL, m->im.keep = 10)                                                   \
    X(2, cut_11, 2, "tensor count", NULL, m->im.keep = 11)                                                   \
    X(2, cut_12, 2, "tensor count", NULL, m->im.keep = 12)                                                   \
    X(2, cut_13, 2, "tensor count", NULL, m->im.keep = 13)                                                   \
    X(2, cut_14, 2, "tensor count", NULL, m->im.keep = 14)                                                   \
    X(2, cut_15, 2, "tensor count", NULL, m->im.keep = 15)                                                   \
    X(2, cut_16, 2, "key count", NULL, m->im.keep = 16)                                                      \
    X(2, cut_17, 2, "key count", NULL, m->im.keep = 17)                                                      \
    X(2, cut_18, 2, "key count", NULL, m->im.keep = 18)                                                      \
    X(2, cut_19, 2, "key count", NULL, m->im.keep = 19)                                                      \
    X(2, cut_20, 2, "key count", NULL, m->im.keep = 20)                                                      \
    X(2, cut_21, 2, "key count", NULL, m->im.keep = 21)                                                      \
    X(2, cut_22, 2, "key count", NULL, m->im.keep = 22)                                                      \
    X(2, cut_23, 2, "key count", NULL, m->im.keep = 23)                                                      \
    X(3, magic, 2, "not a GGUF", NULL, m->im.magic = 0x47475546)                                             \
    X(4, version_0, 2, "version (found 0", NULL, m->im.version = 0)                                          \
    X(5, version_1, 2, "version (found 1", NULL, m->im.version = 1)                                          \
    X(6, version_4, 2, "version (found 4", NULL, m->im.version = 4)                                          \
    X(6, version_future, 2, "version (found 2147483649", NULL, m->im.version = 0x80000001)                   \
    X(7, big_endian, 2, "big-endian", NULL, m->im.version = 0x03000000)                                      \
    X(8, tensors_minus_1, 2, "number of tensors", NULL, m->im.n_tensors = UINT64_MAX)                        \
    X(8, tensors_2_63, 2, "number of tensors", NULL, m->im.n_tensors = 1ull << 63)                           \
    X(9, keys_minus_1, 2, "number of keys", NULL, m->im.n_keys = UINT64_MAX)                                 \
    X(10, tensors_bomb, 2, "number of tensors", NULL, m->im.n_tensors = 1 << 20)                             \
    X(10, keys_bomb, 2, "number of keys", NULL, m->im.n_keys = 1 << 20)                                      \
    X(11, magic_alone, 2, "version", NULL, m->im.keep = 4)

#define KEYS(X)                                                                                              \
    X(12, key_wraps, 2, "string too long", NULL, KEY("k")->name_size = UINT64_MAX)                           \
    X(13, key_past_end, 2, "file ends", NULL, KEY("k")->name_size = 1 << 28)                                 \
    X(14, key_empty, 2, "bad name (found 0", NULL, image_u32(&m->im, "", 1))                                 \
    X(15, key_newline, 2, "bad name", NULL, image_u32(&m->im, "a\nlfm2: forged", 1))                         \
    X(15, key_escape, 2, "bad name", NULL, image_u32(&m->im, "a\033[2J", 1))                                 \
    X(15, key_not_utf8, 2, "bad name", NULL, image_u32(&m->im, "a\xff", 1))                                  \
    X(15, key_zero, 2, "bad name", NULL, image_u32(&m->im, "abc", 1); KEY("abc")->name = "a\0c")             \
    X(16, key_twice, 2, "occurs twice", NULL, image_u32(&m->im, "k", 1);                                     \
      *KEY("k") = (struct image_key){"general.name", 12, 12, GGUF_U32, "1234", 4})                           \
    X(17, type_13, 2, "unknown value type (found 13", NULL, put_raw(m, "k", 13, "1234", 4))                  \
    X(18, type_minus_1, 2, "unknown value type (found -1", NULL, put_raw(m, "k", UINT32_MAX, "1234", 4))     \
    X(18, element_minus_1, 2, "unknown element type", NULL, array_of(m, UINT32_MAX, 1))                      \
    X(19, array_of_arrays, 2, "array of arrays", NULL, array_of(m, GGUF_ARRAY, 1))                           \
    X(20, array_wraps, 2, "file ends inside", NULL, array_of(m, GGUF_U64, (1ull << 61) + 1))                 \
    X(20, array_wraps_64, 2, "file ends inside", NULL, array_of(m, GGUF_U64, UINT64_MAX))                    \
    X(21, array_past_end, 2, "file ends inside", NULL, array_of(m, GGUF_U8, 1 << 28))                        \
    X(22, strings_bomb, 2, "file ends inside", NULL, array_of(m, GGUF_STRING, 1 << 30))                      \
    X(23, string_2_gib, 2, "string too long", NULL, cut_text(m, "k", 1ull << 31))                            \
    X(23, string_past_end, 2, "file ends inside", NULL, cut_text(m, "k", 1 << 28))                           \
    X(24, bool_2, 2, "bad bool (found 2", NULL, put_raw(m, "k", GGUF_BOOL, "\2", 1))                         \
    X(24, bool_255, 2, "bad bool (found 255", NULL, put_raw(m, "k", GGUF_BOOL, "\xff", 1))                   \
    X(25, cut_in_value, 2, "file ends", NULL, m->im.keep = 3000)                                             \
    X(26, alignment_0, 2, "alignment: bad value (found 0", NULL, image_u32(&m->im, "general.alignment", 0))  \
    X(26, alignment_13, 2, "alignment: bad value (found 13", NULL,                                           \
      image_u32(&m->im, "general.alignment", 13))                                                            \
    X(26, alignment_2_31, 2, "alignment: bad value", NULL, image_u32(&m->im, "general.alignment", 1u << 31)) \
    X(27, alignment_u64, 2, "alignment: wrong type", NULL, image_u64(&m->im, "general.alignment", 32))       \
    X(27, alignment_text, 2, "alignment: wrong type", NULL, image_text(&m->im, "general.alignment", "32"))   \
    X(28, no_architecture, 2, "general.architecture is missing", NULL,                                       \
      image_drop_key(&m->im, "general.architecture"))                                                        \
    X(28, no_block_count, 2, "block_count is missing", NULL, image_drop_key(&m->im, A "block_count"))        \
    X(28, no_eps, 2, "epsilon is missing", NULL,                                                             \
      image_drop_key(&m->im, A "attention.layer_norm_rms_epsilon"))                                          \
    X(29, blocks_text, 2, "block_count: wrong type", NULL, image_text(&m->im, A "block_count", "4"))         \
    X(29, blocks_float, 2, "block_count: wrong type", NULL, image_f32(&m->im, A "block_count", 4))           \
    X(29, blocks_array, 2, "block_count: wrong type", NULL, all_i32(m, A "block_count", 4, 4, 4))

#define SHAPES(X)                                                                                            \
    X(30, blocks_0, 2, "block_count: out of range", NULL, image_u32(&m->im, A "block_count", 0))             \
    X(30, blocks_1, 2, "head_count_kv: wrong length", NULL, image_u32(&m->im, A "block_count", 1))           \
    X(30, blocks_10_9, 2, "block_count: out of range", NULL, image_u32(&m->im, A "block_count", 1000000000)) \
    X(31, width_0, 2, "embedding_length: out of range", NULL, image_u32(&m->im, A "embedding_length", 0))    \
    X(31, width_66, 2, "no multiple of the 4 heads", NULL, image_u32(&m->im, A "embedding_length", 66))      \
    X(31, width_2_31, 2, "embedding_length: out of range", NULL,                                             \
      image_u32(&m->im, A "embedding_length", 1u << 31))                                                     \
    X(32, heads_0, 2, "head_count: out of range", NULL, image_u32(&m->im, A "attention.head_count", 0))      \
    X(32, kv_length, 2, "head_count_kv: wrong length", NULL,                                                 \
      all_i32(m, A "attention.head_count_kv", 3, 0, 2))                                                      \
    X(32, kv_more_than_heads, 2, "head_count_kv: bad value", NULL,                                           \
      all_i32(m, A "attention.head_count_kv", 4, 0, 8))                                                      \
    X(32, kv_all_0, 2, "no attention layer", NULL, all_i32(m, A "attention.head_count_kv", 4, 0, 0))         \
    X(33, experts_0, 2, "expert_count: out of range", NULL, image_u32(&m->im, A "expert_count", 0))          \
    X(33, experts_33, 2, "wrong shape", NULL, image_u32(&m->im, A "expert_count", 33))                       \
    X(33, experts_10_6, 2, "expert_count: out of range", NULL, image_u32(&m->im, A "expert_count", 1000000)) \
    X(33, used_9, 2, "more than there are", NULL, image_u32(&m->im, A "expert_used_count", 9))               \
    X(33, used_0, 2, "expert_used_count: out of range", NULL, image_u32(&m->im, A "expert_used_count", 0))   \
    X(34, cache_0, 2, "l_cache: out of range", NULL, image_u32(&m->im, A "shortconv.l_cache", 0))            \
    X(34, cache_1, 2, "l_cache", NULL, image_u32(&m->im, A "shortconv.l_cache", 1))                          \
    X(34, cache_2_31, 2, "l_cache", NULL, image_u32(&m->im, A "shortconv.l_cache", 1u << 31))                \
    X(35, theta_0, 2, "freq_base: out of range", NULL, image_f32(&m->im, A "rope.freq_base", 0))             \
    X(35, theta_nan, 2, "freq_base: not finite", NULL, image_f32(&m->im, A "rope.freq_base", NAN))           \
    X(35, theta_negative, 2, "freq_base: out of range", NULL, image_f32(&m->im, A "rope.freq_base", -1e6f))  \
    X(35, eps_nan, 2, "epsilon: not finite", NULL,                                                           \
      image_f32(&m->im, A "attention.layer_norm_rms_epsilon", NAN))                                          \
    X(35, eps_0, 2, "epsilon: out of range", NULL,                                                           \
      image_f32(&m->im, A "attention.layer_norm_rms_epsilon", 0))                                            \
    X(36, context_0, 2, "context_length: out of range", NULL, image_u32(&m->im, A "context_length", 0))      \
    X(36, context_2_40, 2, "context_length: out of range", NULL,                                             \
      image_u64(&m->im, A "context_length", 1ull << 40))                                                     \
    X(37, llama, 2, "found llama", NULL, image_text(&m->im, "general.architecture", "llama"))                \
    X(37, unknown, 2, "general.architecture", NULL,                                                          \
      image_text(&m->im, "general.architecture", "x\n\033[31mlfm2: done"))                                   \
    X(37, other_vocabulary, 2, "vocab_size: out of range", NULL, image_u32(&m->im, A "vocab_size", 128000))  \
    X(37, gating, 2, "expert_gating_func: not supported", NULL,                                              \
      image_u32(&m->im, A "expert_gating_func", 7))                                                          \
    X(37, dense_5, 2, "leading_dense_block_count: more than there are", NULL,                                \
      image_u32(&m->im, A "leading_dense_block_count", 5))

#define NAMES(X)                                                                                             \
    X(38, name_64, 2, "bad name (found 64", NULL,                                                            \
      image_add_tensor(&m->im, "0123456789012345678901234567890123456789012345678901234567890123", 0, 32,    \
                       0))                                                                                   \
    X(38, name_empty, 2, "bad name (found 0", NULL, image_add_tensor(&m->im, "", 0, 32, 0))                  \
    X(38, name_twice, 2, "occurs twice", NULL, image_add_tensor(&m->im, Q, 0, 32, 0))                        \
    X(38, name_not_utf8, 2, "bad name", NULL, image_add_tensor(&m->im, "a\xff\xfe", 0, 32, 0))               \
    X(39, dims_0, 2, "number of dimensions (found 0", NULL, T(Q)->n_dims = 0)                                \
    X(39, dims_5, 2, "number of dimensions (found 5", NULL, T(Q)->n_dims = 5)                                \
    X(39, dims_2_32, 2, "number of dimensions", NULL, T(Q)->n_dims = UINT32_MAX)                             \
    X(40, first_0, 2, "bad dimension 0 (found 0", NULL, T(Q)->dims[0] = 0)                                   \
    X(40, second_0, 2, "bad dimension 1 (found 0", NULL, T(Q)->dims[1] = 0)                                  \
    X(40, third_0, 2, "bad dimension 2 (found 0", NULL, T(UP)->dims[2] = 0)                                  \
    X(41, dim_minus_1, 2, "bad dimension 1 (found -1", NULL, T(Q)->dims[1] = UINT64_MAX)                     \
    X(42, product_wraps, 2, "number of weights overflows", NULL, T(Q)->dims[1] = 1ull << 60)                 \
    X(43, bytes_wrap, 2, "size overflows", NULL, reshape(m, "blk.1.attn_norm.weight", 1, 1ull << 62, 1, 1))  \
    X(44, sum_wraps, 2, "past the end", NULL,                                                                \
      image_add_tensor(&m->im, "u", TYPE_F32, 32, 0)->dims[0] = 1ull << 60;                                  \
      image_add_tensor(&m->im, "v", TYPE_F32, 32, 0)->dims[0] = 1ull << 60)                                  \
    X(45, sum_and_overhead_wrap, 2, "past the end", NULL,                                                    \
      image_add_tensor(&m->im, "u", TYPE_F32, 32, 0)->dims[0] = 0x1ffffffffffffff0)                          \
    X(46, type_4, 2, "unsupported type (found id 4,", NULL, T(Q)->type = 4)                                  \
    X(46, type_31, 2, "unsupported type (found id 31", NULL, T(Q)->type = 31)                                \
    X(46, type_4096, 2, "unsupported type (found id 4096", NULL, T(Q)->type = 4096)                          \
    X(46, type_minus_2, 2, "unsupported type (found id -2", NULL, T(Q)->type = UINT32_MAX - 1)               \
    X(46, type_q5_0, 2, Q ": unsupported type (found id 6, Q5_0, " READ "; llama-quantize", NULL,            \
      T(Q)->type = 6)                                                                                        \
    X(46, type_q5_1, 2, Q ": unsupported type (found id 7, Q5_1, " READ "; llama-quantize", NULL,            \
      T(Q)->type = 7)                                                                                        \
    X(46, type_iq4_xs, 2, Q ": unsupported type (found id 23, IQ4_XS, " READ "; llama-quantize", NULL,       \
      T(Q)->type = 23)                                                                                       \
    X(46, type_mxfp4, 2, UP ": unsupported type (found id 39, MXFP4, " READ "; llama-quantize", NULL,        \
      T(UP)->type = 39)                                                                                      \
    X(47, half_block, 2, "row length (found 33", NULL, T(Q)->dims[0] = 33)                                   \
    X(48, unaligned, 2, "unaligned data", NULL, T(Q)->offset_set = 1; T(Q)->offset = 8)                      \
    X(49, past_end, 2, "past the end", NULL, T(Q)->offset_set = 1; T(Q)->offset = 1 << 28)                   \
    X(49, offset_wraps, 2, "past the end", NULL, T(Q)->offset_set = 1; T(Q)->offset = UINT64_MAX - 31)       \
    X(50, one_byte_short, 2, "past the end", NULL, m->im.cut = 1)                                            \
    X(51, overlap, 2, "overlaps", NULL, T(Q)->offset_set = 1; T(Q)->offset = 32)                             \
    X(51, out_of_order, 0, "", NULL, swap_offsets(m, Q, "blk.1.attn_output.weight"))                         \
    X(52, trailing, 2, "unknown bytes after", NULL, m->im.extra = 4096)

#define TENSORS(X)                                                                                           \
    X(53, no_embedding, 2, "token_embd.weight is missing", NULL,                                             \
      image_drop_tensor(&m->im, "token_embd.weight"))                                                        \
    X(53, no_experts, 2, UP " is missing", NULL, image_drop_tensor(&m->im, UP))                              \
    X(54, extra, 2, "has no place", NULL, image_add_tensor(&m->im, "blk.0.attn_q.weight", 0, 64, 64))        \
    X(54, extra_layer, 2, "has no place", NULL,                                                              \
      image_add_tensor(&m->im, "blk.4.attn_norm.weight", 0, 64, 0))                                          \
    X(55, transposed, 2, "wrong shape", NULL, reshape(m, "blk.1.attn_k.weight", 2, 32, 64, 1))               \
    X(55, conv_3d, 0, "", NULL, reshape(m, "blk.0.shortconv.conv.weight", 3, 3, 1, 64))                      \
    X(55, experts_7, 2, "wrong shape", NULL, T(UP)->dims[2] = 7; T(UP)->bytes = T(UP)->bytes / 8 * 7)        \
    X(56, bias_q4, 2, "exp_probs_b.bias: ", NULL, retype(m, "blk.2.exp_probs_b.bias", TYPE_F16))             \
    X(56, norm_q8, 2, "attn_norm.weight: ", NULL, retype(m, "blk.1.attn_norm.weight", TYPE_Q8_0))            \
    X(56, router_q4, 2, "ffn_gate_inp.weight: ", NULL, retype(m, "blk.2.ffn_gate_inp.weight", TYPE_Q4_0))    \
    X(57, scale_nan, 2, "finite", "logits -m % --ids 1,2 -o out.h5", set_scales(m, Q, 0x7e00))               \
    X(57, scale_inf, 2, "finite", "run -m % -p a -n 2 --temp 0", set_scales(m, Q, 0x7c00))                   \
    X(57, scale_0, 0, "", "logits -m % --ids 1,2 -o out.h5", set_scales(m, Q, 0))                            \
    X(57, scale_denormal, 0, "", "logits -m % --ids 1,2 -o out.h5", set_scales(m, Q, 1))                     \
    X(57, scale_large, 2, "finite", "logits -m % --ids 1,2 -o out.h5",                                       \
      set_floats(m, "token_embd_norm.weight", 3e38f))                                                        \
    X(57, norm_nan, 2, "finite", "run -m % -p a -n 2", set_floats(m, "token_embd_norm.weight", NAN))         \
    X(57, router_nan, 2, "finite", "run -m % -p a -n 2", set_floats(m, "blk.2.ffn_gate_inp.weight", NAN))    \
    X(57, bias_inf, 0, "", "run -m % -p a -n 2", set_floats(m, "blk.2.exp_probs_b.bias", INFINITY))          \
    X(58, output_norm, 0, "", NULL, T("token_embd_norm.weight")->name = "output_norm.weight";                \
      image_tensor(&m->im, "output_norm.weight")->name_size = 18;                                            \
      image_tensor(&m->im, "output_norm.weight")->name_bytes = 18)                                           \
    X(58, both_norms, 2, "has no place", NULL, image_add_tensor(&m->im, "output_norm.weight", 0, 64, 0))     \
    X(58, own_head, 0, "", NULL, image_add_tensor(&m->im, "output.weight", TYPE_Q8_0, 64, 512))              \
    X(58, short_head, 2, "output.weight: wrong shape", NULL,                                                 \
      image_add_tensor(&m->im, "output.weight", TYPE_Q8_0, 64, 511))

#define ALL(X) HEADER(X) KEYS(X) SHAPES(X) NAMES(X) TENSORS(X)

#define X(number, id, code, mention, command, ...)                                                           \
    static void case_##id(struct making *m) {                                                                \
        __VA_ARGS__;                                                                                         \
    }
ALL(X)
#undef X

const struct corpus_case corpus_gguf[] = {
#define X(number, id, code, mention, command, ...) {number, #id, code, mention, command, case_##id},
    ALL(X)
#undef X
        {0},
};
