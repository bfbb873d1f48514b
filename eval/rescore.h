/* SPDX-License-Identifier: Apache-2.0 */
/* rescore: samples that lm-eval (or we) wrote, scored again row by row. What a model said is taken from the
 * file; everything else is done anew and must be what the file says. */
#ifndef EVAL_RESCORE_H
#define EVAL_RESCORE_H

#include <stdio.h>

#include "data/status.h"
#include "eval/task.h"

struct rescore_options {
    const char *task;            /* NULL: from the file's name */
    const char *data;            /* build prompts and documents too, from these files; NULL: do not */
    struct task_options options; /* with data: how the prompts were built */
    const char *model;         /* with data, of chats: whose template and BOS; NULL: chats are not checked */
    const char *chat_template; /* name, when the model's file has none */
    int shown;                 /* differences printed at most */
};

struct rescore {
    int rows, failed_rows;          /* failed: no answer to score */
    int filtered, metrics, targets; /* rows that differ */
    int prompts, docs;              /* with data */
    int unchecked;                  /* rows of a chat prompt, without a model */
};

/* Prints differences, of rows by number. An error is a file that cannot be scored at all. */
enum status rescore_file(const char *path, const struct rescore_options *o, struct rescore *out, FILE *to,
                         struct error *e);

#endif
