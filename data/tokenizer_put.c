/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_put: a vocabulary as the metadata of a GGUF file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/gguf_write.h"
#include "data/tokenizer_parts.h"

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5 };

/* Texts one behind the other, each terminated. */
struct texts {
    struct buffer bytes;
    size_t *starts;
    const char **pointers; /* made at the end, when bytes no longer moves */
    size_t n;
};

static enum status texts_allocate(struct texts *x, size_t n, const char *name, struct error *e) {
    x->starts = calloc(n + 1, sizeof *x->starts);
    x->pointers = calloc(n + 1, sizeof *x->pointers);
    return x->starts && x->pointers ? OK : fail(e, ERR_MEMORY, "%s: out of memory for %zu tokens", name, n);
}

static void texts_free(struct texts *x) {
    buffer_free(&x->bytes);
    free(x->starts);
    free(x->pointers);
}

static void texts_begin(struct texts *x) {
    x->starts[x->n++] = x->bytes.n;
}

static void texts_end(struct texts *x) {
    buffer_add(&x->bytes, "", 1);
}

static const char *const *texts_pointers(struct texts *x) {
    for (size_t i = 0; i < x->n; i++) x->pointers[i] = x->bytes.data + x->starts[i];
    return x->pointers;
}

/* The byte alphabet, as UTF-8. */
struct alphabet {
    char text[256][4];
    size_t size[256];
};

static void alphabet_make(struct alphabet *a) {
    for (uint32_t c = 0; c < BYTE_ALPHABET; c++) {
        int byte = byte_of_character(c);
        if (byte >= 0) a->size[byte] = utf8_encode(c, a->text[byte]);
    }
}

static void add_in_alphabet(struct buffer *b, const struct alphabet *a, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        buffer_add(b, a->text[c], a->size[c]);
    }
}

static int32_t add_token(struct texts *x, const struct alphabet *a, const struct tokenizer *t, int64_t id) {
    const struct token *token = id < t->n ? &t->tokens[id] : NULL;
    if (!token || token->kind == TOKEN_NONE) {
        buffer_format(&x->bytes, "[PAD%lld]", (long long)id);
        return TYPE_UNUSED;
    }
    const char *bytes = token_bytes(t, (int32_t)id);
    if (token->kind == TOKEN_NORMAL && !token->raw)
        add_in_alphabet(&x->bytes, a, bytes, token->size);
    else
        buffer_add(&x->bytes, bytes, token->size);
    return token->kind == TOKEN_NORMAL  ? TYPE_NORMAL
           : token->kind == TOKEN_ADDED ? TYPE_USER_DEFINED
                                        : TYPE_CONTROL;
}

static enum status put_tokens(const struct tokenizer *t, struct gguf_writer *w, const struct alphabet *a,
                              int64_t rows, struct texts *x, int32_t *types, struct error *e) {
    for (int64_t i = 0; i < rows; i++) {
        texts_begin(x);
        types[i] = add_token(x, a, t, i);
        texts_end(x);
    }
    TRY(buffer_check(&x->bytes, e));
    gguf_put_strings(w, "tokenizer.ggml.tokens", texts_pointers(x), (size_t)rows);
    gguf_put_i32s(w, "tokenizer.ggml.token_type", types, (size_t)rows);
    return OK;
}

static int compare_ranks(const void *a, const void *b) {
    uint32_t x = (*(const struct merge *const *)a)->rank, y = (*(const struct merge *const *)b)->rank;
    return (x > y) - (x < y);
}

static enum status put_merges(const struct tokenizer *t, struct gguf_writer *w, const struct alphabet *a,
                              const struct merge **sorted, struct texts *x, struct error *e) {
    size_t n = 0;
    for (size_t i = 0; i <= t->merge_mask; i++)
        if (t->merges[i].left >= 0) sorted[n++] = &t->merges[i];
    if (n) qsort(sorted, n, sizeof *sorted, compare_ranks);
    for (size_t i = 0; i < n; i++) {
        int32_t left = sorted[i]->left, right = sorted[i]->right;
        texts_begin(x);
        add_in_alphabet(&x->bytes, a, token_bytes(t, left), t->tokens[left].size);
        buffer_text(&x->bytes, " ");
        add_in_alphabet(&x->bytes, a, token_bytes(t, right), t->tokens[right].size);
        texts_end(x);
    }
    TRY(buffer_check(&x->bytes, e));
    gguf_put_strings(w, "tokenizer.ggml.merges", texts_pointers(x), n);
    return OK;
}

static void put_settings(const struct tokenizer *t, struct gguf_writer *w) {
    const struct {
        const char *key;
        int id;
    } ids[] = {{"tokenizer.ggml.bos_token_id", t->bos},
               {"tokenizer.ggml.eos_token_id", t->eos},
               {"tokenizer.ggml.padding_token_id", t->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0) gguf_put_u32(w, ids[i].key, (uint32_t)ids[i].id);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t->adds_bos);
    if (t->chat_template) gguf_put_string(w, "tokenizer.chat_template", t->chat_template);
}

enum status tokenizer_put(const struct tokenizer *t, struct gguf_writer *w, int64_t rows, struct error *e) {
    const char *pre = pre_tokenizer_name(t);
    struct alphabet a = {0};
    struct texts tokens = {0}, merges = {0};
    if (!pre)
        return fail(e, ERR_UNSUPPORTED, "%s: GGUF cannot say how this tokenizer normalises text", t->name);
    if (rows < t->n)
        return fail(e, ERR_SHAPE, "%s: %d tokens (expected at most %lld, the embedding's rows)", t->name,
                    t->n, (long long)rows);
    alphabet_make(&a);
    int32_t *types = calloc((size_t)rows + 1, sizeof *types);
    const struct merge **sorted = calloc(t->merge_mask + 1, sizeof *sorted);
    enum status status = types && sorted ? OK : fail(e, ERR_MEMORY, "%s: out of memory", t->name);
    if (status == OK) status = texts_allocate(&tokens, (size_t)rows, t->name, e);
    if (status == OK) status = texts_allocate(&merges, t->merge_mask + 1, t->name, e);
    gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    gguf_put_string(w, "tokenizer.ggml.pre", pre);
    if (status == OK) status = put_tokens(t, w, &a, rows, &tokens, types, e);
    if (status == OK) status = put_merges(t, w, &a, sorted, &merges, e);
    put_settings(t, w);
    texts_free(&tokens);
    texts_free(&merges);
    free(types);
    free(sorted);
    return status;
}
