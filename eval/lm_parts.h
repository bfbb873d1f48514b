/* SPDX-License-Identifier: Apache-2.0 */
/* lm_parts: a timeline and the job on it. Private to lm. */
#ifndef EVAL_LM_PARTS_H
#define EVAL_LM_PARTS_H

#include "eval/lm.h"

enum { LM_ROWS = 16 }; /* rows of logits that a job gets in one step at most */

/* One continuation: the tokens fed and expected. */
struct branch {
    struct tokens ids;
    size_t first; /* the row after ids[first] says how likely ids[first + 1] is, and so on to the last */
    double sum;
    int greedy;
};

struct slot {
    struct session *session;
    unsigned version; /* of the lm's prefix that the session's mark is at the end of; 0: of none */
    struct job *job;  /* NULL: free */
    /* ITEM_CHOICES: what all continuations begin with is fed once, from a mark at its end each one's rest. */
    struct branch *branches;
    int n_branches, at; /* at: -1 in the trunk, else the branch whose rest is being fed */
    size_t trunk, fed;  /* tokens of the trunk; of the current sequence that were fed */
    /* ITEM_GENERATE */
    struct gen_options gen;
    struct sampler *sampler;
    struct tokens timeline; /* prompt and answer; the first `fed` of them were fed */
    size_t n_prompt;
    struct token_stream stream;
    struct buffer said; /* with the texts of special tokens, for stop texts */
};

/* Takes the session to the end of job->prefix when ids, of which `limit` may be skipped, begin with it; else
 * to nothing. *fed is its position then. */
enum status slot_start(struct lm *lm, struct slot *s, const struct tokens *ids, size_t limit, size_t *fed,
                       struct error *e);

/* Prepares, names the next piece to feed, and takes its logits; *over: the job has its answer. begin may fail
 * the job alone: job->failed. */
enum status choices_begin(struct lm *lm, struct slot *s, struct error *e);
enum status choices_piece(struct lm *lm, struct slot *s, struct part *p, struct error *e);
enum status choices_take(struct lm *lm, struct slot *s, const struct part *p, int *over, struct error *e);
void choices_end(struct slot *s);
enum status generate_begin(struct lm *lm, struct slot *s, struct error *e);
enum status generate_piece(struct lm *lm, struct slot *s, struct part *p, struct error *e);
enum status generate_take(struct lm *lm, struct slot *s, const struct part *p, int *over, struct error *e);
void generate_end_slot(struct slot *s);

#endif
