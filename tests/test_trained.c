/* SPDX-License-Identifier: Apache-2.0 */
/* test_trained: the trained model of data/tiny says here what it says in Hugging Face's Transformers: the
 * same log-likelihoods of answers and the same greedy tokens, item by item (data/tiny/score.py wrote them).
 * LFM2_TRAINED=all compares every item, in minutes, and says by how much they differ at most. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/model.h"
#include "data/rows.h"
#include "data/tokenizer.h"
#include "reference/engine.h"

enum { LETTERS = 4, MAX_PROMPT = 1024, COMPARED = 40 /* of the items: a part is enough here */ };

/* Both sides compute in float32 and add in another order. */
static const double near_tie = 2e-3, ll_tolerance = 1e-3;

static const char folder[] = "data/tiny";
static struct model *model;
static struct tokenizer *tokenizer;
static struct session *session;
static struct snapshot start;
static struct rows items;

static void begin(void) {
    struct error e = {0};
    cr_assert_eq(model_open(&model, folder, &e), OK, "%s", e.text);
    cr_assert_eq(tokenizer_of_model(&tokenizer, model, &e), OK, "%s", e.text);
    struct engine_options o = {.threads = 1, .max_tokens = MAX_PROMPT};
    cr_assert_eq(engine_reference.open(&session, model, &o, &e), OK, "%s", e.text);
    cr_assert_eq(engine_reference.save(session, &start, &e), OK, "%s", e.text);
}

static void end(void) {
    rows_free(&items);
    snapshot_free(&start);
    engine_reference.close(session);
    tokenizer_close(tokenizer);
    model_close(model);
}

TestSuite(trained, .init = begin, .fini = end);

/* Logits after the prompt of an item, to be freed; the session stands behind it. */
static float *feed_prompt(const json_t *item, int *n_vocabulary) {
    struct error e = {0};
    struct tokens t = {0};
    const char *prompt = json_string_value(json_object_get(item, "prompt"));
    cr_assert_not_null(prompt);
    cr_assert_eq(tokenizer_encode(tokenizer, prompt, strlen(prompt), TOKENS_BOS, &t, &e), OK, "%s", e.text);
    *n_vocabulary = (int)model->config.n_vocab;
    float *logits = malloc((size_t)*n_vocabulary * sizeof *logits);
    cr_assert_not_null(logits);
    cr_assert_eq(engine_reference.restore(session, &start, &e), OK, "%s", e.text);
    cr_assert_eq(engine_reference.feed(session, t.ids, (int)t.n, logits, 1, &e), OK, "%s", e.text);
    tokens_free(&t);
    return logits;
}

static double log_sum(const float *x, int n) {
    double most = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > most) most = x[i];
    for (int i = 0; i < n; i++) sum += exp(x[i] - most);
    return most + log(sum);
}

static int every_item(void) {
    const char *which = getenv("LFM2_TRAINED");
    return which && strcmp(which, "all") == 0;
}

/* Every how many items one is compared. */
static size_t stride(void) {
    return every_item() ? 1 : items.n / COMPARED;
}

static int best(const float *x, int n) {
    int at = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

/* Of the likeliest token over the next. */
static double lead(const float *x, int n, int32_t first) {
    double next = -INFINITY;
    for (int i = 0; i < n; i++)
        if (i != first && x[i] > next) next = x[i];
    return x[first] - next;
}

Test(trained, log_likelihoods_are_those_of_transformers) {
    struct error e = {0};
    cr_assert_eq(rows_read(&items, "data/tiny/expected_mmlu.jsonl.gz", &e), OK, "%s", e.text);
    cr_assert_geq(items.n, 2 * COMPARED);
    int32_t letter[LETTERS];
    for (int k = 0; k < LETTERS; k++) {
        struct tokens t = {0};
        char text[] = {' ', (char)('A' + k)};
        cr_assert_eq(tokenizer_encode(tokenizer, text, sizeof text, 0, &t, &e), OK, "%s", e.text);
        cr_assert_eq(t.n, 1);
        letter[k] = t.ids[0];
        tokens_free(&t);
    }
    double most = 0;
    size_t same = 0;
    for (size_t i = 0; i < items.n; i += stride()) {
        int n, ours = 0, theirs = 0;
        float *logits = feed_prompt(items.row[i].value, &n);
        double all = log_sum(logits, n), expected[LETTERS];
        for (size_t k = 0; k < LETTERS; k++) {
            double want = json_number_value(json_array_get(json_object_get(items.row[i].value, "ll"), k));
            double got = logits[letter[k]] - all;
            expected[k] = want;
            most = fmax(most, fabs(got - want));
            if (got > logits[letter[ours]] - all) ours = (int)k;
            if (want > expected[theirs]) theirs = (int)k;
            cr_expect(fabs(got - want) <= ll_tolerance, "item %zu, choice %zu: found %.6f, expected %.6f", i,
                      k, got, want);
        }
        cr_expect_eq(ours, theirs, "item %zu: the likeliest letter is %c, expected %c", i, 'A' + ours,
                     'A' + theirs);
        same += ours == theirs;
        free(logits);
    }
    if (every_item())
        fprintf(
            stderr,
            "mini_mmlu: %zu of %zu items have the same likeliest letter; log-likelihoods differ by at most "
            "%.2g\n",
            same, items.n, most);
}

Test(trained, greedy_answers_are_those_of_transformers) {
    struct error e = {0};
    int compared = 0;
    size_t tokens_compared = 0;
    double most = 0;
    cr_assert_eq(rows_read(&items, "data/tiny/expected_gsm8k.jsonl.gz", &e), OK, "%s", e.text);
    cr_assert_geq(items.n, 2 * COMPARED);
    for (size_t i = 0; i < items.n; i += stride()) {
        const json_t *item = items.row[i].value, *tokens = json_object_get(item, "new");
        if (json_number_value(json_object_get(item, "margin")) < near_tie) continue;
        int n;
        float *logits = feed_prompt(item, &n);
        double margin = INFINITY, want_margin = json_number_value(json_object_get(item, "margin"));
        for (size_t k = 0; k < json_array_size(tokens); k++) {
            int32_t id = best(logits, n), want = (int32_t)json_integer_value(json_array_get(tokens, k));
            margin = fmin(margin, lead(logits, n, id));
            tokens_compared++;
            cr_assert_eq(id, want, "item %zu, token %zu: found %d, expected %d", i, k, id, want);
            cr_assert_eq(engine_reference.feed(session, &id, 1, logits, 1, &e), OK, "%s", e.text);
        }
        cr_expect_float_eq(margin, want_margin, near_tie,
                           "item %zu: narrowest lead of a token: found %.6f, expected %.6f", i, margin,
                           want_margin);
        most = fmax(most, fabs(margin - want_margin));
        compared++;
        free(logits);
    }
    if (every_item())
        fprintf(stderr,
                "mini_gsm8k: %d of %zu items compared, all %zu tokens the same; their narrowest leads differ "
                "by at "
                "most %.2g\n",
                compared, items.n, tokens_compared, most);
    cr_assert_geq(compared, 20, "too few items are decided clearly (%d)", compared);
}
