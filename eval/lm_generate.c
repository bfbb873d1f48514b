/* SPDX-License-Identifier: Apache-2.0 */
/* lm_generate: an answer, token by token, until a stop text; and the settings that lm-eval's tasks give. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/lm_parts.h"
#include "eval/pyjson.h"

/* ---- gen_kwargs ---- */

void gen_options_free(struct gen_options *o) {
    free(o->until);
    o->until = NULL;
    o->n_until = 0;
}

static enum status number(const json_t *o, const char *key, double lo, double hi, double *out,
                          struct error *e) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return OK;
    double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= lo && x <= hi))
        return fail(e, ERR_ARG, "gen_kwargs: %s is not a number from %g to %g", key, lo, hi);
    *out = x;
    return OK;
}

static enum status whole(const json_t *o, const char *key, double lo, double hi, double *out,
                         struct error *e) {
    TRY(number(o, key, lo, hi, out, e));
    return *out == floor(*out) ? OK : fail(e, ERR_ARG, "gen_kwargs: %s is not a whole number", key);
}

static enum status read_until(struct gen_options *out, const json_t *until, struct error *e) {
    size_t n = json_is_array(until) ? json_array_size(until) : 1;
    if (!until || json_is_null(until)) return OK;
    out->until = calloc(n + 1, sizeof *out->until);
    if (!out->until) return fail(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(until) ? json_array_get(until, i) : until);
        if (!text) return fail(e, ERR_ARG, "gen_kwargs: until is not a list of texts");
        if (*text) out->until[out->n_until++] = text;
    }
    return OK;
}

static enum status read_length(struct gen_options *out, const json_t *o, struct error *e) {
    /* In the order in which lm-eval prefers them. */
    static const char *const names[] = {"max_gen_toks", "max_new_tokens", "max_tokens",
                                        "max_completion_tokens"};
    double n = 256;
    for (size_t i = sizeof names / sizeof *names; i-- > 0;) TRY(whole(o, names[i], 1, 1e6, &n, e));
    out->max_gen_toks = (int)n;
    return OK;
}

enum status gen_options_read(struct gen_options *out, const json_t *o, const struct sampler_options *defaults,
                             struct error *e) {
    *out = (struct gen_options){.sampling = sampler_greedy()};
    const json_t *sample = json_object_get(o, "do_sample"), *t = json_object_get(o, "temperature");
    double temperature = 0;
    if (sample && !json_is_null(sample) && !json_is_boolean(sample))
        return fail(e, ERR_ARG, "gen_kwargs: do_sample is not true or false");
    TRY(read_until(out, json_object_get(o, "until"), e));
    TRY(read_length(out, o, e));
    TRY(number(o, "temperature", 0, 100, &temperature, e));
    int sampled = sample && !json_is_null(sample) ? json_is_true(sample) : temperature > 0;
    struct sampler_options *s = &out->sampling;
    if (sampled && !t) *s = *defaults;
    if (t) s->temperature = sampled ? temperature : 0;
    struct sampler_options asked = *s; /* looked at even where greedy choice has no use for it */
    double top_k = s->top_k;
    TRY(whole(o, "top_k", 0, 1e6, &top_k, e));
    TRY(number(o, "top_p", 0, 1, &asked.top_p, e));
    TRY(number(o, "min_p", 0, 1, &asked.min_p, e));
    asked.top_k = (int)top_k;
    if (sampled) *s = asked;
    TRY(number(o, "repetition_penalty", 0.01, 100, &s->repeat_penalty, e));
    if (s->repeat_penalty != 1) s->repeat_last_n = -1;
    return OK;
}

/* ---- one answer ---- */

void generate_end_slot(struct slot *s) {
    gen_options_free(&s->gen);
    sampler_close(s->sampler);
    s->sampler = NULL;
    s->timeline.n = 0;
    s->said.n = 0;
    s->stream = (struct token_stream){0};
    if (s->job) return;
    tokens_free(&s->timeline);
    buffer_free(&s->said);
}

/* What fails here fails this job, not the run. */
static enum status prepare(struct lm *lm, struct slot *s, struct error *e) {
    struct sampler_options defaults = sampler_defaults(lm->model->config.arch);
    TRY(gen_options_read(&s->gen, s->job->item->gen_kwargs, &defaults, e));
    s->gen.sampling.seed = s->job->seed;
    int n_tokens = tokenizer_size(lm->tokenizer), most = lm->max_length - s->gen.max_gen_toks;
    TRY(sampler_open(&s->sampler, &s->gen.sampling, n_tokens < lm->n_vocab ? n_tokens : lm->n_vocab, e));
    if (most < 1)
        return fail(e, ERR_ARG,
                    "an answer of %d tokens leaves no room for the prompt in a context of %d; "
                    "-c N takes more",
                    s->gen.max_gen_toks, lm->max_length);
    TRY(lm_encode(lm, s->job->prompt->data ? s->job->prompt->data : "", s->job->prompt->n, &s->timeline, e));
    if (s->timeline.n == 0) return fail(e, ERR_ARG, "the prompt is empty");
    if (s->timeline.n > (size_t)most) {
        size_t cut = s->timeline.n - (size_t)most;
        memmove(s->timeline.ids, s->timeline.ids + cut, (size_t)most * sizeof *s->timeline.ids);
        s->timeline.n = (size_t)most;
        s->job->truncated = (int)cut;
    }
    return OK;
}

enum status generate_begin(struct lm *lm, struct slot *s, struct error *e) {
    enum status status = prepare(lm, s, &s->job->failed);
    if (status == ERR_MEMORY) *e = s->job->failed;
    if (status != OK) return status == ERR_MEMORY ? status : OK;
    s->n_prompt = s->timeline.n;
    return slot_start(lm, s, &s->timeline, s->timeline.n - 1, &s->fed, e);
}

enum status generate_piece(struct lm *lm, struct slot *s, struct part *p, struct error *e) {
    (void)lm, (void)e;
    p->ids = s->timeline.ids + s->fed;
    p->n = (int)(s->timeline.n - s->fed);
    p->n_logits = 1;
    return OK;
}

/* 1: a stop text ends in what was said last. */
static int stopped(const struct slot *s, size_t before) {
    for (int i = 0; i < s->gen.n_until; i++) {
        size_t n = strlen(s->gen.until[i]), from = before >= n ? before - n + 1 : 0;
        if (s->said.n > from && memmem(s->said.data + from, s->said.n - from, s->gen.until[i], n)) return 1;
    }
    return 0;
}

/* The text without special tokens, cut at the first occurrence of each stop text, one after the other, and of
 * EOS's text, which lm-eval adds to the list. */
static enum status answer(struct lm *lm, struct slot *s, struct error *e) {
    struct buffer text = {0}, eos = {0};
    struct job *job = s->job;
    int32_t end = tokenizer_eos(lm->tokenizer);
    enum status status = tokenizer_decode(lm->tokenizer, s->timeline.ids + s->n_prompt,
                                          s->timeline.n - s->n_prompt, 0, &text, e);
    if (status == OK && end >= 0) status = tokenizer_decode(lm->tokenizer, &end, 1, TOKENS_SPECIAL, &eos, e);
    json_t *clean = status == OK ? py_text(text.data ? text.data : "", text.n) : NULL;
    buffer_free(&text);
    size_t n = json_string_length(clean);
    const char *bytes = json_string_value(clean);
    for (int i = 0; clean && i <= s->gen.n_until; i++) {
        const char *stop = i < s->gen.n_until ? s->gen.until[i] : eos.n ? eos.data : NULL;
        const char *at = stop ? memmem(bytes, n, stop, strlen(stop)) : NULL;
        if (at) n = (size_t)(at - bytes);
    }
    char *copy = clean ? malloc(n + 1) : NULL;
    job->responses = copy ? calloc(1, sizeof *job->responses) : NULL;
    if (copy && job->responses) {
        memcpy(copy, bytes, n);
        copy[n] = 0;
        job->responses[0] = (struct response){.text = copy, .n = n};
        job->n_responses = 1;
    } else {
        free(copy);
        if (status == OK) status = fail(e, ERR_MEMORY, "out of memory");
    }
    json_decref(clean);
    buffer_free(&eos);
    return status;
}

enum status generate_take(struct lm *lm, struct slot *s, const struct part *p, int *over, struct error *e) {
    int32_t id;
    size_t before = s->said.n;
    s->fed += (size_t)p->n;
    TRY(sampler_choose(s->sampler, p->logits, s->timeline.ids, s->timeline.n, &id, e));
    s->job->n_tokens++;
    *over = tokenizer_ends(lm->tokenizer, id);
    if (!*over) {
        TRY(tokens_add(&s->timeline, id, e));
        TRY(tokenizer_stream(lm->tokenizer, &s->stream, id, TOKENS_SPECIAL, &s->said, e));
        TRY(buffer_check(&s->said, e));
        *over = stopped(s, before) || s->job->n_tokens == s->gen.max_gen_toks;
    }
    return *over ? answer(lm, s, e) : OK;
}
