/* SPDX-License-Identifier: Apache-2.0 */
/* test_safetensors: folders in Hugging Face's layout give the same models as GGUF files of the same weights,
 * and what breaks a rule of the format is refused with one sentence. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/gguf.h"
#include "data/hf.h"
#include "data/hf_config.h"
#include "data/model.h"
#include "data/safetensors.h"
#include "reference/engine.h"
#include "tests/directory.h"
#include "tests/tiny_hf.h"

#define N(array) (sizeof(array) / sizeof *(array))

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(in_directory(name), "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static struct tiny_spec spec_of(const char *arch, enum tensor_type type) {
    struct tiny_spec s = tiny_default(arch);
    s.type = s.embedding = type;
    return s;
}

static void write_models(const struct tiny_spec *s, const struct tiny_hf *o) {
    struct error e = {0};
    cr_assert_eq(tiny_write_short(in_directory("m.gguf"), s, &e), OK, "%s", e.text);
    cr_assert_eq(mkdir(in_directory("hf"), 0777), 0);
    cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), s, o, &e), OK, "%s", e.text);
}

/* Logits of every position of a fixed text. */
static float *logits_of(const struct engine *engine, const struct model *m, int n) {
    struct error e = {0};
    struct engine_options o = {.threads = 1, .max_tokens = n, .no_pin = 1};
    struct session *s;
    int32_t ids[64];
    int V = m->config.n_vocab;
    float *logits = malloc((size_t)n * (size_t)V * sizeof *logits);
    cr_assert(logits && n <= 64);
    for (int i = 0; i < n; i++) ids[i] = (7 + 37 * i) % V;
    cr_assert_eq(engine->open(&s, m, &o, &e), OK, "%s", e.text);
    cr_assert_eq(engine->feed(s, ids, n, logits, n, &e), OK, "%s", e.text);
    engine->close(s);
    return logits;
}

static void compare_models(const char *a_path, const char *b_path, const char *what) {
    const struct engine *const engines[] = {&engine_reference, &engine_optimized};
    struct error e = {0};
    struct model *a, *b;
    enum { TOKENS = 20 };
    cr_assert_eq(model_open(&a, a_path, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&b, b_path, &e), OK, "%s", e.text);
    cr_assert_eq(a->n_params, b->n_params, "%s", what);
    cr_assert_str_eq(a->recipe, b->recipe, "%s", what);
    cr_assert_eq(strlen(b->header_sha256), 64);
    struct config c = b->config;
    memcpy(c.name, a->config.name, sizeof c.name); /* the folder has another */
    cr_assert(memcmp(&a->config, &c, sizeof c) == 0, "%s: other hyper-parameters", what);
    for (size_t i = 0; i < N(engines); i++) {
        float *x = logits_of(engines[i], a, TOKENS), *y = logits_of(engines[i], b, TOKENS);
        cr_assert(memcmp(x, y, (size_t)TOKENS * (size_t)c.n_vocab * sizeof *x) == 0, "%s: other logits of %s",
                  what, engines[i]->name);
        free(x);
        free(y);
    }
    model_close(a);
    model_close(b);
}

static const struct {
    const char *arch;
    enum tensor_type type;
    struct tiny_hf o;
    int untied;
} layouts[] = {
    {"lfm2moe", TYPE_BF16, {.vectors = TYPE_BF16}, 0},
    {"lfm2moe", TYPE_BF16, {.vectors = TYPE_BF16, .shards = 3}, 0},
    {"lfm2moe", TYPE_BF16, {.vectors = TYPE_BF16, .fused = 1}, 0},
    {"lfm2moe", TYPE_F32, {.vectors = TYPE_F32, .fused = 1, .shards = 2}, 0},
    {"lfm2moe", TYPE_F16, {.vectors = TYPE_F32}, 1},
    {"lfm2", TYPE_BF16, {.vectors = TYPE_BF16, .shards = 1}, 0},
    {"lfm2", TYPE_BF16, {.vectors = TYPE_BF16, .old_config = 1}, 0},
    {"qwen3", TYPE_BF16, {.vectors = TYPE_BF16, .shards = 2}, 1},
    {"qwen3", TYPE_F16, {.vectors = TYPE_BF16}, 0},
};

Test(safetensors, a_folder_is_the_same_model_as_a_gguf_file, .init = make_directory,
     .fini = remove_directory) {
    for (size_t i = 0; i < N(layouts); i++) {
        char what[96];
        struct tiny_spec s = spec_of(layouts[i].arch, layouts[i].type);
        s.tied = !layouts[i].untied;
        if (layouts[i].o.old_config) s.F = 256;
        snprintf(what, sizeof what, "layout %zu, %s", i, layouts[i].arch);
        write_models(&s, &layouts[i].o);
        compare_models(in_directory("m.gguf"), in_directory("hf"), what);
        if (layouts[i].o.shards == 0)
            compare_models(in_directory("m.gguf"), in_directory("hf/model.safetensors"), what);
        tiny_directory_remove(in_directory("hf"));
    }
}

Test(safetensors, matrices_stay_in_the_map, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = spec_of("lfm2moe", TYPE_BF16);
    struct tiny_hf o = {.vectors = TYPE_BF16, .shards = 2};
    struct error e = {0};
    struct model *m;
    write_models(&s, &o);
    cr_assert_eq(model_open(&m, in_directory("hf"), &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < m->index->n_tensors; i++) {
        const struct gguf_tensor *t = &m->index->tensors[i];
        const void *data = t->planes ? t->planes[t->dims[2] - 1] : t->data;
        uint64_t bytes = t->planes ? t->bytes / (uint64_t)t->dims[2] : t->bytes;
        int mapped = 0;
        for (int f = 0; f < m->hf->files->n_files; f++)
            mapped |= mapped_holds(&m->hf->files->files[f].map, data, bytes);
        cr_assert(mapped == (t->type == TYPE_BF16) || t->dims[1] == 1, "%s", t->name);
        /* What is not in a file must survive this. */
        float before = 0, after = 0;
        struct tensor whole = {t->name, t->type, 1, 1, data, bytes};
        dequantize_row(t->type, data, &before, 1);
        model_release_pages(m, &whole);
        dequantize_row(t->type, data, &after, 1);
        cr_assert(before == after, "%s", t->name);
    }
    model_close(m);
}

Test(safetensors, a_moved_folder_is_the_same_model, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = spec_of("qwen3", TYPE_BF16);
    struct tiny_hf o = {.vectors = TYPE_BF16};
    struct error e = {0};
    struct model *a, *b;
    write_models(&s, &o);
    cr_assert_eq(model_open(&a, in_directory("hf"), &e), OK, "%s", e.text);
    cr_assert_eq(rename(in_directory("hf"), in_directory("other")), 0);
    cr_assert_eq(model_open(&b, in_directory("other/"), &e), OK, "%s", e.text);
    cr_expect_str_eq(a->header_sha256, b->header_sha256);
    cr_expect_str_eq(a->config.name, "hf");
    cr_expect_str_eq(b->config.name, "other");
    model_close(a);
    model_close(b);
    tiny_directory_remove(in_directory("other"));
}

/* Configurations of published models: block_ff_dim and the width really used. */
static const struct {
    const char *config;
    int ff;
} widths[] = {
    {"\"block_ff_dim\": 12288, \"block_auto_adjust_ff_dim\": true, \"block_ffn_dim_multiplier\": 1.0, "
     "\"block_multiple_of\": 256",
     8192},
    {"\"block_ff_dim\": 10240, \"block_auto_adjust_ff_dim\": true", 6912},
    {"\"block_ff_dim\": 6656", 4608},
    {"\"block_ff_dim\": 10752, \"block_auto_adjust_ff_dim\": false, \"intermediate_size\": 1", 10752},
    {"\"intermediate_size\": 12288, \"block_ffn_dim_multiplier\": null", 8192},
    {"\"intermediate_size\": 600, \"block_ffn_dim_multiplier\": 1.5, \"block_multiple_of\": 64", 640},
};

static enum status put_config(const char *text, struct gguf **keys, struct error *e) {
    struct gguf_writer *w;
    struct hf_config config;
    write_text("config.json", text);
    cr_assert_eq(gguf_writer_new(&w, directory_path(), e), OK);
    enum status status = hf_config_put(w, directory_path(), &config, e);
    if (status == OK) status = gguf_writer_keys(w, keys, e);
    gguf_writer_free(w);
    return status;
}

#define CONFIG                                                                                               \
    "\"num_hidden_layers\": 3, \"max_position_embeddings\": 128, \"hidden_size\": 8, "                       \
    "\"num_attention_heads\": 2, "                                                                           \
    "\"num_key_value_heads\": 1, \"norm_eps\": 1e-5, \"vocab_size\": 16, \"conv_L_cache\": 3"
#define THETA ", \"rope_theta\": 1000000"
#define WIDTH ", \"block_ff_dim\": 256, \"block_auto_adjust_ff_dim\": false"
#define LFM2  "{\"model_type\": \"lfm2\", " CONFIG

Test(safetensors, ff_width_follows_the_published_rule, .init = make_directory, .fini = remove_directory) {
    for (size_t i = 0; i < N(widths); i++) {
        char text[1024];
        struct error e = {0};
        struct gguf *keys;
        int64_t ff;
        snprintf(text, sizeof text, LFM2 THETA ", %s}", widths[i].config);
        cr_assert_eq(put_config(text, &keys, &e), OK, "%s", e.text);
        cr_assert_eq(gguf_int(keys, "lfm2.feed_forward_length", 0, 1 << 20, &ff, &e), OK, "%s", e.text);
        cr_assert_eq(ff, widths[i].ff, "%s: found %d", widths[i].config, (int)ff);
        gguf_close(keys);
    }
}

/* Each line breaks one thing; the message must name it. */
static const struct {
    const char *text, *mention;
} bad_configs[] = {
    {"", "empty"},
    {"{", "JSON"},
    {"[]", "object"},
    {"{\"model_type\": \"lfm2\", \"model_type\": \"lfm2\"}", "duplicate"},
    {"{}", "model_type"},
    {"{\"model_type\": \"llama\"}", "llama"},
    {"{\"model_type\": 5}", "model_type"},
    {LFM2 WIDTH "}", "rope_theta"},
    {LFM2 THETA "}", "intermediate_size"},
    {LFM2 THETA WIDTH ", \"layer_types\": [\"conv\"]}", "layer_types"},
    {LFM2 THETA WIDTH ", \"layer_types\": [\"conv\", \"full_attention\", \"sliding_attention\"]}", "sliding"},
    {LFM2 THETA WIDTH ", \"layer_types\": [1, 2, 3]}", "layer_types"},
    {LFM2 THETA WIDTH ", \"full_attn_idxs\": [0, 3]}", "full_attn_idxs"},
    {LFM2 THETA WIDTH ", \"full_attn_idxs\": [-1]}", "full_attn_idxs"},
    {LFM2 THETA WIDTH ", \"conv_bias\": true}", "conv_bias"},
    {LFM2 THETA WIDTH ", \"hidden_act\": \"gelu\"}", "gelu"},
    {LFM2 THETA WIDTH ", \"rope_scaling\": {\"rope_type\": \"yarn\"}}", "yarn"},
    {LFM2 THETA WIDTH ", \"quantization_config\": {\"bits\": 4}}", "quantization_config"},
    {LFM2 THETA WIDTH ", \"tie_embedding\": 1}", "tie_embedding"},
    {LFM2 ", \"rope_theta\": \"x\"" WIDTH "}", "rope_theta"},
    {LFM2 ", \"rope_theta\": 1e300" WIDTH "}", "rope_theta"},
    {LFM2 THETA ", \"block_ff_dim\": 1e400}", "JSON"},
    {LFM2 THETA ", \"block_ff_dim\": 0}", "block_ff_dim"},
    {LFM2 THETA ", \"block_ff_dim\": 1.5}", "block_ff_dim"},
    {LFM2 THETA ", \"block_ff_dim\": 9223372036854775807}", "block_ff_dim"},
    {LFM2 THETA ", \"block_ff_dim\": 256, \"block_multiple_of\": 0}", "block_multiple_of"},
    {LFM2 THETA ", \"block_ff_dim\": 256, \"block_ffn_dim_multiplier\": -1}", "multiplier"},
    {"{\"model_type\": \"lfm2\", \"num_hidden_layers\": 1000000000}", "num_hidden_layers"},
    {"{\"model_type\": \"lfm2\", \"num_hidden_layers\": \"3\"}", "num_hidden_layers"},
    {"{\"model_type\": \"lfm2_moe\", " CONFIG THETA ", \"intermediate_size\": 8}", "num_experts"},
};

static void expect_sentence(const struct error *e, const char *mention, const char *what) {
    cr_expect(strncmp(e->text, directory_path(), strlen(directory_path())) == 0,
              "%s: does not begin with the file: %s", what, e->text);
    cr_expect(strstr(e->text, mention), "%s: does not mention '%s': %s", what, mention, e->text);
}

Test(safetensors, a_bad_configuration_is_named, .init = make_directory, .fini = remove_directory) {
    for (size_t i = 0; i < N(bad_configs); i++) {
        struct error e = {0};
        struct gguf *keys = NULL;
        cr_expect_neq(put_config(bad_configs[i].text, &keys, &e), OK, "%s", bad_configs[i].text);
        expect_sentence(&e, bad_configs[i].mention, bad_configs[i].text);
        gguf_close(keys);
    }
}

#define T(name, dtype, shape, a, b)                                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" a "," b "]}"

/* Headers for 24 bytes of data. mention NULL: the file is good. */
static const struct {
    const char *header, *mention;
} headers[] = {
    {"{" T("a", "F32", "[2,3]", "0", "24") "}", NULL},
    {"{" T("a", "F32", "[2,2]", "0", "16") "," T("b", "BF16", "[4]", "16", "24") "}", NULL},
    {"{" T("b", "BF16", "[4]", "16", "24") "," T("a", "F32", "[2,2]", "0", "16") "}", NULL},
    {" \t\n{ \"a\" : { \"shape\" : [ 2 , 3 ] , \"dtype\" : \"F32\" , \"data_offsets\" : [ 0 , 24 ] } } \n  ",
     NULL},
    {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u00e9\\n\xc3\xa9\"}," T("a", "F16", "[12]", "0",
                                                                             "24") "}",
     NULL},
    {"{\"__metadata__\":{}," T("a", "F16", "[12]", "0", "24") "}", NULL},
    {"{" T("a", "F32", "[6]", "0", "24") "," T("zero", "F32", "[0]", "24", "24") "}", NULL},
    {"{" T("zero", "F32", "[5,0]", "0", "0") "," T("a", "F32", "[6]", "0", "24") "}", NULL},
    {"{" T("one", "F32", "[]", "0", "4") "," T("a", "F32", "[5]", "4", "24") "}", NULL},
    {"{" T("\\u0061", "F32", "[6]", "0", "24") "}", NULL},
    {"", "header"},
    {"[]", "'{'"},
    {"null", "'{'"},
    {"{", "'\"'"},
    {"{}", "unknown bytes"},
    {"{" T("a", "F32", "[6]", "0", "24") "", "'}'"},
    {"{" T("a", "F32", "[6]", "0", "24") ",}", "'\"'"},
    {"{" T("a", "F32", "[6]", "0", "24") "} x", "white space"},
    {"{" T("a", "F32", "[6]", "0", "24") "}{}", "white space"},
    {"{\"\xff\":{}}", "UTF-8"},
    {"{\"__metadata__\":{\"a\":\"\xed\xa0\x80\"}}", "UTF-8"},
    {"{\"__metadata__\":{\"a\":1}}", "'\"'"},
    {"{\"__metadata__\":{\"a\":[\"x\"]}}", "'\"'"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__"},
    {"{" T("\xc3\xa9", "F32", "[6]", "0", "24") "}", "name"},
    {"{" T("", "F32", "[6]", "0", "24") "}", "name"},
    {"{" T("a\\u0000", "F32", "[6]", "0", "24") "}", "name"},
    {"{" T("a\\n", "F32", "[6]", "0", "24") "}", "name"},
    {"{" T("a\\x", "F32", "[6]", "0", "24") "}", "escape"},
    {"{" T("a\\u12g4", "F32", "[6]", "0", "24") "}", "hexadecimal"},
    {"{" T("a\n", "F32", "[6]", "0", "24") "}", "control"},
    {"{\"a", "end of a text"},
    {"{\"a\\", "escape"},
    {"{\"a\\u00", "hexadecimal"},
    {"{" T("a", "F32", "[3]", "0", "12") "," T("a", "F32", "[3]", "12", "24") "}", "twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "second"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24],\"more\":1}}", "more"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6]}}", "incomplete"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[24]}}", "incomplete"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24,24]}}", "fewer"},
    {"{\"a\":{}}", "'\"'"},
    {"{\"a\":[]}", "'{'"},
    {"{" T("a", "I64", "[3]", "0", "24") "}", "I64"},
    {"{" T("a", "F8_E4M3", "[24]", "0", "24") "}", "F8_E4M3"},
    {"{" T("a", "Q4_0", "[32]", "0", "18") "}", "Q4_0"},
    {"{\"a\":{\"dtype\":1,\"shape\":[6],\"data_offsets\":[0,24]}}", "'\"'"},
    {"{" T("a", "F32", "[1.5]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[1e999]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[-0]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[-6]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[\"6\"]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[6,]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,6]", "0", "24") "}", "fewer"},
    {"{" T("a", "F32", "[[[[[[[[6]]]]]]]]", "0", "24") "}", "whole number"},
    {"{" T("a", "F32", "[2,18446744073709551614]", "0", "24") "}", "2^63"},
    {"{" T("a", "F32", "[4294967296,4294967296]", "0", "24") "}", "overflows"},
    {"{" T("a", "F32", "[2,4611686018427387903]", "0", "24") "}", "overflows"},
    {"{" T("a", "F32", "[9223372036854775807]", "0", "24") "}", "overflows"},
    {"{" T("a", "F32", "[6]", "24", "0") "}", "offsets 24 to 0"},
    {"{" T("a", "F32", "[6]", "0", "20") "}", "24 bytes"},
    {"{" T("a", "F32", "[5]", "0", "24") "}", "20 bytes"},
    {"{" T("a", "F32", "[5]", "4", "24") "}", "hole"},
    {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[3]", "12", "24") "}", "hole"},
    {"{" T("a", "F32", "[6]", "0", "24") "," T("b", "F32", "[6]", "0", "24") "}", "overlaps"},
    {"{" T("a", "F32", "[4]", "0", "16") "," T("b", "F32", "[4]", "8", "24") "}", "overlaps"},
    {"{" T("a", "F32", "[7]", "0", "28") "}", "past the end"},
    {"{" T("a", "F32", "[5]", "0", "20") "}", "unknown bytes"},
    {"{" T("a", "F32", "[6]", "0", "24") "," T("zero", "F32", "[0]", "25", "25") "}", "hole"},
};

Test(safetensors, headers_follow_every_rule, .init = make_directory, .fini = remove_directory) {
    static const char data[24];
    for (size_t i = 0; i < N(headers); i++) {
        struct safetensors *s;
        struct error e = {0};
        cr_assert_eq(tiny_safetensors(in_directory("a.safetensors"), headers[i].header, data, sizeof data),
                     0);
        enum status status = safetensors_open(&s, in_directory("a.safetensors"), &e);
        cr_expect_eq(status == OK, !headers[i].mention, "%s: %s", headers[i].header, e.text);
        cr_expect_eq(s != NULL, status == OK);
        if (headers[i].mention) expect_sentence(&e, headers[i].mention, headers[i].header);
        if (s) cr_expect_not_null(safetensors_find(s, "a"));
        safetensors_close(s);
    }
}

/* 10^5 brackets where a list is due, at every place that takes one. */
Test(safetensors, deep_nesting_is_cheap, .init = make_directory, .fini = remove_directory) {
    enum { DEEP = 100000 };
    static const char *const starts[] = {"", "{\"a\":", "{\"a\":{\"shape\":", "{\"__metadata__\":{\"a\":"};
    char *header = malloc(DEEP + 64);
    cr_assert_not_null(header);
    for (size_t i = 0; i < N(starts); i++) {
        struct safetensors *s;
        struct error e = {0};
        size_t n = strlen(starts[i]);
        memcpy(header, starts[i], n);
        memset(header + n, '[', DEEP);
        header[n + DEEP] = 0;
        cr_assert_eq(tiny_safetensors(in_directory("a.safetensors"), header, "", 0), 0);
        cr_expect_eq(safetensors_open(&s, in_directory("a.safetensors"), &e), ERR_FORMAT, "%s", e.text);
    }
    free(header);
}

Test(safetensors, a_file_cut_anywhere_is_refused, .init = make_directory, .fini = remove_directory) {
    static const char header[] =
        "{" T("a", "F32", "[4]", "0", "16") "," T("b", "BF16", "[4]", "16", "24") "}";
    static const char data[24];
    const char *path = in_directory("a.safetensors");
    for (size_t n = 0; n < 8 + sizeof header - 1 + sizeof data; n++) {
        struct safetensors *s;
        struct error e = {0};
        cr_assert_eq(tiny_safetensors(path, header, data, sizeof data), 0);
        cr_assert_eq(truncate(path, (off_t)n), 0);
        cr_expect_eq(safetensors_open(&s, path, &e), ERR_FORMAT, "%zu bytes", n);
        expect_sentence(&e, n < 8 ? n ? "at least 8" : "empty" : "end", "cut");
    }
}

static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, 100000001, 100000000, 1000};

Test(safetensors, impossible_header_lengths, .init = make_directory, .fini = remove_directory) {
    const char *path = in_directory("a.safetensors");
    for (size_t i = 0; i < N(lengths); i++) {
        struct safetensors *s;
        struct error e = {0};
        FILE *f = fopen(path, "wb");
        cr_assert(f && fwrite(&lengths[i], 8, 1, f) == 1 && fwrite("{}      ", 8, 1, f) == 1 &&
                  fclose(f) == 0);
        cr_expect_eq(safetensors_open(&s, path, &e), ERR_FORMAT);
        expect_sentence(&e, lengths[i] > 100000000 ? "at most 100000000" : "ends inside the header",
                        "length");
    }
}

/* Index files of a folder with one.safetensors (tensor a) and two.safetensors (tensor b). NULL: good. */
static const struct {
    const char *index, *mention;
} indexes[] = {
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", NULL},
    {"{\"metadata\":{\"total_size\":1e9},\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"link."
     "safetensors\"}}",
     NULL},
    {"{}", "weight_map"},
    {"{\"weight_map\":[]}", "weight_map"},
    {"{\"weight_map\":", "JSON"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", "duplicate"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"../two.safetensors\"}}", "../two"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"/etc/two.safetensors\"}}", "/etc/two"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"..\"}}", "found .., "},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\".safetensors\"}}", "folder"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"index.json\"}}", "index.json"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"\"}}", "folder"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":7}}", "no text"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"three.safetensors\"}}",
     "three.safetensors: cannot open"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", "tensor b"},
    {"{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}", "wrong file"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\"}}", NULL}, /* two.safetensors is nobody's business */
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":\"two.safetensors\"}}",
     "tensor c"},
    {"{\"weight_map\":{\"b\":\"two.safetensors\",\"c\":\"one.safetensors\"}}", "tensor a"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"folder.safetensors\"}}", "directory"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"pipe.safetensors\"}}", "pipe"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"loop.safetensors\"}}", "loop.safetensors"},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"zero.safetensors\"}}", "not a regular file"},
};

Test(safetensors, an_index_names_files_of_its_folder_only, .init = make_directory, .fini = remove_directory) {
    static const char data[24];
    cr_assert_eq(
        tiny_safetensors(in_directory("one.safetensors"), "{" T("a", "F32", "[6]", "0", "24") "}", data, 24),
        0);
    cr_assert_eq(
        tiny_safetensors(in_directory("two.safetensors"), "{" T("b", "F32", "[6]", "0", "24") "}", data, 24),
        0);
    cr_assert_eq(symlink("one.safetensors", in_directory("link.safetensors")),
                 0); /* as in a download cache */
    cr_assert_eq(symlink("loop.safetensors", in_directory("loop.safetensors")), 0);
    cr_assert_eq(symlink("/dev/zero", in_directory("zero.safetensors")), 0);
    cr_assert_eq(mkfifo(in_directory("pipe.safetensors"), 0600), 0);
    cr_assert_eq(mkdir(in_directory("folder.safetensors"), 0777), 0);
    for (size_t i = 0; i < N(indexes); i++) {
        struct safetensors *s;
        struct error e = {0};
        write_text("model.safetensors.index.json", indexes[i].index);
        enum status status = safetensors_open_folder(&s, directory_path(), &e);
        cr_expect_eq(status == OK, !indexes[i].mention, "%s: %s", indexes[i].index, e.text);
        if (indexes[i].mention) expect_sentence(&e, indexes[i].mention, indexes[i].index);
        safetensors_close(s);
    }
    rmdir(in_directory("folder.safetensors"));
}

/* One tensor of a good folder is renamed in place; the message must name it. */
static const struct {
    const char *from, *to, *mention;
} renames[] = {
    {"model.embed_tokens.weight", "model.embed_tokens.weighs", "model.embed_tokens.weight is missing"},
    {"model.embedding_norm.weight", "model.embedding_norn.weight", "model.embedding_norm.weight is missing"},
    {"layers.1.self_attn.k_proj.weight", "layers.1.self_attn.k_proj.bias00", "k_proj.bias00 has no place"},
    {"layers.2.feed_forward.experts.5.w3", "layers.2.feed_forward.experts.9.w3",
     "experts.5.w3.weight is missing"},
    {"layers.0.conv.conv.weight", "layers.9.conv.conv.weight", "layers.9.conv.conv.weight has no place"},
    {"layers.0.operator_norm.weight\":{\"dtype\":\"BF16\",\"shape\":[64]",
     "layers.0.operator_norm.weight\":{\"dtype\":\"BF16\",\"shape\":[8, 8]",
     "layers.0.operator_norm.weight: wrong"},
};

static void replace_in_file(const char *path, const char *from, const char *to) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    cr_assert(f && fstat(fileno(f), &st) == 0);
    size_t size = (size_t)st.st_size, grow = strlen(to) - strlen(from);
    char *bytes = malloc(size);
    cr_assert(bytes && fread(bytes, 1, size, f) == size && fclose(f) == 0);
    char *at = memmem(bytes, size, from, strlen(from));
    cr_assert_not_null(at, "%s", from);
    uint64_t n;
    memcpy(&n, bytes, 8);
    n += grow;
    memcpy(bytes, &n, 8);
    size_t before = (size_t)(at - bytes), after = before + strlen(from);
    f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, before, f) == before && fputs(to, f) >= 0);
    cr_assert(fwrite(bytes + after, 1, size - after, f) == size - after && fclose(f) == 0);
    free(bytes);
}

Test(safetensors, a_folder_that_does_not_fit_its_configuration, .init = make_directory,
     .fini = remove_directory) {
    struct tiny_spec s = spec_of("lfm2moe", TYPE_BF16);
    struct tiny_hf o = {.vectors = TYPE_BF16};
    for (size_t i = 0; i < N(renames); i++) {
        struct model *m;
        struct error e = {0};
        write_models(&s, &o);
        replace_in_file(in_directory("hf/model.safetensors"), renames[i].from, renames[i].to);
        cr_expect_neq(model_open(&m, in_directory("hf"), &e), OK, "%s", renames[i].to);
        expect_sentence(&e, renames[i].mention, renames[i].to);
        model_close(m);
        tiny_directory_remove(in_directory("hf"));
    }
}

/* A header whose length is odd puts float16 data at odd addresses. */
Test(safetensors, unaligned_matrices_are_refused, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = spec_of("qwen3", TYPE_BF16);
    struct tiny_hf o = {.vectors = TYPE_BF16};
    struct model *m;
    struct error e = {0};
    write_models(&s, &o);
    replace_in_file(in_directory("hf/model.safetensors"), "{\"__metadata__\"", " {\"__metadata__\"");
    cr_expect_eq(model_open(&m, in_directory("hf"), &e), ERR_UNSUPPORTED);
    expect_sentence(&e, "unaligned", "odd header");
    model_close(m);
}
