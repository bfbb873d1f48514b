/* SPDX-License-Identifier: Apache-2.0 */
/* lookup: generate() with and without proposals, from an empty session each time. */
#include "bench/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "bench/generate.h"
#include "bench/stats.h"
#include "data/sha256.h"

enum { MAX_REPETITIONS = 1000 };

#define F(member) F64(lookup_row, member)
#define I(member) I64(lookup_row, member)
#define T(member) TEXT_FIELD(lookup_row, member)
static const struct field fields[] = {
    T(engine),      T(model),         T(test),          I(n_prompt), I(n_gen),    I(threads),  I(seed),
    I(repetitions), I(samples_first), I(samples_count), F(plain_ts), F(plain_lo), F(plain_hi), F(lookup_ts),
    F(lookup_lo),   F(lookup_hi),     F(ratio),         F(ratio_lo), F(ratio_hi), I(steps),    I(proposed),
    I(accepted),    I(same_tokens),   T(ids_sha256),    T(kernels),
};
const struct table lookup_table = {"lookup", fields, sizeof fields / sizeof *fields,
                                   sizeof(struct lookup_row)};

struct timing {
    const struct lookup_options *o;
    const struct subject *s;
    struct tokenizer *tokenizer;
    struct sampler *sampler;
    struct generator g;
    struct tokens want; /* what plain decoding gave first */
    double ts[2][MAX_REPETITIONS];
};

static int ignore_text(void *arg, const char *bytes, size_t n) {
    (void)arg, (void)bytes, (void)n;
    return 0;
}

static enum status open_timing(struct timing *t, int longest, struct error *e) {
    const struct model *m = t->s->model;
    struct engine_options options = {.threads = t->o->threads,
                                     .max_tokens = LOOKUP_PROMPT + longest,
                                     .max_batch = t->o->batch,
                                     .cpu_mask = t->o->cpu_mask,
                                     .kv_type = t->s->kv_type,
                                     .packed = t->s->packed};
    struct sampler_options greedy = sampler_greedy();
    if (options.max_tokens > m->config.context_length)
        return fail(e, ERR_ARG, "%s: --lookup %d takes %d tokens (expected at most %d, the model's context)",
                    m->path, longest, options.max_tokens, m->config.context_length);
    TRY(tokenizer_of_model(&t->tokenizer, m, e));
    int n_tokens = tokenizer_size(t->tokenizer), n_vocab = m->config.n_vocab;
    TRY(sampler_open(&t->sampler, &greedy, n_tokens < n_vocab ? n_tokens : n_vocab, e));
    t->g = (struct generator){.engine = t->s->engine,
                              .tokenizer = t->tokenizer,
                              .sampler = t->sampler,
                              .n_vocab = n_vocab,
                              .max_tokens = options.max_tokens};
    return t->s->engine->open(&t->g.session, m, &options, e);
}

static void close_timing(struct timing *t) {
    if (t->g.session) t->s->engine->close(t->g.session);
    generator_free(&t->g);
    sampler_close(t->sampler);
    tokenizer_close(t->tokenizer);
    tokens_free(&t->want);
}

static enum status add_prompt(struct timing *t, struct error *e) {
    int32_t block[LOOKUP_BLOCK];
    int bos = t->s->model->config.bos_id;
    uint64_t state = t->o->seed;
    for (int i = 0; i < LOOKUP_BLOCK; i++)
        block[i] = (int32_t)random_below(&state, (uint64_t)tokenizer_size(t->tokenizer));
    t->g.timeline.n = 0;
    TRY(tokens_add(&t->g.timeline, bos >= 0 && bos < t->g.n_vocab ? bos : block[0], e));
    for (int i = 0; i < LOOKUP_BLOCK * LOOKUP_BLOCKS; i++)
        TRY(tokens_add(&t->g.timeline, block[i % LOOKUP_BLOCK], e));
    return OK;
}

/* One text; *same: whether it is what plain decoding gave first. */
static enum status go(struct timing *t, int n_gen, int lookup, struct generate_result *r, int *same,
                      struct error *e) {
    struct generate_options o = {
        .n_predict = n_gen, .ignore_eos = 1, .lookup = lookup ? LOOKUP_DRAFT : 0, .text = ignore_text};
    t->s->engine->reset(t->g.session);
    TRY(add_prompt(t, e));
    TRY(generate(&t->g, &o, r, e));
    const int32_t *ids = t->g.timeline.ids + LOOKUP_PROMPT;
    size_t n = t->g.timeline.n - LOOKUP_PROMPT;
    for (size_t i = 0; t->want.n < n && i < n; i++) TRY(tokens_add(&t->want, ids[i], e));
    *same = n == t->want.n && memcmp(ids, t->want.ids, n * sizeof *ids) == 0;
    return OK;
}

static void describe(struct lookup_row *row, struct timing *t, int n) {
    struct interval plain = median_interval(t->ts[0], n, t->o->seed),
                    lookup = median_interval(t->ts[1], n, t->o->seed),
                    ratio = ratio_interval(t->ts[1], t->ts[0], n, t->o->seed);
    row->plain_ts = plain.mid, row->plain_lo = plain.lo, row->plain_hi = plain.hi;
    row->lookup_ts = lookup.mid, row->lookup_lo = lookup.lo, row->lookup_hi = lookup.hi;
    row->ratio = ratio.mid, row->ratio_lo = ratio.lo, row->ratio_hi = ratio.hi;
    sha256_hex(t->want.ids, t->want.n * sizeof *t->want.ids, row->ids_sha256);
    t->s->engine->describe(t->g.session, row->kernels, sizeof row->kernels);
}

static enum status time_one(struct timing *t, int n_gen, struct rows *rows, struct rows *samples,
                            struct error *e) {
    struct lookup_row row = {.n_prompt = LOOKUP_PROMPT,
                             .n_gen = n_gen,
                             .threads = t->o->threads,
                             .seed = (int64_t)t->o->seed,
                             .repetitions = t->o->repetitions,
                             .samples_first = (int64_t)samples->n,
                             .samples_count = INT64_C(2) * t->o->repetitions,
                             .same_tokens = 1};
    struct generate_result r;
    int same;
    subject_engine_text(t->s, row.engine);
    snprintf(row.model, sizeof row.model, "%s", t->s->name);
    snprintf(row.test, sizeof row.test, "tg%d lookup", n_gen);
    t->want.n = 0;
    TRY(go(t, n_gen, 0, &r, &same, e)); /* warms up, and says what to expect */
    for (int k = 0; k < t->o->repetitions; k++) {
        struct sample_row ns[2];
        char what[160];
        snprintf(what, sizeof what, "%s on %.40s, %d of %d", row.test, row.model, k + 1, t->o->repetitions);
        if (t->o->progress) t->o->progress(t->o->arg, (double)k / t->o->repetitions, what);
        for (int i = 0; i < 2; i++) {
            int lookup = (k + i) % 2;
            TRY(go(t, n_gen, lookup, &r, &same, e));
            row.same_tokens &= same;
            ns[lookup].ns = r.eval_ns;
            t->ts[lookup][k] = 1e9 * (r.tokens - 1) / (double)r.eval_ns;
            if (lookup) row.steps = r.steps, row.proposed = r.proposed, row.accepted = r.accepted;
        }
        for (int i = 0; i < 2; i++)
            if (rows_add(samples, &samples_table, &ns[i])) return fail(e, ERR_MEMORY, "bench: out of memory");
    }
    describe(&row, t, t->o->repetitions);
    return rows_add(rows, &lookup_table, &row) ? fail(e, ERR_MEMORY, "bench: out of memory") : OK;
}

enum status lookup_run(const struct lookup_options *o, const struct subject *s, struct rows *rows,
                       struct rows *samples, struct error *e) {
    int longest = 0;
    for (int i = 0; i < o->n_gen->n; i++) {
        if (o->n_gen->v[i] < 2)
            return fail(e, ERR_ARG, "bench: --lookup %d: expected 2 tokens or more", o->n_gen->v[i]);
        if (o->n_gen->v[i] > longest) longest = o->n_gen->v[i];
    }
    if (o->repetitions < 1 || o->repetitions > MAX_REPETITIONS)
        return fail(e, ERR_ARG, "bench: %d repetitions (expected 1 to %d)", o->repetitions, MAX_REPETITIONS);
    struct timing *t = calloc(1, sizeof *t);
    if (!t) return fail(e, ERR_MEMORY, "bench: out of memory");
    t->o = o, t->s = s;
    enum status status = open_timing(t, longest, e);
    for (int i = 0; status == OK && i < o->n_gen->n; i++)
        status = time_one(t, o->n_gen->v[i], rows, samples, e);
    close_timing(t);
    free(t);
    return status;
}

void lookup_print(FILE *to, const struct lookup_row *rows, size_t n) {
    fprintf(to,
            "| model | engine | threads | test | plain tok/s | with lookup tok/s (95 %% interval) | with ÷ "
            "without | guessed | accepted | accepted per pass | same tokens |\n"
            "|---|---|--:|---|--:|--:|--:|--:|--:|--:|---|\n");
    for (size_t i = 0; i < n; i++) {
        const struct lookup_row *r = &rows[i];
        fprintf(to, "| %s | %s | %lld | %s | %.2f | %.2f (%.2f – %.2f) | **%.2f** (%.2f – %.2f) | ", r->model,
                r->engine, (long long)r->threads, r->test, r->plain_ts, r->lookup_ts, r->lookup_lo,
                r->lookup_hi, r->ratio, r->ratio_lo, r->ratio_hi);
        fprintf(to, "%lld | %lld | %.2f | %s |\n", (long long)r->proposed, (long long)r->accepted,
                r->steps > 0 ? (double)r->accepted / (double)r->steps : 0, r->same_tokens ? "yes" : "**NO**");
    }
}
