/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_parts: the inside of a tokenizer, shared by its own files only. A loader makes one with
 * vocab_begin, vocab_add for every token, vocab_index, merge_add for every merge, vocab_finish. */
#ifndef DATA_TOKENIZER_PARTS_H
#define DATA_TOKENIZER_PARTS_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdatomic.h>

#include "data/tokenizer.h"

enum token_kind {
    TOKEN_NONE,    /* an id without a text: written as nothing */
    TOKEN_NORMAL,  /* built by merges */
    TOKEN_ADDED,   /* cut out of running text, always */
    TOKEN_SPECIAL, /* cut out of running text when asked, left out when decoding */
};

struct token {
    size_t start, size; /* in tokenizer.bytes: what decoding writes */
    uint8_t kind;
    uint8_t raw; /* 1: a normal token with characters outside the byte alphabet, which no text can give */
};

/* One rule: left followed by right becomes id. Rules of lower rank come first. */
struct merge {
    int32_t left, right; /* left < 0: the slot is free */
    uint32_t rank;
    int32_t id;
};

/* Added tokens in order of their bytes, so that all with one prefix are neighbours. */
struct added_set {
    int32_t *ids;
    int n;
    uint8_t begins[256]; /* 1: some token begins with this byte */
};

/* How running text is cut before the merges. */
struct pre_tokenizer {
    const char *pattern;              /* as tokenizer.json has it */
    int nfc, ignore_merges, adds_bos; /* what GGUF does not say */
};

struct tokenizer {
    char name[256]; /* for errors: the file it came from */
    struct buffer bytes;
    struct token *tokens;
    int n;
    int32_t byte_ids[256]; /* -1: no token for this byte */
    uint64_t keys[3];      /* of the two hashes: drawn anew for each tokenizer */
    int32_t *slots;        /* hash of the normal tokens' bytes; -1 free */
    size_t slot_mask;
    struct merge *merges; /* hash of (left, right) */
    size_t merge_mask;
    _Atomic uint8_t
        *whole; /* per id: does its own text, alone, become this token? found out when first met */
    struct added_set all, plain; /* plain: not the special ones */
    const struct pre_tokenizer *pre;
    pcre2_code *code;
    int nfc, ignore_merges, adds_bos;
    int bos, eos, pad;
    char *chat_template;
};

/* Room for n ids, none of which has a token yet. */
enum status vocab_begin(struct tokenizer **out, const char *name, int64_t n, struct error *e);
/* text as vocabularies write it: byte alphabet for normal tokens, plain text for others. An id is added once;
 * a second time only, with the same text, to become an added or special one. */
enum status vocab_add(struct tokenizer *t, int64_t id, const char *text, size_t n, enum token_kind kind,
                      struct error *e);
/* After the last token: prepares vocab_find and room for n_merges. */
enum status vocab_index(struct tokenizer *t, uint64_t n_merges, struct error *e);
/* The id of a normal or added token by its bytes; -1. */
int32_t vocab_find(const struct tokenizer *t, const char *bytes, size_t n);
/* The parts of merge number rank, in the byte alphabet. The last of two equal rules holds. */
enum status merge_add(struct tokenizer *t, const char *left, size_t n_left, const char *right, size_t n_right,
                      uint32_t rank, struct error *e);
/* "left right" */
enum status merge_add_line(struct tokenizer *t, const char *line, size_t n, uint32_t rank, struct error *e);
const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right); /* NULL: no rule */
enum status vocab_finish(struct tokenizer *t, const struct pre_tokenizer *pre, struct error *e);

const char *token_bytes(const struct tokenizer *t, int32_t id);

/* The byte that a character of the byte alphabet stands for; -1 for others. */
enum { BYTE_ALPHABET = 256 + 68 }; /* its characters are below this */
int byte_of_character(uint32_t c);

/* GGUF's name for what a tokenizer does before the merges; NULL when it has none. */
const char *pre_tokenizer_name(const struct tokenizer *t);

/* By GGUF's name ("lfm2") or by the regular expression of tokenizer.json; NULL when unknown. */
const struct pre_tokenizer *pre_tokenizer_named(const char *name, size_t n);
const struct pre_tokenizer *pre_tokenizer_of_pattern(const char *pattern);
enum status pre_tokenizer_compile(struct tokenizer *t, const struct pre_tokenizer *pre, struct error *e);

/* The longest token of the set at the start of text[0..n) among those that may be taken; -1. *size: its
 * bytes. */
int32_t added_match(const struct tokenizer *t, const struct added_set *set, const char *text, size_t n,
                    size_t special_limit, size_t *size);

/* What one call of encode needs besides the tokenizer. */
struct symbol {
    int32_t id;
    int32_t prev, next; /* -1: none */
    uint32_t rank;      /* of the merge with the next symbol; UINT32_MAX: none, or this symbol is gone */
    int32_t merged;     /* what that merge gives */
};
struct encoder {
    const struct tokenizer *t;
    struct tokens *out;
    struct error *e;
    struct symbol *symbols;
    uint64_t *heap; /* rank << 32 | position, smallest first */
    size_t room;    /* symbols; the heap has twice as many */
    pcre2_match_data *match;
    pcre2_match_context *limits;
    struct buffer normal; /* text in NFC */
};
enum status encode_word(struct encoder *c, const char *word, size_t n); /* tokenizer_bpe.c */
enum status encode_text(struct encoder *c, const char *text, size_t n); /* tokenizer_split.c */

/* Writes text[0..n), well-formed UTF-8, in Unicode's normal form C. nfc_is_plain: 1 when it surely has it
 * already (no character from U+0300 on). */
int nfc_is_plain(const char *text, size_t n);
enum status nfc_normalize(const char *text, size_t n, struct buffer *out, struct error *e);

enum status tokenizer_of_folder(struct tokenizer **out, const char *folder, const char *file,
                                struct error *e);

#endif
