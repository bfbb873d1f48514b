/* SPDX-License-Identifier: Apache-2.0 */
/* lm, scores and comparisons, each against something written another way: likelihoods against one plain pass
 * over the whole text, answers against the generator of `lfm2 run`, statistics against numbers worked out by
 * hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/generate.h"
#include "eval/aggregate.h"
#include "eval/lm.h"

static struct buffer text_buffer(const char *text) {
    struct buffer b = {0};
    buffer_text(&b, text);
    return b;
}

/* ---- likelihoods and answers ---- */

enum { JOBS = 5 };

struct fixture {
    struct lm *lm;
    struct item items[JOBS];
    struct buffer prompts[JOBS];
    struct job jobs[JOBS];
    struct tokens prefix;
    int at, n_done, may_fail;
};

static const char *const contexts[JOBS] = {
    "Question: Ann has 3 apples and buys 4. How many apples does she have?\nAnswer:",
    "Question: Ann has 3 apples and eats one. How many apples does she have?\nAnswer: ",
    "Question: Ann has 3 apples and buys 5. How many does she have?\nAnswer:", "The", ""};
static const char *const choices[] = {" 7", " 7 apples are what Ann has now", " B", "7", " a long way to go"};
enum { CHOICES = 5 };

static enum status next(void *arg, struct job **out, struct error *e) {
    struct fixture *f = arg;
    (void)e;
    *out = f->at < JOBS ? &f->jobs[f->at++] : NULL;
    return OK;
}

static enum status done(void *arg, struct job *job, struct error *e) {
    struct fixture *f = arg;
    (void)e;
    if (!f->may_fail) cr_expect_eq(job->failed.code, OK, "%s", job->failed.text);
    f->n_done++;
    return OK;
}

static void open_fixture(struct fixture *f, const char *engine, int batch, int prefix) {
    struct error e = {0};
    struct lm_options o = {
        .model = "data/tiny", .engine = engine, .threads = 1, .batch = batch, .context = 256};
    *f = (struct fixture){0};
    cr_assert_eq(lm_open(&f->lm, &o, &e), OK, "%s", e.text);
    for (int i = 0; i < JOBS; i++) {
        f->prompts[i] = text_buffer(contexts[i]);
        f->jobs[i] = (struct job){.item = &f->items[i], .prompt = &f->prompts[i]};
        if (prefix) f->jobs[i].prefix = &f->prefix;
    }
    if (prefix) cr_assert_eq(lm_encode(f->lm, "Question: Ann has 3", 19, &f->prefix, &e), OK);
}

static void ask_choices(struct fixture *f, const char *engine, int batch, int prefix) {
    struct error e = {0};
    open_fixture(f, engine, batch, prefix);
    for (int i = 0; i < JOBS; i++) {
        f->items[i].kind = ITEM_CHOICES;
        f->items[i].continuations = calloc(CHOICES, sizeof(struct buffer));
        f->items[i].n_continuations = CHOICES;
        for (int k = 0; k < CHOICES; k++) f->items[i].continuations[k] = text_buffer(choices[k]);
    }
    struct lm_source source = {next, done, f};
    cr_assert_eq(lm_run(f->lm, &source, &e), OK, "%s", e.text);
    cr_assert_eq(f->n_done, JOBS);
}

static void close_fixture(struct fixture *f) {
    for (int i = 0; i < JOBS; i++) {
        job_free(&f->jobs[i]);
        item_free(&f->items[i]);
        buffer_free(&f->prompts[i]);
    }
    tokens_free(&f->prefix);
    lm_close(f->lm);
}

/* The whole text in one feed, a row of logits for every token. */
static void plain(struct lm *lm, const struct buffer *context, const char *continuation, double *sum,
                  int *greedy) {
    struct error e = {0};
    struct tokens ids = {0};
    struct buffer c = text_buffer(continuation);
    struct session *s;
    size_t n, V = (size_t)lm->n_vocab;
    cr_assert_eq(lm_encode_pair(lm, context, &c, &ids, &n, &e), OK, "%s", e.text);
    float *logits = malloc((ids.n - 1) * V * sizeof *logits);
    cr_assert_eq(
        lm->engine->open(&s, lm->model, &(struct engine_options){.threads = 1, .max_tokens = 256}, &e), OK);
    cr_assert_eq(lm->engine->feed(s, ids.ids, (int)ids.n - 1, logits, (int)ids.n - 1, &e), OK);
    *sum = 0;
    *greedy = 1;
    for (size_t i = ids.n - n; i < ids.n; i++) {
        const float *row = logits + (i - 1) * V;
        double all = 0;
        int best = 0;
        for (size_t v = 0; v < V; v++) {
            all += exp((double)row[v]);
            if (row[v] > row[best]) best = (int)v;
        }
        *sum += row[ids.ids[i]] - log(all);
        *greedy &= best == ids.ids[i];
    }
    lm->engine->close(s);
    free(logits);
    tokens_free(&ids);
    buffer_free(&c);
}

static void expect_plain(const char *engine, double tolerance) {
    struct fixture f;
    ask_choices(&f, engine, 3, 1);
    int greedy_seen = 0;
    for (int i = 0; i < JOBS; i++)
        for (int k = 0; k < CHOICES; k++) {
            double sum;
            int greedy;
            plain(f.lm, &f.prompts[i], choices[k], &sum, &greedy);
            const struct response *r = &f.jobs[i].responses[k];
            cr_expect_float_eq(r->loglikelihood, sum, tolerance, "%s %d %d: %.9g, plain %.9g", engine, i, k,
                               r->loglikelihood, sum);
            cr_expect_eq(r->is_greedy, greedy, "%s %d %d", engine, i, k);
            greedy_seen += greedy;
        }
    cr_log_info("%d of %d continuations are greedy", greedy_seen, JOBS * CHOICES);
    cr_expect_gt(f.lm->reused, 0, "the shared beginning was never used");
    close_fixture(&f);
}

/* Sums are rounded to float32: 1e-5 of about 100. */
Test(eval_lm, optimized_likelihoods_are_those_of_one_plain_pass) {
    expect_plain("optimized", 1e-5);
}
/* BLAS adds up in another order when other numbers of tokens are fed at once. */
Test(eval_lm, reference_likelihoods_are_those_of_one_plain_pass) {
    expect_plain("reference", 1e-3);
}

Test(eval_lm, neither_batch_nor_sharing_changes_a_bit) {
    struct fixture a, b;
    ask_choices(&a, "optimized", 1, 0);
    ask_choices(&b, "optimized", 5, 1);
    for (int i = 0; i < JOBS; i++)
        cr_expect_eq(memcmp(a.jobs[i].responses, b.jobs[i].responses, CHOICES * sizeof(struct response)), 0,
                     "%d", i);
    close_fixture(&a);
    close_fixture(&b);
}

static int keep(void *arg, const char *bytes, size_t n) {
    buffer_add(arg, bytes, n);
    return 0;
}

Test(eval_lm, answers_are_those_of_the_generator) {
    struct fixture f;
    struct error e = {0};
    open_fixture(&f, "optimized", 2, 1);
    for (int i = 0; i < JOBS; i++) {
        f.items[i].kind = ITEM_GENERATE;
        f.items[i].gen_kwargs = json_pack("{s:[s,s],s:i}", "until", "zzz", "\n\n", "max_gen_toks", 20);
        if (f.prompts[i].n == 0) buffer_text(&f.prompts[i], "A");
    }
    struct lm_source source = {next, done, &f};
    cr_assert_eq(lm_run(f.lm, &source, &e), OK, "%s", e.text);
    const char *stops[] = {"zzz", "\n\n"};
    for (int i = 0; i < JOBS; i++) {
        struct sampler_options greedy = sampler_greedy();
        struct buffer said = {0};
        struct generator g = {.engine = f.lm->engine,
                              .tokenizer = f.lm->tokenizer,
                              .n_vocab = f.lm->n_vocab,
                              .max_tokens = 256};
        struct generate_result result;
        struct generate_options o = {.n_predict = 20, .stop = stops, .n_stop = 2, .text = keep, .arg = &said};
        cr_assert_eq(sampler_open(&g.sampler, &greedy, f.lm->n_vocab, &e), OK);
        cr_assert_eq(g.engine->open(&g.session, f.lm->model,
                                    &(struct engine_options){.threads = 1, .max_tokens = 256}, &e),
                     OK);
        cr_assert_eq(lm_encode(f.lm, f.prompts[i].data, f.prompts[i].n, &g.timeline, &e), OK);
        cr_assert_eq(generate(&g, &o, &result, &e), OK, "%s", e.text);
        cr_expect_str_eq(f.jobs[i].responses[0].text, said.data ? said.data : "");
        g.engine->close(g.session);
        sampler_close(g.sampler);
        generator_free(&g);
        buffer_free(&said);
    }
    close_fixture(&f);
}

Test(eval_lm, long_prompts_lose_their_beginning_and_impossible_ones_fail_alone) {
    struct fixture f;
    struct error e = {0};
    open_fixture(&f, "optimized", 2, 0);
    for (int i = 0; i < 400; i++) buffer_text(&f.prompts[0], " Ann has 3 apples.");
    f.items[0].kind = ITEM_CHOICES;
    f.items[0].continuations = calloc(2, sizeof(struct buffer));
    f.items[0].n_continuations = 2;
    f.items[0].continuations[0] = text_buffer(" Ann");
    f.items[0].continuations[1] = text_buffer(" Ann has 3 apples and buys 4.");
    f.items[1].kind = ITEM_GENERATE;
    f.items[1].gen_kwargs = json_pack("{s:i}", "max_gen_toks", 4000);
    f.items[2].kind = ITEM_GENERATE;
    f.items[2].gen_kwargs = json_pack("{s:i,s:s}", "max_gen_toks", 4, "temperature", "hot");
    f.items[3].kind = ITEM_GENERATE;
    f.items[3].gen_kwargs = json_pack("{s:i}", "max_gen_toks", 4);
    f.items[4].kind = ITEM_CHOICES;
    f.may_fail = 1;
    struct lm_source source = {next, done, &f};
    cr_assert_eq(lm_run(f.lm, &source, &e), OK, "%s", e.text);
    cr_assert_eq(f.n_done, JOBS);
    cr_expect_eq(f.jobs[0].failed.code, OK);
    cr_expect_gt(f.jobs[0].truncated, 100);
    cr_expect(isfinite(f.jobs[0].responses[1].loglikelihood) && f.jobs[0].responses[1].loglikelihood < 0);
    cr_expect(strstr(f.jobs[1].failed.text, "no room for the prompt"), "%s", f.jobs[1].failed.text);
    cr_expect(strstr(f.jobs[2].failed.text, "temperature is not a number"), "%s", f.jobs[2].failed.text);
    cr_expect_eq(f.jobs[3].failed.code, OK);
    cr_expect_leq(f.jobs[3].n_tokens, 4);
    cr_expect(strstr(f.jobs[4].failed.text, "no choices"), "%s", f.jobs[4].failed.text);
    close_fixture(&f);
}

/* ---- statistics ---- */

Test(aggregate, mean_and_error_are_lm_evals) {
    struct values v = {0};
    const double x[] = {1, 0, 0, 1, 1};
    for (int i = 0; i < 5; i++) values_add(&v, x[i]);
    cr_expect_float_eq(values_mean(&v), 0.6, 1e-15);
    /* sqrt((2 * 0.6^2 + 3 * 0.4^2) / 4) / sqrt(5) */
    cr_expect_float_eq(values_stderr(&v), 0.24494897427831783, 1e-15);
    const struct values *all = &v;
    struct interval i = values_interval(&all, 1, 1);
    cr_expect_float_eq(i.mid, 0.6, 1e-15);
    /* Of five fair draws with p = 0.6, 0.2 is reached with 8.7 %, 0 with 1 %: the 2.5 % point is 0.2. */
    cr_expect_float_eq(i.lo, 0.2, 1e-12);
    cr_expect_float_eq(i.hi, 1.0, 1e-12);
    values_free(&v);
}

Test(aggregate, groups_are_pooled_by_size_or_not) {
    const double means[] = {0.5, 0.8}, errors[] = {0.1, 0.2};
    const size_t sizes[] = {10, 30};
    struct group_score g = group_of(means, errors, sizes, 2, 0);
    cr_expect_float_eq(g.mean, 0.725, 1e-15);
    /* (9 * 0.01 * 10 + 29 * 0.04 * 30) / 38 / 40, its root */
    cr_expect_float_eq(g.error, 0.15325417483795722, 1e-12);
    g = group_of(means, errors, sizes, 2, 1);
    cr_expect_float_eq(g.mean, 0.65, 1e-15);
    cr_expect_float_eq(g.error, 0.11180339887498949, 1e-15);
}

Test(aggregate, mcnemar_is_the_binomial_test) {
    cr_expect_float_eq(mcnemar_exact(0, 0), 1, 1e-12);
    cr_expect_float_eq(mcnemar_exact(1, 5), 0.21875, 1e-9);        /* 2 * (1 + 6) / 2^6 */
    cr_expect_float_eq(mcnemar_exact(10, 2), 0.03857421875, 1e-9); /* 2 * (1 + 12 + 66) / 2^12 */
    cr_expect_float_eq(mcnemar_exact(4, 4), 1, 1e-12);
}
