/* SPDX-License-Identifier: Apache-2.0 */
/* test_tokenizer_corpus: real vocabularies, Qwen3's and Llama 3's, on llama.cpp's test vectors and on the
 * evaluation sets, against hashes of the tokenizers library's ids (fixtures/make_tokenizer_golden.py). The
 * vocabularies are too large for the repository: without them (LFM2_DATASETS, else ../shared/datasets) these
 * tests say that they skip. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sha256.h"
#include "data/tokenizer_parts.h"

enum { LARGEST = 400000 }; /* bytes of one file, as in the script */
static const char separator[] = "\n__ggml_vocab_test__\n";

static const char *datasets(void) {
    const char *folder = getenv("LFM2_DATASETS");
    return folder && *folder ? folder : "../shared/datasets";
}

static void find_datasets(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/model/qwen3/vocab.json.gz", datasets());
    if (access(path, R_OK) == 0) return;
    fprintf(stderr, "skipped: %s is not there; set LFM2_DATASETS\n", path);
    cr_skip_test("%s is not there", path);
}
TestSuite(tokenizer_corpus, .init = find_datasets, .timeout = 600);

static struct buffer read_data(const char *name) {
    char path[512];
    struct buffer b = {0};
    struct error e = {0};
    snprintf(path, sizeof path, "%s%s%s", strncmp(name, "tests/", 6) ? datasets() : "",
             strncmp(name, "tests/", 6) ? "/" : "", name);
    cr_assert_eq(buffer_read(&b, path, 1 << 28, &e), OK, "%s", e.text);
    return b;
}

/* vocab.json and merges.txt, unpacked beside the configuration. */
static struct tokenizer *open_qwen3(void) {
    static const char *const files[][2] = {{"model/qwen3/vocab.json.gz", "vocab.json"},
                                           {"model/qwen3/merges.txt.gz", "merges.txt"},
                                           {"model/qwen3/tokenizer_config.json", "tokenizer_config.json"}};
    const char *base = getenv("TMPDIR");
    char folder[256], path[512];
    struct tokenizer *t;
    struct error e = {0};
    snprintf(folder, sizeof folder, "%.200s/lfm2-qwen3-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < 3; i++) {
        struct buffer b = read_data(files[i][0]);
        snprintf(path, sizeof path, "%s/%s", folder, files[i][1]);
        FILE *f = fopen(path, "w");
        cr_assert(f && fwrite(b.data, 1, b.n, f) == b.n && fclose(f) == 0);
        buffer_free(&b);
    }
    enum status status = tokenizer_open(&t, folder, &e);
    snprintf(path, sizeof path, "rm -rf '%s'", folder);
    cr_assert(system(path) == 0);
    cr_assert_eq(status, OK, "%s", e.text);
    return t;
}

static int value_of_base64(int c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* A byte-level vocabulary's spelling of bytes. */
static void add_spelled(struct buffer *out, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t b = (unsigned char)bytes[i];
        uint32_t c = b <= 32 ? 256 + b : b >= 127 && b <= 160 ? 256 + b - 94 : b == 173 ? 256 + 67 : b;
        char utf8[4];
        buffer_add(out, utf8, utf8_encode(c, utf8));
    }
}

static enum status add_base64(struct tokenizer *t, const char *text, size_t n, int64_t rank,
                              struct error *e) {
    struct buffer bytes = {0}, spelled = {0};
    uint32_t bits = 0;
    int have = 0, v;
    for (size_t i = 0; i < n && (v = value_of_base64(text[i])) >= 0; i++) {
        bits = bits << 6 | (uint32_t)v;
        if ((have += 6) >= 8) buffer_add(&bytes, &(char){(char)(bits >> (have -= 8))}, 1);
    }
    add_spelled(&spelled, bytes.data, bytes.n);
    enum status status = vocab_add(t, rank, spelled.data, spelled.n, TOKEN_NORMAL, e);
    buffer_free(&bytes), buffer_free(&spelled);
    return status;
}

struct cut {
    int32_t left, right;
    size_t middle;
};
static int compare_cuts(const void *a, const void *b) {
    const struct cut *x = a, *y = b;
    return x->left != y->left ? (x->left > y->left) - (x->left < y->left)
                              : (x->right > y->right) - (x->right < y->right);
}

/* tiktoken has ranks and no merges: a token may be made of any two tokens. */
static void add_cuts(struct tokenizer *t, int32_t id, uint32_t *n_merges) {
    struct cut cuts[256];
    struct buffer spelled = {0};
    struct error e = {0};
    size_t n = 0, size = t->tokens[id].size;
    const char *bytes = token_bytes(t, id);
    for (size_t i = 1; i < size; i++) {
        int32_t left = vocab_find(t, bytes, i), right = vocab_find(t, bytes + i, size - i);
        if (left >= 0 && right >= 0) cuts[n++] = (struct cut){left, right, i};
        cr_assert_lt(n, sizeof cuts / sizeof *cuts);
    }
    qsort(cuts, n, sizeof *cuts, compare_cuts);
    for (size_t i = 0; i < n; i++) {
        spelled.n = 0;
        add_spelled(&spelled, bytes, cuts[i].middle);
        size_t middle = spelled.n;
        add_spelled(&spelled, bytes + cuts[i].middle, size - cuts[i].middle);
        cr_assert_eq(
            merge_add(t, spelled.data, middle, spelled.data + middle, spelled.n - middle, (*n_merges)++, &e),
            OK, "%s", e.text);
    }
    buffer_free(&spelled);
}

static struct tokenizer *open_llama3(void) {
    struct buffer b = read_data("model/llama3/tokenizer.model.gz");
    struct tokenizer *t;
    struct error e = {0};
    uint32_t n_merges = 0;
    cr_assert_eq(vocab_begin(&t, "tokenizer.model", 128000, &e), OK);
    for (char *line = b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        char *space = strchr(line, ' ');
        cr_assert(space && space < end);
        cr_assert_eq(add_base64(t, line, (size_t)(space - line), atoll(space), &e), OK, "%s", e.text);
    }
    cr_assert_eq(vocab_index(t, 300000, &e), OK);
    for (int32_t id = 0; id < t->n; id++) add_cuts(t, id, &n_merges);
    cr_assert_eq(vocab_finish(t, pre_tokenizer_named("llama3", 6), &e), OK, "%s", e.text);
    buffer_free(&b);
    return t;
}

static struct tokens encode(const struct tokenizer *t, const char *text, size_t n) {
    struct tokens ids = {0};
    struct error e = {0};
    cr_assert_eq(tokenizer_encode(t, text, n, 0, &ids, &e), OK, "%s", e.text);
    return ids;
}

static void check_vectors(const struct tokenizer *t, const char *name) {
    char file[128];
    snprintf(file, sizeof file, "model/tokenizer-tests/ggml-vocab-%s.gguf.inp", name);
    struct buffer inputs = read_data(file);
    snprintf(file, sizeof file, "model/tokenizer-tests/ggml-vocab-%s.gguf.out", name);
    struct buffer outputs = read_data(file);
    char *text = inputs.data, *line = outputs.data;
    int n = 0;
    for (;; n++) {
        char *end = strstr(text, separator), *line_end = strchr(line, '\n');
        if (!line_end) break;
        size_t size = end ? (size_t)(end - text) : strlen(text);
        struct tokens ids = encode(t, text, size);
        for (size_t i = 0; i < ids.n; i++)
            cr_expect_eq(strtol(line, &line, 10), ids.ids[i], "%s: '%.*s', token %zu", name, (int)size, text,
                         i);
        cr_expect(line + strspn(line, " ") == line_end, "%s: '%.*s': too few ids", name, (int)size, text);
        tokens_free(&ids);
        line = line_end + 1;
        if (!end) break;
        text = end + strlen(separator);
    }
    cr_expect_geq(n, 45, "%s: %d vectors", name, n);
    buffer_free(&inputs), buffer_free(&outputs);
}

static void cut_at_character(struct buffer *b) {
    if (b->n < LARGEST) return;
    b->n = LARGEST;
    while (b->n && ((unsigned char)b->data[b->n - 1] & 0xc0) == 0x80) b->n--;
    if (b->n && (unsigned char)b->data[b->n - 1] >= 0xc0) b->n--;
}

/* Words of multilingual.txt in any order, as the script has them: languages that the evaluation sets lack. */
static struct buffer read_shuffled(void) {
    enum { WORDS = 150000 };
    struct buffer b = read_data("tests/fixtures/multilingual.txt"), out = {0};
    struct text {
        const char *at;
        size_t n;
    } words[2000];
    size_t n = 0;
    uint64_t state = 1;
    for (const char *at = b.data, *end; at; at = end ? end + 1 : NULL) {
        end = strchr(at, ' ');
        cr_assert_lt(n, sizeof words / sizeof *words);
        words[n++] = (struct text){at, end ? (size_t)(end - at) : strlen(at)};
    }
    for (int i = 0; i < WORDS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const struct text *w = &words[(state >> 33) % n];
        buffer_add(&out, " ", i > 0);
        buffer_add(&out, w->at, w->n);
    }
    buffer_free(&b);
    return out;
}

static void expect_hash(const struct tokens *ids, const json_t *want, const char *file, const char *name) {
    char hex[SHA256_HEX];
    sha256_hex(ids->ids, ids->n * sizeof *ids->ids, hex);
    cr_expect_eq((json_int_t)ids->n, json_integer_value(json_object_get(want, "tokens")), "%s, %s", file,
                 name);
    cr_expect_str_eq(hex, json_string_value(json_object_get(want, "sha256")), "%s, %s", file, name);
}

/* Every file's ids are the library's, and its bytes come back (in NFC where the vocabulary has it so). */
static void check_corpora(const struct tokenizer *t, const char *name) {
    json_t *rows = json_load_file("tests/fixtures/corpus_golden.json", 0, NULL), *row;
    size_t i, total = 0;
    json_array_foreach(rows, i, row) {
        const char *file = json_string_value(json_object_get(row, "file"));
        int is_made = strcmp(file, "shuffled") == 0;
        struct buffer text = is_made ? read_shuffled() : read_data(file), back = {0}, normal = {0};
        struct error e = {0};
        if (!is_made) cut_at_character(&text);
        cr_assert_eq((json_int_t)text.n, json_integer_value(json_object_get(row, "bytes")), "%s has changed",
                     file);
        struct tokens ids = encode(t, text.data, text.n);
        expect_hash(&ids, json_object_get(row, name), file, name);
        cr_assert_eq(tokenizer_decode(t, ids.ids, ids.n, TOKENS_SPECIAL, &back, &e), OK, "%s", e.text);
        if (t->nfc) cr_assert_eq(nfc_normalize(text.data, text.n, &normal, &e), OK);
        const struct buffer *want = t->nfc ? &normal : &text;
        cr_expect(back.n == want->n && memcmp(back.data, want->data, back.n) == 0, "%s does not come back",
                  file);
        total += ids.n;
        tokens_free(&ids), buffer_free(&text), buffer_free(&back), buffer_free(&normal);
    }
    cr_expect_geq(total, 1000000u);
    json_decref(rows);
}

Test(tokenizer_corpus, qwen3) {
    struct tokenizer *t = open_qwen3();
    check_vectors(t, "qwen2");
    check_corpora(t, "qwen3");
    tokenizer_close(t);
}

Test(tokenizer_corpus, llama3) {
    struct tokenizer *t = open_llama3();
    check_vectors(t, "llama-bpe");
    check_corpora(t, "llama3");
    tokenizer_close(t);
}

/* LFM2's vocabulary is not to be had, its words are: each word becomes a token of its own in a vocabulary
 * made for the purpose, so that the ids tell where the text was cut. */
Test(tokenizer_corpus, words_of_lfm2) {
    struct buffer b = read_data("model/tokenizer-tests/lfm2_ordinary.json");
    json_t *cases = json_loadb(b.data, b.n, 0, NULL), *c, *word, *ids = json_object();
    struct tokenizer *t;
    struct error e = {0};
    size_t i, k;
    const char *key;
    char byte[8] = "";
    for (int n = 0; n < 256; n++) {
        struct buffer spelled = {0};
        add_spelled(&spelled, &(char){(char)n}, 1);
        snprintf(byte, sizeof byte, "%s", spelled.data);
        json_object_set_new(ids, byte, json_integer((json_int_t)json_object_size(ids)));
        buffer_free(&spelled);
    }
    json_array_foreach(cases, i, c) json_array_foreach(
        json_object_get(c, "pretokens"), k, word) if (!json_object_get(ids, json_string_value(word)))
        json_object_set_new(ids, json_string_value(word), json_integer((json_int_t)json_object_size(ids)));
    cr_assert_eq(vocab_begin(&t, "words", (int64_t)json_object_size(ids), &e), OK);
    json_object_foreach(ids, key, word) cr_assert_eq(
        vocab_add(t, json_integer_value(word), key, strlen(key), TOKEN_NORMAL, &e), OK, "%s", e.text);
    cr_assert_eq(vocab_index(t, 0, &e), OK);
    cr_assert_eq(vocab_finish(t, pre_tokenizer_named("lfm2", 4), &e), OK, "%s", e.text);
    t->ignore_merges = 1;
    json_array_foreach(cases, i, c) {
        const json_t *text = json_object_get(c, "text"), *words = json_object_get(c, "pretokens");
        struct tokens found = encode(t, json_string_value(text), json_string_length(text));
        cr_expect_eq(found.n, json_array_size(words), "'%s'", json_string_value(text));
        json_array_foreach((json_t *)words, k, word) if (k < found.n)
            cr_expect_eq(found.ids[k], json_integer_value(json_object_get(ids, json_string_value(word))),
                         "'%s', word %zu", json_string_value(text), k);
        tokens_free(&found);
    }
    cr_expect_geq(i, 20u);
    json_decref(cases), json_decref(ids), buffer_free(&b), tokenizer_close(t);
}
