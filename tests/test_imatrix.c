/* SPDX-License-Identifier: Apache-2.0 */
/* test_imatrix: importance matrices read, written and collected; Q4_0 fitted with them gives llama-quantize's
 * bytes and a lower weighted error; types of one's own go to the tensors that were meant. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/importance.h"
#include "bench/stats.h"
#include "data/convert.h"
#include "data/gguf_write.h"
#include "data/quant_weighted.h"
#include "tests/checksums.h"
#include "tests/directory.h"
#include "tests/tiny.h"

#define N(array) (sizeof(array) / sizeof *(array))

TestSuite(imatrix, .init = make_directory, .fini = remove_directory);

static double uniform(uint64_t *seed) {
    return (double)(random_next(seed) >> 11) * 0x1p-53;
}

/* ---- the bytes of llama-quantize ---- */

static const struct {
    const char *name;
    struct tiny_spec spec;
} sources[] = {
    {"moe", {"lfm2moe", 8, 256, 4, 2, 64, 256, 256, 4, 2, 256, TYPE_BF16, TYPE_BF16, 1, 3, 0}},
    {"dense", {"lfm2", 9, 256, 4, 2, 64, 256, 0, 0, 0, 256, TYPE_F32, TYPE_F32, 1, 5, 0}},
};

/* gguf_checksums; written by tests/expected_imatrix.sh with llama-quantize --imatrix. */
static const struct {
    const char *source, *format;
    unsigned long types, bytes;
} from_llama[] = {
#include "tests/expected_imatrix.inc"
};

/* Sums for every second matrix of the layers; one expert of each saw nothing. */
static int make_sums(const struct gguf *g, struct imatrix_sums *sums) {
    uint64_t seed = 11;
    int n = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (strncmp(t->name, "blk.", 4) != 0 || t->dims[1] == 1 || i % 2) continue;
        struct imatrix_sums *s = &sums[n++];
        memcpy(s->name, t->name, sizeof s->name);
        s->planes = t->dims[2], s->cols = t->dims[0];
        s->squares = calloc((size_t)(s->planes * s->cols), sizeof *s->squares);
        s->counts = calloc((size_t)s->planes, sizeof *s->counts);
        cr_assert(s->squares && s->counts);
        for (int64_t p = 0; p < s->planes; p++) {
            s->counts[p] = s->planes > 1 && p == 1 ? 0 : 40 + 7 * p;
            for (int64_t c = 0; c < s->cols && s->counts[p]; c++)
                s->squares[p * s->cols + c] = exp(6 * uniform(&seed)) * (double)s->counts[p];
        }
    }
    return n;
}

static void free_sums(struct imatrix_sums *sums, int n) {
    for (int i = 0; i < n; i++) free(sums[i].squares), free(sums[i].counts);
}

/* The older format, of the same means; calls 3. */
static void write_old(const char *path, const struct imatrix_sums *sums, int n) {
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    int32_t trailer[2] = {5, 4};
    fwrite(&n, 4, 1, f);
    for (int i = 0; i < n; i++) {
        int32_t length = (int32_t)strlen(sums[i].name),
                counts[2] = {3, (int32_t)(sums[i].planes * sums[i].cols)};
        fwrite(&length, 4, 1, f);
        fwrite(sums[i].name, 1, (size_t)length, f);
        fwrite(counts, 4, 2, f);
        for (int64_t p = 0; p < sums[i].planes; p++)
            for (int64_t c = 0; c < sums[i].cols; c++) {
                float mean =
                    sums[i].counts[p]
                        ? (float)(3 * sums[i].squares[p * sums[i].cols + c] / (double)sums[i].counts[p])
                        : 3;
                fwrite(&mean, 4, 1, f);
            }
    }
    fwrite(trailer, 4, 2, f);
    fwrite("text", 1, 4, f);
    cr_assert_eq(fclose(f), 0);
}

/* Writes source i and its matrix in both formats into folder. */
static void make_source(size_t i, const char *folder, char *path, char *gguf, char *dat) {
    struct imatrix_sums sums[128];
    struct gguf *g;
    struct error e = {0};
    snprintf(path, 512, "%s/%s.gguf", folder, sources[i].name);
    snprintf(gguf, 512, "%s/%s.imatrix.gguf", folder, sources[i].name);
    snprintf(dat, 512, "%s/%s.imatrix.dat", folder, sources[i].name);
    cr_assert_eq(tiny_write(path, &sources[i].spec, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    int n = make_sums(g, sums);
    cr_assert_eq(imatrix_write(gguf, sums, n, "text", 5, 64, &e), OK, "%s", e.text);
    write_old(dat, sums, n);
    free_sums(sums, n);
    gguf_close(g);
}

static enum status convert(const char *in, const char *out, const char *recipe, const char *imatrix,
                           struct overrides *overrides, struct convert_result *r, struct error *e) {
    struct imatrix *m = NULL;
    if (imatrix) TRY(imatrix_open(&m, imatrix, e));
    struct convert_options o = {.in = in,
                                .out = out,
                                .threads = 2,
                                .recipe = recipe_by_name(recipe),
                                .imatrix = m,
                                .overrides = overrides};
    enum status st = convert_write(&o, r, e);
    imatrix_close(m);
    return st;
}

Test(imatrix, fitted_files_are_llama_quantizes) {
    const char *keep = getenv("LFM2_KEEP_SOURCES"); /* how expected_imatrix.sh gets them */
    size_t n = 0;
    for (size_t i = 0; i < N(sources); i++) {
        char path[512], gguf[512], dat[512];
        struct error e = {0};
        struct convert_result r;
        make_source(i, keep ? keep : directory_path(), path, gguf, dat);
        for (size_t j = 0; j < N(from_llama); j++) {
            unsigned long types, bytes;
            if (strcmp(from_llama[j].source, sources[i].name)) continue;
            const char *matrix = strcmp(from_llama[j].format, "gguf") ? dat : gguf;
            cr_assert_eq(convert(path, in_directory("out.gguf"), "Q4_0", matrix, NULL, &r, &e), OK, "%s",
                         e.text);
            cr_expect_gt(r.n_weighted, 10);
            cr_assert_eq(gguf_checksums(in_directory("out.gguf"), &types, &bytes, &e), OK, "%s", e.text);
            cr_expect_eq(types, from_llama[j].types, "%s %s: other types", sources[i].name,
                         from_llama[j].format);
            cr_expect_eq(bytes, from_llama[j].bytes, "%s %s: other bytes", sources[i].name,
                         from_llama[j].format);
            n++;
        }
    }
    cr_assert_eq(n, 2 * N(sources));
}

/* ---- fitting ---- */

static double weighted_error(enum tensor_type type, const float *x, const float *w, const float *fit_with) {
    enum { COLS = 256 };
    uint8_t bytes[COLS];
    float back[COLS];
    double sum = 0;
    cr_assert_eq(quantize_row_weighted(type, x, fit_with, bytes, COLS), 0);
    dequantize_row(type, bytes, back, COLS);
    for (int i = 0; i < COLS; i++) sum += (double)w[i] * (double)(x[i] - back[i]) * (double)(x[i] - back[i]);
    return sum;
}

Test(imatrix, fitting_lowers_the_weighted_error) {
    static const enum tensor_type types[] = {TYPE_Q4_0, TYPE_Q4_1};
    for (size_t t = 0; t < N(types); t++) {
        double plain = 0, fitted = 0;
        uint64_t seed = 5;
        for (int row = 0; row < 100; row++) {
            float x[256], w[256];
            for (int i = 0; i < 256; i++) {
                x[i] = (float)(uniform(&seed) + uniform(&seed) + uniform(&seed) - 1.5);
                w[i] = (float)exp(8 * uniform(&seed));
            }
            plain += weighted_error(types[t], x, w, NULL);
            fitted += weighted_error(types[t], x, w, w);
        }
        cr_expect(fitted < 0.8 * plain, "%s: %g with, %g without", type_info(types[t])->name, fitted, plain);
    }
}

Test(imatrix, zeros_and_types_without_a_weighted_form) {
    float zeros[256] = {0}, w[256], back[256], x[256];
    uint8_t a[2048], b[2048];
    for (int i = 0; i < 256; i++) w[i] = (float)(i % 7), x[i] = sinf((float)i);
    cr_assert_eq(quantize_row_weighted(TYPE_Q4_0, zeros, w, a, 256), 0);
    dequantize_row(TYPE_Q4_0, a, back, 256);
    for (int i = 0; i < 256; i++) cr_expect_eq(back[i], 0);
    quantize_row_weighted(TYPE_Q6_K, x, w, a, 256), quantize_row(TYPE_Q6_K, x, b, 256);
    cr_expect_arr_eq(a, b, type_row_bytes(TYPE_Q6_K, 256));
    memset(w, 0, sizeof w); /* columns that never saw anything: any codes, but finite */
    quantize_row_weighted(TYPE_Q4_0, x, w, a, 256);
    dequantize_row(TYPE_Q4_0, a, back, 256);
    for (int i = 0; i < 256; i++) cr_expect(isfinite(back[i]));
}

/* ---- collecting ---- */

Test(imatrix, collects_what_the_matrices_read) {
    struct tiny_spec spec = tiny_default("lfm2moe");
    struct model *m;
    struct importance x;
    struct error e = {0};
    int32_t ids[64];
    for (int i = 0; i < 64; i++) ids[i] = (i * 37) % spec.V;
    cr_assert_eq(tiny_write(in_directory("m.gguf"), &spec, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&m, in_directory("m.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(importance_new(&x, m, &e), OK, "%s", e.text);
    struct windows w = windows_chunks(64, 30); /* two of 30 ids; the rest is left out */
    cr_assert_eq(importance_collect(&x, m, ids, &w, 1, 1, NULL, NULL, &e), OK, "%s", e.text);
    int checked = 0;
    for (int i = 0; i < x.n; i++) {
        const struct imatrix_sums *s = &x.sums[i];
        int64_t counts = 0;
        for (int64_t p = 0; p < s->planes; p++) counts += s->counts[p];
        cr_expect_eq(counts, s->planes > 1 ? 60 * spec.k : 60, "%s: %lld rows", s->name, (long long)counts);
        if (strcmp(s->name, "blk.0.shortconv.in_proj.weight") != 0) continue;
        /* Its input is the normed embedding: here in double, from the file. */
        double want[64] = {0};
        for (int t = 0; t < 60; t++) {
            const float *row = (const float *)m->embedding.data + (t % 30 ? ids[t] : 1) * spec.D;
            double squares = 0;
            for (int c = 0; c < spec.D; c++) squares += (double)row[c] * (double)row[c];
            for (int c = 0; c < spec.D; c++) {
                double u = (double)row[c] / sqrt(squares / spec.D + (double)m->config.norm_eps) *
                           (double)((const float *)m->layers[0].mixer_norm.data)[c];
                want[c] += u * u;
            }
        }
        for (int c = 0; c < spec.D; c++)
            cr_expect(fabs(s->squares[c] - want[c]) <= 1e-5 * want[c], "column %d: %g, expected %g", c,
                      s->squares[c], want[c]);
        checked++;
    }
    cr_expect_eq(checked, 1);
    cr_assert_eq(imatrix_write(in_directory("m.imatrix"), x.sums, x.n, "t", 2, 30, &e), OK, "%s", e.text);
    struct imatrix *back;
    cr_assert_eq(imatrix_open(&back, in_directory("m.imatrix"), &e), OK, "%s", e.text);
    cr_expect(back->n == x.n && back->chunks == 2 && strcmp(back->dataset, "t") == 0);
    cr_expect_float_eq(back->entries[0].values[3], (float)(x.sums[0].squares[3] / 60),
                       1e-5f * back->entries[0].values[3]);
    imatrix_close(back), importance_free(&x), model_close(m);
}

/* ---- files that lie ---- */

static void write_matrix(const char *name, int64_t cols, int64_t planes, float value, float count,
                         int with_counts) {
    struct gguf_writer *w;
    struct error e = {0};
    cr_assert_eq(gguf_writer_new(&w, in_directory("bad"), &e), OK);
    gguf_put_tensor(w, name, TYPE_F32, 1, &cols);
    if (with_counts) gguf_put_tensor(w, "blk.0.ffn_up.weight.counts", TYPE_F32, 2, (int64_t[]){1, planes});
    cr_assert_eq(gguf_writer_begin(w, &e), OK, "%s", e.text);
    for (int64_t i = 0; i < cols; i++) gguf_writer_data(w, &value, sizeof value, &e);
    for (int64_t i = 0; i < planes && with_counts; i++) gguf_writer_data(w, &count, sizeof count, &e);
    cr_assert_eq(gguf_writer_finish(w, &e), OK, "%s", e.text);
    gguf_writer_free(w);
}

static void expect_refused(const char *what, const char *mention) {
    struct imatrix *m;
    struct error e = {0};
    cr_expect_neq(imatrix_open(&m, in_directory("bad"), &e), OK, "%s", what);
    cr_expect(strstr(e.text, mention) && strstr(e.text, "/bad"), "%s: %s", what, e.text);
    imatrix_close(m);
}

Test(imatrix, files_that_lie_are_refused) {
    static const char name[] = "blk.0.ffn_up.weight.in_sum2";
    write_matrix(name, 8, 1, 1, 1, 0), expect_refused("no counts", "no counts");
    write_matrix(name, 8, 3, 1, 1, 1), expect_refused("sums that do not fit", "8 sums for 3 counts");
    write_matrix(name, 8, 1, -1, 1, 1), expect_refused("negative squares", "no mean square");
    write_matrix(name, 8, 1, NAN, 1, 1), expect_refused("NaN", "no mean square");
    write_matrix(name, 8, 1, 1, NAN, 1), expect_refused("count NaN", "count 0 is no number");
    write_matrix(name, 8, 1, 1, INFINITY, 1), expect_refused("count infinite", "count 0 is no number");
    write_matrix("blk.0.other", 8, 1, 1, 1, 0), expect_refused("a model", "in_sum2");
    static const struct {
        const char *what;
        int32_t words[6];
        size_t n;
    } old[] = {
        {"no entries", {0, 1, 1, 1, 1, 1}, 24},
        {"more entries than bytes", {INT32_MAX}, 24},
        {"a name without end", {1, INT32_MAX}, 24},
        {"an empty name", {1, 0, 1, 1, 0, 0}, 24},
        {"cut in a name", {1, 40, 0x41414141}, 12},
        {"values without end", {1, 4, 0x41414141, 1, INT32_MAX}, 24},
        {"negative count", {1, 4, 0x41414141, 1, -1}, 24},
        {"three bytes", {1}, 3},
    };
    for (size_t i = 0; i < N(old); i++) {
        FILE *f = fopen(in_directory("bad"), "wb");
        cr_assert(f && fwrite(old[i].words, 1, old[i].n, f) == old[i].n && fclose(f) == 0);
        expect_refused(old[i].what, "cut short");
    }
}

Test(imatrix, of_another_model_is_refused) {
    struct tiny_spec small = tiny_default("lfm2moe");
    char path[512], gguf[512], dat[512];
    struct error e = {0};
    make_source(0, directory_path(), path, gguf, dat);
    cr_assert_eq(tiny_write(in_directory("small.gguf"), &small, &e), OK);
    cr_expect_eq(convert(in_directory("small.gguf"), in_directory("o"), "Q4_0", gguf, NULL, NULL, &e),
                 ERR_SHAPE);
    cr_expect(strstr(e.text, "another model"), "%s", e.text);
    cr_expect_eq(convert(path, in_directory("o"), "Q8_0", gguf, NULL, NULL, &e), ERR_SHAPE);
    cr_expect(strstr(e.text, "become Q4_0"), "%s", e.text);
}

/* ---- types of one's own ---- */

static const struct gguf_tensor *tensor(const struct gguf *g, const char *name) {
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    cr_assert_not_null(t, "%s", name);
    return t;
}

Test(imatrix, own_types_go_where_they_belong) {
    struct overrides o = {0};
    struct error e = {0};
    struct gguf *g, *source;
    char path[512], gguf[512], dat[512];
    make_source(0, directory_path(), path, gguf, dat);
    /* Added in another order than they count in. */
    cr_assert_eq(overrides_add(&o, CLASS_ROUTER, NULL, "q8_0", &e), OK, "%s", e.text);
    cr_assert_eq(overrides_add(&o, CLASS_EXPERTS, NULL, "Q8_0", &e), OK, "%s", e.text);
    cr_assert_eq(overrides_add(&o, CLASS_PATTERN, "blk\\.2\\..*down_exps", "f16", &e), OK, "%s", e.text);
    cr_assert_eq(overrides_add(&o, CLASS_PATTERN, "down_exps", "q6_k", &e), OK, "%s", e.text);
    cr_assert_eq(overrides_add(&o, CLASS_HEAD, NULL, "q4_0", &e), OK, "%s", e.text);
    cr_assert_eq(overrides_add(&o, CLASS_ATTENTION, NULL, "bf16", &e), OK, "%s", e.text);
    cr_assert_eq(convert(path, in_directory("o.gguf"), "Q4_0", NULL, &o, NULL, &e), OK, "%s", e.text);
    overrides_free(&o);
    cr_assert_eq(gguf_open(&g, in_directory("o.gguf"), &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&source, path, &e), OK, "%s", e.text);
    static const struct {
        const char *name;
        enum tensor_type type;
    } want[] = {{"token_embd.weight", TYPE_Q4_0},
                {"blk.2.ffn_down_exps.weight", TYPE_F16},
                {"blk.3.ffn_down_exps.weight", TYPE_Q6_K},
                {"blk.2.ffn_up_exps.weight", TYPE_Q8_0},
                {"blk.1.attn_q.weight", TYPE_BF16},
                {"blk.0.ffn_down.weight", TYPE_Q4_0},
                {"blk.0.shortconv.in_proj.weight", TYPE_Q4_0},
                {"blk.2.ffn_gate_inp.weight", TYPE_F32},
                {"blk.1.attn_q_norm.weight", TYPE_F32}};
    for (size_t i = 0; i < N(want); i++)
        cr_expect_eq(tensor(g, want[i].name)->type, want[i].type, "%s: %s", want[i].name,
                     type_info(tensor(g, want[i].name)->type)->name);
    /* The router holds what Q8_0 would. */
    const struct gguf_tensor *router = tensor(g, "blk.2.ffn_gate_inp.weight");
    uint8_t bytes[512];
    float row[256], was[256];
    memcpy(was, gguf_tensor_row(tensor(source, "blk.2.ffn_gate_inp.weight"), 3), sizeof was);
    quantize_row(TYPE_Q8_0, was, bytes, 256), dequantize_row(TYPE_Q8_0, bytes, row, 256);
    cr_expect_arr_eq(gguf_tensor_row(router, 3), row, sizeof row);
    cr_expect_arr_neq(gguf_tensor_row(router, 3), was, sizeof was);
    gguf_close(g), gguf_close(source);
}

static void expect_no_effect(enum tensor_class class, const char *pattern, const char *mention) {
    struct overrides o = {0};
    struct error e = {0};
    cr_assert_eq(overrides_add(&o, class, pattern, "q8_0", &e), OK, "%s", e.text);
    cr_expect_eq(convert(in_directory("dense.gguf"), in_directory("o"), "Q4_0", NULL, &o, NULL, &e), ERR_ARG);
    cr_expect(strstr(e.text, mention), "%s", e.text);
    overrides_free(&o);
}

Test(imatrix, own_types_that_cannot_be) {
    struct overrides o = {0};
    struct error e = {0};
    char path[512], gguf[512], dat[512];
    make_source(1, directory_path(), path, gguf, dat);
    cr_expect_eq(overrides_add(&o, CLASS_CONV, NULL, "q3_k", &e), ERR_ARG);
    cr_expect(strstr(e.text, "--conv-type") && strstr(e.text, "q3_k"), "%s", e.text);
    cr_expect_eq(overrides_add(&o, CLASS_PATTERN, "a(b", "q8_0", &e), ERR_ARG);
    cr_expect(strstr(e.text, "a(b"), "%s", e.text);
    overrides_free(&o);
    expect_no_effect(CLASS_EXPERTS, NULL, "--experts-type");
    expect_no_effect(CLASS_PATTERN, "attn_norm", "attn_norm"); /* norms are no matrices */
}
