/* SPDX-License-Identifier: Apache-2.0 */
/* eval_options: the command line of `lfm2 eval` made into a run's options. */
#ifndef EVAL_EVAL_OPTIONS_H
#define EVAL_EVAL_OPTIONS_H

#include <stdio.h>

#include "eval/run.h"

/* The tasks that a comma-separated list of tasks, groups and suites means, each once. *tasks is to be freed.
 * ERR_ARG names an unknown one. */
enum status eval_tasks(const char *list, struct task **tasks, int *n, struct error *e);

/* lm-eval's --gen_kwargs: "temperature=0.6,do_sample=true", or a JSON object. json_decref it. */
enum status eval_gen_kwargs(const char *text, json_t **out, struct error *e);

/* "2/4": the second of four. */
enum status eval_shard(const char *text, int *shard, int *shards, struct error *e);

/* Everything there is: for each suite its card name, state, note, tasks and where the data are. */
void eval_list(FILE *to, int verbose);

#endif
