/* SPDX-License-Identifier: Apache-2.0 */
/* test_synth: synthetic models are the same for any number of threads, and the loader takes them all. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/model.h"
#include "data/synth.h"
#include "tests/directory.h"
#include "tests/tiny.h"

#define N(array) (sizeof(array) / sizeof *(array))

static const char *const tiny[] = {"tiny-lfm2moe", "tiny-lfm2", "tiny-qwen3"};
static const char *const recipes[] = {"q4_0", "q4_k_m", "q8_0", "bf16", "f16", "f32"};

/* Writes a model, reads the file back and removes it; the caller frees. */
static uint8_t *bytes_of(const char *shape, const char *recipe, uint64_t seed, int threads, size_t *n) {
    const char *path = in_directory("bytes.gguf");
    struct synth_options o = {.shape = synth_shape_by_name(shape),
                              .recipe = recipe,
                              .seed = seed,
                              .threads = threads,
                              .path = path};
    struct error e = {0};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    struct stat st;
    FILE *f = fopen(path, "rb");
    cr_assert(f && fstat(fileno(f), &st) == 0);
    *n = (size_t)st.st_size;
    uint8_t *bytes = malloc(*n);
    cr_assert(bytes && fread(bytes, 1, *n, f) == *n);
    fclose(f);
    unlink(path);
    return bytes;
}

Test(synth, same_seed_same_bytes_for_any_number_of_threads, .init = make_directory,
     .fini = remove_directory) {
    size_t n, m;
    uint8_t *one = bytes_of("tiny-lfm2moe", "q4_0", 5, 1, &n);
    for (int threads = 2; threads <= 5; threads += 3) {
        uint8_t *other = bytes_of("tiny-lfm2moe", "q4_0", 5, threads, &m);
        cr_assert_eq(n, m);
        cr_assert(memcmp(one, other, n) == 0, "%d threads wrote other bytes", threads);
        free(other);
    }
    free(one);
}

Test(synth, another_seed_gives_other_weights, .init = make_directory, .fini = remove_directory) {
    size_t n, m, differing = 0;
    uint8_t *a = bytes_of("tiny-qwen3", "q8_0", 1, 2, &n), *b = bytes_of("tiny-qwen3", "q8_0", 2, 2, &m);
    cr_assert_eq(n, m);
    for (size_t i = 0; i < n; i++) differing += a[i] != b[i];
    cr_assert(differing > n / 2, "%zu of %zu bytes differ", differing, n);
    free(a);
    free(b);
}

/* Every weight is finite, and the spread is that of a matrix that keeps variance (see synth_shapes.c). */
static void check_matrix(const struct tensor *t, double sd, const char *where) {
    float *row = malloc((size_t)t->cols * sizeof *row);
    double squares = 0;
    cr_assert_not_null(row);
    for (int64_t r = 0; r < t->rows; r++) {
        dequantize_row(t->type, (const uint8_t *)t->data + (size_t)r * type_row_bytes(t->type, t->cols), row,
                       t->cols);
        for (int64_t c = 0; c < t->cols; c++) {
            cr_assert(isfinite(row[c]), "%s %s: weight %ld of row %ld", where, t->name, (long)c, (long)r);
            squares += (double)row[c] * (double)row[c];
        }
    }
    double found = sqrt(squares / (double)(t->rows * t->cols));
    cr_assert(fabs(found - sd) < 0.05 * sd, "%s %s: spread %g, expected %g", where, t->name, found, sd);
    free(row);
}

/* later: the smaller spread of what layers after the first add to the residual stream. */
static void check_layer(const struct config *c, const struct layer *l, double later, const char *where) {
    double inner = 1 / sqrt(c->n_embd);
    if (l->mixer == MIXER_CONV) {
        check_matrix(&l->conv_in, inner, where);
        check_matrix(&l->conv_out, later * inner, where);
    } else {
        check_matrix(&l->q, inner, where);
        check_matrix(&l->v, inner, where);
        check_matrix(&l->o, later / sqrt((double)c->n_heads * c->head_dim), where);
    }
    if (l->ffn == FFN_DENSE) {
        check_matrix(&l->gate, inner, where);
        check_matrix(&l->down, later / sqrt(c->n_ff), where);
        return;
    }
    check_matrix(&l->router, 1.5 * inner, where);
    cr_assert_not_null(l->router_bias.data);
    for (int i = 0; i < c->n_experts; i++) {
        check_matrix(&l->experts[i].up, inner, where);
        check_matrix(&l->experts[i].down, later / sqrt(c->n_expert_ff), where);
    }
}

static void check_model(const char *path, const char *shape, const char *recipe) {
    const struct synth_shape *s = synth_shape_by_name(shape);
    struct synth_options o = {.shape = s, .recipe = recipe, .seed = 7, .threads = 2, .path = path};
    struct error e = {0};
    struct model *m = NULL;
    char where[64];
    snprintf(where, sizeof where, "%s %s", shape, recipe);
    cr_assert_eq(synth_write(&o, &e), OK, "%s: %s", where, e.text);
    cr_assert_eq(model_open(&m, path, &e), OK, "%s: %s", where, e.text);
    uint64_t weights = 0, bytes = 0;
    cr_assert_eq(synth_size(s, recipe, &weights, &bytes, &e), OK);
    cr_assert_eq(m->n_params, weights, "%s", where);
    cr_assert(m->synthetic && m->tied, "%s", where);
    cr_assert_str_eq(m->config.arch, s->arch);
    cr_assert_eq(m->config.n_layers, s->layers);
    cr_assert_eq(m->config.n_experts, s->experts);
    cr_assert_eq(m->config.n_vocab, s->vocab);
    for (int i = 0; i < s->layers; i++) check_layer(&m->config, &m->layers[i], i == 0 ? 1 : 0.25, where);
    check_matrix(&m->embedding, 3 / sqrt(s->width), where);
    model_close(m);
    unlink(path);
}

Test(synth, every_tiny_shape_and_type_opens, .init = make_directory, .fini = remove_directory) {
    for (size_t s = 0; s < N(tiny); s++)
        for (size_t r = 0; r < N(recipes); r++) check_model(in_directory("model.gguf"), tiny[s], recipes[r]);
}

/* Quantised files hold the weights of the float32 file, not others. */
Test(synth, types_of_one_seed_hold_the_same_weights, .init = make_directory, .fini = remove_directory) {
    struct error e = {0};
    struct model *m[2];
    for (int i = 0; i < 2; i++) {
        const char *path = in_directory("m.gguf");
        struct synth_options o = {.shape = synth_shape_by_name("tiny-lfm2"),
                                  .recipe = i ? "q8_0" : "f32",
                                  .seed = 3,
                                  .threads = 1,
                                  .path = path};
        cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
        cr_assert_eq(model_open(&m[i], path, &e), OK, "%s", e.text);
        unlink(path);
    }
    const struct tensor *exact = &m[0]->layers[1].q, *rounded = &m[1]->layers[1].q;
    cr_assert_eq(exact->type, TYPE_F32);
    cr_assert_eq(rounded->type, TYPE_Q8_0);
    size_t row_bytes = type_row_bytes(TYPE_Q8_0, rounded->cols);
    uint8_t *again = malloc(row_bytes);
    for (int64_t r = 0; r < exact->rows; r++) {
        quantize_row(TYPE_Q8_0, (const float *)exact->data + r * exact->cols, again, exact->cols);
        cr_assert(memcmp(again, (const uint8_t *)rounded->data + (size_t)r * row_bytes, row_bytes) == 0,
                  "row %ld", (long)r);
    }
    free(again);
    model_close(m[0]);
    model_close(m[1]);
}

/* What the published configurations add up to, with the 704 expert biases of the 8B. */
Test(synth, real_shapes_have_the_published_numbers_of_weights) {
    static const struct {
        const char *shape;
        uint64_t weights;
    } published[] = {{"lfm2-8b-a1b", 8339929856 + 704},
                     {"lfm2-350m", 354483968},
                     {"lfm2-1.2b", 1170340608},
                     {"lfm2-2.6b", 2569272320}};
    struct error e = {0};
    for (size_t i = 0; i < N(published); i++) {
        uint64_t weights, bytes;
        cr_assert_eq(synth_size(synth_shape_by_name(published[i].shape), "q4_0", &weights, &bytes, &e), OK);
        cr_assert_eq(weights, published[i].weights, "%s: %lu weights", published[i].shape,
                     (unsigned long)weights);
    }
}

Test(synth, a_bad_request_names_itself_and_leaves_no_file, .init = make_directory, .fini = remove_directory) {
    struct error e = {0};
    struct synth_options o = {.shape = synth_shape_by_name("tiny-lfm2"),
                              .recipe = "q4_0",
                              .seed = 1,
                              .threads = 1,
                              .path = in_directory("absent/m.gguf")};
    cr_assert_eq(synth_write(&o, &e), ERR_IO);
    cr_assert_not_null(strstr(e.text, "absent/m.gguf"));
    o.path = in_directory("m.gguf");
    o.recipe = "q3_k";
    cr_assert_eq(synth_write(&o, &e), ERR_ARG);
    cr_assert_not_null(strstr(e.text, "q3_k"));
    o.recipe = "q4_0";
    o.threads = 0;
    cr_assert_eq(synth_write(&o, &e), ERR_ARG);
    cr_assert(access(in_directory("m.gguf"), F_OK) != 0);
    cr_assert_null(synth_shape_by_name("lfm3"));
}
