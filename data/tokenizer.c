/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer: encoding and decoding with a vocabulary that a loader has built. Added tokens are cut out of the
 * text first; what lies between them is cut into words, and words become tokens by merges. */
#include "data/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

void tokenizer_close(struct tokenizer *t) {
    if (!t) return;
    buffer_free(&t->bytes);
    free(t->tokens), free(t->slots), free(t->merges), free((void *)t->whole);
    free(t->all.ids), free(t->plain.ids), free(t->chat_template);
    pcre2_code_free(t->code);
    free(t);
}

int tokenizer_size(const struct tokenizer *t) {
    return t->n;
}
int tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}
int tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}
int tokenizer_pad(const struct tokenizer *t) {
    return t->pad;
}
int tokenizer_adds_bos(const struct tokenizer *t) {
    return t->adds_bos && t->bos >= 0;
}
const char *tokenizer_chat_template(const struct tokenizer *t) {
    return t->chat_template;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *text) {
    size_t size = 0, n = strlen(text);
    int32_t id = added_match(t, &t->all, text, n, n, &size);
    return id >= 0 && size == n ? id : -1;
}

int tokenizer_ends(const struct tokenizer *t, int32_t id) {
    static const char *const ends[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>"};
    if (id < 0 || id >= t->n) return 0;
    if (id == t->eos) return 1;
    if (t->tokens[id].kind != TOKEN_SPECIAL) return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (t->tokens[id].size == strlen(ends[i]) &&
            memcmp(token_bytes(t, id), ends[i], strlen(ends[i])) == 0)
            return 1;
    return 0;
}

void tokenizer_bos_text(const struct tokenizer *t, struct buffer *out) {
    if (t->bos >= 0) buffer_add(out, token_bytes(t, t->bos), t->tokens[t->bos].size);
}

void tokens_free(struct tokens *t) {
    free(t->ids);
    *t = (struct tokens){0};
}

enum status tokens_add(struct tokens *t, int32_t id, struct error *e) {
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        int32_t *ids = realloc(t->ids, capacity * sizeof *ids);
        if (!ids) return fail(e, ERR_MEMORY, "out of memory for %zu tokens", capacity);
        t->ids = ids, t->capacity = capacity;
    }
    t->ids[t->n++] = id;
    return OK;
}

/* Bytes from pos on that a special token may cover: up to the next span, none inside one. *span is the first
 * that ends after pos. */
static size_t special_room(const struct span *spans, size_t n, size_t *span, size_t pos) {
    while (*span < n && (spans[*span].end <= pos || spans[*span].start >= spans[*span].end)) (*span)++;
    if (*span == n) return SIZE_MAX;
    return spans[*span].start > pos ? spans[*span].start - pos : 0;
}

static enum status encode_pieces(struct encoder *c, const char *text, size_t n, const struct span *literal,
                                 size_t n_literal, unsigned flags) {
    const struct tokenizer *t = c->t;
    const struct added_set *set = flags & TOKENS_SPECIAL ? &t->all : &t->plain;
    size_t start = 0, span = 0;
    for (size_t pos = 0; pos < n;) {
        size_t size;
        if (!set->begins[(unsigned char)text[pos]]) {
            pos++;
            continue;
        }
        int32_t id =
            added_match(t, set, text + pos, n - pos, special_room(literal, n_literal, &span, pos), &size);
        if (id < 0) {
            pos++;
            continue;
        }
        TRY(encode_text(c, text + start, pos - start));
        TRY(tokens_add(c->out, id, c->e));
        start = pos += size;
    }
    return encode_text(c, text + start, n - start);
}

static enum status encode_with(struct encoder *c, const char *text, size_t n, const struct span *literal,
                               size_t n_literal, unsigned flags) {
    c->match = pcre2_match_data_create(1, NULL);
    c->limits = pcre2_match_context_create(NULL);
    if (!c->match || !c->limits) return fail(c->e, ERR_MEMORY, "out of memory for tokenizing");
    pcre2_set_heap_limit(c->limits, 64 * 1024); /* KiB, for the interpreter */
    struct tokens *out = c->out;
    int bos = flags & TOKENS_BOS && tokenizer_adds_bos(c->t) && out->n == 0;
    if (bos) TRY(tokens_add(out, c->t->bos, c->e));
    TRY(encode_pieces(c, text, n, literal, n_literal, flags));
    if (bos && out->n > 1 && out->ids[1] == c->t->bos) /* the text brought its own */
        memmove(out->ids + 1, out->ids + 2, (--out->n - 1) * sizeof *out->ids);
    return OK;
}

enum status tokenizer_encode_around(const struct tokenizer *t, const char *text, size_t n,
                                    const struct span *literal, size_t n_literal, unsigned flags,
                                    struct tokens *out, struct error *e) {
    if (n > INT32_MAX)
        return fail(e, ERR_ARG, "a text of %zu bytes is too long to tokenize (expected at most %d)", n,
                    INT32_MAX);
    size_t before = out->n;
    struct encoder c = {.t = t, .out = out, .e = e};
    enum status status = encode_with(&c, text, n, literal, n_literal, flags);
    if (status != OK) out->n = before;
    free(c.symbols), free(c.heap), buffer_free(&c.normal);
    pcre2_match_data_free(c.match), pcre2_match_context_free(c.limits);
    return status;
}

enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                             struct tokens *out, struct error *e) {
    return tokenizer_encode_around(t, text, n, NULL, 0, flags, out, e);
}

static enum status add_token(const struct tokenizer *t, int32_t id, unsigned flags, struct buffer *out,
                             struct error *e) {
    if (id < 0 || id >= t->n)
        return fail(e, ERR_ARG, "%s: token id %d is out of range (expected 0 to %d)", t->name, id, t->n - 1);
    const struct token *token = &t->tokens[id];
    if (token->kind != TOKEN_NONE && (token->kind != TOKEN_SPECIAL || flags & TOKENS_SPECIAL))
        buffer_add(out, token_bytes(t, id), token->size);
    return OK;
}

enum status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                             struct buffer *out, struct error *e) {
    for (size_t i = 0; i < n; i++) TRY(add_token(t, ids[i], flags, out, e));
    return buffer_check(out, e);
}

enum status tokenizer_stream(const struct tokenizer *t, struct token_stream *s, int32_t id, unsigned flags,
                             struct buffer *out, struct error *e) {
    size_t start = out->n;
    buffer_add(out, s->held, s->n);
    size_t with_held = out->n;
    enum status status = add_token(t, id, flags, out, e);
    if (status == OK) status = buffer_check(out, e);
    if (status != OK || out->n == with_held) { /* nothing new: go on holding */
        out->n = start;
        return status;
    }
    s->n = 0;
    for (size_t back = 1; back <= 3 && back <= out->n - start; back++)
        if (utf8_incomplete(out->data + out->n - back, back)) s->n = back;
    out->n -= s->n;
    memcpy(s->held, out->data + out->n, s->n);
    out->data[out->n] = 0;
    return OK;
}

void tokenizer_stream_end(struct token_stream *s, struct buffer *out) {
    buffer_add(out, s->held, s->n);
    s->n = 0;
}
