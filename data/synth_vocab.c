/* SPDX-License-Identifier: Apache-2.0 */
/* synth_vocab: the metadata of synthetic models: hyper-parameters under the keys that llama.cpp requires, and
 * a byte-level vocabulary of the right size, with which any text can be fed. Not the vocabulary of the models
 * whose shapes are copied: ids mean something else there, except the special tokens'. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/synth_parts.h"

/* Token types of GGUF. */
enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3 };
enum { TEXT_SIZE = 40 }; /* bytes for one token, terminated */

static const char *const lfm2_special[] = {
    "<|pad|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|fim_pre|>",
    "<|fim_mid|>",
    "<|fim_suf|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool_list_start|>",
    "<|tool_list_end|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_response_start|>",
    "<|tool_response_end|>",
};
static const char *const qwen3_special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

/* Pairs of byte characters and the tokens they become; each part is a byte or an earlier result. In the
 * alphabet of byte-level vocabularies, U+0120 stands for a space and U+010A for a newline. */
static const char *const merges[][2] = {
    {"\u010a", "\u010a"}, {"\u0120", "\u0120"}, {"\u0120", "t"}, {"h", "e"},        {"i", "n"},
    {"\u0120", "a"},      {"e", "r"},           {"o", "n"},      {"\u0120t", "he"}, {"in", "g"},
};
enum { N_MERGES = sizeof merges / sizeof *merges };

struct vocabulary {
    char (*texts)[TEXT_SIZE];
    const char **pointers;
    int32_t *types;
    int n;
};

/* Byte-level vocabularies write each byte as a printable character: itself where that is one in Latin-1, else
 * the next unused character from U+0100 on. */
static void byte_text(int byte, char *text) {
    int printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    int c = byte;
    if (!printable) c = byte <= 32 ? 256 + byte : byte <= 160 ? 256 + 33 + byte - 127 : 256 + 67;
    if (c < 128) {
        snprintf(text, TEXT_SIZE, "%c", c);
        return;
    }
    snprintf(text, TEXT_SIZE, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
}

static void add(struct vocabulary *v, const char *text, int type) {
    snprintf(v->texts[v->n], TEXT_SIZE, "%s", text);
    v->pointers[v->n] = v->texts[v->n];
    v->types[v->n++] = type;
}

static void add_fillers(struct vocabulary *v, int until) {
    char text[TEXT_SIZE];
    while (v->n < until) { /* a word of letters and digits, which no merge can build */
        snprintf(text, sizeof text, "\u0120w%d", v->n);
        add(v, text, TOKEN_NORMAL);
    }
}

static void add_specials(struct vocabulary *v, const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++) add(v, texts[i], TOKEN_CONTROL);
}

static void fill(struct vocabulary *v, int total, int qwen3, int qwen3_first_special) {
    char text[TEXT_SIZE];
    if (!qwen3) add_specials(v, lfm2_special, sizeof lfm2_special / sizeof *lfm2_special);
    for (int b = 0; b < 256; b++) {
        byte_text(b, text);
        add(v, text, TOKEN_NORMAL);
    }
    for (int i = 0; i < N_MERGES; i++) {
        snprintf(text, sizeof text, "%s%s", merges[i][0], merges[i][1]);
        add(v, text, TOKEN_NORMAL);
    }
    if (qwen3) {
        add_fillers(v, qwen3_first_special);
        add_specials(v, qwen3_special, sizeof qwen3_special / sizeof *qwen3_special);
    }
    add_fillers(v, total);
}

static void put_merges(struct gguf_writer *w) {
    char texts[N_MERGES][TEXT_SIZE];
    const char *pointers[N_MERGES];
    for (int i = 0; i < N_MERGES; i++) {
        snprintf(texts[i], TEXT_SIZE, "%s %s", merges[i][0], merges[i][1]);
        pointers[i] = texts[i];
    }
    gguf_put_strings(w, "tokenizer.ggml.merges", pointers, N_MERGES);
}

enum status synth_put_vocabulary(struct gguf_writer *w, const struct synth_shape *s, struct error *e) {
    int qwen3 = strcmp(s->arch, "qwen3") == 0;
    int first_special = s->vocab > 151646 ? 151643 : s->vocab - 3; /* where Qwen3 has them */
    size_t n = (size_t)s->vocab;
    struct vocabulary v = {malloc(n * TEXT_SIZE), malloc(n * sizeof(char *)), malloc(n * sizeof(int32_t)), 0};
    if (!v.texts || !v.pointers || !v.types) {
        free(v.texts), free(v.pointers), free(v.types);
        return fail(e, ERR_MEMORY, "out of memory for %d tokens", s->vocab);
    }
    fill(&v, s->vocab, qwen3, first_special);
    gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    gguf_put_string(w, "tokenizer.ggml.pre", qwen3 ? "qwen2" : "lfm2");
    gguf_put_strings(w, "tokenizer.ggml.tokens", v.pointers, n);
    gguf_put_i32s(w, "tokenizer.ggml.token_type", v.types, n);
    put_merges(w);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", qwen3 ? (uint32_t)first_special : 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", qwen3 ? (uint32_t)first_special + 2 : 7);
    gguf_put_u32(w, "tokenizer.ggml.padding_token_id", qwen3 ? (uint32_t)first_special : 0);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", !qwen3);
    free(v.texts), free(v.pointers), free(v.types);
    return OK;
}

/* Writer calls with "ARCH.KEY". */
static const char *key(char *buffer, size_t size, const struct synth_shape *s, const char *name) {
    snprintf(buffer, size, "%s.%s", s->arch, name);
    return buffer;
}

static void put_count(struct gguf_writer *w, const struct synth_shape *s, const char *name, int v) {
    char k[96];
    gguf_put_u32(w, key(k, sizeof k, s, name), (uint32_t)v);
}

static void put_kv_heads(struct gguf_writer *w, const struct synth_shape *s) {
    int32_t per_layer[128];
    char k[96];
    if (!s->attention) {
        put_count(w, s, "attention.head_count_kv", s->kv_heads);
        return;
    }
    for (int i = 0; i < s->layers; i++) per_layer[i] = synth_is_attention(s, i) ? s->kv_heads : 0;
    gguf_put_i32s(w, key(k, sizeof k, s, "attention.head_count_kv"), per_layer, (size_t)s->layers);
}

enum status synth_put_metadata(struct gguf_writer *w, const struct synth_options *o, struct error *e) {
    const struct synth_shape *s = o->shape;
    char k[96], text[160];
    gguf_put_string(w, "general.architecture", s->arch);
    gguf_put_string(w, "general.type", "model");
    snprintf(text, sizeof text, "%s (synthetic)", s->title);
    gguf_put_string(w, "general.name", text);
    snprintf(text, sizeof text,
             "seeded random weights, not a trained model; lfm2 synth --arch %s --seed %" PRIu64, s->name,
             o->seed);
    gguf_put_string(w, "general.description", text);
    gguf_put_u32(w, "general.file_type", synth_file_type(o->recipe));
    gguf_put_u32(w, "general.quantization_version", 2);
    gguf_put_bool(w, "lfm2.synthetic", 1);
    put_count(w, s, "block_count", s->layers);
    put_count(w, s, "context_length", s->context);
    put_count(w, s, "embedding_length", s->width);
    put_count(w, s, "feed_forward_length", s->ff);
    put_count(w, s, "attention.head_count", s->heads);
    put_kv_heads(w, s);
    put_count(w, s, "vocab_size", s->vocab);
    gguf_put_f32(w, key(k, sizeof k, s, "rope.freq_base"), 1e6f);
    gguf_put_f32(w, key(k, sizeof k, s, "attention.layer_norm_rms_epsilon"), s->norm_eps);
    if (s->attention) {
        put_count(w, s, "shortconv.l_cache", 3);
    } else {
        put_count(w, s, "attention.key_length", s->head_dim);
        put_count(w, s, "attention.value_length", s->head_dim);
    }
    if (s->experts) {
        put_count(w, s, "expert_count", s->experts);
        put_count(w, s, "expert_used_count", s->experts_used);
        put_count(w, s, "expert_feed_forward_length", s->expert_ff);
        put_count(w, s, "leading_dense_block_count", s->dense_layers);
        put_count(w, s, "expert_gating_func", 2); /* sigmoid */
    }
    return synth_put_vocabulary(w, s, e);
}
