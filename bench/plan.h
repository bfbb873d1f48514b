/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what `lfm2 bench` is going to time: tests from llama-bench's lists and ranges, or from a preset. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <stddef.h>

#include "data/status.h"

/* n_prompt tokens are fed at once, then n_gen one by one, after n_depth tokens that are not timed. Without a
 * prompt, n_parallel sequences may be decoded at once, n_gen tokens each, after the same n_depth tokens. */
struct bench_test {
    int n_prompt, n_gen, n_depth;
    int n_parallel; /* 0 or 1: one sequence */
};

/* Tokens of a test, all sequences together; and how many sequences there are. */
static inline int bench_test_sequences(const struct bench_test *t) {
    return t->n_parallel > 1 ? t->n_parallel : 1;
}
static inline int bench_test_tokens(const struct bench_test *t) {
    return t->n_prompt + t->n_gen * bench_test_sequences(t);
}

/* "pp512", "tg128", "tg128 x8", "pp512+tg128", each with " @ d4096" at a depth. */
void bench_test_name(const struct bench_test *t, char *text, size_t size);

enum { MAX_LIST = 256 };
struct int_list {
    int n, v[MAX_LIST];
};

/* Adds the numbers of "1,4,16-64*2,100-300+100" (a range without a step counts by 1). what: the option, for
 * the error. */
enum status int_list_parse(struct int_list *out, const char *text, const char *what, struct error *e);

/* The tests of -p, -n, -pg and -d (any may be empty; 0 in -p or -n means none), shallow depths first. pg
 * holds pairs. np: sequences at once, for the tests of -n; empty: one. */
struct test_list {
    int n;
    struct bench_test v[MAX_LIST];
};
enum status test_list_make(struct test_list *out, const struct int_list *p, const struct int_list *n,
                           const struct int_list *pg, const struct int_list *d, const struct int_list *np,
                           struct error *e);

struct preset {
    const char *name, *help;
    int repetitions;     /* at most */
    int min_repetitions; /* when time is short */
    double max_seconds;  /* 0: as long as it takes */
    int n;
    struct bench_test tests[24];
};
/* NULL for an unknown name; preset_names for error texts. */
const struct preset *preset_by_name(const char *name);
extern const char *const preset_names;

#endif
