/* SPDX-License-Identifier: Apache-2.0 */
/* test_convert: quantised files are byte for byte llama-quantize's, keys come along, folders become the same
 * model, and nothing half done is left behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/convert.h"
#include "data/gguf_write.h"
#include "data/model.h"
#include "data/synth.h"
#include "data/tokenizer.h"
#include "reference/engine.h"
#include "tests/checksums.h"
#include "tests/directory.h"
#include "tests/tiny_hf.h"

#define N(array) (sizeof(array) / sizeof *(array))

static enum status convert(const char *in, const char *out, const char *recipe, int threads,
                           struct error *e) {
    struct convert_options o = {.in = in, .out = out, .threads = threads};
    if (recipe) cr_assert_not_null(o.recipe = recipe_by_name(recipe));
    return convert_write(&o, NULL, e);
}

/* ---- the bytes of llama-quantize ---- */

static const struct {
    const char *name;
    struct tiny_spec spec;
} sources[] = {
    {"lfm2moe", {"lfm2moe", 6, 256, 4, 2, 64, 256, 256, 4, 2, 256, TYPE_BF16, TYPE_BF16, 1, 3, 0}},
    {"lfm2moe-8", {"lfm2moe", 4, 256, 4, 2, 64, 256, 256, 8, 2, 256, TYPE_F16, TYPE_F16, 1, 4, 0}},
    {"lfm2", {"lfm2", 9, 256, 4, 2, 64, 256, 0, 0, 0, 256, TYPE_F32, TYPE_F32, 1, 5, 0}},
    {"qwen3", {"qwen3", 5, 256, 4, 2, 64, 512, 0, 0, 0, 256, TYPE_BF16, TYPE_BF16, 0, 6, 0}},
};

/* gguf_checksums; written by tests/expected_quantize.sh with llama-quantize of llama.cpp as in
 * llama-cpp-python 0.3.36. */
static const struct {
    const char *source, *recipe;
    unsigned long types, bytes;
} from_llama[] = {
#include "tests/expected_quantize.inc"
};

Test(convert, quantised_files_are_llama_quantizes, .init = make_directory, .fini = remove_directory) {
    size_t n = 0;
    const char *keep = getenv("LFM2_KEEP_SOURCES"); /* how expected_quantize.sh gets them */
    for (size_t i = 0; i < N(sources); i++) {
        char path[512];
        const char *out = in_directory("out.gguf");
        struct error e = {0};
        snprintf(path, sizeof path, "%s/%s.gguf", keep ? keep : directory_path(), sources[i].name);
        cr_assert_eq(tiny_write(path, &sources[i].spec, &e), OK, "%s", e.text);
        for (size_t j = 0; j < N(from_llama); j++) {
            if (strcmp(from_llama[j].source, sources[i].name)) continue;
            unsigned long types, bytes;
            cr_assert_eq(convert(path, out, from_llama[j].recipe, 2, &e), OK, "%s", e.text);
            cr_assert_eq(gguf_checksums(out, &types, &bytes, &e), OK, "%s", e.text);
            cr_expect_eq(types, from_llama[j].types, "%s %s: other types", sources[i].name,
                         from_llama[j].recipe);
            cr_expect_eq(bytes, from_llama[j].bytes, "%s %s: other bytes", sources[i].name,
                         from_llama[j].recipe);
            n++;
        }
    }
    cr_assert_eq(n, 8 * N(sources));
}

/* Rows of 192 and 128 fit no block of 256. */
Test(convert, rows_that_do_not_fit_become_q8_0, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("lfm2moe");
    struct error e = {0};
    struct gguf *g;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    struct convert_options o = {.in = in_directory("m.gguf"),
                                .out = in_directory("o.gguf"),
                                .recipe = recipe_by_name("q4_k_m"),
                                .threads = 1};
    struct convert_result r;
    cr_assert_eq(convert_write(&o, &r, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&g, in_directory("o.gguf"), &e), OK, "%s", e.text);
    int n = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        cr_assert(g->tensors[i].type == TYPE_F32 || g->tensors[i].type == TYPE_Q8_0, "%s",
                  g->tensors[i].name);
        n += g->tensors[i].type == TYPE_Q8_0;
    }
    cr_assert(r.n_fallback > 0 && r.n_fallback <= n);
    gguf_close(g);
}

/* ---- keys ---- */

static enum status write_synth(const char *path, const char *shape, const char *recipe, struct error *e) {
    struct synth_options o = {
        .shape = synth_shape_by_name(shape), .recipe = recipe, .seed = 1, .threads = 1, .path = path};
    return synth_write(&o, e);
}

Test(convert, all_keys_come_along, .init = make_directory, .fini = remove_directory) {
    struct error e = {0};
    struct gguf *a, *b;
    int64_t type;
    cr_assert_eq(write_synth(in_directory("m.gguf"), "tiny-qwen3", "f16", &e), OK, "%s", e.text);
    cr_assert_eq(convert(in_directory("m.gguf"), in_directory("o.gguf"), "Q8_0", 1, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&a, in_directory("m.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&b, in_directory("o.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(a->n_kv, b->n_kv);
    for (uint64_t i = 0; i < a->n_kv; i++) {
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)a->kv[i].key.size, a->kv[i].key.data);
        const struct gguf_kv *x = &a->kv[i], *y = gguf_find(b, key);
        cr_assert_not_null(y, "%s", key);
        if (strcmp(key, "general.file_type") == 0) continue;
        cr_assert(x->type == y->type && x->size == y->size && memcmp(x->data, y->data, x->size) == 0, "%s",
                  key);
    }
    cr_assert_eq(gguf_int(b, "general.file_type", 0, 100, &type, &e), OK, "%s", e.text);
    cr_assert_eq(type, 7);
    gguf_close(a);
    gguf_close(b);
}

/* Copies m.gguf to n.gguf with two keys more. */
static void add_layout_keys(void) {
    struct error e = {0};
    struct gguf *g;
    struct gguf_writer *w;
    cr_assert_eq(gguf_open(&g, in_directory("m.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_new(&w, in_directory("n.gguf"), &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_kv; i++) gguf_put_kv(w, &g->kv[i]);
    gguf_put_u32(w, "general.alignment", 32);
    gguf_put_u32(w, "split.count", 1);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        gguf_put_tensor(w, g->tensors[i].name, g->tensors[i].type, g->tensors[i].n_dims, g->tensors[i].dims);
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        cr_assert_eq(gguf_writer_data(w, g->tensors[i].data, g->tensors[i].bytes, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
    gguf_close(g);
}

Test(convert, keys_about_the_input_file_do_not, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("qwen3");
    struct error e = {0};
    struct gguf *g;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    add_layout_keys();
    cr_assert_eq(convert(in_directory("n.gguf"), in_directory("o.gguf"), "F16", 1, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&g, in_directory("o.gguf"), &e), OK, "%s", e.text);
    cr_assert_null(gguf_find(g, "general.alignment"));
    cr_assert_null(gguf_find(g, "split.count"));
    gguf_close(g);
}

/* ---- folders ---- */

static float *logits_of(const char *path, int n) {
    struct error e = {0};
    struct engine_options o = {.threads = 1, .max_tokens = n, .no_pin = 1};
    struct model *m;
    struct session *s;
    int32_t ids[64];
    cr_assert_eq(model_open(&m, path, &e), OK, "%s", e.text);
    int V = m->config.n_vocab;
    float *logits = malloc((size_t)n * (size_t)V * sizeof *logits);
    cr_assert(logits && n <= 64);
    for (int i = 0; i < n; i++) ids[i] = (7 + 37 * i) % V;
    cr_assert_eq(engine_reference.open(&s, m, &o, &e), OK, "%s", e.text);
    cr_assert_eq(engine_reference.feed(s, ids, n, logits, n, &e), OK, "%s", e.text);
    engine_reference.close(s);
    model_close(m);
    return logits;
}

static const struct {
    const char *arch;
    struct tiny_hf o;
} folders[] = {
    {"lfm2moe", {.vectors = TYPE_BF16, .shards = 2}},
    {"lfm2moe", {.vectors = TYPE_BF16, .fused = 1}},
    {"lfm2", {.vectors = TYPE_BF16}},
    {"qwen3", {.vectors = TYPE_BF16}},
};

Test(convert, a_folder_becomes_the_same_model, .init = make_directory, .fini = remove_directory) {
    enum { TOKENS = 12 };
    for (size_t i = 0; i < N(folders); i++) {
        struct tiny_spec s = tiny_default(folders[i].arch);
        struct error e = {0};
        unsigned long types, bytes, from_types, from_bytes;
        s.type = s.embedding = TYPE_BF16;
        cr_assert_eq(tiny_write_short(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
        cr_assert_eq(mkdir(in_directory("hf"), 0777), 0);
        cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), &s, &folders[i].o, &e), OK,
                     "%s", e.text);
        cr_assert_eq(convert(in_directory("hf"), in_directory("o.gguf"), NULL, 2, &e), OK, "%s", e.text);
        cr_assert_eq(gguf_checksums(in_directory("m.gguf"), &from_types, &from_bytes, &e), OK, "%s", e.text);
        cr_assert_eq(gguf_checksums(in_directory("o.gguf"), &types, &bytes, &e), OK, "%s", e.text);
        cr_expect(types == from_types && bytes == from_bytes, "folder %zu: other tensors", i);
        float *x = logits_of(in_directory("hf"), TOKENS), *y = logits_of(in_directory("o.gguf"), TOKENS);
        cr_expect(memcmp(x, y, TOKENS * (size_t)s.V * sizeof *x) == 0, "folder %zu: other logits", i);
        free(x);
        free(y);
        tiny_directory_remove(in_directory("hf"));
    }
}

/* ---- tokenizers ---- */

/* The 256 bytes in their alphabet, some merges, and three added tokens, one of which is not special. */
static void write_tokenizer(const char *folder) {
    char path[600];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    fprintf(
        f,
        "{\"added_tokens\": [{\"id\": 270, \"content\": \"<|im_start|>\", \"special\": true},"
        "{\"id\": 271, \"content\": \"<|im_end|>\", \"special\": true},"
        "{\"id\": 300, \"content\": \"he says\", \"special\": false}],"
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
        "{\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
        "\"behavior\": "
        "\"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
        "\"use_regex\": false}]},"
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
        "\"<|im_start|>\"}}, {\"Sequence\": {\"id\": \"A\"}}]},"
        "\"model\": {\"type\": \"BPE\", \"ignore_merges\": false, \"vocab\": {");
    int next = 256;
    for (int b = 0; b < 256; b++) {
        int own = (b > 32 && b < 127) || (b > 160 && b != 173);
        fprintf(f, "\"\\u%04x\": %d, ", own ? b : next++, b);
    }
    fprintf(f, "\"he\": 256, \"th\": 257, \"the\": 258, \"\\u0120the\": 259, \"\\u0120\\u0120\": 260},"
               "\"merges\": [\"h e\", \"t h\", \"t he\", [\"\\u0120\", \"the\"], \"\\u0120 \\u0120\"]}}");
    cr_assert_eq(fclose(f), 0);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    f = fopen(path, "wb");
    cr_assert(f &&
              fputs("{\"eos_token\": \"<|im_end|>\", \"chat_template\": \"{{ bos_token }} x\"}", f) >= 0);
    cr_assert_eq(fclose(f), 0);
}

static const char *const texts[] = {"the other theme", "  then he says 12345 <|im_end|>the",
                                    "na\xc3\xafve \xff\x00", "", "\n\n <|im_start|>he"};

Test(convert, the_tokenizer_comes_along, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("lfm2");
    struct tiny_hf o = {.vectors = TYPE_F32};
    struct error e = {0};
    struct tokenizer *a, *b;
    struct gguf *g;
    const struct gguf_kv *types;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    cr_assert_eq(mkdir(in_directory("hf"), 0777), 0);
    cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), &s, &o, &e), OK, "%s", e.text);
    write_tokenizer(in_directory("hf"));
    struct convert_result r;
    struct convert_options options = {.in = in_directory("hf"), .out = in_directory("o.gguf"), .threads = 1};
    cr_assert_eq(convert_write(&options, &r, &e), OK, "%s", e.text);
    cr_assert_eq(r.no_tokenizer, 0);
    cr_assert_eq(tokenizer_open(&a, in_directory("hf"), &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_open(&b, in_directory("o.gguf"), &e), OK, "%s", e.text);
    for (size_t i = 0; i < N(texts); i++)
        for (unsigned flags = 0; flags < 4; flags++) {
            struct tokens x = {0}, y = {0};
            size_t n = strlen(texts[i]) + (i == 2); /* that one has a NUL */
            cr_assert_eq(tokenizer_encode(a, texts[i], n, flags, &x, &e), OK, "%s", e.text);
            cr_assert_eq(tokenizer_encode(b, texts[i], n, flags, &y, &e), OK, "%s", e.text);
            cr_assert(x.n == y.n && (x.n == 0 || memcmp(x.ids, y.ids, x.n * sizeof *x.ids) == 0), "%s",
                      texts[i]);
            tokens_free(&x);
            tokens_free(&y);
        }
    cr_assert(tokenizer_bos(b) == 270 && tokenizer_eos(b) == 271 && tokenizer_adds_bos(b) == 1);
    cr_assert_str_eq(tokenizer_chat_template(b), "{{ bos_token }} x");
    cr_assert_eq(gguf_open(&g, in_directory("o.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(gguf_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, &e), OK, "%s", e.text);
    cr_assert_eq((int)types->count, s.V);
    cr_assert(gguf_int_at(types, 5) == 1 && gguf_int_at(types, 270) == 3 && gguf_int_at(types, 300) == 4 &&
              gguf_int_at(types, 299) == 5);
    gguf_close(g);
    tokenizer_close(a);
    tokenizer_close(b);
}

Test(convert, a_folder_without_a_tokenizer_says_so, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("qwen3");
    struct tiny_hf o = {.vectors = TYPE_F32};
    struct error e = {0};
    struct convert_result r;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    cr_assert_eq(mkdir(in_directory("hf"), 0777), 0);
    cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), &s, &o, &e), OK, "%s", e.text);
    struct convert_options options = {.in = in_directory("hf"), .out = in_directory("o.gguf"), .threads = 1};
    cr_assert_eq(convert_write(&options, &r, &e), OK, "%s", e.text);
    cr_assert_eq(r.no_tokenizer, 1);
    write_tokenizer(in_directory("hf"));
    s.V = 256; /* fewer rows than the tokenizer has tokens */
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), &s, &o, &e), OK, "%s", e.text);
    cr_assert_eq(convert_write(&options, &r, &e), ERR_SHAPE);
    cr_assert(strstr(e.text, "301"), "%s", e.text);
}

/* ---- what is refused, and what is left behind ---- */

static int files_in_directory(void) {
    DIR *d = opendir(directory_path());
    int n = 0;
    cr_assert_not_null(d);
    for (struct dirent *f; (f = readdir(d));) n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

Test(convert, a_second_rounding_must_be_allowed, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("lfm2");
    struct error e = {0};
    s.type = TYPE_Q8_0;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    cr_expect_eq(convert(in_directory("m.gguf"), in_directory("o.gguf"), "Q4_0", 1, &e), ERR_ARG);
    cr_expect(strstr(e.text, "--allow-requantize") && strstr(e.text, "m.gguf"), "%s", e.text);
    cr_expect_eq(files_in_directory(), 1);
    struct convert_options o = {.in = in_directory("m.gguf"),
                                .out = in_directory("o.gguf"),
                                .recipe = recipe_by_name("Q4_0"),
                                .threads = 1,
                                .allow_requantize = 1};
    cr_expect_eq(convert_write(&o, NULL, &e), OK, "%s", e.text);
    cr_expect_eq(convert(in_directory("m.gguf"), in_directory("f.gguf"), "F32", 1, &e), OK, "%s", e.text);
}

/* Weight 5 of a matrix in the middle becomes a value that the type cannot hold. */
static const struct {
    float value;
    const char *recipe;
    int works;
} values[] = {
    {NAN, "Q4_0", 0},
    {INFINITY, "Q8_0", 0},
    {-INFINITY, "F16", 0},
    {70000, "F16", 0},
    {70000, "BF16", 1},
    {1e7f, "Q8_0", 0},
    /* its scale, 78740, is no float16 */ {NAN, "BF16", 0},
};

static void poke(const char *path, const char *tensor, float value) {
    struct gguf *g;
    struct error e = {0};
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    const struct gguf_tensor *t = gguf_tensor_find(g, tensor);
    cr_assert(t && t->type == TYPE_F32);
    long at = (long)((const uint8_t *)t->data - g->map) + 5 * 4;
    gguf_close(g);
    FILE *f = fopen(path, "r+b");
    cr_assert(f && fseek(f, at, SEEK_SET) == 0 && fwrite(&value, 4, 1, f) == 1 && fclose(f) == 0);
}

Test(convert, values_that_do_not_fit_stop_it, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("lfm2");
    s.D = 256, s.d = 64;
    for (size_t i = 0; i < N(values); i++) {
        struct error e = {0};
        cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
        poke(in_directory("m.gguf"), "blk.2.ffn_up.weight", values[i].value);
        enum status status = convert(in_directory("m.gguf"), in_directory("o.gguf"), values[i].recipe, 3, &e);
        cr_expect_eq(status == OK, values[i].works, "%g as %s", (double)values[i].value, values[i].recipe);
        if (!values[i].works) {
            cr_expect(strstr(e.text, "blk.2.ffn_up.weight: row 0"), "%s", e.text);
            cr_expect_eq(files_in_directory(), 1, "%g as %s", (double)values[i].value, values[i].recipe);
        }
        unlink(in_directory("o.gguf"));
    }
}

Test(convert, a_failed_run_leaves_the_old_file, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("qwen3");
    struct error e = {0};
    struct stat st;
    FILE *f = fopen(in_directory("o.gguf"), "wb");
    cr_assert(f && fputs("old", f) >= 0 && fclose(f) == 0);
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    poke(in_directory("m.gguf"), "blk.3.ffn_up.weight", NAN);
    cr_assert_neq(convert(in_directory("m.gguf"), in_directory("o.gguf"), "Q8_0", 2, &e), OK);
    cr_assert(stat(in_directory("o.gguf"), &st) == 0 && st.st_size == 3);
    cr_assert_eq(files_in_directory(), 2);
}

Test(convert, the_file_that_is_read_is_not_replaced, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("qwen3");
    struct error e = {0};
    struct stat before, after;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    cr_assert_eq(stat(in_directory("m.gguf"), &before), 0);
    cr_assert_eq(symlink("m.gguf", in_directory("o.gguf")), 0); /* the same file by another name */
    const char *names[] = {"m.gguf", "o.gguf"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(convert(in_directory("m.gguf"), in_directory(names[i]), "Q8_0", 1, &e), ERR_ARG);
        cr_expect(strstr(e.text, "is the file to read"), "%s", e.text);
    }
    cr_assert_eq(tiny_write(in_directory("base.gguf"), &s, &e), OK, "%s", e.text);
    struct convert_options o = {.in = in_directory("base.gguf"),
                                .out = in_directory("o.gguf"),
                                .merges = in_directory("m.gguf"),
                                .threads = 1};
    cr_assert_eq(convert_write(&o, NULL, &e), ERR_ARG);
    cr_expect(strstr(e.text, "is the file to read"), "%s", e.text);
    cr_assert_eq(stat(in_directory("m.gguf"), &after), 0);
    cr_assert(after.st_ino == before.st_ino && after.st_size == before.st_size);
    cr_assert_eq(files_in_directory(), 3);
}

Test(convert, any_number_of_threads_gives_the_same_bytes, .init = make_directory, .fini = remove_directory) {
    struct error e = {0};
    unsigned long first_types = 0, first_bytes = 0, types, bytes;
    cr_assert_eq(write_synth(in_directory("m.gguf"), "tiny-lfm2moe", "bf16", &e), OK, "%s", e.text);
    for (int threads = 1; threads <= 7; threads += 3) {
        cr_assert_eq(convert(in_directory("m.gguf"), in_directory("o.gguf"), "Q4_0", threads, &e), OK, "%s",
                     e.text);
        cr_assert_eq(gguf_checksums(in_directory("o.gguf"), &types, &bytes, &e), OK, "%s", e.text);
        if (threads == 1) first_types = types, first_bytes = bytes;
        cr_expect(types == first_types && bytes == first_bytes, "%d threads", threads);
    }
}

/* ---- merges ---- */

static float *tensor_f32(const char *path, const char *name, int64_t *n) {
    struct gguf *g;
    struct error e = {0};
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    cr_assert_not_null(t);
    *n = (int64_t)(t->bytes / (uint64_t)type_info(t->type)->bytes * (uint64_t)type_info(t->type)->block);
    float *x = malloc((size_t)*n * sizeof *x);
    cr_assert_not_null(x);
    dequantize_row(t->type, t->data, x, *n);
    gguf_close(g);
    return x;
}

static enum status merge(const char *base, const char *merges, struct error *e) {
    struct convert_options o = {.in = base,
                                .out = in_directory("o.gguf"),
                                .merges = merges,
                                .threads = 1,
                                .recipe = recipe_by_name("F32")};
    return convert_write(&o, NULL, e);
}

static void write_checkpoint(const char *name, enum tensor_type type, uint64_t seed) {
    struct tiny_spec s = tiny_default("lfm2moe");
    struct error e = {0};
    s.type = s.embedding = type;
    s.seed = seed;
    cr_assert_eq(tiny_write(in_directory(name), &s, &e), OK, "%s", e.text);
}

Test(convert, merges_add_differences, .init = make_directory, .fini = remove_directory) {
    static const char *const tensors[] = {"token_embd.weight", "blk.1.attn_k_norm.weight",
                                          "blk.2.ffn_down_exps.weight", "blk.3.exp_probs_b.bias",
                                          "blk.0.shortconv.conv.weight"};
    struct error e = {0};
    char merges[1200];
    write_checkpoint("c.gguf", TYPE_F32, 1);
    write_checkpoint("a.gguf", TYPE_BF16, 2);
    write_checkpoint("b.gguf", TYPE_Q8_0, 3);
    snprintf(merges, sizeof merges, "%s:0.5,%s:-0.25", in_directory("a.gguf"), in_directory("b.gguf"));
    cr_assert_eq(merge(in_directory("c.gguf"), merges, &e), OK, "%s", e.text);
    for (size_t i = 0; i < N(tensors); i++) {
        int64_t n;
        float *a = tensor_f32(in_directory("a.gguf"), tensors[i], &n),
              *b = tensor_f32(in_directory("b.gguf"), tensors[i], &n);
        float *c = tensor_f32(in_directory("c.gguf"), tensors[i], &n),
              *o = tensor_f32(in_directory("o.gguf"), tensors[i], &n);
        for (int64_t j = 0; j < n; j++) {
            double want =
                (double)c[j] + 0.5 * ((double)a[j] - (double)c[j]) - 0.25 * ((double)b[j] - (double)c[j]);
            double size = fabs((double)a[j]) + fabs((double)b[j]) + fabs((double)c[j]);
            /* Four roundings of terms no larger than this. */
            cr_assert(fabs((double)o[j] - want) <= 4 * 0x1p-24 * size, "%s %ld: %g, expected %g", tensors[i],
                      (long)j, (double)o[j], want);
        }
        free(a), free(b), free(c), free(o);
    }
}

Test(convert, merging_a_model_with_itself_changes_nothing, .init = make_directory, .fini = remove_directory) {
    struct error e = {0};
    char merges[1200];
    unsigned long types, bytes, from_types, from_bytes;
    write_checkpoint("c.gguf", TYPE_F32, 1);
    snprintf(merges, sizeof merges, "%s:0.3,%s:0.7", in_directory("c.gguf"), in_directory("c.gguf"));
    cr_assert_eq(merge(in_directory("c.gguf"), merges, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_checksums(in_directory("c.gguf"), &from_types, &from_bytes, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_checksums(in_directory("o.gguf"), &types, &bytes, &e), OK, "%s", e.text);
    cr_assert(types == from_types && bytes == from_bytes);
}

Test(convert, checkpoints_of_other_shapes_are_refused, .init = make_directory, .fini = remove_directory) {
    struct tiny_spec s = tiny_default("lfm2moe");
    struct error e = {0};
    write_checkpoint("c.gguf", TYPE_F32, 1);
    s.F = 224;
    cr_assert_eq(tiny_write(in_directory("a.gguf"), &s, &e), OK, "%s", e.text);
    cr_expect_eq(merge(in_directory("c.gguf"), in_directory("a.gguf"), &e), ERR_SHAPE);
    cr_expect(strstr(e.text, "a.gguf"), "%s", e.text);
    cr_expect_eq(merge(in_directory("c.gguf"), in_directory("missing.gguf"), &e), ERR_IO);
    cr_expect_eq(merge(in_directory("c.gguf"), "", &e), ERR_ARG);
    cr_expect_eq(merge(in_directory("c.gguf"), "a,,b", &e), ERR_ARG);
    cr_expect_eq(merge(in_directory("c.gguf"), "a:1e9", &e), ERR_ARG);
}
