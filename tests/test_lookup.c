/* SPDX-License-Identifier: Apache-2.0 */
/* test_lookup: the timing of prompt lookup gives rows of its own, of the same tokens either way. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/lookup.h"
#include "data/buffer.h"
#include "data/synth.h"
#include "tests/directory.h"
#include "tests/run_command.h"

TestSuite(lookup, .init = make_directory, .fini = remove_directory);

static struct model *tiny(void) {
    struct model *m;
    struct error e = {0};
    const char *path = in_directory("m.gguf");
    struct synth_options o = {.shape = synth_shape_by_name("tiny-lfm2moe"),
                              .recipe = "q4_0",
                              .seed = 1,
                              .threads = 1,
                              .path = path};
    cr_assert_eq(synth_write(&o, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&m, path, &e), OK, "%s", e.text);
    return m;
}

Test(lookup, rows_of_the_same_tokens) {
    struct error e = {0};
    struct model *m = tiny();
    struct rows rows = {0}, samples = {0};
    struct int_list n = {2, {2, 40}};
    struct subject s = {.engine = &engine_optimized, .model = m, .name = "tiny"};
    struct lookup_options o = {.n_gen = &n, .threads = 1, .batch = 64, .repetitions = 2, .seed = 1};
    cr_assert_eq(lookup_run(&o, &s, &rows, &samples, &e), OK, "%s", e.text);
    cr_assert_eq(rows.n, 2);
    cr_assert_eq(samples.n, 8);
    const struct lookup_row *r = (const struct lookup_row *)rows.data + 1;
    cr_expect_str_eq(r->test, "tg40 lookup");
    cr_expect_eq(r->samples_first, 4);
    cr_expect_eq(r->same_tokens, 1);
    cr_expect(r->plain_ts > 0 && r->lookup_ts > 0 && r->ratio > 0);
    cr_expect(r->steps >= 1 && r->steps + r->accepted >= 39 && r->accepted <= r->proposed,
              "%d feeds, %d of %d", (int)r->steps, (int)r->accepted, (int)r->proposed);
    cr_expect_eq(strlen(r->ids_sha256), 64);
    n.v[0] = 1;
    cr_expect_eq(lookup_run(&o, &s, &rows, &samples, &e), ERR_ARG);
    n.v[0] = m->config.context_length;
    cr_expect_eq(lookup_run(&o, &s, &rows, &samples, &e), ERR_ARG);
    cr_expect(strstr(e.text, "--lookup"), "%s", e.text);
    free(rows.data), free(samples.data);
    model_close(m);
}

Test(lookup, the_report_keeps_it_apart) {
    struct lookup_row row = {.engine = "optimized",
                             .model = "A",
                             .test = "tg128 lookup",
                             .threads = 2,
                             .plain_ts = 20,
                             .lookup_ts = 30,
                             .lookup_lo = 29,
                             .lookup_hi = 31,
                             .ratio = 1.5,
                             .ratio_lo = 1.4,
                             .ratio_hi = 1.6,
                             .steps = 50,
                             .proposed = 100,
                             .accepted = 77,
                             .same_tokens = 1};
    struct model_row model = {.name = "A", .arch = "lfm2", .recipe = "Q4_0"};
    struct error e = {0};
    struct buffer page = {0};
    struct record *r = record_new("bench");
    record_rows(r, &models_table, &model, 1);
    record_rows(r, &lookup_table, &row, 1);
    cr_assert_eq(records_append(in_directory("r.h5"), r, NULL, &e), OK, "%s", e.text);
    record_free(r);
    const char *const words[] = {"--record",       in_directory("r.h5"), "--out",
                                 directory_path(), "--no-plots",         NULL};
    cr_assert_eq(
        run_command(cmd_report, "report", words, "/dev/null", in_directory("out"), in_directory("err")), 0);
    cr_assert_eq(buffer_read(&page, in_directory("RESULTS.md"), 1 << 20, &e), OK, "%s", e.text);
    cr_expect(strstr(page.data, "## Prompt lookup"));
    cr_expect(strstr(page.data,
                     "| tg128 lookup | 20.00 | 30.00 (29.00 – 31.00) | **1.50** (1.40 – 1.60) | 100 | 77 | "
                     "1.54 | yes |"),
              "%s", page.data);
    cr_expect_not(strstr(page.data, "## Speed"), "lookup is among plain decoding");
    buffer_free(&page);
}
