/* SPDX-License-Identifier: Apache-2.0 */
/* compare: two runs, question by question. Pairs say much more than two means: both runs see the same easy
 * and hard questions. Takes samples files, ours or lm-eval's. */
#ifndef EVAL_COMPARE_H
#define EVAL_COMPARE_H

#include <stdio.h>

#include "bench/eval_rows.h"

/* a, b: samples_*.jsonl files, or folders with such files somewhere below (of each task the newest). Prints,
 * for every task, filter and metric that both have, both scores, the difference b - a with its 95 % interval
 * (paired bootstrap), and for metrics of 0 and 1 McNemar's exact test. Only documents that both have count;
 * how many only one has is said. ERR_ARG: nothing in common, or different prompts or documents under the same
 * number. pairs: gets a row of eval_pairs_table for each line that is printed; free(pairs->data). */
enum status compare_runs(const char *a, const char *b, FILE *to, struct rows *pairs, struct error *e);

#endif
