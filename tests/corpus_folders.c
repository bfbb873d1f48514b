/* SPDX-License-Identifier: Apache-2.0 */
/* corpus_folders: cases 69 to 84: a Hugging Face folder whose safetensors file or index lies. Headers are
 * written by hand beside a good config.json; what is wrong with them is found before the tensors are looked
 * for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/corpus.h"
#include "tests/tiny.h"
#include "tests/tiny_hf.h"

#define FOLDER "info ."
#define E(name, dtype, shape, offsets)                                                                       \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" offsets "]}"
/* 24 bytes of data follow every header. */
#define GOOD E("a", "F32", "[2,3]", "0,24")

static const char config[] =
    "{\"model_type\":\"lfm2\",\"vocab_size\":512,\"hidden_size\":64,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"norm_eps\":1e-5,\"rope_theta\":1e6,"
    "\"max_position_embeddings\":4096,\"conv_L_cache\":3,\"intermediate_size\":192,"
    "\"block_auto_adjust_ff_dim\":false,\"layer_types\":[\"conv\",\"full_attention\"],\"bos_token_id\":1,"
    "\"eos_token_id\":7,\"pad_token_id\":0}";

/* length: what the first 8 bytes say; UINT64_MAX - 1: the truth. */
static void shard(struct making *m, const char *name, uint64_t length, const char *header, uint64_t n,
                  uint64_t data) {
    char *bytes = image_memory(&m->im, 8 + n + data);
    if (length == UINT64_MAX - 1) length = n;
    memcpy(bytes, &length, 8), memcpy(bytes + 8, header, n);
    making_text(m, "config.json", config);
    making_file(m, name, bytes, 8 + n + data);
}

static void header(struct making *m, const char *text) {
    shard(m, "model.safetensors", UINT64_MAX - 1, text, strlen(text), 24);
}
static void lengths(struct making *m, uint64_t stated) {
    shard(m, "model.safetensors", stated, "{" GOOD "}", strlen("{" GOOD "}"), 24);
}

static void brackets(struct making *m) {
    enum { DEEP = 100000 };
    char *text = image_memory(&m->im, DEEP);
    memset(text, '[', DEEP), memcpy(text, "{\"a\":", 5);
    shard(m, "model.safetensors", UINT64_MAX - 1, text, DEEP, 0);
}

static void ten_times_the_same(struct making *m) {
    char text[2048] = "{";
    for (int i = 0; i < 10; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s" E("t%d", "F32", "[6]", "0,24"),
                 i ? "," : "", i);
    strcat(text, "}");
    header(m, text);
}

/* A folder that loads; then one file of it is changed. */
static void good_folder(struct making *m) {
    struct tiny_spec s = tiny_default("lfm2");
    struct tiny_hf o = {.vectors = TYPE_BF16};
    struct error e;
    char gguf[4096];
    snprintf(gguf, sizeof gguf, "%s/source.gguf", m->folder);
    s.type = s.embedding = TYPE_BF16;
    if (tiny_write_short(gguf, &s, &e) != OK || tiny_hf_write(m->folder, gguf, &s, &o, &e) != OK)
        m->failed = 1;
    unlink(gguf);
    m->written = 1;
}

static void change_size(struct making *m, long by) {
    char path[4096];
    good_folder(m);
    snprintf(path, sizeof path, "%s/model.safetensors", m->folder);
    FILE *f = fopen(path, "r+b");
    if (!f || fseek(f, 0, SEEK_END) || ftruncate(fileno(f), ftell(f) + by) || fclose(f)) m->failed = 1;
}

/* The good header with one more tensor of no bytes, and white space. */
static void harmless(struct making *m) {
    char path[4096];
    good_folder(m);
    snprintf(path, sizeof path, "%s/model.safetensors", m->folder);
    FILE *f = fopen(path, "r+b");
    uint64_t n;
    if (!f || fread(&n, 8, 1, f) != 1) {
        m->failed = 1;
        return;
    }
    fseek(f, 0, SEEK_END);
    uint64_t rest = (uint64_t)ftell(f) - 8, more = 32;
    char *bytes = image_memory(&m->im, rest + more);
    fseek(f, 8, SEEK_SET);
    if (fread(bytes, 1, rest, f) != rest) m->failed = 1;
    memmove(bytes + n + more, bytes + n, rest - n);
    memset(bytes + n, ' ', more);
    n += more;
    rewind(f);
    if (fwrite(&n, 8, 1, f) != 1 || fwrite(bytes, 1, rest + more, f) != rest + more || fclose(f))
        m->failed = 1;
}

static void index_of(struct making *m, const char *text) {
    shard(m, "one.safetensors", UINT64_MAX - 1, "{" GOOD "}", strlen("{" GOOD "}"), 24);
    making_text(m, "model.safetensors.index.json", text);
}
static void link_of(struct making *m, const char *to, const char *text) {
    char path[4096];
    index_of(m, text);
    snprintf(path, sizeof path, "%s/link.safetensors", m->folder);
    if (symlink(to, path)) m->failed = 1;
}

#define INDEX_MAP(file) "\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"" file "\"}}"
#define INDEX(file)     "{" INDEX_MAP(file)

#define HEADERS(X)                                                                                           \
    X(69, seven_bytes, 2, "at least 8", FOLDER, making_text(m, "config.json", config);                       \
      making_file(m, "model.safetensors", "1234567", 7))                                                     \
    X(70, header_100_mb, 2, "at most 100000000", FOLDER, lengths(m, 100000001))                              \
    X(71, header_past_end, 2, "ends inside the header", FOLDER, lengths(m, 5000))                            \
    X(71, header_wraps, 2, "at most 100000000", FOLDER, lengths(m, UINT64_MAX - 7))                          \
    X(72, not_utf8, 2, "UTF-8", FOLDER, header(m, "{\"\xff\":{}}"))                                          \
    X(73, not_json, 2, "'{'", FOLDER, header(m, "hello"))                                                    \
    X(73, array, 2, "'{'", FOLDER, header(m, "[]"))                                                          \
    X(73, deep, 2, "'{'", FOLDER, brackets(m))                                                               \
    X(73, shape_1e999, 2, "whole number", FOLDER, header(m, "{" E("a", "F32", "[1e999]", "0,24") "}"))       \
    X(73, shape_minus_0, 2, "whole number", FOLDER, header(m, "{" E("a", "F32", "[-0]", "0,24") "}"))        \
    X(73, shape_1_5, 2, "whole number", FOLDER, header(m, "{" E("a", "F32", "[1.5]", "0,24") "}"))           \
    X(74, twice, 2, "twice", FOLDER,                                                                         \
      header(m, "{" E("a", "F32", "[3]", "0,12") "," E("a", "F32", "[3]", "12,24") "}"))                     \
    X(74, dtype_twice, 2, "second", FOLDER,                                                                  \
      header(m, "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}"))      \
    X(75, dtype_unknown, 2, "F8_E4M3", FOLDER, header(m, "{" E("a", "F8_E4M3", "[24]", "0,24") "}"))         \
    X(76, shape_wraps, 2, "2^63", FOLDER,                                                                    \
      header(m, "{" E("a", "F32", "[2,18446744073709551614]", "0,24") "}"))                                  \
    X(76, bytes_wrap, 2, "overflows", FOLDER,                                                                \
      header(m, "{" E("a", "F32", "[2,9223372036854775807]", "0,24") "}"))                                   \
    X(77, offsets_backwards, 2, "offsets 24 to 0", FOLDER, header(m, "{" E("a", "F32", "[6]", "24,0") "}"))  \
    X(77, hole, 2, "hole", FOLDER, header(m, "{" E("a", "F32", "[5]", "4,24") "}"))                          \
    X(77, overlap, 2, "overlaps", FOLDER, ten_times_the_same(m))                                             \
    X(77, past_end, 2, "past the end", FOLDER, header(m, "{" E("a", "F32", "[7]", "0,28") "}"))              \
    X(78, wrong_size, 2, "20 bytes", FOLDER, header(m, "{" E("a", "F32", "[5]", "0,24") "}"))                \
    X(79, trailing, 2, "unknown bytes", FOLDER, change_size(m, 1000))                                        \
    X(80, two_bytes_missing, 2, "past the end", FOLDER, change_size(m, -2))                                  \
    X(81, no_bytes, 2, "missing", FOLDER, header(m, "{" GOOD "," E("zero", "F32", "[0]", "24,24") "}"))      \
    X(82, white_space, 0, "", FOLDER, harmless(m))                                                           \
    X(83, metadata_number, 2, "'\"'", FOLDER, header(m, "{\"__metadata__\":{\"a\":1}," GOOD "}"))

#define INDEXES(X)                                                                                           \
    X(84, path_up, 2, "../one", FOLDER, index_of(m, INDEX("../one.safetensors")))                            \
    X(84, path_absolute, 2, "/etc/passwd", FOLDER, index_of(m, INDEX("/etc/passwd")))                        \
    X(84, link_to_device, 2, "not a regular file", FOLDER,                                                   \
      link_of(m, "/dev/zero", INDEX("link.safetensors")))                                                    \
    X(84, link_to_itself, 2, "link.safetensors", FOLDER,                                                     \
      link_of(m, "link.safetensors", INDEX("link.safetensors")))                                             \
    X(84, shard_missing, 2, "three.safetensors: cannot open", FOLDER,                                        \
      index_of(m, INDEX("three.safetensors")))                                                               \
    X(84, listed_twice, 2, "duplicate", FOLDER,                                                              \
      index_of(m, "{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"one.safetensors\"}}"))                 \
    X(84, not_there, 2, "tensor b", FOLDER, index_of(m, INDEX("one.safetensors")))                           \
    X(84, total_size_lies, 2, "tensor b", FOLDER,                                                            \
      index_of(m, "{\"metadata\":{\"total_size\":1}," INDEX_MAP("one.safetensors")))                         \
    X(84, total_size_overflows, 2, "JSON", FOLDER,                                                           \
      index_of(m, "{\"metadata\":{\"total_size\":99999999999999999999}," INDEX_MAP("one.safetensors")))      \
    X(84, index_not_json, 2, "JSON", FOLDER, index_of(m, "{\"weight_map\":"))                                \
    X(84, index_deep, 2, "JSON", FOLDER, char *t = image_memory(&m->im, 100001); memset(t, '[', 100000);     \
      index_of(m, t))                                                                                        \
    X(84, config_deep, 2, "JSON", FOLDER, header(m, "{" GOOD "}"); char *t = image_memory(&m->im, 100001);   \
      memset(t, '[', 100000); making_text(m, "config.json", t))

#define ALL(X) HEADERS(X) INDEXES(X)

#define X(number, id, code, mention, command, ...)                                                           \
    static void case_##id(struct making *m) {                                                                \
        __VA_ARGS__;                                                                                         \
    }
ALL(X)
#undef X

const struct corpus_case corpus_folders[] = {
#define X(number, id, code, mention, command, ...) {number, #id, code, mention, command, case_##id},
    ALL(X)
#undef X
        {0},
};
