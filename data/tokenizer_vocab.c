/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_vocab: the tables of a vocabulary: tokens by id, ids by bytes, merges by pair. Everything a
 * loader gives is checked here, since vocabularies come from strangers. */
#include "data/tokenizer_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MAX_TOKENS = 1 << 24, QUOTED = 60 };

/* Byte-level vocabularies write each byte as a printable character: itself where Latin-1 has it as one, else
 * the next unused character from U+0100 on. Returns -1 for characters outside this alphabet. */
int byte_of_character(uint32_t c) {
    static const uint8_t moved[68] = {
        0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,  14,  15,  16,
        17,  18,  19,  20,  21,  22,  23,  24,  25,  26,  27,  28,  29,  30,  31,  32,  127,
        128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144,
        145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 173,
    };
    if (c >= BYTE_ALPHABET) return -1;
    if (c >= 256) return moved[c - 256];
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174 ? (int)c : -1;
}

/* Appends what text stands for. Returns 0 and appends nothing when a character is not in the alphabet. */
static int add_bytes(struct buffer *out, const char *text, size_t n) {
    size_t start = out->n;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t size = utf8_decode(text + i, n - i, &c);
        int byte = size ? byte_of_character(c) : -1;
        if (byte < 0) {
            out->n = start;
            return 0;
        }
        buffer_add(out, &(char){(char)byte}, 1);
        i += size;
    }
    return 1;
}

/* Both are keyed, by numbers that no file's author knows: texts or pairs chosen to meet in one slot would
 * make the tables quadratic, minutes for a file of some megabytes. */
static size_t hash_bytes(const struct tokenizer *t, const char *bytes, size_t n) {
    uint64_t h = t->keys[0];
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)bytes[i]) * t->keys[1];
    return (size_t)(h >> 32);
}

static size_t hash_pair(const struct tokenizer *t, int32_t left, int32_t right) {
    return (size_t)((t->keys[0] + (uint32_t)left * t->keys[1] + (uint32_t)right * t->keys[2]) >> 32);
}

/* Without random numbers, which early in a system's life may not be there, addresses have to do. */
static void draw_keys(struct tokenizer *t) {
    for (int i = 0; i < 3; i++) t->keys[i] = (uintptr_t)&t->keys[i] * 0x9e3779b97f4a7c15;
    ssize_t drawn = getrandom(t->keys, sizeof t->keys, GRND_NONBLOCK);
    (void)drawn;
    t->keys[1] |= 1, t->keys[2] |= 1;
}

/* A power of two at least twice n. */
static size_t table_size(uint64_t n) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

enum status vocab_begin(struct tokenizer **out, const char *name, int64_t n, struct error *e) {
    *out = NULL;
    if (n <= 0 || n > MAX_TOKENS)
        return fail(e, ERR_UNSUPPORTED, "%s: vocabulary size (found %" PRId64 ", expected 1 to %d)", name, n,
                    MAX_TOKENS);
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) return fail(e, ERR_MEMORY, "%s: out of memory", name);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->n = (int)n;
    t->bos = t->eos = t->pad = -1;
    draw_keys(t);
    t->tokens = calloc((size_t)n, sizeof *t->tokens);
    t->whole = calloc((size_t)n, sizeof *t->whole);
    if (!t->tokens || !t->whole) {
        tokenizer_close(t);
        return fail(e, ERR_MEMORY, "%s: out of memory for %" PRId64 " tokens", name, n);
    }
    *out = t;
    return OK;
}

const char *token_bytes(const struct tokenizer *t, int32_t id) {
    return t->bytes.data + t->tokens[id].start;
}

/* 1 when the token, as a vocabulary would write it, is this text. */
static int is_text_of(const struct tokenizer *t, const struct token *token, const char *text, size_t n) {
    struct buffer b = {0};
    int plain = token->kind != TOKEN_NORMAL || token->raw || !add_bytes(&b, text, n);
    if (plain) buffer_add(&b, text, n);
    int same = !b.failed && b.n == token->size && memcmp(b.data, t->bytes.data + token->start, b.n) == 0;
    buffer_free(&b);
    return same;
}

enum status vocab_add(struct tokenizer *t, int64_t id, const char *text, size_t n, enum token_kind kind,
                      struct error *e) {
    if (id < 0 || id >= t->n)
        return fail(e, ERR_FORMAT, "%s: token id %" PRId64 " is out of range (expected 0 to %d)", t->name, id,
                    t->n - 1);
    struct token *token = &t->tokens[id];
    if (token->kind != TOKEN_NONE && (kind <= TOKEN_NORMAL || (n > 0 && !is_text_of(t, token, text, n))))
        return fail(e, ERR_FORMAT, "%s: two tokens have the id %" PRId64, t->name, id);
    if (kind == TOKEN_NONE) return OK;
    if (n == 0) return fail(e, ERR_FORMAT, "%s: token %" PRId64 " is empty", t->name, id);
    *token = (struct token){.start = t->bytes.n, .kind = (uint8_t)kind};
    if (kind != TOKEN_NORMAL || !add_bytes(&t->bytes, text, n)) {
        token->raw = kind == TOKEN_NORMAL;
        buffer_add(&t->bytes, text, n);
    }
    token->size = t->bytes.n - token->start;
    return buffer_check(&t->bytes, e);
}

/* 1 when merges can lead to this token. An added token stands in the vocabulary in the byte alphabet too,
 * which looks the same for visible ASCII. */
static int is_mergeable(const struct tokenizer *t, const struct token *token) {
    if (token->kind == TOKEN_NORMAL) return !token->raw;
    if (token->kind != TOKEN_ADDED) return 0;
    const char *bytes = t->bytes.data + token->start;
    for (size_t i = 0; i < token->size; i++)
        if (bytes[i] <= ' ' || bytes[i] > '~') return 0;
    return 1;
}

/* The slot where the bytes are, or would be. */
static size_t find_slot(const struct tokenizer *t, const char *bytes, size_t n) {
    size_t i = hash_bytes(t, bytes, n) & t->slot_mask;
    for (; t->slots[i] >= 0; i = (i + 1) & t->slot_mask) {
        const struct token *token = &t->tokens[t->slots[i]];
        if (token->size == n && memcmp(token_bytes(t, t->slots[i]), bytes, n) == 0) break;
    }
    return i;
}

int32_t vocab_find(const struct tokenizer *t, const char *bytes, size_t n) {
    return t->slots[find_slot(t, bytes, n)];
}

enum status vocab_index(struct tokenizer *t, uint64_t n_merges, struct error *e) {
    if (n_merges > UINT32_MAX / 2)
        return fail(e, ERR_UNSUPPORTED, "%s: %" PRIu64 " merges are too many", t->name, n_merges);
    size_t n_slots = table_size((uint64_t)t->n), n_rules = table_size(n_merges);
    t->slot_mask = n_slots - 1, t->merge_mask = n_rules - 1;
    t->slots = malloc(n_slots * sizeof *t->slots);
    t->merges = malloc(n_rules * sizeof *t->merges);
    if (!t->slots || !t->merges) return fail(e, ERR_MEMORY, "%s: out of memory for the merges", t->name);
    for (size_t i = 0; i < n_slots; i++) t->slots[i] = -1;
    for (size_t i = 0; i < n_rules; i++) t->merges[i].left = -1;
    for (int32_t id = 0; id < t->n; id++) {
        if (!is_mergeable(t, &t->tokens[id])) continue;
        int32_t *slot = &t->slots[find_slot(t, token_bytes(t, id), t->tokens[id].size)];
        if (*slot >= 0)
            return fail(e, ERR_FORMAT, "%s: tokens %d and %d have the same text '%.*s'", t->name, *slot, id,
                        (int)(t->tokens[id].size < QUOTED ? t->tokens[id].size : QUOTED), token_bytes(t, id));
        *slot = id;
    }
    for (int b = 0; b < 256; b++) t->byte_ids[b] = vocab_find(t, &(char){(char)b}, 1);
    return OK;
}

static struct merge *merge_slot(const struct tokenizer *t, int32_t left, int32_t right) {
    size_t i = hash_pair(t, left, right) & t->merge_mask;
    for (; t->merges[i].left >= 0; i = (i + 1) & t->merge_mask)
        if (t->merges[i].left == left && t->merges[i].right == right) break;
    return &t->merges[i];
}

const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right) {
    const struct merge *m = merge_slot(t, left, right);
    return m->left >= 0 ? m : NULL;
}

/* The id of a part of a merge, or of the whole; -1. */
static int32_t part_id(const struct tokenizer *t, const struct buffer *b, size_t start, size_t end) {
    return end > start ? vocab_find(t, b->data + start, end - start) : -1;
}

enum status merge_add(struct tokenizer *t, const char *left, size_t n_left, const char *right, size_t n_right,
                      uint32_t rank, struct error *e) {
    struct buffer b = {0};
    int in_alphabet = add_bytes(&b, left, n_left);
    size_t middle = b.n;
    in_alphabet = in_alphabet && add_bytes(&b, right, n_right);
    enum status status = buffer_check(&b, e);
    int32_t l = in_alphabet ? part_id(t, &b, 0, middle) : -1;
    int32_t r = in_alphabet ? part_id(t, &b, middle, b.n) : -1;
    int32_t whole = l >= 0 && r >= 0 ? part_id(t, &b, 0, b.n) : -1;
    buffer_free(&b);
    TRY(status);
    if (whole < 0)
        return fail(e, ERR_FORMAT, "%s: merge %u: %s is not in the vocabulary ('%.*s' + '%.*s')", t->name,
                    rank,
                    l < 0   ? "the first part"
                    : r < 0 ? "the second part"
                            : "the result",
                    (int)(n_left < QUOTED ? n_left : QUOTED), left,
                    (int)(n_right < QUOTED ? n_right : QUOTED), right);
    *merge_slot(t, l, r) = (struct merge){l, r, rank, whole};
    return OK;
}

enum status merge_add_line(struct tokenizer *t, const char *line, size_t n, uint32_t rank, struct error *e) {
    const char *space = memchr(line, ' ', n);
    if (!space)
        return fail(e, ERR_FORMAT, "%s: merge %u: found '%.*s', expected two parts and a space between them",
                    t->name, rank, (int)(n < QUOTED ? n : QUOTED), line);
    size_t left = (size_t)(space - line);
    return merge_add(t, line, left, space + 1, n - left - 1, rank, e);
}
