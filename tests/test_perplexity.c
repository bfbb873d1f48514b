/* SPDX-License-Identifier: Apache-2.0 */
/* test_perplexity: the statistics and base files against NumPy (fixtures/make_quality_golden.py), windows
 * against a loop written here, and base files that lie. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/perplexity.h"
#include "data/buffer.h"
#include "data/model.h"
#include "tests/tiny.h"

static const char fixture[] = "tests/fixtures/quality.base";
static char directory[256], base_path[300], model_path[300];

static void begin(void) {
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(base_path, sizeof base_path, "%s/a.base", directory);
    snprintf(model_path, sizeof model_path, "%s/m.gguf", directory);
}

static void end(void) {
    tiny_directory_remove(directory);
}

TestSuite(perplexity, .init = begin, .fini = end);

static json_t *golden(void) {
    json_error_t e;
    json_t *j = json_load_file("tests/fixtures/quality_golden.json", 0, &e);
    cr_assert_not_null(j, "%s", e.text);
    return j;
}

static void row_of(const json_t *g, const char *name, size_t i, float *out) {
    const json_t *row = json_array_get(json_object_get(g, name), i);
    double unit = json_real_value(json_object_get(g, "unit"));
    for (size_t k = 0; k < json_array_size(row); k++)
        out[k] = (float)((double)json_integer_value(json_array_get(row, k)) * unit);
}

/* Criterion's double comparisons have no relative form. */
static void near(const json_t *want, const char *name, double got) {
    const json_t *value = json_object_get(want, name);
    cr_assert(json_is_real(value), "%s is not in the fixture", name);
    double w = json_real_value(value);
    cr_expect(fabs(got - w) <= 2e-6 * fabs(w) + 1e-9, "%s: found %.12g, expected %.12g", name, got, w);
}

Test(perplexity, statistics_are_numpys) {
    json_t *g = golden(), *want = json_object_get(g, "want");
    struct base_file b;
    struct error e = {0};
    struct quality q = {0};
    struct quality_summary s;
    float logits[64], log_p[64];
    cr_assert_eq(base_open(&b, fixture, &e), OK, "%s", e.text);
    int scored = chunk_scored(b.header.n_ctx), n = 0;
    for (int c = 0; c < b.header.n_chunks; c++)
        for (int i = 0; i < scored; i++, n++) {
            row_of(g, "got", (size_t)n, logits);
            cr_assert_eq(base_read(&b, c, i, log_p, &e), OK, "%s", e.text);
            int32_t token = b.ids[c * b.header.n_ctx + b.header.n_ctx / 2 + 1 + i];
            cr_assert_eq(quality_add(&q, quality_point(logits, log_p, b.header.n_vocab, token)), 0);
        }
    cr_assert_eq(quality_summarise(&q, &s), 0);
    near(want, "ppl", s.ppl.value), near(want, "ppl_se", s.ppl.se);
    near(want, "ppl_base", s.ppl_base.value), near(want, "ppl_base_se", s.ppl_base.se);
    near(want, "log_ratio", s.log_ratio.value), near(want, "log_ratio_se", s.log_ratio.se);
    near(want, "kl", s.kl.value), near(want, "kl_se", s.kl.se), near(want, "kl_median", s.kl_median);
    near(want, "kl_p90", s.kl_p90), near(want, "kl_p99", s.kl_p99), near(want, "kl_p999", s.kl_p999);
    near(want, "kl_max", s.kl_max), near(want, "kl_min", s.kl_min);
    near(want, "same_top1", s.same_top1.value), near(want, "same_top1_se", s.same_top1.se);
    near(want, "dp_mean", s.dp_mean.value), near(want, "dp_se", s.dp_mean.se);
    near(want, "dp_median", s.dp_median);
    near(want, "dp_rms", s.dp_rms.value), near(want, "dp_rms_se", s.dp_rms.se);
    near(want, "dp_p1", s.dp_p1), near(want, "dp_p99", s.dp_p99);
    near(want, "dp_min", s.dp_min), near(want, "dp_max", s.dp_max);
    quality_free(&q), base_close(&b), json_decref(g);
}

/* The same logits give the file that NumPy wrote: every code and scale; the lowest log p to a rounding of
 * expf. */
Test(perplexity, base_files_are_numpys) {
    json_t *g = golden();
    struct base_file b;
    struct base_writer w;
    struct buffer ours = {0}, theirs = {0};
    struct error e = {0};
    float logits[64];
    cr_assert_eq(base_open(&b, fixture, &e), OK, "%s", e.text);
    cr_assert_eq(base_create(&w, base_path, &b.header, b.ids, &e), OK, "%s", e.text);
    size_t n = json_array_size(json_object_get(g, "base")), row = base_row_bytes(b.header.n_vocab);
    for (size_t i = 0; i < n; i++) {
        row_of(g, "base", i, logits);
        cr_assert_eq(base_write(&w, logits, &e), OK, "%s", e.text);
    }
    cr_assert_neq(access(base_path, F_OK), 0, "the file stands under its name before it is finished");
    cr_assert_eq(base_finish(&w, &e), OK, "%s", e.text);
    base_abandon(&w);
    cr_assert_eq(buffer_read(&ours, base_path, 1 << 20, &e), OK, "%s", e.text);
    cr_assert_eq(buffer_read(&theirs, fixture, 1 << 20, &e), OK, "%s", e.text);
    cr_assert_eq(ours.n, theirs.n);
    size_t head = ours.n - n * row;
    cr_expect_arr_eq(ours.data, theirs.data, head);
    for (size_t i = 0; i < n; i++) {
        const char *x = ours.data + head + i * row, *y = theirs.data + head + i * row;
        float a, c;
        memcpy(&a, x + 4, sizeof a), memcpy(&c, y + 4, sizeof c);
        cr_expect(memcmp(x, y, 4) == 0 && memcmp(x + 8, y + 8, row - 8) == 0, "row %zu", i);
        cr_expect(fabsf(a - c) <= 4e-6f, "row %zu: lowest %g, expected %g", i, (double)a, (double)c);
    }
    buffer_free(&ours), buffer_free(&theirs), base_close(&b), json_decref(g);
}

/* ---- files that lie ---- */

static const struct {
    const char *what, *mention;
    long at; /* where `bytes` go; negative: cut the file to -at bytes */
    int32_t value;
} lies[] = {
    {"another kind of file", "_logits_", 0, 0x46554747},
    {"no bytes of a header", "_logits_", -11, 0},
    {"cut in the ids", "cut short", -100, 0},
    {"cut in the last row", "cut short", -6107, 0},
    {"more chunks than there are", "cut short", 16, 3},
    {"fewer chunks than there are", "longer", 16, 1},
    {"chunks without number", "cut short", 16, INT32_MAX},
    {"no chunk", "impossible", 16, 0},
    {"negative context", "impossible", 8, -68},
    {"huge context", "cut short", 8, INT32_MAX},
    {"no vocabulary", "impossible", 12, 0},
    {"huge vocabulary", "cut short", 12, INT32_MAX},
    {"an id outside the vocabulary", "id number 3", 20 + 12, 37},
    {"a negative id", "id number 0", 20, -1},
};

Test(perplexity, files_that_lie_are_refused) {
    struct buffer good = {0};
    struct error e = {0};
    cr_assert_eq(buffer_read(&good, fixture, 1 << 20, &e), OK, "%s", e.text);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct base_file b;
        FILE *f = fopen(base_path, "wb");
        cr_assert_not_null(f);
        size_t n = lies[i].at < 0 ? (size_t)-lies[i].at : good.n;
        cr_assert_eq(fwrite(good.data, 1, n, f), n);
        if (lies[i].at >= 0) {
            cr_assert_eq(fseek(f, lies[i].at, SEEK_SET), 0);
            cr_assert_eq(fwrite(&lies[i].value, 4, 1, f), 1);
        }
        cr_assert_eq(fclose(f), 0);
        cr_expect_eq(base_open(&b, base_path, &e), ERR_FORMAT, "%s", lies[i].what);
        cr_expect(strstr(e.text, lies[i].mention) && strstr(e.text, "a.base"), "%s: %s", lies[i].what,
                  e.text);
        base_close(&b);
    }
    buffer_free(&good);
}

/* Ids become indices: what was checked is what is used. */
Test(perplexity, ids_that_are_overwritten_after_the_check_stay_what_they_were) {
    struct base_file b;
    struct buffer good = {0};
    struct error e = {0};
    cr_assert_eq(buffer_read(&good, fixture, 1 << 20, &e), OK, "%s", e.text);
    FILE *f = fopen(base_path, "wb");
    cr_assert(f && fwrite(good.data, 1, good.n, f) == good.n && fclose(f) == 0);
    cr_assert_eq(base_open(&b, base_path, &e), OK, "%s", e.text);
    int32_t first = b.ids[0];
    f = fopen(base_path, "r+b");
    cr_assert(f && fseek(f, 20, SEEK_SET) == 0 && fwrite("\xff\xff\xff\x7f", 1, 4, f) == 4 && fclose(f) == 0);
    cr_assert_eq(b.file.data[20], 0xff, "the map shows the change");
    cr_expect_eq(b.ids[0], first);
    base_close(&b), buffer_free(&good);
}

Test(perplexity, rows_without_probabilities_are_refused) {
    static const float bad[][2] = {{NAN, -20}, {-1e-4f, -1}, {INFINITY, -20}, {2e-4f, NAN}, {1, 0}};
    struct buffer good = {0};
    struct error e = {0};
    cr_assert_eq(buffer_read(&good, fixture, 1 << 20, &e), OK, "%s", e.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct base_file b;
        float log_p[37];
        size_t row = base_row_bytes(37), at = good.n - row; /* the last one */
        FILE *f = fopen(base_path, "wb");
        memcpy(good.data + at, bad[i], sizeof bad[i]);
        cr_assert(f && fwrite(good.data, 1, good.n, f) == good.n && fclose(f) == 0);
        cr_assert_eq(base_open(&b, base_path, &e), OK, "%s", e.text);
        cr_expect_eq(base_read(&b, 1, 31, log_p, &e), OK);
        cr_expect_eq(base_read(&b, 1, 32, log_p, &e), ERR_FORMAT, "case %zu", i);
        base_close(&b);
    }
    buffer_free(&good);
}

/* ---- windows ---- */

enum { N_IDS = 75, N_CTX = 16 };

struct session_fixture {
    struct model *m;
    int32_t ids[N_IDS];
};

static void open_model(struct session_fixture *s, uint64_t seed) {
    struct tiny_spec spec = tiny_default("lfm2moe");
    struct error e = {0};
    spec.seed = seed;
    cr_assert_eq(tiny_write(model_path, &spec, &e), OK, "%s", e.text);
    cr_assert_eq(model_open(&s->m, model_path, &e), OK, "%s", e.text);
    for (int i = 0; i < N_IDS; i++) s->ids[i] = (i * 131 + i * i * 7) % s->m->config.n_vocab;
}

static void run(const struct session_fixture *s, struct perplexity_options o, struct perplexity_result *r) {
    struct error e = {0};
    o.engine = &engine_reference, o.ids = s->ids, o.engine_options.threads = 1;
    cr_assert_eq(perplexity_run(r, s->m, &o, &e), OK, "%s", e.text);
}

/* The sum of -log p over what a window scores: all logits of one feed, in double. */
static double direct_nll(const struct session_fixture *s, const int32_t *text, int size, int first, int bos) {
    size_t V = (size_t)s->m->config.n_vocab;
    float *logits = calloc((size_t)size * V, sizeof *logits);
    int32_t ids[N_IDS];
    double sum = 0;
    struct session *session;
    struct error e = {0};
    memcpy(ids, text, (size_t)size * sizeof *ids);
    if (bos >= 0) ids[0] = bos;
    cr_assert_eq(engine_reference.open(&session, s->m, &(struct engine_options){.threads = 1}, &e), OK);
    cr_assert_eq(engine_reference.feed(session, ids, size, logits, size, &e), OK, "%s", e.text);
    for (int t = first; t + 1 < size; t++) {
        double total = 0;
        for (size_t v = 0; v < V; v++) total += exp((double)logits[(size_t)t * V + v]);
        sum += log(total) - (double)logits[(size_t)t * V + (size_t)text[t + 1]];
    }
    engine_reference.close(session);
    free(logits);
    return sum;
}

static double sum_nll(const struct perplexity_result *r) {
    double sum = 0;
    for (size_t i = 0; i < r->quality.n; i++) sum += r->quality.points[i].nll;
    return sum;
}

Test(perplexity, chunks_score_the_second_half_after_bos) {
    struct session_fixture s;
    struct perplexity_result r;
    open_model(&s, 1);
    run(&s, (struct perplexity_options){.windows = windows_chunks(N_IDS, N_CTX), .bos = 3}, &r);
    double want = 0;
    for (int c = 0; c < 4; c++) want += direct_nll(&s, s.ids + c * N_CTX, N_CTX, N_CTX / 2, 3);
    cr_expect_eq(r.quality.n, 4 * 7); /* 75 ids hold 4 chunks of 16, of each 16 - 1 - 8 are scored */
    cr_expect(fabs(sum_nll(&r) - want) < 1e-4 * want, "found %g, expected %g", sum_nll(&r), want);
    quality_free(&r.quality);
    run(&s, (struct perplexity_options){.windows = windows_chunks(N_IDS, N_CTX), .bos = -1}, &r);
    cr_expect(fabs(sum_nll(&r) - want) > 1e-3 * want, "BOS made no difference");
    quality_free(&r.quality);
    model_close(s.m);
}

Test(perplexity, sliding_windows_score_every_id_once) {
    struct session_fixture s;
    struct perplexity_result r;
    open_model(&s, 1);
    struct windows w = windows_sliding(N_IDS, N_CTX, 4);
    run(&s, (struct perplexity_options){.windows = w, .bos = -1}, &r);
    double want = 0;
    cr_expect_eq(w.n, 15); /* (75 - 16) / 4 + 1 */
    for (int i = 0; i < w.n; i++) want += direct_nll(&s, s.ids + 4 * i, N_CTX, N_CTX - 5, -1);
    cr_expect_eq(r.quality.n, 60);
    cr_expect(fabs(sum_nll(&r) - want) < 1e-4 * want, "found %g, expected %g", sum_nll(&r), want);
    quality_free(&r.quality);
    model_close(s.m);
}

Test(perplexity, the_whole_text_is_one_window) {
    struct session_fixture s;
    struct perplexity_result r;
    open_model(&s, 1);
    run(&s, (struct perplexity_options){.windows = windows_whole(N_IDS), .bos = -1}, &r);
    double want = direct_nll(&s, s.ids, N_IDS, 0, -1);
    cr_expect_eq(r.quality.n, N_IDS - 1);
    cr_expect(fabs(sum_nll(&r) - want) < 1e-4 * want, "found %g, expected %g", sum_nll(&r), want);
    quality_free(&r.quality);
    model_close(s.m);
}

Test(perplexity, a_base_compares_a_model_with_itself_and_with_another) {
    struct session_fixture s, other;
    struct perplexity_result r;
    struct quality_summary q;
    struct base_writer writer;
    struct base_file base;
    struct routes routes = {0};
    struct error e = {0};
    open_model(&s, 1);
    struct windows w = windows_chunks(N_IDS, N_CTX);
    struct base_header h = {N_CTX, s.m->config.n_vocab, w.n};
    cr_assert_eq(base_create(&writer, base_path, &h, s.ids, &e), OK, "%s", e.text);
    run(&s, (struct perplexity_options){.windows = w, .bos = 1, .save = &writer, .keep = &routes}, &r);
    cr_assert_eq(base_finish(&writer, &e), OK, "%s", e.text);
    base_abandon(&writer);
    quality_free(&r.quality);
    cr_assert_eq(base_open(&base, base_path, &e), OK, "%s", e.text);
    struct perplexity_options o = {.windows = w, .bos = 1, .base = &base, .routes = &routes};
    run(&s, o, &r);
    cr_assert_eq(quality_summarise(&r.quality, &q), 0);
    cr_expect(fabs(q.kl.value) < 1e-6 && q.kl_max < 1e-4 && q.same_top1.value == 1, "KL with itself: %g",
              q.kl.value);
    /* Every id but each window's last is fed; layers 2 and 3 have routers. */
    cr_expect(r.decisions == 2 * 4 * (N_CTX - 1) && r.flips == 0, "%lld decisions, %lld flips",
              (long long)r.decisions, (long long)r.flips);
    quality_free(&r.quality);
    model_close(s.m);
    open_model(&other, 2);
    run(&other, o, &r);
    cr_assert_eq(quality_summarise(&r.quality, &q), 0);
    cr_expect(q.kl.value > 0.01 && r.flips > 0 && r.flips <= r.decisions, "KL %g, %lld flips", q.kl.value,
              (long long)r.flips);
    quality_free(&r.quality), routes_free(&routes), base_close(&base);
    model_close(other.m);
}
