/* SPDX-License-Identifier: Apache-2.0 */
/* record: a finished evaluation, or a comparison of two, as a run of an HDF5 record (bench/eval_rows.h). */
#ifndef EVAL_RECORD_H
#define EVAL_RECORD_H

#include "bench/eval_rows.h"
#include "eval/results.h"

/* Appends run and scores. tasks: as the user named them. seconds: of run_compute. */
enum status record_evaluation(const char *path, const struct results *r, const char *tasks, double seconds,
                              struct error *e);

/* Appends rows of eval_pairs_table. */
enum status record_comparison(const char *path, const struct rows *pairs, struct error *e);

#endif
