/* SPDX-License-Identifier: Apache-2.0 */
/* test_greedy: `lfm2 run` continues texts as Hugging Face's Transformers does from the same F16 and Q8_0
 * files, token for token (fixtures/make_greedy_golden.py). The files are synthetic and made anew here; their
 * SHA-256 says that they are the ones Transformers read. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "data/buffer.h"
#include "data/sha256.h"
#include "data/synth.h"
#include "tests/directory.h"
#include "tests/run_command.h"
#include "tests/tiny.h"

/* With a Q8_0 file the optimized engine rounds activations to int8, which moves the logits of models as
 * narrow as these by a few hundredths of their spread. Its answers are compared up to the first choice that
 * is closer. The reference engine rounds nothing and has no such excuse. */
static const double near_tie = 0.04;

TestSuite(greedy, .init = make_directory, .fini = remove_directory);

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert_not_null(text, "%s is missing", key);
    return text;
}

static struct buffer read_file(const char *path) {
    struct buffer b = {0};
    struct error e = {0};
    cr_assert_eq(buffer_read(&b, path, 1 << 28, &e), OK, "%s", e.text);
    return b;
}

static void expect_sha256(const char *path, const char *want) {
    struct buffer b = read_file(path);
    char hex[SHA256_HEX];
    sha256_hex(b.data, b.n, hex);
    cr_assert_str_eq(hex, want, "synth writes another file than it did: run fixtures/make_greedy_golden.py");
    buffer_free(&b);
}

static void write_model(const json_t *file, const char *path) {
    struct error e = {0};
    struct synth_options o = {.shape = synth_shape_by_name(text_of(file, "arch")),
                              .recipe = text_of(file, "type"),
                              .seed = 1,
                              .threads = 1,
                              .path = path};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    expect_sha256(path, text_of(file, "sha256"));
}

/* Standard output must be the text of the first n tokens of an answer; n of all of them: exactly its text. */
static void expect_answer(const char *model, const json_t *answer, const char *engine, size_t n) {
    const char *want = text_of(answer, "text"), *out = in_directory("out"), *err = in_directory("err");
    char count[16], found[1024] = "";
    snprintf(count, sizeof count, "%zu", n);
    const char *const words[] = {
        "-m",       model,  "-p", text_of(answer, "prompt"), "-n", count, "--temp", "0", "-t", "1",
        "--engine", engine, NULL};
    int code = run_command(cmd_run, "run", words, "/dev/null", out, err);
    struct buffer text = read_file(out), said = read_file(err);
    cr_assert_eq(code, 0, "%s", said.data);
    for (size_t i = 0; i < text.n && 2 * i + 2 < sizeof found; i++)
        snprintf(found + 2 * i, 3, "%02x", (unsigned char)text.data[i]);
    int whole = n == json_array_size(json_object_get(answer, "ids"));
    cr_expect(text.n > 0 && strncmp(found, want, strlen(found)) == 0 &&
                  (!whole || strlen(found) == strlen(want)),
              "%s, %s, '%s', %zu tokens: found %s, expected %s", model, engine, text_of(answer, "prompt"), n,
              found, want);
    buffer_free(&text), buffer_free(&said);
}

/* Tokens before the first choice that is closer than `tie`. */
static size_t clear_choices(const json_t *answer, double tie) {
    const json_t *margins = json_object_get(answer, "margins");
    size_t n = 0;
    while (n < json_array_size(margins) && json_number_value(json_array_get(margins, n)) >= tie) n++;
    return n;
}

/* Every answer of one kind of file. */
static void check(const char *arch, const char *type) {
    json_t *golden = json_load_file("tests/fixtures/greedy_golden.json", 0, NULL), *file, *answer;
    int rounded = strcmp(type, "q8_0") == 0;
    size_t i, k, n = 0, n_optimized = 0;
    json_array_foreach(json_object_get(golden, "files"), i, file) {
        if (strcmp(text_of(file, "arch"), arch) != 0 || strcmp(text_of(file, "type"), type) != 0) continue;
        char model[300];
        snprintf(model, sizeof model, "%s/%s-%s.gguf", directory_path(), arch, type);
        write_model(file, model);
        json_array_foreach(json_object_get(file, "answers"), k, answer) {
            size_t all = json_array_size(json_object_get(answer, "ids"));
            size_t clear = rounded ? clear_choices(answer, near_tie) : all;
            expect_answer(model, answer, "reference", all);
            if (clear) expect_answer(model, answer, "optimized", clear);
            n += all, n_optimized += clear;
        }
    }
    cr_assert(n >= 40 && n_optimized >= 30, "%s, %s: %zu tokens, %zu with the optimized engine", arch, type,
              n, n_optimized);
    json_decref(golden);
}

Test(greedy, lfm2moe_f16_as_transformers) {
    check("tiny-lfm2moe", "f16");
}

Test(greedy, lfm2moe_q8_0_as_transformers) {
    check("tiny-lfm2moe", "q8_0");
}

Test(greedy, lfm2_f16_as_transformers) {
    check("tiny-lfm2", "f16");
}

Test(greedy, lfm2_q8_0_as_transformers) {
    check("tiny-lfm2", "q8_0");
}

Test(greedy, qwen3_f16_as_transformers) {
    check("tiny-qwen3", "f16");
}

Test(greedy, qwen3_q8_0_as_transformers) {
    check("tiny-qwen3", "q8_0");
}
