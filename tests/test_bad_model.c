/* SPDX-License-Identifier: Apache-2.0 */
/* The loader on bad files: one that asks for anything the engines do not compute is refused with a text that
 * names the file and the key or tensor; a damaged one never crashes it. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/gguf_write.h"
#include "data/model.h"
#include "tests/tiny.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char directory[200], path[300], changed[300];

static void setup(void) {
    cr_assert(tiny_directory(directory, sizeof directory) == 0);
    snprintf(path, sizeof path, "%s/model.gguf", directory);
    snprintf(changed, sizeof changed, "%s/changed.gguf", directory);
}
static void teardown(void) {
    tiny_directory_remove(directory);
}

TestSuite(bad_model, .init = setup, .fini = teardown);

static struct model *open_ok(const char *file) {
    struct model *m;
    struct error e = {0};
    cr_assert_eq(model_open(&m, file, &e), OK, "%s", e.text);
    return m;
}

static void write_tiny(const struct tiny_spec *s) {
    struct error e = {0};
    cr_assert_eq(tiny_write(path, s, &e), OK, "%s", e.text);
}

/* ---- files changed in one place ---- */

/* A key, replaced by a bad value or (NOTHING) left out. */
struct bad_key {
    const char *arch, *key;
    enum status status;
    const char *text;
    enum { NOTHING, U32, I32, F32, BOOL, STRING, I32S, F32S } put;
    double number;
    const char *string;
    int n;
    int32_t list[4];
};

struct change {
    const struct bad_key *key;
    const char *tensor; /* this tensor ... */
    int drop;           /* ... is left out, or */
    const char *name;   /* ... gets another name, unless NULL, */
    int type;           /* ... another type, unless 0 (F32 is not asked for), */
    int n_dims;         /* ... other dims, unless 0 */
    int64_t dims[4];
};

static int same_key(const struct gguf_kv *kv, const char *key) {
    return kv->key.size == strlen(key) && memcmp(kv->key.data, key, kv->key.size) == 0;
}

static void put_bad_key(struct gguf_writer *w, const struct bad_key *k) {
    float floats[4];
    for (int i = 0; i < 4; i++) floats[i] = (float)k->list[i];
    switch (k->put) {
    case NOTHING:
        break;
    case U32:
        gguf_put_u32(w, k->key, (uint32_t)k->number);
        break;
    case I32:
        gguf_put_i32(w, k->key, (int32_t)k->number);
        break;
    case F32:
        gguf_put_f32(w, k->key, (float)k->number);
        break;
    case BOOL:
        gguf_put_bool(w, k->key, (int)k->number);
        break;
    case STRING:
        gguf_put_string(w, k->key, k->string);
        break;
    case I32S:
        gguf_put_i32s(w, k->key, k->list, (size_t)k->n);
        break;
    case F32S:
        gguf_put_f32s(w, k->key, floats, (size_t)k->n);
        break;
    }
}

/* Copies path to changed, with the change; data of a changed tensor is zero. */
static void write_changed(const struct change *c) {
    static uint8_t zeros[1 << 20];
    struct gguf *g;
    struct gguf_writer *w;
    struct error e = {0};
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_new(&w, changed, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_kv; i++)
        if (!c->key || !same_key(&g->kv[i], c->key->key)) gguf_put_kv(w, &g->kv[i]);
    if (c->key) put_bad_key(w, c->key);
    for (int pass = 0; pass < 2; pass++) {
        int found = !c->tensor;
        for (uint64_t i = 0; i < g->n_tensors; i++) {
            struct gguf_tensor t = g->tensors[i];
            if (c->tensor && strcmp(t.name, c->tensor) == 0) {
                found = 1;
                if (c->drop) continue;
                if (c->name) snprintf(t.name, sizeof t.name, "%s", c->name);
                if (c->type) t.type = (enum tensor_type)c->type;
                if (c->n_dims) t.n_dims = c->n_dims, memcpy(t.dims, c->dims, sizeof t.dims);
                t.bytes = type_row_bytes(t.type, t.dims[0]);
                for (int k = 1; k < t.n_dims; k++) t.bytes *= (uint64_t)t.dims[k];
                t.data = t.bytes == g->tensors[i].bytes ? t.data : zeros;
                cr_assert_leq(t.bytes, sizeof zeros);
            }
            if (pass == 0)
                gguf_put_tensor(w, t.name, t.type, t.n_dims, t.dims);
            else
                cr_assert_eq(gguf_writer_data(w, t.data, t.bytes, &e), OK, "%s", e.text);
        }
        cr_assert(found, "no tensor %s to change", c->tensor);
        if (pass == 0) cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    }
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
    gguf_close(g);
}

static void expect_refusal(const char *what, enum status status, const char *text) {
    struct model *m = (struct model *)1;
    struct error e = {0};
    enum status found = model_open(&m, changed, &e);
    cr_expect_eq(found, status, "%s: status %d (%s)", what, found, e.text);
    cr_expect_null(m, "%s", what);
    cr_expect(strncmp(e.text, changed, strlen(changed)) == 0, "%s: does not name the file: %s", what, e.text);
    cr_expect(strstr(e.text, text) != NULL, "%s: '%s' lacks '%s'", what, e.text, text);
    if (found == OK) model_close(m);
}

#define A "lfm2moe."
static const struct bad_key bad_keys[] = {
    {"lfm2moe", "general.architecture", ERR_SHAPE, "general.architecture is missing", .put = NOTHING},
    {"lfm2moe", "general.architecture", ERR_UNSUPPORTED, "(found llama, expected lfm2moe, lfm2 or qwen3)",
     .put = STRING, .string = "llama"},
    {"lfm2moe", "general.architecture", ERR_SHAPE, "wrong type (found u32, expected string)", .put = U32,
     .number = 1},
    {"lfm2moe", A "block_count", ERR_SHAPE, "key lfm2moe.block_count is missing", .put = NOTHING},
    {"lfm2moe", A "block_count", ERR_SHAPE, "block_count: wrong type (found string", .put = STRING,
     .string = "4"},
    {"lfm2moe", A "block_count", ERR_SHAPE, "block_count: wrong type (found f32", .put = F32, .number = 4},
    {"lfm2moe", A "block_count", ERR_SHAPE, "block_count: wrong type (found array of i32", .put = I32S,
     .n = 1, .list = {4}},
    {"lfm2moe", A "block_count", ERR_SHAPE, "block_count: out of range (found 0, expected 1 to 1024)",
     .put = U32, .number = 0},
    {"lfm2moe", A "block_count", ERR_SHAPE, "block_count: out of range (found 1000000000", .put = U32,
     .number = 1000000000},
    {"lfm2moe", A "block_count", ERR_SHAPE, "head_count_kv: wrong length (found 4 values, expected 5",
     .put = U32, .number = 5},
    {"qwen3", "qwen3.block_count", ERR_SHAPE, "tensor blk.4.attn_norm.weight is missing", .put = U32,
     .number = 5},
    {"qwen3", "qwen3.block_count", ERR_SHAPE, "tensor blk.3.attn_norm.weight has no place", .put = U32,
     .number = 3},
    {"lfm2moe", A "context_length", ERR_SHAPE, "context_length is missing", .put = NOTHING},
    {"lfm2moe", A "context_length", ERR_SHAPE, "context_length: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "embedding_length", ERR_SHAPE, "embedding_length: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "embedding_length", ERR_SHAPE, "embedding_length: out of range (found 2147483648",
     .put = U32, .number = 1u << 31},
    {"lfm2moe", A "embedding_length", ERR_SHAPE, "embedding_length 66 is no multiple of the 4 heads",
     .put = U32, .number = 66},
    {"lfm2moe", A "embedding_length", ERR_SHAPE, "token_embd.weight: wrong shape (found [64, 512]",
     .put = U32, .number = 128},
    {"lfm2moe", A "feed_forward_length", ERR_SHAPE, "feed_forward_length: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "feed_forward_length", ERR_UNSUPPORTED, "feed_forward_length: differs between dense",
     .put = I32S, .n = 4, .list = {192, 128, 0, 0}},
    {"lfm2moe", A "attention.head_count", ERR_SHAPE, "head_count: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "attention.head_count_kv", ERR_SHAPE, "head_count_kv is missing", .put = NOTHING},
    {"lfm2moe", A "attention.head_count_kv", ERR_SHAPE, "head_count_kv: bad value for layer 1 (found 3",
     .put = I32S, .n = 4, .list = {0, 3, 0, 3}},
    {"lfm2moe", A "attention.head_count_kv", ERR_SHAPE, "head_count_kv: bad value for layer 1 (found 8",
     .put = I32S, .n = 4, .list = {0, 8, 0, 8}},
    {"lfm2moe", A "attention.head_count_kv", ERR_SHAPE, "head_count_kv: bad value for layer 3 (found -2",
     .put = I32S, .n = 4, .list = {0, 2, 0, -2}},
    {"lfm2moe", A "attention.head_count_kv", ERR_UNSUPPORTED, "head_count_kv: differs between attention",
     .put = I32S, .n = 4, .list = {0, 2, 0, 1}},
    {"lfm2moe", A "attention.head_count_kv", ERR_UNSUPPORTED, "head_count_kv: no attention layer",
     .put = I32S, .n = 4, .list = {0, 0, 0, 0}},
    {"lfm2moe", A "attention.head_count_kv", ERR_SHAPE, "wrong type (found array of f32", .put = F32S, .n = 4,
     .list = {0, 2, 0, 2}},
    {"qwen3", "qwen3.attention.head_count_kv", ERR_SHAPE, "head_count_kv: bad value for layer 0 (found 0",
     .put = U32, .number = 0},
    {"qwen3", "qwen3.attention.key_length", ERR_SHAPE, "bad head size (found 15", .put = U32, .number = 15},
    {"qwen3", "qwen3.attention.value_length", ERR_SHAPE, "value_length: out of range (found 8", .put = U32,
     .number = 8},
    {"lfm2moe", A "rope.dimension_count", ERR_SHAPE,
     "rope.dimension_count: out of range (found 8, expected 16 to 16)", .put = U32, .number = 8},
    {"lfm2moe", A "expert_count", ERR_SHAPE, "expert_count is missing", .put = NOTHING},
    {"lfm2moe", A "expert_count", ERR_SHAPE, "expert_count: out of range (found 0", .put = U32, .number = 0},
    {"lfm2moe", A "expert_count", ERR_SHAPE, "blk.2.ffn_gate_inp.weight: wrong shape (found [64, 8], exp",
     .put = U32, .number = 7},
    {"lfm2moe", A "expert_count", ERR_SHAPE, "expert_count: out of range (found 1000000", .put = U32,
     .number = 1000000},
    {"lfm2moe", A "expert_used_count", ERR_SHAPE, "expert_used_count: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "expert_used_count", ERR_SHAPE, "expert_used_count: more than there are (found 9",
     .put = U32, .number = 9},
    {"lfm2moe", A "leading_dense_block_count", ERR_SHAPE, "leading_dense_block_count: more than there are",
     .put = U32, .number = 5},
    {"lfm2moe", A "leading_dense_block_count", ERR_SHAPE, "blk.2.ffn_gate.weight is missing", .put = U32,
     .number = 3},
    {"lfm2moe", A "expert_gating_func", ERR_SHAPE, "expert_gating_func is missing", .put = NOTHING},
    {"lfm2moe", A "expert_gating_func", ERR_UNSUPPORTED, "expert_gating_func: not supported (found 1",
     .put = U32, .number = 1},
    {"lfm2moe", A "expert_weights_norm", ERR_SHAPE, "expert_weights_norm: wrong type (found u32", .put = U32,
     .number = 1},
    {"lfm2moe", A "expert_weights_scale", ERR_SHAPE, "expert_weights_scale: out of range (found 0",
     .put = F32, .number = 0},
    {"lfm2moe", A "expert_shared_count", ERR_UNSUPPORTED,
     "expert_shared_count: shared experts are not supported", .put = U32, .number = 1},
    {"lfm2moe", A "shortconv.l_cache", ERR_SHAPE, "shortconv.l_cache is missing", .put = NOTHING},
    {"lfm2moe", A "shortconv.l_cache", ERR_SHAPE, "shortconv.l_cache: out of range (found 0", .put = U32,
     .number = 0},
    {"lfm2moe", A "shortconv.l_cache", ERR_UNSUPPORTED, "shortconv.l_cache: not supported (found 4, exp",
     .put = U32, .number = 4},
    {"lfm2moe", A "rope.freq_base", ERR_SHAPE, "rope.freq_base: out of range (found 0", .put = F32,
     .number = 0},
    {"lfm2moe", A "rope.freq_base", ERR_SHAPE, "rope.freq_base: not finite", .put = F32, .number = NAN},
    {"lfm2moe", A "rope.freq_base", ERR_SHAPE, "rope.freq_base: out of range (found -1", .put = F32,
     .number = -1},
    {"lfm2moe", A "attention.layer_norm_rms_epsilon", ERR_SHAPE, "rms_epsilon: not finite", .put = F32,
     .number = INFINITY},
    {"lfm2moe", A "attention.layer_norm_rms_epsilon", ERR_SHAPE, "rms_epsilon: out of range (found 0",
     .put = F32, .number = 0},
    {"qwen3", "qwen3.rope.scaling.type", ERR_UNSUPPORTED,
     "rope.scaling.type: not supported (found yarn, expected none)", .put = STRING, .string = "yarn"},
    {"qwen3", "qwen3.attention.sliding_window", ERR_UNSUPPORTED,
     "attention.sliding_window: attention windows", .put = U32, .number = 512},
    {"lfm2moe", A "attention.causal", ERR_UNSUPPORTED, "attention.causal: attention that is not causal",
     .put = BOOL, .number = 0},
    {"lfm2moe", A "vocab_size", ERR_SHAPE, "vocab_size: out of range (found 500, expected 512 to 512)",
     .put = U32, .number = 500},
    {"lfm2moe", "tokenizer.ggml.bos_token_id", ERR_SHAPE, "bos_token_id: no such token (found 512",
     .put = U32, .number = 512},
    {"lfm2moe", "tokenizer.ggml.eos_token_id", ERR_SHAPE, "eos_token_id: out of range (found -1", .put = I32,
     .number = -1},
    {"lfm2moe", "lfm2.synthetic", ERR_SHAPE, "lfm2.synthetic: wrong type (found u32", .put = U32,
     .number = 1},
};
#undef A

Test(bad_model, refuses_bad_keys) {
    for (size_t i = 0; i < COUNT(bad_keys); i++) {
        struct tiny_spec s = tiny_default(bad_keys[i].arch);
        write_tiny(&s);
        write_changed(&(struct change){.key = &bad_keys[i]});
        expect_refusal(bad_keys[i].key, bad_keys[i].status, bad_keys[i].text);
    }
}

static const struct {
    const char *arch;
    struct change change;
    enum status status;
    const char *text;
} bad_tensors[] = {
    {"lfm2moe", {.tensor = "token_embd.weight", .drop = 1}, ERR_SHAPE, "tensor token_embd.weight is missing"},
    {"lfm2moe", {.tensor = "token_embd_norm.weight", .drop = 1}, ERR_SHAPE, "output_norm.weight is missing"},
    {"lfm2moe", {.tensor = "blk.0.shortconv.conv.weight", .drop = 1}, ERR_SHAPE, "conv.weight is missing"},
    {"lfm2moe",
     {.tensor = "blk.1.attn_q.weight", .drop = 1},
     ERR_SHAPE,
     "tensor blk.1.attn_q.weight is missing (expected shape [64, 64])"},
    {"lfm2moe",
     {.tensor = "blk.3.ffn_down_exps.weight", .drop = 1},
     ERR_SHAPE,
     "tensor blk.3.ffn_down_exps.weight is missing (expected shape [96, 64, 8])"},
    {"lfm2moe",
     {.tensor = "blk.3.attn_k_norm.weight", .name = "blk.3.attn_k.bias"},
     ERR_SHAPE,
     "tensor blk.3.attn_k_norm.weight is missing"},
    {"lfm2moe",
     {.tensor = "blk.3.exp_probs_b.bias", .name = "blk.3.extra"},
     ERR_SHAPE,
     "tensor blk.3.extra has no place in a model of architecture lfm2moe"},
    {"lfm2moe",
     {.tensor = "blk.1.attn_k.weight", .n_dims = 2, .dims = {32, 64}},
     ERR_SHAPE,
     "tensor blk.1.attn_k.weight: wrong shape (found [32, 64], expected [64, 32])"},
    {"lfm2moe",
     {.tensor = "blk.2.ffn_up_exps.weight", .n_dims = 3, .dims = {64, 96, 7}},
     ERR_SHAPE,
     "tensor blk.2.ffn_up_exps.weight: wrong shape (found [64, 96, 7], expected [64, 96, 8])"},
    {"lfm2moe",
     {.tensor = "blk.2.ffn_up_exps.weight", .n_dims = 2, .dims = {64, 96 * 8}},
     ERR_SHAPE,
     "tensor blk.2.ffn_up_exps.weight: wrong shape"},
    {"lfm2moe",
     {.tensor = "blk.2.shortconv.conv.weight", .n_dims = 2, .dims = {4, 64}},
     ERR_SHAPE,
     "tensor blk.2.shortconv.conv.weight: wrong shape (found [4, 64], expected [3, 64])"},
    {"lfm2moe",
     {.tensor = "blk.2.shortconv.conv.weight", .n_dims = 2, .dims = {64, 3}},
     ERR_SHAPE,
     "tensor blk.2.shortconv.conv.weight: wrong shape (found [64, 3], expected [3, 64])"},
    {"lfm2moe",
     {.tensor = "blk.0.attn_norm.weight", .n_dims = 1, .dims = {63}},
     ERR_SHAPE,
     "tensor blk.0.attn_norm.weight: wrong shape (found [63], expected [64])"},
    {"lfm2moe",
     {.tensor = "blk.0.attn_norm.weight", .type = TYPE_F16},
     ERR_SHAPE,
     "tensor blk.0.attn_norm.weight: wrong type (found F16, expected F32"},
    {"lfm2moe",
     {.tensor = "blk.2.ffn_gate_inp.weight", .type = TYPE_Q8_0},
     ERR_SHAPE,
     "tensor blk.2.ffn_gate_inp.weight: wrong type (found Q8_0, expected F32"},
    {"lfm2moe",
     {.tensor = "blk.2.exp_probs_b.bias", .type = TYPE_BF16},
     ERR_SHAPE,
     "tensor blk.2.exp_probs_b.bias: wrong type (found BF16, expected F32"},
    {"lfm2moe",
     {.tensor = "blk.0.shortconv.conv.weight", .type = TYPE_F16},
     ERR_SHAPE,
     "tensor blk.0.shortconv.conv.weight: wrong type (found F16, expected F32"},
    {"qwen3",
     {.tensor = "blk.0.attn_q_norm.weight", .drop = 1},
     ERR_SHAPE,
     "blk.0.attn_q_norm.weight is missing"},
    {"qwen3",
     {.tensor = "output.weight", .n_dims = 2, .dims = {64, 511}},
     ERR_SHAPE,
     "tensor output.weight: wrong shape (found [64, 511], expected [64, 512])"},
};

Test(bad_model, refuses_bad_tensors) {
    for (size_t i = 0; i < COUNT(bad_tensors); i++) {
        struct tiny_spec s = tiny_default(bad_tensors[i].arch);
        s.tied = 0;
        write_tiny(&s);
        write_changed(&bad_tensors[i].change);
        expect_refusal(bad_tensors[i].change.tensor, bad_tensors[i].status, bad_tensors[i].text);
    }
}

/* Spellings and omissions that real files have are no fault. */
Test(bad_model, accepts_what_converters_disagree_on) {
    static const struct bad_key keys[] = {
        {.key = "lfm2moe.vocab_size", .put = NOTHING},
        {.key = "lfm2.synthetic", .put = NOTHING},
        {.key = "lfm2moe.feed_forward_length", .put = I32S, .n = 4, .list = {192, 192, 96, 96}},
        {.key = "lfm2moe.expert_weights_norm", .put = BOOL, .number = 1},
        {.key = "lfm2moe.expert_weights_scale", .put = F32, .number = 1},
        {.key = "lfm2moe.rope.scaling.type", .put = STRING, .string = "none"},
        {.key = "lfm2moe.attention.key_length", .put = U32, .number = 16},
        {.key = "general.name", .put = NOTHING},
        {.key = "tokenizer.ggml.bos_token_id", .put = NOTHING},
    };
    static const struct change tensors[] = {
        {.tensor = "token_embd_norm.weight", .name = "output_norm.weight"},
        {.tensor = "blk.0.shortconv.conv.weight", .n_dims = 3, .dims = {3, 1, 64}},
        {.tensor = "blk.2.exp_probs_b.bias", .drop = 1},
    };
    struct tiny_spec s = tiny_default("lfm2moe");
    write_tiny(&s);
    for (size_t i = 0; i < COUNT(keys) + COUNT(tensors); i++) {
        struct change c = {.key = &keys[i % COUNT(keys)]};
        if (i >= COUNT(keys)) c = tensors[i - COUNT(keys)];
        write_changed(&c);
        struct model *m = open_ok(changed);
        cr_expect_eq(m->config.n_ff, 192);
        cr_expect_eq(m->config.expert_norm, 1);
        cr_expect_eq(m->layers[0].conv_taps.cols, 3);
        cr_expect_eq(m->synthetic, i != 1);
        cr_expect_eq(m->config.bos_id, i == 8 ? -1 : 1);
        cr_expect_eq(m->layers[2].router_bias.data == NULL, i == COUNT(keys) + 2);
        model_close(m);
    }
}

static const char *tokens[513];

Test(bad_model, refuses_more_tokens_than_rows) {
    struct tiny_spec s = tiny_default("lfm2");
    struct gguf *g;
    struct gguf_writer *w;
    struct error e = {0};
    write_tiny(&s);
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_new(&w, changed, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_kv; i++) gguf_put_kv(w, &g->kv[i]);
    for (size_t i = 0; i < COUNT(tokens); i++) tokens[i] = "t";
    gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, COUNT(tokens));
    for (uint64_t i = 0; i < g->n_tensors; i++)
        gguf_put_tensor(w, g->tensors[i].name, g->tensors[i].type, g->tensors[i].n_dims, g->tensors[i].dims);
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        cr_assert_eq(gguf_writer_data(w, g->tensors[i].data, g->tensors[i].bytes, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
    gguf_close(g);
    expect_refusal("tokens", ERR_SHAPE,
                   "tokenizer.ggml.tokens: more tokens than rows of the embedding (found 513");
}

/* ---- damaged files ---- */

static long header_bytes(void) {
    struct model *m = open_ok(path);
    long n = (long)m->gguf->data_offset;
    model_close(m);
    return n;
}

Test(bad_model, refuses_every_truncation_of_the_header) {
    struct tiny_spec s = tiny_default("lfm2moe");
    s.D = 32, s.d = 8, s.F = 32, s.EF = 32, s.V = 32, s.E = 4;
    write_tiny(&s);
    long header = header_bytes();
    for (long n = header; n >= 0; n--) {
        struct model *m;
        struct error e = {0};
        cr_assert_eq(truncate(path, n), 0);
        cr_assert_eq(model_open(&m, path, &e), ERR_FORMAT, "%ld bytes: %s", n, e.text);
        cr_assert(m == NULL && strncmp(e.text, path, strlen(path)) == 0, "%ld bytes: %s", n, e.text);
    }
}

/* Any byte of the header may be wrong. Whatever is still accepted has only tensors inside the file. */
Test(bad_model, survives_any_byte_of_the_header) {
    struct tiny_spec s = tiny_default("lfm2moe");
    s.D = 32, s.d = 8, s.F = 32, s.EF = 32, s.V = 32, s.E = 4;
    write_tiny(&s);
    long header = header_bytes(), refused = 0;
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    for (long i = 0; i < header; i++) {
        cr_assert_eq(fseek(f, i, SEEK_SET), 0);
        int good = fgetc(f);
        for (int flip = 1; flip <= 0x80; flip *= 8) {
            struct model *m;
            struct error e = {0};
            cr_assert(fseek(f, i, SEEK_SET) == 0 && fputc(good ^ flip, f) != EOF);
            if (model_open(&m, path, &e) != OK) {
                cr_assert(e.text[0] && !strchr(e.text, '\n'));
                refused++;
                continue;
            }
            const char *end = (const char *)m->gguf->map + m->gguf->size;
            for (int l = 0; l < m->config.n_layers; l++)
                cr_assert((const char *)m->layers[l].ffn_norm.data + m->layers[l].ffn_norm.bytes <= end);
            model_close(m);
        }
        cr_assert(fseek(f, i, SEEK_SET) == 0 && fputc(good, f) != EOF);
    }
    fclose(f);
    cr_expect_gt(refused, header, "most damage is noticed");
}
