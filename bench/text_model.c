/* SPDX-License-Identifier: Apache-2.0 */
/* text_model: loading, the terminal and the timings of run and chat. */
#include "bench/text_model.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/cmd.h"
#include "bench/text_input.h"

enum { UNSET = INT_MIN, SHOWN_PROMPT = 256 /* tokens; shorter prompts get no progress line */ };

volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

void catch_signals(int once) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = once ? (int)SA_RESETHAND : 0};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

struct text_options text_options_none(void) {
    return (struct text_options){.engine = "optimized",
                                 .n_predict = -1,
                                 .top_k = UNSET,
                                 .repeat_last_n = UNSET,
                                 .temperature = NAN,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .repeat_penalty = NAN};
}

static struct sampler_options sampling(const struct text_options *o, const char *arch) {
    struct sampler_options s = sampler_defaults(arch);
    if (o->temperature == 0) s = sampler_greedy();
    if (!isnan(o->temperature)) s.temperature = o->temperature;
    if (o->top_k != UNSET) s.top_k = o->top_k;
    if (!isnan(o->top_p)) s.top_p = o->top_p;
    if (!isnan(o->min_p)) s.min_p = o->min_p;
    if (!isnan(o->repeat_penalty)) s.repeat_penalty = o->repeat_penalty;
    if (o->repeat_last_n != UNSET) s.repeat_last_n = o->repeat_last_n;
    s.seed = (uint64_t)o->seed;
    return s;
}

static int write_text(void *arg, const char *bytes, size_t n) {
    struct text_model *t = arg;
    progress_end(&t->progress);
    if (text_output(bytes, n) == 0) return 0;
    t->write_error = errno;
    return -1;
}

static void show_prompt(void *arg, int done, int total) {
    struct text_model *t = arg;
    if (total < SHOWN_PROMPT) return;
    progress_show(&t->progress, (double)done / total, "prompt: %d of %d tokens", done, total);
    if (done == total) progress_end(&t->progress);
}

static enum status check(const struct text_options *o, const char *cmd, struct error *e) {
    if (!o->model) return fail(e, ERR_ARG, "%s: -m FILE is missing; see lfm2 %s --help", cmd, cmd);
    if (!engine_by_name(o->engine))
        return fail(e, ERR_ARG, "%s: unknown engine '%s' (expected reference or optimized)", cmd, o->engine);
    if (o->batch < 0 || o->context < 0) return fail(e, ERR_ARG, "%s: -b and -c may not be negative", cmd);
    if (o->n_predict < -1)
        return fail(e, ERR_ARG, "%s: cannot generate %d tokens (expected 0 or more, or -1 for no limit)", cmd,
                    o->n_predict);
    for (int i = 0; i < o->stop.n; i++)
        if (!*o->stop.at[i]) return fail(e, ERR_ARG, "%s: --stop needs a text that is not empty", cmd);
    return OK;
}

enum status text_model_open(struct text_model *t, const struct text_options *o, const char *cmd,
                            struct error *e) {
    *t = (struct text_model){.start_ns = now_ns()};
    TRY(check(o, cmd, e));
    TRY(model_open_lora(&t->model, o->model, o->lora, e));
    TRY(tokenizer_of_model(&t->tokenizer, t->model, e));
    int n_vocab = t->model->config.n_vocab, n_tokens = tokenizer_size(t->tokenizer);
    struct sampler_options s = sampling(o, t->model->config.arch);
    TRY(sampler_open(&t->sampler, &s, n_tokens < n_vocab ? n_tokens : n_vocab, e));
    t->g = (struct generator){.engine = engine_by_name(o->engine),
                              .tokenizer = t->tokenizer,
                              .sampler = t->sampler,
                              .n_vocab = n_vocab};
    t->generate = (struct generate_options){.n_predict = o->n_predict,
                                            .batch = o->batch,
                                            .special = o->special,
                                            .stop = o->stop.at,
                                            .n_stop = o->stop.n,
                                            .interrupt = &interrupted,
                                            .text = write_text,
                                            .progress = show_prompt,
                                            .arg = t};
    return OK;
}

enum status text_model_start(struct text_model *t, const struct text_options *o, int max_tokens,
                             struct error *e) {
    struct engine_options options = {.threads = o->threads,
                                     .max_tokens = max_tokens,
                                     .max_batch = o->batch ? o->batch : GENERATE_BATCH,
                                     .packed = o->packed};
    if (cmd_isa_mask(&options.cpu_mask, e)) return e->code;
    TRY(cmd_kv_type(&options.kv_type, &o->cache, t->g.engine, e));
    t->g.max_tokens = max_tokens;
    TRY(t->g.engine->open(&t->g.session, t->model, &options, e));
    t->load_ns = now_ns() - t->start_ns;
    return OK;
}

void text_model_close(struct text_model *t) {
    if (t->g.session) t->g.engine->close(t->g.session);
    generator_free(&t->g);
    sampler_close(t->sampler);
    tokenizer_close(t->tokenizer);
    model_close(t->model);
}

enum status text_model_context(const struct text_model *t, const struct text_options *o, int fallback,
                               int *max_tokens, struct error *e) {
    int limit = t->model->config.context_length;
    if (limit <= 0) limit = INT_MAX;
    if (o->context > limit)
        return fail(e, ERR_ARG, "%s: the model has no context of %d tokens (expected at most %d)", o->model,
                    o->context, limit);
    *max_tokens = o->context ? o->context : fallback < limit ? fallback : limit;
    return OK;
}

enum status text_model_generate(struct text_model *t, struct generate_result *r, struct error *e) {
    enum status status = generate(&t->g, &t->generate, r, e);
    progress_end(&t->progress);
    t->total.end = r->end;
    t->firsts += r->tokens > 0;
    t->total.prompt_tokens += r->prompt_tokens, t->total.prompt_ns += r->prompt_ns;
    t->total.tokens += r->tokens, t->total.eval_ns += r->eval_ns, t->total.steps += r->steps;
    t->total.proposed += r->proposed, t->total.accepted += r->accepted;
    if (status == OK && r->end == END_READER && t->write_error != EPIPE)
        return fail(e, ERR_IO, "standard output: %s", strerror(t->write_error));
    return status;
}

static void print_rate(const char *name, int64_t ns, int n, const char *unit) {
    double ms = 1e-6 * (double)ns;
    fprintf(stderr, "%16s time = %11.2f ms / %5d %-6s", name, ms, n, unit);
    if (n > 0 && ns > 0)
        fprintf(stderr, " (%8.2f ms per token, %8.2f tokens per second)", ms / n, 1e3 * n / ms);
    fputc('\n', stderr);
}

void text_model_timings(const struct text_model *t) {
    const struct generate_result *r = &t->total;
    int64_t all = now_ns() - t->start_ns;
    fprintf(stderr, "%16s time = %11.2f ms\n", "load", 1e-6 * (double)t->load_ns);
    print_rate("prompt eval", r->prompt_ns, r->prompt_tokens, "tokens");
    print_rate("eval", r->eval_ns, r->tokens - t->firsts, "runs");
    fprintf(stderr, "%16s time = %11.2f ms / %5d tokens\n", "total", 1e-6 * (double)all,
            r->prompt_tokens + r->tokens);
    if (t->generate.lookup)
        fprintf(stderr, "%16s      = %d of %d proposed tokens accepted, %d feeds for %d tokens\n",
                "prompt lookup", r->accepted, r->proposed, r->steps, r->tokens - t->firsts);
}
