/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_json: a vocabulary from a Hugging Face folder: tokenizer.json, or vocab.json with merges.txt, and
 * what tokenizer_config.json adds. Whatever is asked for there and not done here is refused by name: a
 * tokenizer that is nearly right is worse than none. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/json.h"
#include "data/tokenizer_parts.h"

enum { MAX_FILE = 256 << 20 };

/* The parsed files of one folder; those that are not there are NULL. */
struct folder {
    char path[4096]; /* of tokenizer.json or vocab.json, for errors */
    json_t *tokenizer, *config;
    json_t *vocab;        /* text -> id */
    struct buffer merges; /* merges.txt */
    const json_t *merge_list;
    const struct pre_tokenizer *pre;
    char *chat_template;
};

static int join_path(char *out, size_t size, const char *folder, const char *name) {
    int n = snprintf(out, size, "%s/%s", folder, name);
    return n > 0 && (size_t)n < size;
}

/* *out stays NULL when the file is not there. */
static enum status load_json(json_t **out, const char *path, struct error *e) {
    *out = NULL;
    if (access(path, F_OK) != 0 && errno == ENOENT) return OK;
    return json_read(out, path, MAX_FILE, JSON_ALLOW_NUL, e);
}

static enum status unsupported(const struct folder *f, const char *what, struct error *e) {
    return fail(e, ERR_UNSUPPORTED, "%s: %s, which this program does not do", f->path, what);
}

/* Members of a "Sequence", or the value itself as a list of one; NULL at the end. */
static json_t *part_at(json_t *value, const char *members, size_t i) {
    json_t *list = json_object_get(value, members);
    if (json_is_array(list)) return json_array_get(list, i);
    return i == 0 && json_is_object(value) ? value : NULL;
}

static const char *text_at(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* Keys that are there have these types, or are null. */
static enum status check_types(const struct folder *f, struct error *e) {
    static const struct {
        const char *key;
        int in_config;
        json_type type, other;
    } keys[] = {
        {"added_tokens", 0, JSON_ARRAY, JSON_ARRAY},
        {"normalizer", 0, JSON_OBJECT, JSON_OBJECT},
        {"post_processor", 0, JSON_OBJECT, JSON_OBJECT},
        {"decoder", 0, JSON_OBJECT, JSON_OBJECT},
        {"added_tokens_decoder", 1, JSON_OBJECT, JSON_OBJECT},
        {"bos_token", 1, JSON_STRING, JSON_OBJECT},
        {"eos_token", 1, JSON_STRING, JSON_OBJECT},
        {"pad_token", 1, JSON_STRING, JSON_OBJECT},
        {"add_bos_token", 1, JSON_TRUE, JSON_FALSE},
        {"add_eos_token", 1, JSON_TRUE, JSON_FALSE},
        {"chat_template", 1, JSON_STRING, JSON_ARRAY},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(keys[i].in_config ? f->config : f->tokenizer, keys[i].key);
        if (!v || json_is_null(v) || json_typeof(v) == keys[i].type || json_typeof(v) == keys[i].other)
            continue;
        return fail(e, ERR_FORMAT, "%s: key %s%s is of the wrong type", f->path, keys[i].key,
                    keys[i].in_config ? " of tokenizer_config.json beside it" : "");
    }
    return OK;
}

/* Tokens become bytes again as byte-level tokens do: what this program always does. */
static enum status read_decoder(const struct folder *f, struct error *e) {
    json_t *value = json_object_get(f->tokenizer, "decoder"), *part;
    for (size_t i = 0; (part = part_at(value, "decoders", i)); i++)
        if (strcmp(text_at(part, "type"), "ByteLevel") != 0)
            return fail(e, ERR_UNSUPPORTED, "%s: unknown decoder '%.40s' (expected ByteLevel)", f->path,
                        text_at(part, "type"));
    return OK;
}

static enum status read_pre_tokenizer(struct folder *f, struct error *e) {
    json_t *value = json_object_get(f->tokenizer, "pre_tokenizer"), *part;
    int byte_level = 0;
    for (size_t i = 0; (part = part_at(value, "pretokenizers", i)); i++) {
        if (strcmp(text_at(part, "type"), "Split") == 0 && !f->pre && !byte_level) {
            const char *pattern = text_at(json_object_get(part, "pattern"), "Regex");
            if (!(f->pre = pre_tokenizer_of_pattern(pattern)) ||
                json_is_true(json_object_get(part, "invert")) ||
                strcmp(text_at(part, "behavior"), "Isolated") != 0)
                return fail(e, ERR_UNSUPPORTED,
                            "%s: unknown pre-tokenizer (found the pattern '%.100s', expected that of LFM2, "
                            "Llama 3 or "
                            "Qwen2)",
                            f->path, pattern);
        } else if (strcmp(text_at(part, "type"), "ByteLevel") == 0 && !byte_level) {
            byte_level = 1;
            if (!json_is_false(json_object_get(part, "use_regex")) ||
                json_is_true(json_object_get(part, "add_prefix_space")))
                return unsupported(f, "the ByteLevel pre-tokenizer has use_regex or add_prefix_space", e);
        } else {
            return fail(e, ERR_UNSUPPORTED, "%s: unknown pre-tokenizer '%.40s'", f->path,
                        text_at(part, "type"));
        }
    }
    if (!f->pre || !byte_level) return unsupported(f, "the pre-tokenizer is not Split, then ByteLevel", e);
    return OK;
}

/* 1 in *nfc when text is normalised. */
static enum status read_normalizer(const struct folder *f, int *nfc, struct error *e) {
    json_t *value = json_object_get(f->tokenizer, "normalizer"), *part;
    for (size_t i = 0; (part = part_at(value, "normalizers", i)); i++) {
        if (strcmp(text_at(part, "type"), "NFC") != 0)
            return fail(e, ERR_UNSUPPORTED, "%s: unknown normalizer '%.40s' (expected NFC)", f->path,
                        text_at(part, "type"));
        *nfc = 1;
    }
    return OK;
}

/* What stands before a text: sets *bos to the content of a special token, or leaves it alone. */
static enum status read_post_processor(const struct folder *f, const char **bos, struct error *e) {
    json_t *value = json_object_get(f->tokenizer, "post_processor"), *part;
    for (size_t i = 0; (part = part_at(value, "processors", i)); i++) {
        if (strcmp(text_at(part, "type"), "ByteLevel") == 0) continue; /* changes offsets only */
        json_t *single = json_object_get(part, "single");
        size_t n = json_array_size(single);
        json_t *first = json_object_get(json_array_get(single, 0), "SpecialToken");
        json_t *text = json_object_get(json_array_get(single, n ? n - 1 : 0), "Sequence");
        if (strcmp(text_at(part, "type"), "TemplateProcessing") != 0 || !text || n > 2 || (n == 2 && !first))
            return unsupported(f, "the post-processor adds more than a BOS", e);
        if (first) *bos = text_at(first, "id");
    }
    return OK;
}

static enum status read_model(struct folder *f, struct error *e) {
    json_t *model = json_object_get(f->tokenizer, "model");
    static const char *const must_be_off[] = {"dropout", "byte_fallback", "continuing_subword_prefix",
                                              "end_of_word_suffix"};
    if (json_object_get(model, "type") && strcmp(text_at(model, "type"), "BPE") != 0)
        return fail(e, ERR_UNSUPPORTED, "%s: model type (found '%.40s', expected BPE)", f->path,
                    text_at(model, "type"));
    for (size_t i = 0; i < sizeof must_be_off / sizeof *must_be_off; i++) {
        const json_t *v = json_object_get(model, must_be_off[i]);
        if (!v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
            (json_is_number(v) && json_number_value(v) == 0))
            continue;
        return fail(e, ERR_UNSUPPORTED, "%s: the model uses %s, which this program does not do", f->path,
                    must_be_off[i]);
    }
    f->vocab = json_incref(json_object_get(model, "vocab"));
    f->merge_list = json_object_get(model, "merges");
    if (!json_is_object(f->vocab) || !json_is_array(f->merge_list))
        return fail(e, ERR_FORMAT, "%s: model.vocab or model.merges is missing", f->path);
    return OK;
}

/* One past the highest id. Ids may leave gaps, but a short file must not ask for a large table. */
static enum status count_ids(const struct folder *f, int64_t *n, struct error *e) {
    int64_t top = -1, entries = (int64_t)json_object_size(f->vocab);
    const char *key;
    json_t *value, *added = json_object_get(f->tokenizer, "added_tokens");
    size_t i;
    json_object_foreach(f->vocab, key, value) {
        if (!json_is_integer(value))
            return fail(e, ERR_FORMAT, "%s: the id of token '%.60s' is not a whole number", f->path, key);
        if (json_integer_value(value) > top) top = json_integer_value(value);
    }
    json_array_foreach(added, i, value) {
        const json_t *id = json_object_get(value, "id");
        if (!json_is_integer(id))
            return fail(e, ERR_FORMAT, "%s: the id of added token '%.60s' is not a whole number", f->path,
                        text_at(value, "content"));
        if (json_integer_value(id) > top) top = json_integer_value(id);
    }
    json_object_foreach(json_object_get(f->config, "added_tokens_decoder"), key, value) {
        int64_t id = strtoll(key, NULL, 10);
        if (id > top) top = id;
    }
    if (top > 2 * entries + 100000)
        return fail(e, ERR_FORMAT, "%s: token id %" PRId64 " is too high for %" PRId64 " entries", f->path,
                    top, entries);
    *n = top + 1;
    return OK;
}

/* An entry of added_tokens or added_tokens_decoder. The vocabulary's id for the same text goes first. */
static enum status add_added(struct tokenizer *t, const struct folder *f, int64_t id, const json_t *entry,
                             struct error *e) {
    const json_t *content = json_object_get(entry, "content");
    if (!json_is_string(content))
        return fail(e, ERR_FORMAT, "%s: added token %" PRId64 " has no content", f->path, id);
    static const char *const must_be_off[] = {"lstrip", "rstrip", "single_word"};
    for (int i = 0; i < 3; i++)
        if (json_is_true(json_object_get(entry, must_be_off[i])))
            return fail(e, ERR_UNSUPPORTED,
                        "%s: added token %" PRId64 " has %s, which this program does not do", f->path, id,
                        must_be_off[i]);
    const json_t *known = json_object_getn(f->vocab, json_string_value(content), json_string_length(content));
    if (known) id = json_integer_value(known);
    int special = json_is_true(json_object_get(entry, "special"));
    return vocab_add(t, id, json_string_value(content), json_string_length(content),
                     special ? TOKEN_SPECIAL : TOKEN_ADDED, e);
}

static enum status add_tokens(struct tokenizer *t, const struct folder *f, struct error *e) {
    const char *key;
    size_t length, i;
    json_t *value;
    json_object_keylen_foreach(f->vocab, key, length, value)
        TRY(vocab_add(t, json_integer_value(value), key, length, TOKEN_NORMAL, e));
    json_array_foreach(json_object_get(f->tokenizer, "added_tokens"), i, value)
        TRY(add_added(t, f, json_integer_value(json_object_get(value, "id")), value, e));
    json_object_foreach(json_object_get(f->config, "added_tokens_decoder"), key, value)
        TRY(add_added(t, f, strtoll(key, NULL, 10), value, e));
    return OK;
}

static enum status add_merge_list(struct tokenizer *t, const json_t *list, struct error *e) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *l = json_array_get(m, 0), *r = json_array_get(m, 1);
        if (json_is_string(m))
            TRY(merge_add_line(t, json_string_value(m), json_string_length(m), (uint32_t)i, e));
        else if (json_array_size(m) == 2 && json_is_string(l) && json_is_string(r))
            TRY(merge_add(t, json_string_value(l), json_string_length(l), json_string_value(r),
                          json_string_length(r), (uint32_t)i, e));
        else
            return fail(e, ERR_FORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", t->name, i);
    }
    return OK;
}

/* merges.txt: a line per merge, after a first line "#version: ...". With t NULL only counts. */
static enum status add_merge_lines(struct tokenizer *t, const struct buffer *b, uint32_t *count,
                                   struct error *e) {
    *count = 0;
    for (size_t i = 0; i < b->n;) {
        const char *line = b->data + i, *newline = memchr(line, '\n', b->n - i);
        size_t n = newline ? (size_t)(newline - line) : b->n - i;
        size_t visible = n > 0 && line[n - 1] == '\r' ? n - 1 : n;
        int comment = i == 0 && n >= 9 && memcmp(line, "#version:", 9) == 0;
        i += n + 1;
        if (comment || visible == 0) continue;
        if (t) TRY(merge_add_line(t, line, visible, *count, e));
        ++*count;
    }
    return OK;
}

/* A special token that the configuration names, as text or as an object; -1 without one. */
static enum status named_id(const struct tokenizer *t, const json_t *config, const char *key, int *id,
                            struct error *e) {
    const json_t *v = json_object_get(config, key);
    const char *text = json_is_object(v) ? text_at(v, "content") : json_string_value(v);
    *id = -1;
    if (!text || !*text) return OK;
    *id = tokenizer_id(t, text);
    if (*id >= 0) return OK;
    return fail(e, ERR_FORMAT, "%s: %s is '%.60s', which is not an added token", t->name, key, text);
}

static enum status set_special(struct tokenizer *t, const struct folder *f, const char *template_bos,
                               struct error *e) {
    TRY(named_id(t, f->config, "bos_token", &t->bos, e));
    TRY(named_id(t, f->config, "eos_token", &t->eos, e));
    TRY(named_id(t, f->config, "pad_token", &t->pad, e));
    t->adds_bos = template_bos || json_is_true(json_object_get(f->config, "add_bos_token"));
    if (template_bos && (t->bos = tokenizer_id(t, template_bos)) < 0)
        return fail(e, ERR_FORMAT, "%s: the post-processor's '%.60s' is not an added token", f->path,
                    template_bos);
    if (json_is_true(json_object_get(f->config, "add_eos_token")))
        return unsupported(f, "add_eos_token is true", e);
    return OK;
}

static enum status build(struct tokenizer **out, struct folder *f, struct error *e) {
    const char *template_bos = NULL;
    int nfc = 0, ignore_merges = 0;
    uint32_t n_lines = 0;
    int64_t n = 0;
    TRY(check_types(f, e));
    if (f->tokenizer) {
        TRY(read_decoder(f, e));
        TRY(read_pre_tokenizer(f, e));
        TRY(read_normalizer(f, &nfc, e));
        TRY(read_post_processor(f, &template_bos, e));
        TRY(read_model(f, e));
        ignore_merges =
            json_is_true(json_object_get(json_object_get(f->tokenizer, "model"), "ignore_merges"));
    } else {
        nfc = f->pre->nfc;
        TRY(add_merge_lines(NULL, &f->merges, &n_lines, e));
    }
    TRY(count_ids(f, &n, e));
    TRY(vocab_begin(out, f->path, n, e));
    TRY(add_tokens(*out, f, e));
    TRY(vocab_index(*out, f->tokenizer ? json_array_size(f->merge_list) : n_lines, e));
    if (f->tokenizer)
        TRY(add_merge_list(*out, f->merge_list, e));
    else
        TRY(add_merge_lines(*out, &f->merges, &n_lines, e));
    TRY(vocab_finish(*out, f->pre, e));
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): vocab_begin() was OK */
    (*out)->nfc = nfc, (*out)->ignore_merges = ignore_merges;
    TRY(set_special(*out, f, template_bos, e));
    (*out)->chat_template = f->chat_template, f->chat_template = NULL;
    return OK;
}

/* chat_template.jinja, else the string in tokenizer_config.json, else the one called "default" of a list
 * there. */
static enum status load_chat_template(struct folder *f, const char *folder, struct error *e) {
    char path[4096];
    if (join_path(path, sizeof path, folder, "chat_template.jinja") && access(path, F_OK) == 0) {
        struct buffer b = {0};
        TRY(buffer_read(&b, path, MAX_FILE, e));
        f->chat_template = b.data ? b.data : strdup("");
        return OK;
    }
    json_t *v = json_object_get(f->config, "chat_template"), *entry;
    size_t i;
    json_array_foreach(v, i, entry) if (strcmp(text_at(entry, "name"), "default") == 0) v =
        json_object_get(entry, "template");
    if (json_is_string(v) && !(f->chat_template = strdup(json_string_value(v))))
        return fail(e, ERR_MEMORY, "%s: out of memory for the chat template", f->path);
    return OK;
}

/* vocab.json and merges.txt do not say how text is cut: the class of the tokenizer has to be known. */
static enum status load_pair(struct folder *f, const char *folder, struct error *e) {
    char path[4096];
    if (!join_path(f->path, sizeof f->path, folder, "vocab.json") ||
        !join_path(path, sizeof path, folder, "merges.txt"))
        return fail(e, ERR_ARG, "%s: the path is too long", folder);
    TRY(load_json(&f->vocab, f->path, e));
    if (!f->vocab) return fail(e, ERR_IO, "%s: neither tokenizer.json nor vocab.json is there", folder);
    const char *class = text_at(f->config, "tokenizer_class");
    if (strcmp(class, "Qwen2Tokenizer") != 0 && strcmp(class, "Qwen2TokenizerFast") != 0)
        return fail(
            e, ERR_UNSUPPORTED,
            "%s: tokenizer_class in tokenizer_config.json beside it: found '%.40s', expected Qwen2Tokenizer",
            f->path, class);
    f->pre = pre_tokenizer_named("qwen2", 5);
    return buffer_read(&f->merges, path, MAX_FILE, e);
}

static enum status load(struct folder *f, const char *folder, const char *file, struct error *e) {
    char path[4096];
    if (!join_path(path, sizeof path, folder, "tokenizer_config.json"))
        return fail(e, ERR_ARG, "%s: the path is too long", folder);
    TRY(load_json(&f->config, path, e));
    if (file)
        snprintf(f->path, sizeof f->path, "%s", file);
    else
        join_path(f->path, sizeof f->path, folder, "tokenizer.json");
    TRY(load_json(&f->tokenizer, f->path, e));
    if (!f->tokenizer && file) return fail(e, ERR_IO, "%s: %s", file, strerror(ENOENT));
    if (!f->tokenizer) TRY(load_pair(f, folder, e));
    return load_chat_template(f, folder, e);
}

enum status tokenizer_of_folder(struct tokenizer **out, const char *folder, const char *file,
                                struct error *e) {
    struct folder f = {0};
    *out = NULL;
    enum status status = load(&f, folder, file, e);
    if (status == OK) status = build(out, &f, e);
    if (status != OK) tokenizer_close(*out), *out = NULL;
    json_decref(f.tokenizer), json_decref(f.config), json_decref(f.vocab);
    buffer_free(&f.merges), free(f.chat_template);
    return status;
}
