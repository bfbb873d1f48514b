/* SPDX-License-Identifier: Apache-2.0 */
/* cases_attention: what the cases of attention and attention8 have in common: shapes, limits, the spoiled
 * row. A shape's K: head size, n: query rows, [begin, end): positions, pad % 4: which limits the rows have.
 */
#ifndef TESTS_CASES_ATTENTION_H
#define TESTS_CASES_ATTENTION_H

#include "tests/kernel_cases.h"

enum attention_limits { LIMIT_CAUSAL, LIMIT_ALL, LIMIT_RANDOM, LIMIT_NONE };

/* Shape i, for head sizes of the list; returns how many shapes there are: s is one of them if i is below. */
int attention_shape(int i, const int *sizes, int n_sizes, struct shape *s);
int attention_bench_shape(int i, struct shape *s);
void attention_describe(const struct shape *s, char *text, size_t size);

/* The first position that query row r must not see; may lie outside [begin, end]. */
int attention_limit(struct operands *o, int r);

/* PATTERN_NONFINITE: query row 1 is NaN; its neighbours must not notice. */
int attention_spoiled(const struct shape *s, int r);

#endif
