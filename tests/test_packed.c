/* SPDX-License-Identifier: Apache-2.0 */
/* test_packed: a packed file gives the same logits as packing at open, and only for its own model; packing at
 * open needs little more memory than one copy of the weights. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/model.h"
#include "reference/engine.h"
#include "tests/tiny.h"

enum { N = 9 };
static char folder[256], model_path[300], packed_path[300];

static struct model *make_model(const char *arch, uint64_t seed) {
    struct error e = {0};
    struct tiny_spec spec = tiny_default(arch);
    spec.type = TYPE_Q4_0;
    spec.embedding = TYPE_Q8_0;
    spec.seed = seed;
    cr_assert_eq(tiny_directory(folder, sizeof folder), 0);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", folder);
    snprintf(packed_path, sizeof packed_path, "%s/m.h5", folder);
    cr_assert_eq(tiny_write(model_path, &spec, &e), OK, "%s", e.text);
    struct model *m;
    cr_assert_eq(model_open(&m, model_path, &e), OK, "%s", e.text);
    return m;
}

static enum status logits(const struct model *m, const char *packed, float *out, struct error *e) {
    static const int32_t ids[N] = {1, 5, 9, 200, 7, 7, 31, 500, 2};
    struct engine_options o = {.threads = 2, .max_tokens = N, .packed = packed};
    struct session *s;
    enum status code = engine_optimized.open(&s, m, &o, e);
    if (code) return code;
    code = engine_optimized.feed(s, ids, N, out, N, e);
    engine_optimized.close(s);
    return code;
}

static void check_equal(const char *arch) {
    struct error e = {0};
    struct model *m = make_model(arch, 3);
    size_t bytes = (size_t)N * (size_t)m->config.n_vocab * sizeof(float);
    float *a = malloc(bytes), *b = malloc(bytes);
    cr_assert_eq(engine_optimized.pack(m, packed_path, 2, NULL, NULL, &e), OK, "%s", e.text);
    cr_assert_eq(logits(m, NULL, a, &e), OK, "%s", e.text);
    cr_assert_eq(logits(m, packed_path, b, &e), OK, "%s", e.text);
    cr_expect_arr_eq(a, b, bytes);
    free(a), free(b);
    model_close(m);
    tiny_directory_remove(folder);
}

Test(packed, same_logits_lfm2moe) {
    check_equal("lfm2moe");
}
Test(packed, same_logits_qwen3) {
    check_equal("qwen3");
}

/* Opening `path` for m must fail with a text that holds `want`. */
static void refused(const struct model *m, const char *path, const char *want) {
    struct error e = {0};
    float *a = malloc((size_t)N * (size_t)m->config.n_vocab * sizeof *a);
    cr_expect_neq(logits(m, path, a, &e), OK);
    cr_expect(strstr(e.text, want), "'%s' does not say '%s'", e.text, want);
    free(a);
}

Test(packed, belongs_to_one_model) {
    struct error e = {0};
    struct model *m = make_model("lfm2", 3);
    cr_assert_eq(engine_optimized.pack(m, packed_path, 1, NULL, NULL, &e), OK, "%s", e.text);
    struct model *other = make_model("lfm2", 4); /* same header, other weights and folder */
    struct model *third = make_model("qwen3", 3);
    char first[5000];
    snprintf(first, sizeof first, "%.*s/m.h5", (int)(strrchr(m->path, '/') - m->path), m->path);
    refused(other, first, "other weights");
    refused(third, first, "another model file");
    refused(third, "/nonexistent/x.h5", "No such file");
    refused(third, third->path, "not an HDF5 file");
    cr_assert_eq(truncate(first, 4096), 0);
    refused(m, first, first);
    model_close(m), model_close(other), model_close(third);
}

Test(packed, float_models_have_no_packed_form) {
    struct error e = {0};
    struct tiny_spec spec = tiny_default("lfm2");
    cr_assert_eq(tiny_directory(folder, sizeof folder), 0);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", folder);
    snprintf(packed_path, sizeof packed_path, "%s/m.h5", folder);
    cr_assert_eq(tiny_write(model_path, &spec, &e), OK, "%s", e.text);
    struct model *m;
    cr_assert_eq(model_open(&m, model_path, &e), OK, "%s", e.text);
    cr_expect_eq(engine_optimized.pack(m, packed_path, 1, NULL, NULL, &e), ERR_UNSUPPORTED);
    cr_expect_neq(access(packed_path, F_OK), 0);
    model_close(m);
    tiny_directory_remove(folder);
}

Test(packed, takes_the_place_of_no_model_and_no_device) {
    struct error e = {0};
    struct model *m = make_model("lfm2", 3), *again;
    char fifo[300];
    struct stat st;
    cr_expect_eq(engine_optimized.pack(m, model_path, 1, NULL, NULL, &e), ERR_ARG);
    cr_expect(strstr(e.text, "another name"), "%s", e.text);
    cr_expect_eq(model_open(&again, model_path, &e), OK, "%s", e.text);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    cr_expect_eq(engine_optimized.pack(m, fifo, 1, NULL, NULL, &e), ERR_ARG);
    cr_expect(strstr(e.text, "found a device, pipe or socket"), "%s", e.text);
    cr_expect(stat(fifo, &st) == 0 && S_ISFIFO(st.st_mode));
    model_close(m), model_close(again);
    tiny_directory_remove(folder);
}

/* Bytes of a line of /proc/self/status such as "VmHWM:  1234 kB", 0 when there is none. */
static double status_bytes(const char *name) {
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) kb = strtod(line + strlen(name) + 1, NULL);
    if (f) fclose(f);
    return 1024 * kb;
}

/* From here on VmHWM is the peak; 0 when this system cannot. */
static int forget_peak(void) {
    FILE *f = fopen("/proc/self/clear_refs", "w");
    int ok = f && fputs("5", f) >= 0;
    if (f && fclose(f)) ok = 0;
    return ok;
}

/* Two copies would be 2.0; a sixth of room for the largest tensor, buffers and huge pages. */
Test(packed, weights_are_packed_without_holding_two_copies) {
    struct error e = {0};
    struct tiny_spec spec = tiny_default("lfm2");
    spec.L = 24, spec.D = 512, spec.H = 8, spec.G = 2, spec.d = 64, spec.F = 1024, spec.V = 64;
    spec.type = spec.embedding = TYPE_Q4_0;
    cr_assert_eq(tiny_directory(folder, sizeof folder), 0);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", folder);
    cr_assert_eq(tiny_write(model_path, &spec, &e), OK, "%s", e.text);
    struct model *m;
    struct session *s;
    cr_assert_eq(model_open(&m, model_path, &e), OK, "%s", e.text);
    struct engine_options o = {.threads = 1, .max_tokens = 8, .no_pin = 1};
    if (!forget_peak()) cr_skip("this system does not reset VmHWM");
    double before = status_bytes("VmRSS"), file = (double)m->file_bytes;
    cr_assert_eq(engine_optimized.open(&s, m, &o, &e), OK, "%s", e.text);
    double grown = status_bytes("VmHWM") - before;
    cr_expect(file > 2e7 && grown > 0.9 * file && grown < 1.17 * file, "%.1f MB for a file of %.1f MB",
              1e-6 * grown, 1e-6 * file);
    engine_optimized.close(s);
    model_close(m);
    tiny_directory_remove(folder);
}
