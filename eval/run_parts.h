/* SPDX-License-Identifier: Apache-2.0 */
/* run_parts: private to run. */
#ifndef EVAL_RUN_PARTS_H
#define EVAL_RUN_PARTS_H

#include "eval/run.h"

/* Which run this is: everything that scores depend on, and when it began. */
enum status run_header(const struct run *r, json_t **out, struct error *e);
/* Explains how the journal's run differs from ours; OK when it does not. */
enum status run_differs(const char *path, const json_t *ours, const json_t *found, struct error *e);

/* Opens our journal, and reads those of other shards beside it. */
enum status run_journals(struct run *r, struct error *e);
/* Takes a line into the table. Lines of items that are there already are passed over. */
enum status run_take(struct run *r, const json_t *line, int *fresh, struct error *e);

/* Jobs of this process: pulls units from share, gives lines to it. */
enum status run_work(void *run, struct error *e);

/* The task of a unit, and the unit's first document. */
struct run_task *run_unit(struct run *r, int unit, int *first);

#endif
