/* SPDX-License-Identifier: Apache-2.0 */
/* test_tokenizer_files: vocabularies that lie. Each is a good one with one thing changed, and is answered
 * with one line that names it. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/gguf_write.h"
#include "data/tokenizer_parts.h"

TestSuite(tokenizer_files);

/* What a GGUF file says; NULL or 0 leaves a key out. */
enum { BYTES = 256, MAX = 300 };
struct vocabulary {
    const char *model, *pre, *tokens[MAX], *merges[8];
    int32_t types[MAX];
    int n, n_types, n_merges;
    uint32_t bos;
    int has_bos, add_bos, add_eos;
    char byte_texts[BYTES][4];
};

/* All bytes, "ab", "abc", an added token and two special ones. */
static struct vocabulary *good(void) {
    static struct vocabulary v;
    memset(&v, 0, sizeof v);
    v.model = "gpt2", v.pre = "lfm2";
    for (int b = 0, moved = 256; b < BYTES; b++) {
        int visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        utf8_encode((uint32_t)(visible ? b : moved++), v.byte_texts[b]);
        v.tokens[v.n++] = v.byte_texts[b];
    }
    static const char *const more[] = {"ab", "abc", "python", "<|bos|>", "<|im_end|>", "[PAD]", "zzz"};
    static const int types[] = {1, 1, 4, 3, 3, 5, 1};
    for (int i = 0; i < BYTES; i++) v.types[i] = 1;
    for (int i = 0; i < 7; i++) v.types[v.n] = types[i], v.tokens[v.n++] = more[i];
    v.n_types = v.n;
    v.merges[v.n_merges++] = "a b";
    v.merges[v.n_merges++] = "ab c";
    v.bos = 259, v.has_bos = 1, v.add_bos = 1;
    return &v;
}

static enum status read_back(const struct vocabulary *v, int64_t rows, struct tokenizer **t,
                             struct error *e) {
    struct gguf_writer *w;
    struct gguf *g;
    cr_assert_eq(gguf_writer_new(&w, "/nonexistent/v.gguf", e), OK);
    if (v->model) gguf_put_string(w, "tokenizer.ggml.model", v->model);
    if (v->pre) gguf_put_string(w, "tokenizer.ggml.pre", v->pre);
    if (v->n) gguf_put_strings(w, "tokenizer.ggml.tokens", v->tokens, (size_t)v->n);
    if (v->n_types) gguf_put_i32s(w, "tokenizer.ggml.token_type", v->types, (size_t)v->n_types);
    if (v->n_merges) gguf_put_strings(w, "tokenizer.ggml.merges", v->merges, (size_t)v->n_merges);
    if (v->has_bos) gguf_put_u32(w, "tokenizer.ggml.bos_token_id", v->bos);
    gguf_put_bool(w, "tokenizer.ggml.add_bos_token", v->add_bos);
    if (v->add_eos) gguf_put_bool(w, "tokenizer.ggml.add_eos_token", 1);
    gguf_put_string(w, "tokenizer.chat_template", "{{ x }}");
    cr_assert_eq(gguf_writer_keys(w, &g, e), OK, "%s", e->text);
    gguf_writer_free(w);
    enum status status = tokenizer_of_gguf(t, g, rows, e);
    gguf_close(g);
    return status;
}

static void expect_refused(const struct vocabulary *v, int64_t rows, const char *words) {
    struct error e = {0};
    struct tokenizer *t = NULL;
    cr_expect_neq(read_back(v, rows, &t, &e), OK, "expected: %s", words);
    cr_expect_null(t);
    cr_expect(strstr(e.text, words), "found '%s', expected '%s'", e.text, words);
    cr_expect_null(strchr(e.text, '\n'));
}

Test(tokenizer_files, a_good_gguf) {
    struct error e = {0};
    struct tokenizer *t;
    struct tokens ids = {0};
    struct buffer text = {0};
    cr_assert_eq(read_back(good(), 263, &t, &e), OK, "%s", e.text);
    static const char abc[] = "abcab python<|im_end|>zzz";
    static const int32_t want[] = {259, 257, 256, 32, 258, 260, 'z', 'z', 'z'};
    cr_assert_eq(tokenizer_encode(t, abc, strlen(abc), TOKENS_BOS | TOKENS_SPECIAL, &ids, &e), OK, "%s",
                 e.text);
    cr_expect(ids.n == 9 && memcmp(ids.ids, want, sizeof want) == 0,
              "merges decide, also about a word that is in the vocabulary");
    cr_expect_eq(tokenizer_decode(t, (int32_t[]){257, 261, 259, 262}, 4, 0, &text, &e), OK);
    cr_expect_str_eq(text.data, "abczzz", "unused and special tokens are left out");
    cr_expect_str_eq(tokenizer_chat_template(t), "{{ x }}");
    cr_expect_eq(tokenizer_decode(t, (int32_t[]){263}, 1, 0, &text, &e), ERR_ARG);
    tokens_free(&ids), buffer_free(&text), tokenizer_close(t);
}

/* Where a text or a pair lies in the tables differs from one tokenizer to the next: nobody can choose texts
 * that meet, which would take minutes to load. */
Test(tokenizer_files, tables_are_keyed) {
    struct error e = {0};
    struct tokenizer *a, *b;
    cr_assert_eq(read_back(good(), 0, &a, &e), OK, "%s", e.text);
    cr_assert_eq(read_back(good(), 0, &b, &e), OK, "%s", e.text);
    cr_assert_eq(a->slot_mask, b->slot_mask);
    cr_expect_neq(memcmp(a->slots, b->slots, (a->slot_mask + 1) * sizeof *a->slots), 0);
    int moved = 0; /* 2 pairs in 16 places: the same by chance once in 256, so 8 tries */
    for (int i = 0; i < 8 && !moved; i++) {
        moved = memcmp(a->merges, b->merges, (a->merge_mask + 1) * sizeof *a->merges) != 0;
        tokenizer_close(b);
        cr_assert_eq(read_back(good(), 0, &b, &e), OK, "%s", e.text);
    }
    cr_expect(moved);
    tokenizer_close(a), tokenizer_close(b);
}

/* A text is compared with them at every byte. */
Test(tokenizer_files, added_tokens_have_a_length_limit) {
    static char text[258];
    struct vocabulary *v = good();
    memset(text, 'a', sizeof text - 1);
    v->tokens[258] = text; /* "python" */
    expect_refused(v, 0, "added token 258 is too long (found 257 bytes, expected at most 256)");
    struct error e = {0};
    struct tokenizer *t;
    text[256] = 0;
    cr_expect_eq(read_back(v, 0, &t, &e), OK, "%s", e.text);
    tokenizer_close(t);
}

Test(tokenizer_files, whole_words_of_llama3) { /* whose tokenizer.json has ignore_merges true */
    struct error e = {0};
    struct tokenizer *t;
    struct tokens ids = {0};
    struct vocabulary *v = good();
    v->pre = "llama-bpe";
    cr_assert_eq(read_back(v, 0, &t, &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_encode(t, "zzz", 3, 0, &ids, &e), OK);
    cr_expect(ids.n == 1 && ids.ids[0] == 262);
    tokens_free(&ids), tokenizer_close(t);
}

Test(tokenizer_files, keys) {
    struct vocabulary *v = good();
    expect_refused(v, 262, "expected 262 (rows of the embedding)");
    (v = good())->model = "llama", expect_refused(v, 0, "expected gpt2");
    (v = good())->model = NULL, expect_refused(v, 0, "tokenizer.ggml.model is missing");
    (v = good())->pre = "deepseek-llm", expect_refused(v, 0, "found 'deepseek-llm', expected lfm2");
    (v = good())->pre = NULL, expect_refused(v, 0, "tokenizer.ggml.pre is missing");
    (v = good())->n = 0, expect_refused(v, 0, "tokenizer.ggml.tokens is missing");
    (v = good())->n_types = 0, expect_refused(v, 0, "tokenizer.ggml.token_type is missing");
    (v = good())->n_types--, expect_refused(v, 0, "found 262 types, expected 263");
    (v = good())->n_merges = 0, expect_refused(v, 0, "tokenizer.ggml.merges is missing");
    (v = good())->bos = 263, expect_refused(v, 0, "bos_token_id: out of range");
    (v = good())->bos = UINT32_MAX, expect_refused(v, 0, "bos_token_id: out of range");
    (v = good())->has_bos = 0, expect_refused(v, 0, "bos_token_id is missing");
    (v = good())->add_eos = 1, expect_refused(v, 0, "add_eos_token");
    (v = good())->types[5] = 0, expect_refused(v, 0, "token 5: unknown type");
    (v = good())->types[5] = 6, expect_refused(v, 0, "token 5: unknown type");
    (v = good())->types[5] = -1, expect_refused(v, 0, "token 5: unknown type");
}

Test(tokenizer_files, tokens_and_merges) {
    struct vocabulary *v = good();
    v->tokens[262] = "ab", expect_refused(v, 0, "tokens 256 and 262 have the same text 'ab'");
    (v = good())->tokens[259] = "<|im_end|>",
         expect_refused(v, 0, "added tokens 259 and 260 have the same text");
    (v = good())->tokens[262] = "", expect_refused(v, 0, "token 262 is empty");
    (v = good())->merges[0] = "ab", expect_refused(v, 0, "merge 0: found 'ab', expected two parts");
    (v = good())->merges[0] = " ab", expect_refused(v, 0, "merge 0: the first part is not in the vocabulary");
    (v = good())->merges[0] = "ab ", expect_refused(v, 0, "merge 0: the second part");
    (v = good())->merges[0] = "a  b", expect_refused(v, 0, "merge 0: the ");
    (v = good())->merges[1] = "xy c", expect_refused(v, 0, "merge 1: the first part");
    (v = good())->merges[1] = "ab xy", expect_refused(v, 0, "merge 1: the second part");
    (v = good())->merges[1] = "b c", expect_refused(v, 0, "merge 1: the result");
    (v = good())->merges[1] = "\xff \xfe", expect_refused(v, 0, "merge 1: the first part");
    (v = good())->merges[0] = "<|im_end|> a", expect_refused(v, 0, "merge 0: the first part");
}

Test(tokenizer_files, odd_but_harmless) {
    static char large[1 << 20];
    struct vocabulary *v = good();
    struct error e = {0};
    struct tokenizer *t;
    struct tokens ids = {0};
    struct buffer text = {0};
    memset(large, 'q', sizeof large - 1);
    v->tokens[262] = large;                                    /* a token of a megabyte */
    v->tokens[256] = "\xe4\xb8\xad ", v->tokens[257] = "\xff"; /* outside the byte alphabet */
    v->merges[0] = "a b", v->n_merges = 1;
    v->tokens[258] = "ab", v->types[258] = 1;
    cr_assert_eq(read_back(v, 0, &t, &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_encode(t, "ab\xe4\xb8\xad \xff", 7, 0, &ids, &e), OK);
    cr_expect_eq(ids.n, 6u, "such tokens are never built");
    cr_expect_eq(tokenizer_decode(t, (int32_t[]){256, 257, 262}, 3, 0, &text, &e), OK);
    cr_expect(text.n == 4 + 1 + sizeof large - 1 && memcmp(text.data,
                                                           "\xe4\xb8\xad \xff"
                                                           "qq",
                                                           7) == 0);
    tokens_free(&ids), buffer_free(&text), tokenizer_close(t);
    v = good();
    v->merges[v->n_merges++] = "ab c"; /* twice: the last one's rank holds, as in the library */
    cr_assert_eq(read_back(v, 0, &t, &e), OK, "%s", e.text);
    tokenizer_close(t);
}

Test(tokenizer_files, a_byte_without_token) {
    struct vocabulary *v = good();
    struct error e = {0};
    struct tokenizer *t;
    struct tokens ids = {0};
    v->types['#'] = 5;
    cr_assert_eq(read_back(v, 0, &t, &e), OK, "%s", e.text);
    cr_expect_eq(tokenizer_encode(t, "ab c#", 5, TOKENS_BOS, &ids, &e), ERR_FORMAT);
    cr_expect(strstr(e.text, "no token for the byte 0x23"), "%s", e.text);
    cr_expect_eq(ids.n, 0u, "nothing is left behind");
    tokens_free(&ids), tokenizer_close(t);
}

static char folder[256];
static void make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/lfm2-vocabulary-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder));
}
static void remove_folder(void) {
    char cmd[320];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", folder);
    cr_assert(system(cmd) == 0);
}
TestSuite(tokenizer_folders, .init = make_folder, .fini = remove_folder);

static void put_text(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void put_json(const char *name, json_t *v) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(json_dump_file(v, path, 0), 0);
    json_decref(v);
}

static json_t *fixture(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "tests/fixtures/%s", name);
    json_t *v = json_load_file(path, 0, NULL);
    cr_assert(v, "%s (run from the repository's root)", path);
    return v;
}

/* The value at "a.b.0.c"; *last is its name in the object that is returned. */
static json_t *parent_of(json_t *v, const char *where, char *last) {
    char parts[128], *save, *part, *next;
    snprintf(parts, sizeof parts, "%s", where);
    part = strtok_r(parts, ".", &save);
    while ((next = strtok_r(NULL, ".", &save))) {
        v = json_is_array(v) ? json_array_get(v, (size_t)atoi(part)) : json_object_get(v, part);
        part = next;
    }
    strcpy(last, part);
    return v;
}

/* One value of tokenizer.json or its configuration replaced by another; NULL: removed. */
static void expect_folder(const char *file, const char *where, const char *value, const char *words) {
    json_t *tokenizer = fixture("lfm2/tokenizer.json"), *config = fixture("lfm2/tokenizer_config.json");
    char last[64];
    struct error e = {0};
    struct tokenizer *t = NULL;
    json_t *v = parent_of(strcmp(file, "tokenizer.json") == 0 ? tokenizer : config, where, last);
    json_t *new = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    if (json_is_array(v))
        cr_assert_eq(json_array_set_new(v, (size_t)atoi(last), new), 0, "%s", where);
    else
        cr_assert_eq(value ? json_object_set_new(v, last, new) : json_object_del(v, last), 0, "%s", where);
    put_json("tokenizer.json", tokenizer), put_json("tokenizer_config.json", config);
    enum status status = tokenizer_open(&t, folder, &e);
    cr_expect_eq(status == OK, words == NULL, "%s: %s", where, e.text);
    if (words) cr_expect(strstr(e.text, words), "%s: found '%s', expected '%s'", where, e.text, words);
    cr_expect_null(strchr(e.text, '\n'));
    tokenizer_close(t);
}

Test(tokenizer_folders, tokenizer_json) {
    const char *f = "tokenizer.json";
    expect_folder(f, "version", "\"1.0\"", NULL);
    expect_folder(f, "model", NULL, "model.vocab or model.merges is missing");
    expect_folder(f, "model.type", "\"Unigram\"", "expected BPE");
    expect_folder(f, "model.vocab", "[]", "model.vocab or");
    expect_folder(f, "model.merges", "{}", "model.vocab or");
    expect_folder(f, "model.byte_fallback", "true", "byte_fallback");
    expect_folder(f, "model.dropout", "0.1", "dropout");
    expect_folder(f, "model.end_of_word_suffix", "\"</w>\"", "end_of_word_suffix");
    expect_folder(f, "model.vocab.a", "\"x\"", "the id of token 'a' is not a whole number");
    expect_folder(f, "model.vocab.a", "-3", "token id -3 is out of range");
    expect_folder(f, "model.vocab.a", "20", "two tokens have the id 20");
    expect_folder(f, "model.vocab.a", "2000000000", "is too high");
    expect_folder(f, "model.vocab.new", "1500", NULL); /* a gap does no harm */
    expect_folder(f, "model.merges.0", "3", "merge 0 is neither");
    expect_folder(f, "model.merges.0", "[\"a\"]", "merge 0 is neither");
    expect_folder(f, "model.merges.0", "\"ab\"", "merge 0: found 'ab'");
    expect_folder(f, "model.merges.0", "[\"\", \"a\"]", "merge 0: the first part");
    expect_folder(f, "model.merges.0", "[\"a\", \"\\u4e2d\"]", "merge 0: the ");
    expect_folder(f, "normalizer", "{\"type\": \"NFKC\"}", "unknown normalizer 'NFKC'");
    expect_folder(f, "normalizer", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}]}", NULL);
    expect_folder(f, "pre_tokenizer", "null", "not Split, then ByteLevel");
    expect_folder(f, "pre_tokenizer", "{\"type\": \"Whitespace\"}", "unknown pre-tokenizer 'Whitespace'");
    expect_folder(f, "pre_tokenizer.pretokenizers.0.pattern.Regex", "\"\\\\p{L}+\"",
                  "found the pattern '\\p{L}+'");
    expect_folder(f, "pre_tokenizer.pretokenizers.0.behavior", "\"Removed\"", "unknown pre-tokenizer");
    expect_folder(f, "pre_tokenizer.pretokenizers.1.use_regex", "true", "use_regex");
    expect_folder(f, "pre_tokenizer.pretokenizers.1.add_prefix_space", "true", "add_prefix_space");
    expect_folder(f, "post_processor", "null", NULL);
    expect_folder(f, "post_processor.processors.1.single.1", "{\"SpecialToken\": {\"id\": \"x\"}}",
                  "more than a BOS");
    expect_folder(f, "post_processor.processors.1.single.0.SpecialToken.id", "\"<s>\"",
                  "'<s>' is not an added token");
    expect_folder(f, "added_tokens.0.lstrip", "true", "lstrip");
    expect_folder(f, "added_tokens.0.content", "7", "has no content");
    expect_folder(f, "added_tokens.0.content", "\"\"", "is empty");
    expect_folder(f, "added_tokens.0.id", NULL, "the id of added token '<|pad|>' is not a whole number");
    expect_folder(f, "added_tokens.0.id", "\"0\"", "the id of added token '<|pad|>' is not a whole number");
    expect_folder(f, "added_tokens", "{}", "key added_tokens is of the wrong type");
    expect_folder(f, "normalizer", "\"NFC\"", "key normalizer is of the wrong type");
    expect_folder(f, "post_processor", "5", "key post_processor is of the wrong type");
    expect_folder(f, "decoder", "null", NULL);
    expect_folder(f, "decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}]}", NULL);
    expect_folder(f, "decoder", "{\"type\": \"Metaspace\"}", "unknown decoder 'Metaspace'");
}

Test(tokenizer_folders, tokenizer_config_json) {
    const char *f = "tokenizer_config.json";
    expect_folder(f, "eos_token", "{\"content\": \"<|im_end|>\"}", NULL);
    expect_folder(f, "eos_token", "null", NULL);
    expect_folder(f, "eos_token", "\"</s>\"", "eos_token is '</s>', which is not an added token");
    expect_folder(f, "add_eos_token", "true", "add_eos_token");
    expect_folder(f, "add_bos_token", "\"yes\"", "key add_bos_token of tokenizer_config.json");
    expect_folder(f, "bos_token", "1", "key bos_token of tokenizer_config.json");
    expect_folder(f, "chat_template", "7", "key chat_template of tokenizer_config.json");
    expect_folder(f, "added_tokens_decoder", "[]", "key added_tokens_decoder of");
    expect_folder(f, "added_tokens_decoder.-5", "{\"content\": \"<|new|>\"}", "out of range");
    expect_folder(f, "added_tokens_decoder.999999999", "{\"content\": \"<|new|>\"}", "too high");
    expect_folder(f, "added_tokens_decoder.900", "{\"content\": \"<|new|>\", \"special\": true}", NULL);
    expect_folder(f, "added_tokens_decoder.20", "{\"content\": \"<|new|>\"}", "two tokens have the id 20");
}

static void expect_open_error(const char *path, const char *words) {
    struct error e = {0};
    struct tokenizer *t;
    cr_expect_neq(tokenizer_open(&t, path, &e), OK);
    cr_expect(strstr(e.text, words), "found '%s', expected '%s'", e.text, words);
}

Test(tokenizer_folders, files) {
    char path[512];
    expect_open_error(folder, "neither tokenizer.json nor vocab.json is there");
    expect_open_error("/nonexistent/tokenizer.json", "No such file");
    expect_open_error("/nonexistent/model.gguf", "No such file");
    put_text("tokenizer.json", "{\"model\": ");
    expect_open_error(folder, "not JSON");
    put_text("tokenizer.json", "[]");
    expect_open_error(folder, "expected an object");
    put_text("tokenizer.json", "");
    expect_open_error(folder, "empty file");
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/null", path), 0); /* a FIFO would be waited for */
    expect_open_error(folder, "tokenizer.json: not a regular file");
    cr_assert_eq(unlink(path), 0);
    put_json("vocab.json", fixture("qwen2/vocab.json"));
    expect_open_error(folder, "expected Qwen2Tokenizer");
    put_json("tokenizer_config.json", fixture("qwen2/tokenizer_config.json"));
    expect_open_error(folder, "merges.txt: No such file");
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    cr_assert_eq(symlink("/dev/null", path), 0);
    expect_open_error(folder, "merges.txt: not a regular file");
    cr_assert_eq(unlink(path), 0);
    put_text("merges.txt", "#version: 0.2\nnospace\n");
    expect_open_error(folder, "merge 0: found 'nospace'");
    put_text("merges.txt", "");
    struct error e = {0};
    struct tokenizer *t;
    cr_assert_eq(tokenizer_open(&t, folder, &e), OK, "%s", e.text);
    tokenizer_close(t);
}

Test(tokenizer_folders, chat_templates) {
    static const char *const configs[] = {
        "\"from config\"", "[{\"name\": \"tool_use\", \"template\": \"no\"}, {\"name\": \"default\", "
                           "\"template\": \"from config\"}]"};
    struct error e = {0};
    struct tokenizer *t;
    put_json("tokenizer.json", fixture("lfm2/tokenizer.json"));
    for (int i = 0; i < 2; i++) {
        json_t *config = fixture("lfm2/tokenizer_config.json");
        json_object_set_new(config, "chat_template", json_loads(configs[i], JSON_DECODE_ANY, NULL));
        put_json("tokenizer_config.json", config);
        cr_assert_eq(tokenizer_open(&t, folder, &e), OK, "%s", e.text);
        cr_expect_str_eq(tokenizer_chat_template(t), "from config");
        tokenizer_close(t);
    }
    char path[512];
    snprintf(path, sizeof path, "%s/chat_template.jinja", folder);
    cr_assert_eq(symlink("/dev/null", path), 0);
    expect_open_error(folder, "chat_template.jinja: not a regular file");
    cr_assert_eq(unlink(path), 0);
    put_text("chat_template.jinja", "from file");
    cr_assert_eq(tokenizer_open(&t, folder, &e), OK, "%s", e.text);
    cr_expect_str_eq(tokenizer_chat_template(t), "from file");
    tokenizer_close(t);
}
