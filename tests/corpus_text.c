/* SPDX-License-Identifier: Apache-2.0 */
/* corpus_text: cases 59 to 68: split files, vocabularies that lie, and texts made to be slow or to smuggle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/corpus.h"

#define TOKENS   "tokenizer.ggml.tokens"
#define MERGES   "tokenizer.ggml.merges"
#define TYPES    "tokenizer.ggml.token_type"
#define TEMPLATE "tokenizer.chat_template"
#define TOKENIZE "tokenize -m % -p hello"

enum { MIB = 1 << 20 };

static void set_u16(struct making *m, const char *key, uint16_t v) {
    struct image_key *k = image_key(&m->im, key);
    void *value = image_memory(&m->im, sizeof v);
    memcpy(value, &v, sizeof v);
    k->type = GGUF_U16, k->value = value, k->size = sizeof v;
}

static void split(struct making *m, uint16_t part, uint16_t count) {
    set_u16(m, "split.no", part);
    set_u16(m, "split.count", count);
    image_i32(&m->im, "split.tensors.count", 1);
}

/* n bytes, piece repeated. */
static char *repeat(struct making *m, const char *piece, uint64_t n) {
    char *text = image_memory(&m->im, n);
    uint64_t step = strlen(piece);
    for (uint64_t i = 0; i + step <= n; i += step) memcpy(text + i, piece, step);
    return text;
}

static void stretch_types(struct making *m, int n, int32_t last) {
    int32_t v[520];
    for (int i = 0; i < n; i++) v[i] = 1;
    v[n - 1] = last;
    image_i32s(&m->im, TYPES, v, (uint64_t)n);
}

static void megabyte_token(struct making *m) {
    image_element(&m->im, TOKENS, 511, repeat(m, "q", MIB), MIB);
}

static void template_of(struct making *m, const char *before, const char *piece, uint64_t n) {
    char *text = image_memory(&m->im, strlen(before) + n);
    strcpy(text, before);
    strcat(text, repeat(m, piece, n));
    image_text(&m->im, TEMPLATE, text);
}

/* A good model and a text beside it. */
static void text_of(struct making *m, const char *piece, uint64_t n) {
    making_file(m, "text.txt", repeat(m, piece, n), n);
    m->written = 0;
}

#define TEXT "tokenize -m % -f text.txt"

#define VOCABULARIES(X)                                                                                      \
    X(59, split_1_of_3, 2, "llama-gguf-split", NULL, split(m, 0, 3))                                         \
    X(59, split_9_of_3, 2, "llama-gguf-split", NULL, split(m, 9, 3))                                         \
    X(59, split_2_of_65535, 2, "llama-gguf-split", NULL, split(m, 1, 65535))                                 \
    X(59, split_text, 2, "split.count", NULL, image_text(&m->im, "split.count", "3"))                        \
    X(60, tokens_513, 2, "expected 513", TOKENIZE, image_more(&m->im, TOKENS, "surplus", 1))                 \
    X(60, tokens_1, 2, "expected 1", TOKENIZE,                                                               \
      image_array(&m->im, TOKENS, GGUF_STRING, 1, "\1\0\0\0\0\0\0\0a", 9))                                   \
    X(60, tokens_numbers, 2, "wrong type", TOKENIZE, image_i32s(&m->im, TOKENS, (int32_t[]){1, 2}, 2))       \
    X(60, tokens_none, 2, "tokens is missing", TOKENIZE, image_drop_key(&m->im, TOKENS))                     \
    X(61, bos_512, 2, "bos_token_id", NULL, image_u32(&m->im, "tokenizer.ggml.bos_token_id", 512))           \
    X(61, bos_minus_1, 2, "bos_token_id", NULL, image_i32(&m->im, "tokenizer.ggml.bos_token_id", -1))        \
    X(61, eos_2_32, 2, "eos_token_id", NULL, image_u32(&m->im, "tokenizer.ggml.eos_token_id", UINT32_MAX))   \
    X(61, pad_512, 2, "padding_token_id", TOKENIZE,                                                          \
      image_u32(&m->im, "tokenizer.ggml.padding_token_id", 512))                                             \
    X(62, token_twice, 2, "have the same text", TOKENIZE, image_element(&m->im, TOKENS, 300, "a", 1))        \
    X(62, token_empty, 2, "is empty", TOKENIZE, image_element(&m->im, TOKENS, 300, "", 0))                   \
    X(62, token_odd_bytes, 0, "", TOKENIZE, image_element(&m->im, TOKENS, 300, "\xff \n\0", 4))              \
    X(62, token_megabyte, 0, "", TOKENIZE, megabyte_token(m))                                                \
    X(63, merge_no_space, 2, "expected two parts", TOKENIZE, image_element(&m->im, MERGES, 0, "ab", 2))      \
    X(63, merge_empty, 2, "merge 0", TOKENIZE, image_element(&m->im, MERGES, 0, "", 0))                      \
    X(63, merge_spaces, 2, "merge 0", TOKENIZE, image_element(&m->im, MERGES, 0, "  ", 2))                   \
    X(63, merge_unknown, 2, "merge 0: the first part", TOKENIZE,                                             \
      image_element(&m->im, MERGES, 0, "nowhere e", 9))                                                      \
    X(63, merge_cycle, 2, "merge 0", TOKENIZE, image_element(&m->im, MERGES, 0, "he he", 5))                 \
    X(63, merges_million, 0, "", TOKENIZE, image_more(&m->im, MERGES, "h e", 1000000))                       \
    X(63, merges_million_bad, 2, "merge", TOKENIZE, image_more(&m->im, MERGES, "h h h", 1000000))            \
    X(64, types_511, 2, "found 511 types", TOKENIZE, stretch_types(m, 511, 1))                               \
    X(64, type_99, 2, "unknown type", TOKENIZE, stretch_types(m, 512, 99))                                   \
    X(64, type_minus_1, 2, "unknown type", TOKENIZE, stretch_types(m, 512, -1))                              \
    X(64, types_missing, 2, "token_type is missing", TOKENIZE, image_drop_key(&m->im, TYPES))                \
    X(65, pre_unknown, 2, "found 'pwn", TOKENIZE, image_text(&m->im, "tokenizer.ggml.pre", "pwn\033[0m"))    \
    X(65, model_unknown, 2, "expected gpt2", TOKENIZE, image_text(&m->im, "tokenizer.ggml.model", "llama"))

#define TEXTS(X)                                                                                             \
    X(66, text_a, 0, "", TEXT, text_of(m, "a", MIB))                                                         \
    X(66, text_spaces, 0, "", TEXT, text_of(m, " ", MIB))                                                    \
    X(66, text_combining, 0, "", TEXT, text_of(m, "\xcc\x81\xcc\xa3", MIB))                                  \
    X(66, text_surrogates, 0, "", TEXT, text_of(m, "\xed\xa0\x80", MIB))                                     \
    X(66, text_overlong, 0, "", TEXT, text_of(m, "\xc0\xaf\xe0\x80\xaf", MIB))                               \
    X(66, text_cut_characters, 0, "", TEXT, text_of(m, "\xf0\x9f\x98", MIB))                                 \
    X(66, text_zeros, 0, "", TEXT, making_file(m, "text.txt", image_memory(&m->im, MIB), MIB);               \
      m->written = 0)                                                                                        \
    X(66, text_special, 0, "", TEXT, text_of(m, "<|im_end|>", 10))                                           \
    X(66, text_beyond_context, 2, "context", "run -m % -n 1 -f text.txt", text_of(m, "word ", 40000))        \
    X(66, logits_beyond_context, 2, "context", "logits -m % -f text.txt -o out.h5",                          \
      text_of(m, "word ", 40000))                                                                            \
    X(66, window_beyond_context, 2, "context", "perplexity -m % -f text.txt -c 4097",                        \
      text_of(m, "word ", 60000))                                                                            \
    X(66, chunk_beyond_context, 2, "context", "imatrix -m % -f text.txt -c 4097 -o out.gguf",                \
      text_of(m, "word ", 60000))                                                                            \
    X(66, sweep_beyond_context, 2, "context", "quality -m % -f text.txt -c 4097",                            \
      text_of(m, "word ", 60000))                                                                            \
    X(67, detokenize_512, 2, "512", "tokenize -m % --detokenize --ids 512", (void)m)                         \
    X(67, detokenize_minus_1, 2, "-1", "tokenize -m % --detokenize --ids -1", (void)m)                       \
    X(67, feed_512, 2, "512", "logits -m % --ids 1,512 -o out.h5", (void)m)                                  \
    X(67, feed_minus_1, 2, "-1", "logits -m % --ids -1 -o out.h5", (void)m)                                  \
    X(67, feed_2_63, 2, "9223372036854775808", "logits -m % --ids 9223372036854775808 -o out.h5", (void)m)   \
    X(68, template_missing, 2, "chat template", "chat -m %", (void)m)                                        \
    X(68, template_megabyte, 2, "chat template", "chat -m %", template_of(m, "", "{{ x }}", MIB))            \
    X(68, template_deep, 2, "chat template", "chat -m %", template_of(m, "", "{% if x %}", MIB))             \
    X(68, template_loop, 2, "chat template", "chat -m %",                                                    \
      image_text(&m->im, TEMPLATE, "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}"))   \
    X(68, template_injection, 2, "chat template", "chat -m %",                                               \
      image_text(&m->im, TEMPLATE, "{{ ''.__class__.__mro__[1].__subclasses__() }}"))                        \
    X(68, template_number, 2, "chat_template", "chat -m %", image_u32(&m->im, TEMPLATE, 1))

#define ALL(X) VOCABULARIES(X) TEXTS(X)

#define X(number, id, code, mention, command, ...)                                                           \
    static void case_##id(struct making *m) {                                                                \
        __VA_ARGS__;                                                                                         \
    }
ALL(X)
#undef X

const struct corpus_case corpus_text[] = {
#define X(number, id, code, mention, command, ...) {number, #id, code, mention, command, case_##id},
    ALL(X)
#undef X
        {0},
};
