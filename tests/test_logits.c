/* SPDX-License-Identifier: Apache-2.0 */
/* lfm2 logits and the files it writes: what is stored is what the engine computed, and nothing half-written
 * or misread goes unnoticed. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "data/golden.h"
#include "data/model.h"
#include "tests/check.h"
#include "tests/oracle.h"
#include "tests/tiny.h"

static char directory[256], path[300], model_path[300];

static void begin(void) {
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(path, sizeof path, "%s/a.h5", directory);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", directory);
}

static void end(void) {
    tiny_directory_remove(directory);
}

TestSuite(golden, .init = begin, .fini = end);
TestSuite(logits, .init = begin, .fini = end);

static void write_pair(const float *x, const int32_t *ids) {
    struct golden *g;
    struct error e = {0};
    cr_assert_eq(golden_create(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(golden_write_f32(g, "x", 2, (int64_t[]){2, 3}, x, &e), OK, "%s", e.text);
    cr_assert_eq(golden_write_i32(g, "ids", 1, (int64_t[]){4}, ids, &e), OK, "%s", e.text);
    cr_assert_eq(golden_write_text(g, "engine", "reference", &e), OK, "%s", e.text);
    cr_assert_eq(golden_commit(g, &e), OK, "%s", e.text);
}

static const float some_floats[] = {1, -2.5f, 3e-40f, -0.0f, 1e30f, 7};
static const int32_t some_ids[] = {0, -1, INT32_MAX, 5};

Test(golden, arrays_come_back) {
    struct golden *g;
    struct error e = {0};
    float *x;
    int32_t *ids;
    int64_t shape[] = {2, -1}, n = -1;
    write_pair(some_floats, some_ids);
    cr_assert_eq(golden_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_f32(g, "x", 2, shape, &x, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_i32(g, "ids", 1, &n, &ids, &e), OK, "%s", e.text);
    cr_assert(shape[0] == 2 && shape[1] == 3 && n == 4);
    cr_assert_arr_eq(x, some_floats, sizeof some_floats);
    cr_assert_arr_eq(ids, some_ids, sizeof some_ids);
    free(x);
    free(ids);
    golden_close(g);
}

Test(golden, says_what_was_found_and_expected) {
    struct golden *g;
    struct error e = {0};
    float *x;
    int32_t *ids;
    write_pair(some_floats, some_ids);
    cr_assert_eq(golden_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_f32(g, "x", 2, (int64_t[]){-1, 4}, &x, &e), ERR_SHAPE);
    cr_assert(strstr(e.text, "found [2, 3], expected [n, 4]"), "%s", e.text);
    cr_assert_eq(golden_read_f32(g, "x", 1, (int64_t[]){6}, &x, &e), ERR_SHAPE);
    cr_assert_eq(golden_read_f32(g, "ids", 1, (int64_t[]){4}, &x, &e), ERR_SHAPE);
    cr_assert_eq(golden_read_i32(g, "x", 2, (int64_t[]){2, 3}, &ids, &e), ERR_SHAPE);
    cr_assert_eq(golden_read_f32(g, "y", 1, (int64_t[]){1}, &x, &e), ERR_FORMAT);
    cr_assert_null(x);
    golden_close(g);
}

Test(golden, an_unfinished_file_leaves_the_old_one) {
    struct golden *g;
    struct error e = {0};
    float *x;
    write_pair(some_floats, some_ids);
    cr_assert_eq(golden_create(&g, path, &e), OK);
    cr_assert_eq(golden_write_f32(g, "z", 1, (int64_t[]){1}, some_floats, &e), OK);
    golden_close(g);
    cr_assert_eq(golden_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_f32(g, "x", 2, (int64_t[]){2, 3}, &x, &e), OK, "%s", e.text);
    free(x);
    golden_close(g);
    unlink(path);
    cr_assert_eq(rmdir(directory), 0, "a temporary file was left behind");
}

Test(golden, other_files_are_refused) {
    struct golden *g;
    struct error e = {0};
    cr_assert_eq(golden_open(&g, path, &e), ERR_IO); /* nothing is there */
    FILE *f = fopen(path, "w");
    fputs("not HDF5 at all, only text", f);
    fclose(f);
    cr_assert_eq(golden_open(&g, path, &e), ERR_FORMAT);
    cr_assert_null(g);
    cr_assert_neq(golden_create(&g, directory, &e), OK);
    cr_assert_null(g);
}

/* The exit code of `lfm2 logits WORDS`, with its one line of complaint kept from the test's output. */
static int run(const char *const *words) {
    char *argv[32] = {"logits"};
    int argc = 1;
    for (; words[argc - 1]; argc++) argv[argc] = (char *)words[argc - 1];
    int kept = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 2);
    int code = cmd_logits(argc, argv);
    dup2(kept, 2);
    close(null);
    close(kept);
    return code;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void write_model(void) {
    struct error e = {0};
    struct tiny_spec spec = tiny_default("lfm2moe");
    cr_assert_eq(tiny_write(model_path, &spec, &e), OK, "%s", e.text);
}

/* NMSE of the stored rows, which are the last of n. */
static double stored_nmse(int rows, const int32_t *ids, int n) {
    struct error e = {0};
    struct model *m;
    struct golden *g;
    float *stored;
    int32_t *stored_ids;
    int64_t n_ids = n;
    cr_assert_eq(model_open(&m, model_path, &e), OK, "%s", e.text);
    size_t V = (size_t)m->config.n_vocab, values = (size_t)rows * V;
    int64_t shape[] = {rows, m->config.n_vocab};
    double *oracle = calloc((size_t)n * V, sizeof *oracle), difference = 0, power = 0;
    cr_assert_eq(oracle_logits(m, ids, n, NULL, oracle, &e), OK, "%s", e.text);
    cr_assert_eq(golden_open(&g, path, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_f32(g, "logits", 2, shape, &stored, &e), OK, "%s", e.text);
    cr_assert_eq(golden_read_i32(g, "ids", 1, &n_ids, &stored_ids, &e), OK, "%s", e.text);
    cr_assert_arr_eq(stored_ids, ids, (size_t)n * sizeof *ids);
    for (size_t i = 0; i < values; i++) {
        double want = oracle[(size_t)(n - rows) * V + i];
        difference += (stored[i] - want) * (stored[i] - want);
        power += want * want;
    }
    free(oracle);
    free(stored);
    free(stored_ids);
    golden_close(g);
    model_close(m);
    return difference / power;
}

Test(logits, stores_what_the_reference_computes) {
    const int32_t ids[] = {5, 0, 511, 7, 7, 7, 300};
    write_model();
    cr_assert_eq(
        RUN("-m", model_path, "--engine", "reference", "--ids", "5,0,511,7,7,7,300", "--all", "-o", path), 0);
    cr_assert_leq(stored_nmse(7, ids, 7), tolerances[TOL_NMSE_REFERENCE].limit);
    cr_assert_eq(RUN("-m", model_path, "--engine", "reference", "--ids", "5,0,511,7,7,7,300", "-b", "2", "-t",
                     "1", "-o", path),
                 0);
    cr_assert_leq(stored_nmse(1, ids, 7), tolerances[TOL_NMSE_REFERENCE].limit);
}

Test(logits, takes_the_optimized_engine_unless_told) {
    const int32_t ids[] = {5, 0, 511};
    write_model();
    cr_assert_eq(RUN("-m", model_path, "--ids", "5,0,511", "--all", "-o", path), 0);
    double error = stored_nmse(3, ids, 3);
    cr_assert_leq(error, tolerances[TOL_NMSE_FLOAT_WEIGHTS].limit);
    cr_assert_gt(error, tolerances[TOL_NMSE_REFERENCE_SPLIT].limit, "this is the reference");
}

Test(logits, wrong_use_is_exit_2_and_writes_nothing) {
    write_model();
    cr_assert_eq(RUN("-m", model_path, "--ids", "1,2"), 2);
    cr_assert_eq(RUN("-m", model_path, "-o", path), 2);
    cr_assert_eq(RUN("--ids", "1", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--ids", "1,,2", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--ids", "1,2x", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--ids", "", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--ids", "99999999999", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--engine", "reference", "--ids", "512", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--engine", "magic", "--ids", "1", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "-p", "text", "-o", path), 2);
    cr_assert_eq(RUN("-m", directory, "--ids", "1", "-o", path), 2);
    cr_assert_eq(RUN("-m", model_path, "--engine", "reference", "--ids", "1", "-o", "/nonexistent/a.h5"), 2);
    cr_assert_neq(access(path, F_OK), 0);
}
