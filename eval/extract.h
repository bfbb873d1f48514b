/* SPDX-License-Identifier: Apache-2.0 */
/* extract: lm-eval's filters and exact_match: from what a model said to what is scored. Regular expressions
 * are Python's, run by PCRE2 with limits on time and memory: a text on which an expression exceeds them has
 * no match, where Python would go on for hours. */
#ifndef EVAL_EXTRACT_H
#define EVAL_EXTRACT_H

#include <jansson.h>

#include "data/buffer.h"
#include "data/status.h"
#include "eval/pystr.h"

/* A compiled expression. NULL from pattern_open: memory ran out, or the expression is wrong (e says where).
 */
struct pattern;
enum { PATTERN_IGNORECASE = 1, PATTERN_MULTILINE = 2, PATTERN_DOTALL = 4 };
struct pattern *pattern_open(const char *expression, unsigned flags, struct error *e);
void pattern_close(struct pattern *p);

/* re.finditer: start with {.text = ...}; each call gives the next match. A text that is not UTF-8 has none.
 * effort: steps that hard matches may take, all together; for expressions from strangers, of which each match
 * could take as many as one may. NULL: that limit alone. */
struct matches {
    struct pystr text;
    int64_t *effort;
    size_t at;
    int started, after_empty, ended;
    struct pystr whole;    /* this match */
    struct pystr group[4]; /* groups 1 to 4, empty when they took no part */
    int n_groups;          /* of the expression, at most 4 */
};
int pattern_next(struct pattern *p, struct matches *m);
int pattern_found(struct pattern *p, struct pystr a); /* re.search(...) is not None */
/* len(re.findall(expression, a)); -1 when the expression cannot be compiled. effort: as in struct matches. */
long pattern_count(const char *expression, unsigned flags, struct pystr a, int64_t *effort);
void pattern_remove(struct pattern *p, struct pystr a, struct buffer *out); /* re.sub(p, "", a) */
/* re.sub(p, replacement, a), with $1 for group 1 and $0 for the whole match */
void pattern_replace(struct pattern *p, struct pystr a, const char *replacement, struct buffer *out);

enum step_kind {
    STEP_END,
    STEP_REGEX,        /* regex: the match that `select` counts, its first group that took part, stripped */
    STEP_STRIP,        /* remove_whitespace */
    STEP_MULTI_CHOICE, /* multi_choice_regex, ignoring case and punctuation, over the document's "choices" */
};
enum { FILTER_MAX_STEPS = 4 };
struct filter_step {
    enum step_kind kind;
    const char *regex;
    int select; /* 0: the first match; -1: the last */
};
struct filter {
    const char *name; /* "strict-match" */
    struct filter_step steps[FILTER_MAX_STEPS];
};

/* Appends what the filter makes of one answer; take_first at its end is understood. choices: the document's,
 * for STEP_MULTI_CHOICE. */
enum status filter_apply(const struct filter *f, struct pystr answer, const json_t *choices,
                         struct buffer *out, struct error *e);

struct exact_match {
    const char *ignore[5]; /* regexes_to_ignore, NULL after the last */
    int ignore_case, ignore_punctuation;
};
/* Sets *equal. */
enum status exact_match(const struct exact_match *m, struct pystr answer, struct pystr target, int *equal,
                        struct error *e);

#endif
