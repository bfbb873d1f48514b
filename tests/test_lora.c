/* SPDX-License-Identifier: Apache-2.0 */
/* test_lora: adapters in PEFT's format add scale * B A to the right rows, at load and in a converted file,
 * and what this program does not do in an adapter is refused by name. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/convert.h"
#include "data/gguf.h"
#include "data/model.h"
#include "reference/engine.h"
#include "tests/directory.h"
#include "tests/tiny_hf.h"

#define N(array) (sizeof(array) / sizeof *(array))

static void make_directories(void) {
    make_directory();
    cr_assert_eq(mkdir(in_directory("lora"), 0777), 0);
    cr_assert_eq(mkdir(in_directory("hf"), 0777), 0);
}

/* A pair [r, cols] and [rows, r] for a module; values are a function of the names' order and the index. */
struct module {
    const char *name; /* after base_model.model. */
    const char *tensor;
    int first_row, rows, cols; /* of the GGUF tensor */
};

static const struct module moe_modules[] = {
    {"model.layers.1.self_attn.q_proj", "blk.1.attn_q.weight", 0, 64, 64},
    {"model.layers.0.conv.in_proj", "blk.0.shortconv.in_proj.weight", 0, 192, 64},
    {"model.layers.0.feed_forward.w2", "blk.0.ffn_down.weight", 0, 64, 192},
    {"model.layers.2.feed_forward.experts.3.w1", "blk.2.ffn_gate_exps.weight", 3 * 96, 96, 64},
    {"model.layers.3.feed_forward.experts.7.w2", "blk.3.ffn_down_exps.weight", 7 * 64, 64, 96},
    {"model.layers.2.feed_forward.gate", "blk.2.ffn_gate_inp.weight", 0, 8, 64},
};
static const struct module qwen_modules[] = {
    {"model.layers.3.self_attn.o_proj", "blk.3.attn_output.weight", 0, 64, 64},
    {"model.layers.0.mlp.gate_proj", "blk.0.ffn_gate.weight", 0, 192, 64},
    {"lm_head", "output.weight", 0, 512, 64},
};
enum { RANK = 3 };

static int broken; /* one value of the next adapter is a NaN */

static float value_of(int module, int which, int i) {
    if (broken && which == 1 && i == 5) return NAN;
    return (float)((module * 131 + which * 71 + i * 37) % 41 - 20) / 64.0f;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

#define CONFIG "{\"peft_type\": \"LORA\", \"lora_alpha\": 6, \"r\": 3, \"target_modules\": [\"q_proj\"]"

static void write_adapter(const struct module *modules, int n, const char *config, const char *suffix) {
    char *header = malloc((size_t)n * 512 + 64), *at = header;
    float *data = malloc((size_t)n * RANK * 1024 * sizeof *data);
    int used = 0;
    cr_assert(header && data);
    at += sprintf(at, "{");
    for (int m = 0; m < n; m++)
        for (int which = 0; which < 2; which++) {
            int shape[2] = {which ? modules[m].rows : RANK, which ? RANK : modules[m].cols};
            int count = shape[0] * shape[1];
            at += sprintf(at,
                          "%s\"base_model.model.%s.lora_%c%s.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
                          "\"data_offsets\":[%d,%d]}",
                          m + which ? "," : "", modules[m].name, 'A' + which, suffix, shape[0], shape[1],
                          4 * used, 4 * (used + count));
            for (int i = 0; i < count; i++) data[used++] = value_of(m, which, i);
        }
    sprintf(at, "}");
    cr_assert_eq(
        tiny_safetensors(in_directory("lora/adapter_model.safetensors"), header, data, (size_t)used * 4), 0);
    write_text(in_directory("lora/adapter_config.json"), config);
    free(header);
    free(data);
}

static void write_model(const char *arch, enum tensor_type type) {
    struct tiny_spec s = tiny_default(arch);
    struct tiny_hf o = {.vectors = type};
    struct error e = {0};
    s.type = s.embedding = type;
    s.tied = strcmp(arch, "qwen3") != 0;
    cr_assert_eq(tiny_write_short(in_directory("m.gguf"), &s, &e), OK, "%s", e.text);
    if (type_info(type)->block > 1) return;
    cr_assert_eq(tiny_hf_write(in_directory("hf"), in_directory("m.gguf"), &s, &o, &e), OK, "%s", e.text);
}

/* Row r of tensor t in float32. */
static void read_row(const struct gguf *g, const char *name, int64_t r, float *out) {
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    cr_assert_not_null(t, "%s", name);
    dequantize_row(t->type, gguf_tensor_row(t, r), out, t->dims[0]);
}

/* got = base + scale B A on the module's rows, to within bound; and what the adapter does not name is
 * untouched. */
static void check_modules(const struct gguf *base, const struct gguf *got, const struct module *modules,
                          int n, double scale, double bound) {
    float x[512], y[512];
    int touched = 0;
    for (int m = 0; m < n; m++)
        for (int r = 0; r < modules[m].rows; r++) {
            read_row(base, modules[m].tensor, modules[m].first_row + r, x);
            read_row(got, modules[m].tensor, modules[m].first_row + r, y);
            for (int c = 0; c < modules[m].cols; c++) {
                double want = (double)x[c];
                for (int k = 0; k < RANK; k++)
                    want += scale * (double)value_of(m, 1, r * RANK + k) *
                            (double)value_of(m, 0, k * modules[m].cols + c);
                cr_assert(fabs((double)y[c] - want) <= bound * (1 + fabs(want)),
                          "%s row %d, %d: %g, expected %g", modules[m].tensor, r, c, (double)y[c], want);
                touched += fabs(want - (double)x[c]) > 10 * bound;
            }
        }
    cr_assert(touched > 1000 || bound > 1e-3, "%d weights changed", touched);
    for (uint64_t i = 0; i < base->n_tensors; i++) {
        const struct gguf_tensor *t = &base->tensors[i], *u = gguf_tensor_find(got, t->name);
        int named = 0;
        for (int m = 0; m < n; m++) named |= strcmp(modules[m].tensor, t->name) == 0;
        if (named) continue;
        cr_assert(u && u->type == t->type, "%s", t->name);
        for (int64_t r = 0; r < gguf_tensor_rows(t); r++)
            cr_assert(memcmp(gguf_tensor_row(t, r), gguf_tensor_row(u, r),
                             type_row_bytes(t->type, t->dims[0])) == 0,
                      "%s", t->name);
    }
}

static const struct {
    const char *config, *suffix, *factor;
    double scale; /* lora_alpha / r, or / sqrt r, times the factor */
} scales[] = {
    {CONFIG "}", "", "", 2.0},
    {CONFIG "}", ".default", ":0.5", 1.0},
    {CONFIG ", \"use_rslora\": true, \"alpha_pattern\": {}, \"modules_to_save\": null}", "", ":1",
     3.4641016151377544},
};

Test(lora, rows_get_scale_b_a, .init = make_directories, .fini = remove_directory) {
    for (int qwen = 0; qwen < 2; qwen++) {
        const struct module *modules = qwen ? qwen_modules : moe_modules;
        int n = (int)(qwen ? N(qwen_modules) : N(moe_modules));
        write_model(qwen ? "qwen3" : "lfm2moe", TYPE_F32);
        for (size_t i = 0; i < N(scales); i++) {
            char path[600];
            struct error e = {0};
            struct model *base, *m;
            write_adapter(modules, n, scales[i].config, scales[i].suffix);
            snprintf(path, sizeof path, "%s%s", in_directory("lora"), scales[i].factor);
            cr_assert_eq(model_open(&base, in_directory(i % 2 ? "hf" : "m.gguf"), &e), OK, "%s", e.text);
            cr_assert_eq(model_open_lora(&m, in_directory(i % 2 ? "hf" : "m.gguf"), path, &e), OK, "%s",
                         e.text);
            check_modules(base->index, m->index, modules, n, scales[i].scale, 1e-6);
            cr_assert_str_neq(base->header_sha256, m->header_sha256);
            model_close(m);
            model_close(base);
        }
    }
}

/* 16-bit types keep their precision; a quantised base becomes Q8_0, whose steps are its block's largest /
 * 127. */
static const struct {
    enum tensor_type base, merged;
    double bound;
} bases[] = {
    {TYPE_BF16, TYPE_BF16, 0x1p-8}, {TYPE_F16, TYPE_F16, 0x1p-11}, {TYPE_Q4_0, TYPE_Q8_0, 2.0 / 127}};

Test(lora, types_of_merged_tensors, .init = make_directories, .fini = remove_directory) {
    int n = (int)N(moe_modules) - 1; /* not the router, which stays F32 */
    write_adapter(moe_modules, n, CONFIG "}", "");
    for (size_t i = 0; i < N(bases); i++) {
        struct error e = {0};
        struct model *base, *m;
        write_model("lfm2moe", bases[i].base);
        cr_assert_eq(model_open(&base, in_directory("m.gguf"), &e), OK, "%s", e.text);
        cr_assert_eq(model_open_lora(&m, in_directory("m.gguf"), in_directory("lora"), &e), OK, "%s", e.text);
        check_modules(base->index, m->index, moe_modules, n, 2, bases[i].bound);
        for (int j = 0; j < n; j++)
            cr_expect_eq(gguf_tensor_find(m->index, moe_modules[j].tensor)->type, bases[i].merged);
        model_close(m);
        model_close(base);
    }
}

static float *logits_of(const struct model *m, const struct engine *engine, int n) {
    struct error e = {0};
    struct engine_options o = {.threads = 1, .max_tokens = n, .no_pin = 1};
    struct session *s;
    int32_t ids[16];
    float *logits = malloc((size_t)n * (size_t)m->config.n_vocab * sizeof *logits);
    cr_assert(logits && n <= 16);
    for (int i = 0; i < n; i++) ids[i] = (3 + 29 * i) % m->config.n_vocab;
    cr_assert_eq(engine->open(&s, m, &o, &e), OK, "%s", e.text);
    cr_assert_eq(engine->feed(s, ids, n, logits, n, &e), OK, "%s", e.text);
    engine->close(s);
    return logits;
}

/* At load or in the file: the same model. With two adapters, the second is added to the rounded first at load
 * but not in a file, so one is used here. */
Test(lora, a_merged_file_is_the_model_merged_at_load, .init = make_directories, .fini = remove_directory) {
    const struct engine *const engines[] = {&engine_reference, &engine_optimized};
    enum { TOKENS = 10 };
    struct error e = {0};
    struct model *base, *a, *b;
    write_model("lfm2moe", TYPE_BF16);
    write_adapter(moe_modules, (int)N(moe_modules), CONFIG "}", "");
    struct convert_options o = {.in = in_directory("hf"),
                                .out = in_directory("o.gguf"),
                                .adapters = in_directory("lora"),
                                .threads = 2};
    cr_assert_eq(convert_write(&o, NULL, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&base, in_directory("hf"), &e), OK, "%s", e.text);
    cr_assert_eq(model_open_lora(&a, in_directory("hf"), in_directory("lora/adapter_model.safetensors"), &e),
                 OK, "%s", e.text);
    cr_assert_eq(model_open(&b, in_directory("o.gguf"), &e), OK, "%s", e.text);
    size_t bytes = TOKENS * (size_t)a->config.n_vocab * sizeof(float);
    for (size_t i = 0; i < N(engines); i++) {
        float *x = logits_of(a, engines[i], TOKENS), *y = logits_of(b, engines[i], TOKENS),
              *without = logits_of(base, engines[i], TOKENS);
        cr_expect(memcmp(x, y, bytes) == 0, "%s", engines[i]->name);
        cr_expect(memcmp(x, without, bytes) != 0, "%s", engines[i]->name);
        free(x), free(y), free(without);
    }
    model_close(a), model_close(b), model_close(base);
}

/* An adapter of factor 0.75 and the same of factor 0.25 are one of factor 1, up to rounding. */
Test(lora, adapters_add_up, .init = make_directories, .fini = remove_directory) {
    char both[1200];
    struct error e = {0};
    struct model *base, *m;
    int n = (int)N(moe_modules);
    write_model("lfm2moe", TYPE_F32);
    write_adapter(moe_modules, n, CONFIG "}", "");
    snprintf(both, sizeof both, "%s:0.75,%s:0.25", in_directory("lora"), in_directory("lora"));
    cr_assert_eq(model_open(&base, in_directory("m.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(model_open_lora(&m, in_directory("m.gguf"), both, &e), OK, "%s", e.text);
    check_modules(base->index, m->index, moe_modules, n, 2, 1e-6);
    model_close(m), model_close(base);
}

/* Each changes one thing in a good adapter. */
static const struct {
    const char *config, *mention;
    struct module module;
} bad[] = {
    {"", "empty", {0}},
    {"{", "JSON", {0}},
    {"{}", "peft_type", {0}},
    {"{\"peft_type\": \"IA3\"}", "IA3", {0}},
    {"{\"peft_type\": \"LORA\"}", "lora_alpha", {0}},
    {"{\"peft_type\": \"LORA\", \"lora_alpha\": \"6\"}", "lora_alpha", {0}},
    {"{\"peft_type\": \"LORA\", \"lora_alpha\": 6, \"r\": 0}", "key r", {0}},
    {"{\"peft_type\": \"LORA\", \"lora_alpha\": 6, \"r\": \"3\"}", "key r", {0}},
    {"{\"peft_type\": \"LORA\", \"lora_alpha\": 6, \"r\": 4}", "another rank", {0}},
    {CONFIG ", \"use_dora\": true}", "use_dora", {0}},
    {CONFIG ", \"fan_in_fan_out\": true}", "fan_in_fan_out", {0}},
    {CONFIG ", \"modules_to_save\": [\"lm_head\"]}", "modules_to_save", {0}},
    {CONFIG ", \"alpha_pattern\": {\"q_proj\": 3}}", "alpha_pattern", {0}},
    {CONFIG "}", "layers.9.self_attn", {"model.layers.9.self_attn.q_proj", "", 0, 64, 64}},
    {CONFIG "}",
     "layers.0.self_attn",
     {"model.layers.0.self_attn.q_proj", "", 0, 64, 64}}, /* a convolution layer */
    {CONFIG "}", "embed_tokens", {"model.embed_tokens", "", 0, 512, 64}},
    {CONFIG "}", "lm_head", {"lm_head", "", 0, 512, 64}}, /* tied */
    {CONFIG "}", "conv.conv", {"model.layers.0.conv.conv", "", 0, 64, 3}},
    {CONFIG "}", "experts.8.w1", {"model.layers.2.feed_forward.experts.8.w1", "", 0, 96, 64}},
    {CONFIG "}", "wrong shape", {"model.layers.1.self_attn.q_proj", "", 0, 64, 32}},
    {CONFIG "}", "wrong shape", {"model.layers.1.self_attn.k_proj", "", 0, 64, 64}},
};

Test(lora, what_is_not_done_is_refused, .init = make_directories, .fini = remove_directory) {
    write_model("lfm2moe", TYPE_F32);
    for (size_t i = 0; i < N(bad); i++) {
        struct error e = {0};
        struct model *m;
        write_adapter(bad[i].module.name ? &bad[i].module : moe_modules, 1, bad[i].config, "");
        cr_expect_neq(model_open_lora(&m, in_directory("m.gguf"), in_directory("lora"), &e), OK, "%s %s",
                      bad[i].config, bad[i].mention);
        cr_expect(strncmp(e.text, directory_path(), strlen(directory_path())) == 0 &&
                      strstr(e.text, bad[i].mention),
                  "%s", e.text);
        model_close(m);
    }
    struct error e = {0};
    struct model *m;
    broken = 1;
    write_adapter(moe_modules, 1, CONFIG "}", "");
    cr_expect_eq(model_open_lora(&m, in_directory("m.gguf"), in_directory("lora"), &e), ERR_FORMAT);
    cr_expect(strstr(e.text, "adapter_model.safetensors") && strstr(e.text, "value 5 is not finite"), "%s",
              e.text);
    broken = 0;
    write_adapter(moe_modules, 0, CONFIG "}", "");
    cr_expect_eq(model_open_lora(&m, in_directory("m.gguf"), in_directory("lora"), &e), ERR_SHAPE);
    cr_expect(strstr(e.text, "no tensors"), "%s", e.text);
    unlink(in_directory("lora/adapter_config.json"));
    cr_expect_eq(model_open_lora(&m, in_directory("m.gguf"), in_directory("lora"), &e), ERR_IO);
    cr_expect_eq(model_open_lora(&m, in_directory("m.gguf"), in_directory("missing"), &e), ERR_IO);
    cr_expect_eq(model_open_lora(&m, in_directory("m.gguf"), "", &e), ERR_ARG);
}
