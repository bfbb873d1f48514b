/* SPDX-License-Identifier: Apache-2.0 */
/* A context of 32 768 tokens, to its last position: in one batch or in pieces, decoded or prefilled, it is
 * the same bits with both types of cache, and near the reference; one token more is refused. Once, with the
 * kernels that dispatch takes: attention over 32 768 tokens is 0.5 G products of vectors. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "data/synth.h"
#include "reference/engine.h"
#include "tests/check.h"
#include "tests/command.h"
#include "tests/directory.h"

enum { CONTEXT = 32768, VOCABULARY = 512, ROWS = 2 };

static struct model *model;
static int32_t ids[CONTEXT];
static float want[ROWS * VOCABULARY], got[ROWS * VOCABULARY]; /* logits after the last two ids */

static void make_model_32k(void) {
    static const signed char attention[] = {1, -1};
    static const struct synth_shape shape = {.name = "long",
                                             .arch = "lfm2",
                                             .title = "long (synthetic)",
                                             .layers = 2,
                                             .width = 32,
                                             .heads = 1,
                                             .kv_heads = 1,
                                             .head_dim = 32,
                                             .ff = 64,
                                             .dense_layers = 2,
                                             .vocab = VOCABULARY,
                                             .context = CONTEXT,
                                             .norm_eps = 1e-5f,
                                             .attention = attention};
    make_directory();
    struct synth_options o = {
        .shape = &shape, .recipe = "q4_0", .seed = 1, .threads = 1, .path = in_directory("long.gguf")};
    struct error e = {0};
    struct rng r = {rng_key(32, 0, 0), 0};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&model, in_directory("long.gguf"), &e), OK, "%s", e.text);
    for (int i = 0; i < CONTEXT; i++) ids[i] = (int32_t)rng_below(&r, VOCABULARY);
}

static void remove_model(void) {
    model_close(model);
    remove_directory();
}

TestSuite(context_32k, .init = make_model_32k, .fini = remove_model, .timeout = 600);

static struct session *open_session(const struct engine *engine, enum kv_type type) {
    struct error e = {0};
    struct session *s;
    struct engine_options o = {.threads = 1, .max_tokens = CONTEXT, .kv_type = type, .no_pin = 1};
    cr_assert_eq(cmd_isa_mask(&o.cpu_mask, &e), 0, "%s", e.text);
    cr_assert_eq(engine->open(&s, model, &o, &e), OK, "%s", e.text);
    return s;
}

/* All but the last in one go, then the last as a decoding step; then there is no room. */
static void feed_whole(const struct engine *engine, struct session *s, float *out) {
    struct error e = {0};
    cr_assert_eq(engine->feed(s, ids, CONTEXT - 1, out, 1, &e), OK, "%s", e.text);
    cr_assert_eq(engine->feed(s, ids + CONTEXT - 1, 1, out + VOCABULARY, 1, &e), OK, "%s", e.text);
    cr_expect_eq(engine->position(s), CONTEXT);
    cr_expect_eq(engine->feed(s, ids, 1, NULL, 0, &e), ERR_ARG, "a token beyond the context was taken");
    cr_expect(e.text[0] && !strchr(e.text, '\n'), "%s", e.text);
    cr_expect_eq(engine->position(s), CONTEXT);
}

/* Odd pieces; the last two ids are the end of one that is prefilled. */
static void feed_pieces(const struct engine *engine, struct session *s, float *out) {
    static const int pieces[] = {1, 2, 3, 511, 1, 1025, 64, 2047, 4096, 5};
    struct error e = {0};
    int last = CONTEXT - 37;
    for (int at = 0, i = 0; at < last; i++) {
        int n = pieces[i % 10] < last - at ? pieces[i % 10] : last - at;
        cr_assert_eq(engine->feed(s, ids + at, n, NULL, 0, &e), OK, "%s", e.text);
        at += n;
    }
    cr_assert_eq(engine->feed(s, ids + last, CONTEXT - last, out, ROWS, &e), OK, "%s", e.text);
    cr_expect_eq(engine->position(s), CONTEXT);
}

static void same_to_the_end(enum kv_type type) {
    struct session *s = open_session(&engine_optimized, type);
    feed_whole(&engine_optimized, s, want);
    engine_optimized.reset(s);
    feed_pieces(&engine_optimized, s, got);
    engine_optimized.close(s);
    cr_expect(memcmp(want, got, sizeof want) == 0, "in one batch and in pieces: other bits at position %d",
              CONTEXT - 1);
}

Test(context_32k, pieces_are_the_same_bits_f16) {
    same_to_the_end(KV_F16);
}
Test(context_32k, pieces_are_the_same_bits_q8) {
    same_to_the_end(KV_Q8);
}

Test(context_32k, the_last_positions_are_near_the_reference) {
    struct session *s = open_session(&engine_reference, KV_F16);
    feed_whole(&engine_reference, s, want);
    engine_reference.close(s);
    s = open_session(&engine_optimized, KV_F16);
    feed_whole(&engine_optimized, s, got);
    engine_optimized.close(s);
    double difference = 0, power = 0;
    for (int i = 0; i < ROWS * VOCABULARY; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += (double)want[i] * want[i];
    }
    double limit = tolerances[TOL_NMSE_INT8_ACTIVATIONS].limit;
    cr_expect(power > 0 && difference <= limit * power, "NMSE %.3g exceeds %.3g", difference / power, limit);
}

/* What a context is, to the commands: all of it may be asked for, and no token more. */
Test(context_32k, commands_refuse_one_more) {
    static const struct {
        const char *line;
        int code;
    } lines[] = {
        {"run -m long.gguf -p a -n 1 --temp 0 -c 32768", 0},
        {"run -m long.gguf -p a -n 1 --temp 0 -c 32769", 2},
        {"chat -m long.gguf -p a -n 1 -c 32769 --chat-template chatml", 2},
        {"bench -m long.gguf -p 0 -n 1 -d 32768 -r 1 --no-limits", 2},
        {"parity -m long.gguf -p 32768 -n 1", 2},
    };
    static struct command run;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        run = (struct command){.folder = directory_path(), .line = lines[i].line};
        cr_assert_eq(command_run(&run), 0);
        cr_expect_eq(run.code, lines[i].code, "lfm2 %s: exit %d\n%s", lines[i].line, run.code, run.err);
        cr_expect(run.code == 0 || (command_one_line(&run) && strstr(run.err, "context")), "lfm2 %s:\n%s",
                  lines[i].line, run.err);
    }
}
