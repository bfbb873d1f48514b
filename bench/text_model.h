/* SPDX-License-Identifier: Apache-2.0 */
/* text_model: what `lfm2 run` and `lfm2 chat` share: their options, the model with its tokenizer, sampler and
 * session, the terminal, and the timings at the end. */
#ifndef BENCH_TEXT_MODEL_H
#define BENCH_TEXT_MODEL_H

#include "bench/cmd.h"
#include "bench/generate.h"
#include "bench/options.h"
#include "bench/progress.h"
#include "data/model.h"

/* Values as typed; what was not typed is replaced by the model's defaults. */
struct text_options {
    const char *model, *lora, *packed, *engine;
    int threads, context, batch, n_predict, top_k, repeat_last_n, seed, special;
    double temperature, top_p, min_p, repeat_penalty;
    struct option_list stop;
    struct cache_types cache;
};
struct text_options text_options_none(void);

/* Rows for options_parse, of a struct text_options. */
#define TEXT_OPTIONS(a)                                                                                      \
    {"-m,--model", OPTION_TEXT, &(a).model, "FILE", "the model: a GGUF file or a Hugging Face folder"},      \
        {"--lora", OPTION_TEXT, &(a).lora, "F[:S]",                                                          \
         "add a PEFT adapter, S times (default 1); may be repeated"},                                        \
        {"--packed", OPTION_TEXT, &(a).packed, "FILE",                                                       \
         "the model's packed file (lfm2 pack), optimized engine only"},                                      \
        CACHE_OPTIONS((a).cache),                                                                            \
        {"--engine", OPTION_TEXT, &(a).engine, "NAME", "reference or optimized (default)"},                  \
        {"-t,--threads", OPTION_THREADS, &(a).threads, "N", "threads (default: one per available CPU)"},     \
        {"-c,--ctx-size", OPTION_INT, &(a).context, "N", "tokens of prompt and answer together"},            \
        {"-b,--batch-size", OPTION_INT, &(a).batch, "N",                                                     \
         "tokens of the prompt computed at once (default: 1024)"},                                           \
        {"-n,--predict,--n-predict", OPTION_INT, &(a).n_predict, "N",                                        \
         "tokens to generate at most (default: until the model ends)"},                                      \
        {"--temp", OPTION_FLOAT, &(a).temperature, "T",                                                      \
         "0: always the likeliest token (default: the model card's,\nwith LFM2 0.3; greedy when unknown)"},  \
        {"--top-k", OPTION_INT, &(a).top_k, "N", "choose among the N likeliest; 0: all"},                    \
        {"--top-p", OPTION_FLOAT, &(a).top_p, "P", "choose among the likeliest that reach P; 1: all"},       \
        {"--min-p", OPTION_FLOAT, &(a).min_p, "P",                                                           \
         "leave out what is less than P times as likely as the first\n(default with LFM2: 0.15)"},           \
        {"--repeat-penalty", OPTION_FLOAT, &(a).repeat_penalty, "X",                                         \
         "make tokens seen before less likely; 1: do not\n(default with LFM2: 1.05; 1 with --temp 0)"},      \
        {"--repeat-last-n", OPTION_INT, &(a).repeat_last_n, "N",                                             \
         "how many of the last tokens count as seen (default: all)"},                                        \
        {"-s,--seed", OPTION_INT, &(a).seed, "N", "of the random choices (default: 0)"}, {                   \
        "--stop", OPTION_LIST, &(a).stop, "TEXT", "end the answer before this text; may be repeated"         \
    }

struct text_model {
    struct model *model;
    struct tokenizer *tokenizer;
    struct sampler *sampler;
    struct generator g;
    struct generate_options generate; /* text and progress write to standard output and error */
    struct generate_result total;     /* of all answers */
    int firsts;                       /* tokens among them that came with a prompt */
    struct progress progress;
    int write_error; /* errno of a failed write, 0: none */
    int64_t start_ns, load_ns;
};

/* Checks the options and loads everything but the session. cmd names the command in errors. Free with
 * text_model_close, also after an error. */
enum status text_model_open(struct text_model *t, const struct text_options *o, const char *cmd,
                            struct error *e);
/* Opens the session for this many tokens. */
enum status text_model_start(struct text_model *t, const struct text_options *o, int max_tokens,
                             struct error *e);
void text_model_close(struct text_model *t);
/* Most tokens a session may have: -c, or fallback; neither more than the model's own context. */
enum status text_model_context(const struct text_model *t, const struct text_options *o, int fallback,
                               int *max_tokens, struct error *e);

/* generate, with what it took added to the total. ERR_IO when standard output cannot be written, but not when
 * its reader has gone away. */
enum status text_model_generate(struct text_model *t, struct generate_result *r, struct error *e);

/* On standard error, in the form of llama.cpp. */
void text_model_timings(const struct text_model *t);

/* From now on SIGINT sets interrupted instead of ending the process, and writing to a closed pipe is an
 * error. read() at a terminal is interrupted too. once: a second SIGINT ends the process. */
extern volatile sig_atomic_t interrupted;
void catch_signals(int once);

#endif
