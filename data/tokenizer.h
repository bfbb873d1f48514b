/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer: text to token ids and back, for byte-level BPE vocabularies (LFM2, Qwen, Llama 3), with the ids
 * that Hugging Face's tokenizers library gives. Knows nothing of weights. After it is opened a tokenizer is
 * read-only: several threads may use one.
 *
 * Where the sources of a vocabulary disagree, tokenizer.json is right: GGUF files of LFM2 name the
 * pre-tokenizer "lfm2", for which llama.cpp takes whole words that are in the vocabulary without looking at
 * the merges; LFM2's tokenizer.json has ignore_merges false, so here the merges decide. Qwen's has the
 * normalizer NFC, which GGUF cannot say: it is applied for "qwen2" from GGUF too. */
#ifndef DATA_TOKENIZER_H
#define DATA_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "data/buffer.h"
#include "data/status.h"

struct tokenizer;
struct gguf;
struct gguf_writer;
struct model;

/* *out is NULL on error. Close with tokenizer_close (NULL is fine).
 * tokenizer_open: path is a GGUF file, a tokenizer.json, or a folder (or a .safetensors file in it) that
 * holds tokenizer.json or vocab.json + merges.txt, with tokenizer_config.json where there is one.
 * tokenizer_of_model: from the model's own file or folder; a token for every row of the embedding, or fewer
 * when the vocabulary comes from a folder. tokenizer_of_gguf: rows is the number of tokens the file must
 * have, 0 for any. */
enum status tokenizer_open(struct tokenizer **out, const char *path, struct error *e);
enum status tokenizer_of_model(struct tokenizer **out, const struct model *m, struct error *e);
enum status tokenizer_of_gguf(struct tokenizer **out, const struct gguf *g, int64_t rows, struct error *e);
void tokenizer_close(struct tokenizer *t);

/* The keys tokenizer.ggml.* and the chat template, so that a file with them opens as the same tokenizer, with
 * rows tokens: ids without one get a text that nothing is encoded to. An added token is a control token there
 * exactly when it is special. ERR_UNSUPPORTED: GGUF has no name for what it does to text before the merges.
 */
enum status tokenizer_put(const struct tokenizer *t, struct gguf_writer *w, int64_t rows, struct error *e);

int tokenizer_size(
    const struct tokenizer *t);               /* ids are 0 to size-1: let a sampler choose among these only */
int tokenizer_bos(const struct tokenizer *t); /* -1: none */
int tokenizer_eos(const struct tokenizer *t); /* -1: none */
int tokenizer_pad(const struct tokenizer *t); /* -1: none */
int tokenizer_adds_bos(const struct tokenizer *t); /* 1: TOKENS_BOS has an effect */
/* 1: a model that gives this id has ended its answer: EOS, or a special token with one of the names that mean
 * so
 * (<|im_end|>, <|endoftext|>, <|eot_id|>, <|end_of_text|>). */
int tokenizer_ends(const struct tokenizer *t, int32_t id);
/* The id of an added token by its whole text; -1 when there is none. */
int32_t tokenizer_id(const struct tokenizer *t, const char *text);
/* Appends the text of BOS, for chat templates; nothing when there is none. */
void tokenizer_bos_text(const struct tokenizer *t, struct buffer *out);
/* The Jinja source that came with the vocabulary; NULL when there was none. */
const char *tokenizer_chat_template(const struct tokenizer *t);

/* Start with {0}; free with tokens_free. */
struct tokens {
    int32_t *ids;
    size_t n, capacity;
};
void tokens_free(struct tokens *t);
enum status tokens_add(struct tokens *t, int32_t id, struct error *e);

/* Bytes start..end-1 of a text. */
struct span {
    size_t start, end;
};

enum {
    TOKENS_BOS =
        1, /* encode: begin with BOS if the vocabulary wants one and the text does not begin with it */
    TOKENS_SPECIAL = 2, /* encode: text such as <|im_end|> becomes its special token. decode: is written */
};

/* Appends the ids of text[0..n) to *out. Any bytes are accepted; those that are not UTF-8 are encoded byte by
 * byte. Without TOKENS_SPECIAL the text of a special token is ordinary text; added tokens that are not
 * special (LFM2's "python") are always recognised, as the models were trained so. BOS is never doubled:
 * TOKENS_BOS adds none when *out is not empty or the first id already is BOS. Takes O(n log n) time on any
 * text. ERR_FORMAT: the vocabulary has no token for a byte of the text. On error *out is as it was. */
enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                             struct tokens *out, struct error *e);
/* The same, but no special token is recognised that touches one of the spans (ascending, not overlapping):
 * what users wrote stays text inside a chat template. */
enum status tokenizer_encode_around(const struct tokenizer *t, const char *text, size_t n,
                                    const struct span *literal, size_t n_literal, unsigned flags,
                                    struct tokens *out, struct error *e);

/* Appends the exact bytes of the ids: not always UTF-8, since a character may be cut. Special tokens are left
 * out without TOKENS_SPECIAL. ERR_ARG: an id is outside 0..size-1. */
enum status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                             struct buffer *out, struct error *e);

/* Decoding token by token for somebody who watches: a character that is not complete yet is held back. All
 * pieces together, with the last from tokenizer_stream_end, are the bytes that tokenizer_decode gives. Start
 * with {0}. */
struct token_stream {
    char held[4];
    size_t n;
};
enum status tokenizer_stream(const struct tokenizer *t, struct token_stream *s, int32_t id, unsigned flags,
                             struct buffer *out, struct error *e);
void tokenizer_stream_end(struct token_stream *s, struct buffer *out);

#endif
