/* SPDX-License-Identifier: Apache-2.0 */
/* test_quality: sweeps over recipes and the chain of parity, on synthetic models whose figures must at least
 * be in order: nothing for float32, more for fewer bits, and nothing left behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chain.h"
#include "bench/parity.h"
#include "bench/sweep.h"
#include "data/convert.h"
#include "data/synth.h"
#include "tests/tiny.h"

static char directory[256], model_path[300], text_path[300], quantised_path[300];

static void begin(void) {
    struct error e = {0};
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", directory);
    snprintf(quantised_path, sizeof quantised_path, "%s/q.gguf", directory);
    snprintf(text_path, sizeof text_path, "%s/text", directory);
    struct synth_options o = {.shape = synth_shape_by_name("tiny-lfm2moe"),
                              .recipe = "f32",
                              .seed = 1,
                              .threads = 1,
                              .path = model_path};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    FILE *f = fopen(text_path, "w");
    cr_assert_not_null(f);
    for (int i = 0; i < 200; i++) fprintf(f, "The rain %d in the plain %d.\n", i * 37 % 101, i);
    cr_assert_eq(fclose(f), 0);
}

static void end(void) {
    tiny_directory_remove(directory);
}

TestSuite(quality, .init = begin, .fini = end);

static struct sweep_options options(const char *recipes, const char *engines) {
    return (struct sweep_options){.model = model_path,
                                  .text = text_path,
                                  .recipes = recipes,
                                  .engines = engines,
                                  .n_ctx = 32,
                                  .chunks = 3,
                                  .threads = 1};
}

static const struct quality_row *find(const struct rows *rows, const char *recipe, const char *engine) {
    const struct quality_row *r = rows->data;
    for (size_t i = 0; i < rows->n; i++)
        if (!strcmp(r[i].recipe, recipe) && !strcmp(r[i].engine, engine)) return &r[i];
    cr_assert_fail("no row of %s on %s", recipe, engine);
    return NULL;
}

static int files_in(const char *path) {
    DIR *d = opendir(path);
    int n = -2; /* . and .. */
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

Test(quality, fewer_bits_are_further_away) {
    struct sweep_options o =
        options("F32,Q8_0,Q4_0,Q4_0+experts=Q8_0", "reference,optimized,optimized:scalar,optimized:kv-q8_0");
    struct rows rows = {0}, pairs = {0};
    struct model_row model;
    struct error e = {0};
    char temporary[300];
    snprintf(temporary, sizeof temporary, "%s", directory);
    setenv("TMPDIR", temporary, 1);
    int before = files_in(directory);
    cr_assert_eq(sweep_run(&rows, &pairs, &model, &o, &e), OK, "%s", e.text);
    cr_expect_eq(files_in(directory), before, "files were left behind");
    cr_assert_eq(rows.n, 1 + 3 * 4 + 2); /* a class of tensors says nothing about ways of computing */
    const struct quality_row *original = rows.data;
    cr_expect(!strcmp(original->recipe, "original F32") && !*original->base && original->positions == 3 * 15);
    const struct quality_row *f32 = find(&rows, "F32", "reference"), *q8 = find(&rows, "Q8_0", "reference"),
                             *q4 = find(&rows, "Q4_0", "reference"), *fast = find(&rows, "Q4_0", "optimized"),
                             *scalar = find(&rows, "Q4_0", "optimized scalar"),
                             *cache = find(&rows, "F32", "optimized kv-q8_0"),
                             *experts = find(&rows, "Q4_0+experts=Q8_0", "reference");
    cr_expect(fabs(f32->kl_mean) < 1e-5 && f32->log_ratio == 0 && f32->router_flips == 0 &&
                  f32->same_top1 == 1,
              "F32: KL %g", f32->kl_mean);
    cr_expect(q8->kl_mean > 1e-5 && q4->kl_mean > 3 * q8->kl_mean, "Q8_0 %g, Q4_0 %g", q8->kl_mean,
              q4->kl_mean);
    cr_expect(q4->bits_per_weight < 5.5 && q8->bits_per_weight > 8 && f32->bits_per_weight == 32);
    cr_expect(q4->router_decisions > 0 && q4->router_flips > q8->router_flips);
    cr_expect(fast->kl_mean > 0.5 * q4->kl_mean && fast->kl_mean < 2 * q4->kl_mean,
              "optimized %g, reference %g", fast->kl_mean, q4->kl_mean);
    cr_expect(fabs(scalar->kl_mean - fast->kl_mean) < 0.2 * fast->kl_mean &&
                  strstr(scalar->kernels, "scalar"),
              "%s", scalar->kernels);
    double halves = find(&rows, "F32", "optimized")->kl_mean;
    cr_expect(cache->kl_mean > 2 * halves && cache->kl_mean < q4->kl_mean, "int8 cache: %g, f16: %g",
              cache->kl_mean, halves);
    /* Paired with Q4_0, position by position: the mean of the differences is the difference of the means. */
    const struct kl_pair_row *pair = pairs.data;
    cr_assert_eq(pairs.n, 2);
    cr_expect(!strcmp(pair->recipe, "Q4_0+experts=Q8_0") && !strcmp(pair->plain, "Q4_0") &&
              !strcmp(pair->engine, "reference") && pair->windows == 3);
    cr_expect_float_eq(pair->difference, experts->kl_mean - q4->kl_mean, 1e-12);
    cr_expect(pair->lo <= pair->difference && pair->difference <= pair->hi && pair->hi < 0, "%g to %g",
              pair->lo, pair->hi);
    free(pairs.data);
    /* ln(perplexity ratio) refers to the original's own perplexity, not to what a base file can hold. */
    cr_expect_float_eq(q4->log_ratio, log(q4->ppl / original->ppl), 1e-9);
    free(rows.data);
}

static const struct {
    const char *recipes, *engines, *mention;
} mistakes[] = {
    {"F32,Q9", "reference", "Q9"},
    {"Q4_0+imatrix", "reference", "--imatrix"},
    {"Q4_0+heads=Q8_0", "reference", "heads"},
    {"Q4_0+router", "reference", "router"},
    {"Q4_0+router=Q9", "reference", "Q9"},
    {"Q4_0", "reference,fast", "fast"},
    {"Q4_0", "optimized:avx9000", "avx9000"},
};

Test(quality, mistakes_are_found_before_anything_runs) {
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct sweep_options o = options(mistakes[i].recipes, mistakes[i].engines);
        struct rows rows = {0}, pairs = {0};
        struct model_row model;
        struct error e = {0};
        cr_expect_eq(sweep_run(&rows, &pairs, &model, &o, &e), ERR_ARG, "%s", mistakes[i].mention);
        cr_expect(strstr(e.text, mistakes[i].mention), "%s: %s", mistakes[i].mention, e.text);
        cr_expect_eq(rows.n, 0);
        free(rows.data);
    }
    struct sweep_options o = options("F32", "reference");
    struct rows rows = {0}, pairs = {0};
    struct model_row model;
    struct error e = {0};
    o.n_ctx = 1 << 20;
    cr_expect_eq(sweep_run(&rows, &pairs, &model, &o, &e), ERR_ARG);
    cr_expect(strstr(e.text, "too short"), "%s", e.text);
}

static struct model *open_model(const char *path) {
    struct model *m;
    struct error e = {0};
    cr_assert_eq(model_open(&m, path, &e), OK, "%s", e.text);
    return m;
}

Test(quality, the_chain_tells_prices_apart) {
    struct chain_row links[CHAIN_LINKS];
    struct error e = {0};
    int32_t ids[40];
    struct convert_options c = {
        .in = model_path, .out = quantised_path, .recipe = recipe_by_name("Q4_0"), .threads = 1};
    cr_assert_eq(convert_write(&c, NULL, &e), OK, "%s", e.text);
    struct model *original = open_model(model_path), *quantised = open_model(quantised_path);
    parity_ids(original, 1, ids, 40);
    struct chain_options o = {
        .original = original, .quantised = quantised, .ids = ids, .n = 40, .threads = 1};
    cr_assert_eq(chain_run(links, &o, &e), OK, "%s", e.text);
    const struct chain_row *weights = &links[CHAIN_WEIGHTS], *fast = &links[CHAIN_ACTIVATIONS],
                           *both = &links[CHAIN_TOTAL];
    cr_expect(weights->positions == 39 && weights->nmse > 5 * fast->nmse && fast->nmse > 1e-7,
              "weights %g, activations %g", weights->nmse, fast->nmse);
    cr_expect(both->nmse > 0.5 * weights->nmse && both->nmse < 2 * weights->nmse);
    cr_expect(weights->kl_mean > fast->kl_mean && weights->router_flips > 0);
    cr_expect_float_eq(weights->ppl_to, fast->ppl_from, 1e-6 * fast->ppl_from);
    o.quantised = original; /* nothing was quantised: the first link costs nothing */
    cr_assert_eq(chain_run(links, &o, &e), OK, "%s", e.text);
    cr_expect(weights->nmse == 0 && weights->router_flips == 0 && fabs(weights->kl_mean) < 1e-6 &&
              weights->same_top1 == 1);
    model_close(original);
    model_close(quantised);
}

Test(quality, a_chain_needs_two_forms_of_one_model) {
    struct tiny_spec other = tiny_default("lfm2moe");
    struct chain_row links[CHAIN_LINKS];
    struct error e = {0};
    int32_t ids[4] = {1, 2, 3, 4};
    cr_assert_eq(tiny_write(quantised_path, &other, &e), OK, "%s", e.text);
    struct model *a = open_model(model_path), *b = open_model(quantised_path);
    struct chain_options o = {.original = a, .quantised = b, .ids = ids, .n = 4, .threads = 1};
    cr_expect_eq(chain_run(links, &o, &e), ERR_SHAPE);
    cr_expect(strstr(e.text, "not the same"), "%s", e.text);
    model_close(a);
    model_close(b);
}
