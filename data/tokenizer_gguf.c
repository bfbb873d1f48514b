/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_gguf: a vocabulary from the metadata of a GGUF file, keys tokenizer.ggml.*. All is copied: the
 * file may be closed afterwards. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/gguf.h"
#include "data/model.h"
#include "data/tokenizer_parts.h"

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED, TYPE_UNUSED };

static enum status add_tokens(struct tokenizer *t, const struct gguf_kv *tokens, const struct gguf_kv *types,
                              struct error *e) {
    static const enum token_kind kinds[] = {
        [TYPE_NORMAL] = TOKEN_NORMAL,      [TYPE_UNKNOWN] = TOKEN_SPECIAL, [TYPE_CONTROL] = TOKEN_SPECIAL,
        [TYPE_USER_DEFINED] = TOKEN_ADDED, [TYPE_UNUSED] = TOKEN_NONE,
    };
    const uint8_t *cursor = tokens->data;
    for (uint64_t i = 0; i < tokens->count; i++) {
        struct gguf_string s = gguf_string_next(&cursor);
        int64_t type = gguf_int_at(types, i);
        if (type < TYPE_NORMAL || type > TYPE_UNUSED)
            return fail(e, ERR_FORMAT,
                        "%s: token %" PRIu64 ": unknown type (found %" PRId64 ", expected 1 to 5)", t->name,
                        i, type);
        TRY(vocab_add(t, (int64_t)i, s.data, s.size, kinds[type], e));
    }
    return OK;
}

static enum status add_merges(struct tokenizer *t, const struct gguf_kv *merges, struct error *e) {
    const uint8_t *cursor = merges->data;
    for (uint64_t i = 0; i < merges->count; i++) {
        struct gguf_string s = gguf_string_next(&cursor);
        TRY(merge_add_line(t, s.data, s.size, (uint32_t)i, e));
    }
    return OK;
}

/* The id under an optional key; -1 without the key. */
static enum status get_id(const struct gguf *g, const struct tokenizer *t, const char *key, int *id,
                          struct error *e) {
    int64_t v = -1;
    if (gguf_find(g, key)) TRY(gguf_int(g, key, 0, t->n - 1, &v, e));
    *id = (int)v;
    return OK;
}

static enum status get_settings(const struct gguf *g, struct tokenizer *t, struct error *e) {
    TRY(get_id(g, t, "tokenizer.ggml.bos_token_id", &t->bos, e));
    TRY(get_id(g, t, "tokenizer.ggml.eos_token_id", &t->eos, e));
    TRY(get_id(g, t, "tokenizer.ggml.padding_token_id", &t->pad, e));
    int adds_eos = 0;
    if (gguf_find(g, "tokenizer.ggml.add_eos_token"))
        TRY(gguf_bool(g, "tokenizer.ggml.add_eos_token", &adds_eos, e));
    if (adds_eos)
        return fail(e, ERR_UNSUPPORTED, "%s: key tokenizer.ggml.add_eos_token: found true, expected false",
                    t->name);
    if (gguf_find(g, "tokenizer.ggml.add_bos_token"))
        TRY(gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->adds_bos, e));
    if (t->adds_bos && t->bos < 0)
        return fail(e, ERR_FORMAT, "%s: a BOS is to be added, but key tokenizer.ggml.bos_token_id is missing",
                    t->name);
    if (!gguf_find(g, "tokenizer.chat_template")) return OK;
    struct gguf_string s;
    TRY(gguf_text(g, "tokenizer.chat_template", &s, e));
    t->chat_template = strndup(s.data, s.size);
    return t->chat_template ? OK : fail(e, ERR_MEMORY, "%s: out of memory for the chat template", t->name);
}

static enum status build(struct tokenizer **out, const struct gguf *g, int64_t rows, struct error *e) {
    struct gguf_string model, name;
    const struct gguf_kv *tokens, *types, *merges;
    TRY(gguf_text(g, "tokenizer.ggml.model", &model, e));
    if (model.size != 4 || memcmp(model.data, "gpt2", 4) != 0)
        return fail(e, ERR_UNSUPPORTED,
                    "%s: key tokenizer.ggml.model: found '%.*s', expected gpt2 (byte-level BPE)", g->path,
                    (int)(model.size < 40 ? model.size : 40), model.data);
    TRY(gguf_text(g, "tokenizer.ggml.pre", &name, e));
    const struct pre_tokenizer *pre = pre_tokenizer_named(name.data, name.size);
    if (!pre)
        return fail(e, ERR_UNSUPPORTED,
                    "%s: key tokenizer.ggml.pre: found '%.*s', expected lfm2, llama3, llama-bpe or qwen2",
                    g->path, (int)(name.size < 40 ? name.size : 40), name.data);
    TRY(gguf_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, e));
    TRY(gguf_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, e));
    TRY(gguf_array(g, "tokenizer.ggml.merges", GGUF_STRING, &merges, e));
    if (rows > 0 && tokens->count != (uint64_t)rows)
        return fail(e, ERR_SHAPE,
                    "%s: key tokenizer.ggml.tokens: found %" PRIu64 " tokens, expected %" PRId64
                    " (rows of the embedding)",
                    g->path, tokens->count, rows);
    if (types->count != tokens->count)
        return fail(e, ERR_SHAPE,
                    "%s: key tokenizer.ggml.token_type: found %" PRIu64 " types, expected %" PRIu64, g->path,
                    types->count, tokens->count);
    TRY(vocab_begin(out, g->path, tokens->count > INT32_MAX ? -1 : (int64_t)tokens->count, e));
    TRY(add_tokens(*out, tokens, types, e));
    TRY(vocab_index(*out, merges->count, e));
    TRY(add_merges(*out, merges, e));
    TRY(vocab_finish(*out, pre, e));
    return get_settings(g, *out, e);
}

enum status tokenizer_of_gguf(struct tokenizer **out, const struct gguf *g, int64_t rows, struct error *e) {
    *out = NULL;
    enum status status = build(out, g, rows, e);
    if (status != OK) tokenizer_close(*out), *out = NULL;
    return status;
}

/* The folder that a file lies in. */
static enum status of_parent(struct tokenizer **out, const char *path, int is_tokenizer, struct error *e) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    enum status status = tokenizer_of_folder(out, folder, is_tokenizer ? path : NULL, e);
    free(folder);
    return status;
}

enum status tokenizer_of_model(struct tokenizer **out, const struct model *m, struct error *e) {
    *out = NULL;
    if (m->gguf) return tokenizer_of_gguf(out, m->gguf, m->config.n_vocab, e);
    struct stat st;
    int is_folder = stat(m->path, &st) == 0 && S_ISDIR(st.st_mode);
    TRY(is_folder ? tokenizer_of_folder(out, m->path, NULL, e) : of_parent(out, m->path, 0, e));
    int found = (*out)->n;
    if (found <= m->config.n_vocab) return OK;
    tokenizer_close(*out), *out = NULL;
    return fail(e, ERR_SHAPE,
                "%s: the vocabulary beside it has %d tokens (expected at most %d, the embedding's rows)",
                m->path, found, m->config.n_vocab);
}

enum status tokenizer_open(struct tokenizer **out, const char *path, struct error *e) {
    *out = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return tokenizer_of_folder(out, path, NULL, e);
    size_t n = strlen(path);
    if (n >= 12 && strcmp(path + n - 12, ".safetensors") == 0) return of_parent(out, path, 0, e);
    if (n >= 5 && strcmp(path + n - 5, ".json") == 0) return of_parent(out, path, 1, e);
    struct gguf *g;
    TRY(gguf_open(&g, path, e));
    enum status status = tokenizer_of_gguf(out, g, 0, e);
    gguf_close(g);
    return status;
}
