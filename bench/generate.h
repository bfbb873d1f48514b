/* SPDX-License-Identifier: Apache-2.0 */
/* generate: text from a model: prefill, then token by token until something ends the answer. Knows engines,
 * tokens and text; nothing of terminals, files or chat templates. */
#ifndef BENCH_GENERATE_H
#define BENCH_GENERATE_H

#include <signal.h>
#include <stdint.h>

#include "data/tokenizer.h"
#include "eval/sampler.h"
#include "reference/engine.h"

enum {
    LOOKUP_MAX = 16,       /* tokens that are proposed at once at most */
    LOOKUP_DRAFT = 8,      /* unless told */
    GENERATE_BATCH = 1024, /* tokens of a prompt fed at once unless told */
};

/* One conversation on one session. Fill the pointers and max_tokens, zero the rest. */
struct generator {
    const struct engine *engine;
    struct session *session;
    const struct tokenizer *tokenizer;
    struct sampler *sampler; /* opened for tokenizer_size or fewer logits */
    int n_vocab;             /* V of the model: floats per row of logits */
    int max_tokens;          /* what the session can hold */
    /* Prompts and answers. The first position(session) of them have been fed; append a prompt with
     * tokenizer_encode or chat_encode. */
    struct tokens timeline;

    float *logits; /* private */
};
void generator_free(struct generator *g); /* what generate took; not the parts it was given */

struct generate_options {
    int n_predict;  /* tokens to generate at most; -1: as many as the context holds */
    int batch;      /* tokens of the prompt fed at once, after which interrupt and progress have a turn; 0:
                       GENERATE_BATCH */
    int special;    /* 1: special tokens are written */
    int ignore_eos; /* 1: tokens that end an answer are never chosen */
    int lookup;     /* tokens proposed at once at most, up to LOOKUP_MAX; 0: no prompt lookup */
    const char *const *stop; /* [n_stop] texts that end the answer; they are not written */
    int n_stop;
    const volatile sig_atomic_t *interrupt;              /* not 0: end the answer. NULL: never */
    int (*text)(void *arg, const char *bytes, size_t n); /* a piece of the answer; not 0: nobody listens */
    void (*progress)(void *arg, int done, int total);    /* tokens of the prompt; NULL: not called */
    void *arg;
};

enum generate_end {
    END_MODEL,   /* the model ended its answer */
    END_STOP,    /* a stop text */
    END_LENGTH,  /* n_predict */
    END_CONTEXT, /* max_tokens: the answer is cut */
    END_INTERRUPT,
    END_READER, /* text() returned non-zero */
};

struct generate_result {
    enum generate_end end;
    int prompt_tokens, tokens; /* fed before the answer; generated */
    int steps;                 /* feeds after the prompt: fewer than tokens with lookup */
    int64_t prompt_ns, eval_ns;
    int proposed, accepted; /* by prompt lookup */
};

/* Where the first of the stop texts begins in text [n]; n when none is there. */
size_t generate_stop_at(const struct generate_options *o, const char *text, size_t n);

/* Feeds what the timeline has and the session has not, then generates: tokens are appended to the timeline,
 * and their text goes to o->text as soon as it can neither change nor belong to a stop text. The last token
 * is usually not fed yet; the next call does that. ERR_ARG, with nothing done, when there is nothing to feed
 * or it does not fit.
 *
 * Prompt lookup proposes what followed the latest earlier place with the same last tokens, feeds it at once
 * and keeps what the sampler, asked token by token as without it, would have chosen: the text is the same for
 * every sampler as long as the engine's logits do not depend on how tokens are split over feeds, which holds
 * bit for bit in the optimized engine. The session's mark is used for going back after a wrong guess, which
 * costs a feed of tokens that were fed before; proposals get shorter, and stop for a while, when few are
 * right. */
enum status generate(struct generator *g, const struct generate_options *o, struct generate_result *r,
                     struct error *e);

#endif
