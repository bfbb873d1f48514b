/* SPDX-License-Identifier: Apache-2.0 */
/* lm: opening, prompts, tokens, and the loop that feeds all timelines. */
#include "eval/lm.h"

#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "eval/lm_parts.h"
#include "eval/pystr.h"

static enum status open_parts(struct lm *lm, struct error *e) {
    const struct lm_options *o = &lm->options;
    lm->engine = engine_by_name(o->engine);
    if (!lm->engine)
        return fail(e, ERR_ARG, "unknown engine '%s' (expected reference or optimized)", o->engine);
    TRY(model_open_lora(&lm->model, o->model, o->lora, e));
    TRY(tokenizer_of_model(&lm->tokenizer, lm->model, e));
    if (o->chat && o->chat_template)
        TRY(chat_template_named(&lm->template, o->chat_template, e));
    else if (o->chat)
        TRY(chat_template_of(&lm->template, tokenizer_chat_template(lm->tokenizer), o->model, e));
    int limit = lm->model->config.context_length > 0 ? lm->model->config.context_length : INT32_MAX;
    if (o->context > limit)
        return fail(e, ERR_ARG, "%s: the model has no context of %d tokens (expected at most %d)", o->model,
                    o->context, limit);
    lm->n_vocab = lm->model->config.n_vocab;
    lm->max_length = o->context ? o->context : limit < LM_CONTEXT ? limit : LM_CONTEXT;
    lm->n_slots = o->batch ? o->batch : LM_BATCH;
    if (lm->n_slots < 1 || lm->n_slots > LM_MAX_BATCH)
        return fail(e, ERR_ARG, "cannot run %d items at once (expected 1 to %d)", lm->n_slots, LM_MAX_BATCH);
    lm->slots = calloc((size_t)lm->n_slots, sizeof *lm->slots);
    lm->parts = calloc((size_t)lm->n_slots, sizeof *lm->parts);
    return lm->slots && lm->parts ? OK : fail(e, ERR_MEMORY, "out of memory");
}

enum status lm_open(struct lm **out, const struct lm_options *o, struct error *e) {
    *out = NULL;
    struct lm *lm = calloc(1, sizeof *lm);
    if (!lm) return fail(e, ERR_MEMORY, "out of memory");
    lm->options = *o;
    enum status status = open_parts(lm, e);
    if (status != OK) {
        lm_close(lm);
        return status;
    }
    *out = lm;
    return OK;
}

void lm_close(struct lm *lm) {
    if (!lm) return;
    for (int i = lm->slots ? lm->n_slots : 0; i-- > 0;) /* the first was opened first: closed last */
        if (lm->slots[i].session) lm->engine->close(lm->slots[i].session);
    free(lm->slots);
    free(lm->parts);
    free(lm->logits);
    tokens_free(&lm->prefix);
    snapshot_free(&lm->snapshot);
    tokenizer_close(lm->tokenizer);
    model_close(lm->model);
    free(lm);
}

void lm_describe(const struct lm *lm, char *text, size_t size) {
    *text = 0;
    if (lm->slots[0].session) lm->engine->describe(lm->slots[0].session, text, size);
}

enum status lm_prompt(const struct lm *lm, const struct item *item, struct buffer *out, struct error *e) {
    if (!item->messages) {
        buffer_add(out, item->context.data ? item->context.data : "", item->context.n);
        return buffer_check(out, e);
    }
    struct buffer bos = {0};
    struct chat_text text = {0};
    tokenizer_bos_text(lm->tokenizer, &bos);
    struct chat_options options = {.bos = bos.n ? bos.data : NULL};
    enum status status = chat_render(lm->template, item->messages, NULL, &options, &text, e);
    if (status == OK) {
        buffer_add(out, text.text.data ? text.text.data : "", text.text.n);
        status = buffer_check(out, e);
    }
    chat_text_free(&text);
    buffer_free(&bos);
    return status;
}

enum status lm_encode(const struct lm *lm, const char *text, size_t n, struct tokens *out, struct error *e) {
    return tokenizer_encode(lm->tokenizer, text, n, TOKENS_BOS | TOKENS_SPECIAL, out, e);
}

static enum status encode_after_nothing(const struct lm *lm, const struct buffer *continuation,
                                        struct tokens *whole, size_t *n, struct error *e) {
    int32_t first =
        tokenizer_bos(lm->tokenizer) >= 0 ? tokenizer_bos(lm->tokenizer) : tokenizer_eos(lm->tokenizer);
    struct tokens ids = {0};
    enum status status =
        tokenizer_encode(lm->tokenizer, continuation->data, continuation->n, TOKENS_SPECIAL, &ids, e);
    int doubled = status == OK && ids.n > 0 && ids.ids[0] == first;
    if (status == OK && !doubled) status = tokens_add(whole, first, e);
    for (size_t i = 0; i < ids.n && status == OK; i++) status = tokens_add(whole, ids.ids[i], e);
    *n = ids.n - (size_t)doubled;
    tokens_free(&ids);
    return status;
}

enum status lm_encode_pair(const struct lm *lm, const struct buffer *context,
                           const struct buffer *continuation, struct tokens *whole, size_t *n_continuation,
                           struct error *e) {
    size_t kept = pystr_rstrip(pystr_in(context)).n;
    struct buffer both = {0};
    struct tokens alone = {0};
    if (context->n == 0) {
        TRY(encode_after_nothing(lm, continuation, whole, n_continuation, e));
    } else {
        buffer_add(&both, context->data, context->n);
        buffer_add(&both, continuation->data, continuation->n);
        enum status status = buffer_check(&both, e);
        if (status == OK) status = lm_encode(lm, both.data, both.n, whole, e);
        if (status == OK) status = lm_encode(lm, both.data, kept, &alone, e);
        *n_continuation = whole->n > alone.n ? whole->n - alone.n : 0;
        buffer_free(&both);
        tokens_free(&alone);
        if (status != OK) return status;
    }
    if (*n_continuation == 0 || whole->n == *n_continuation)
        return fail(e, ERR_ARG, "a continuation of no tokens, or after none, has no likelihood");
    return OK;
}

void job_free(struct job *job) {
    for (int i = 0; i < job->n_responses; i++) free((char *)job->responses[i].text);
    free(job->responses);
    job->responses = NULL;
    job->n_responses = 0;
}

/* ---- timelines ---- */

static enum status open_slots(struct lm *lm, struct error *e) {
    const struct lm_options *o = &lm->options;
    struct engine_options options = {.threads = o->threads,
                                     .max_tokens = lm->max_length,
                                     .packed = o->packed,
                                     .cpu_mask = o->cpu_mask,
                                     .kv_type = o->kv_type};
    lm->logits = malloc((size_t)lm->n_slots * LM_ROWS * (size_t)lm->n_vocab * sizeof *lm->logits);
    if (!lm->logits) return fail(e, ERR_MEMORY, "%s: no memory for %d timelines", o->model, lm->n_slots);
    int64_t start = now_ns();
    TRY(lm->engine->open(&lm->slots[0].session, lm->model, &options, e));
    lm->load_ns = now_ns() - start;
    for (int i = 1; i < lm->n_slots; i++)
        TRY(lm->engine->fork(&lm->slots[i].session, lm->slots[0].session, 0, e));
    return OK;
}

/* Computes the beginning in this slot and keeps it for the others. */
static enum status take_prefix(struct lm *lm, struct slot *s, const struct tokens *prefix, struct error *e) {
    lm->prefix.n = 0;
    lm->version++;
    for (size_t i = 0; i < prefix->n; i++) TRY(tokens_add(&lm->prefix, prefix->ids[i], e));
    lm->engine->reset(s->session);
    TRY(lm->engine->feed(s->session, prefix->ids, (int)prefix->n, NULL, 0, e));
    lm->fed += (long)prefix->n;
    lm->engine->mark(s->session);
    s->version = lm->version;
    return lm->engine->save(s->session, &lm->snapshot, e);
}

static int begins_with(const struct tokens *ids, size_t limit, const struct tokens *prefix) {
    return prefix->n > 0 && prefix->n <= limit &&
           memcmp(ids->ids, prefix->ids, prefix->n * sizeof *ids->ids) == 0;
}

enum status slot_start(struct lm *lm, struct slot *s, const struct tokens *ids, size_t limit, size_t *fed,
                       struct error *e) {
    const struct tokens *prefix = s->job->prefix;
    *fed = 0;
    if (lm->options.no_prefix || !prefix || !begins_with(ids, limit, prefix)) {
        lm->engine->reset(s->session);
        s->version = 0;
        return OK;
    }
    *fed = prefix->n;
    int same = lm->prefix.n == prefix->n && begins_with(&lm->prefix, prefix->n, prefix);
    if (!same) return take_prefix(lm, s, prefix, e);
    lm->reused += (long)prefix->n;
    if (s->version == lm->version) return lm->engine->rollback(s->session, e);
    TRY(lm->engine->restore(s->session, &lm->snapshot, e));
    lm->engine->mark(s->session);
    s->version = lm->version;
    return OK;
}

/* ---- the loop ---- */

static enum status finish(struct slot *s, const struct lm_source *source, struct error *e) {
    struct job *job = s->job;
    s->job = NULL;
    choices_end(s);
    generate_end_slot(s);
    return source->done(source->arg, job, e);
}

/* Gives a free slot a job that needs the model; *none: there is none. */
static enum status occupy(struct lm *lm, struct slot *s, const struct lm_source *source, int *none,
                          struct error *e) {
    while (!s->job) {
        struct job *job = NULL;
        TRY(source->next(source->arg, &job, e));
        *none = job == NULL;
        if (*none) return OK;
        /* A model takes seconds to open: not before there is something to ask. */
        if (!lm->logits) TRY(open_slots(lm, e));
        s->job = job;
        TRY((job->item->kind == ITEM_CHOICES ? choices_begin : generate_begin)(lm, s, e));
        if (job->failed.code != OK) TRY(finish(s, source, e));
    }
    return OK;
}

static enum status step(struct lm *lm, const struct lm_source *source, int *active, struct error *e) {
    int n = 0, none = 0;
    struct slot *owner[LM_MAX_BATCH];
    for (int i = 0; i < lm->n_slots; i++) {
        struct slot *s = &lm->slots[i];
        if (!s->job && !none) TRY(occupy(lm, s, source, &none, e));
        if (!s->job) continue;
        struct part *p = &lm->parts[n];
        *p = (struct part){.session = s->session,
                           .logits = lm->logits + (size_t)n * LM_ROWS * (size_t)lm->n_vocab};
        TRY((s->job->item->kind == ITEM_CHOICES ? choices_piece : generate_piece)(lm, s, p, e));
        lm->fed += p->n;
        owner[n++] = s;
    }
    *active = n > 0;
    if (n == 0) return OK;
    TRY(n == 1 ? lm->engine->feed(lm->parts[0].session, lm->parts[0].ids, lm->parts[0].n, lm->parts[0].logits,
                                  lm->parts[0].n_logits, e)
               : lm->engine->feed_many(lm->parts, n, e));
    for (int i = 0; i < n; i++) {
        int over = 0;
        struct slot *s = owner[i];
        TRY((s->job->item->kind == ITEM_CHOICES ? choices_take : generate_take)(lm, s, &lm->parts[i], &over,
                                                                                e));
        if (over) TRY(finish(s, source, e));
    }
    return OK;
}

enum status lm_run(struct lm *lm, const struct lm_source *source, struct error *e) {
    int active = 1;
    enum status status = OK;
    while (active && status == OK) status = step(lm, source, &active, e);
    for (int i = 0; i < lm->n_slots; i++) { /* after a failure: its jobs are the source's again */
        lm->slots[i].job = NULL;
        choices_end(&lm->slots[i]);
        generate_end_slot(&lm->slots[i]);
    }
    return status;
}
