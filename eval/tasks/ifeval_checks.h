/* SPDX-License-Identifier: Apache-2.0 */
/* ifeval_checks: IFEval's 25 kinds of instruction, and whether a text follows one. */
#ifndef EVAL_TASKS_IFEVAL_CHECKS_H
#define EVAL_TASKS_IFEVAL_CHECKS_H

#include <jansson.h>

#include "data/status.h"
#include "eval/pystr.h"

/* NULL: a known instruction with all it needs; else what is wrong with it. */
const char *ifeval_fault(const char *id, const json_t *kwargs);
/* The same of a document's lists: not empty, of equal length, every instruction without a fault. */
const char *ifeval_list_fault(const json_t *ids, const json_t *kwargs);

/* Sets four metrics, the answer as it is (strict) and without what models wrap around answers (loose):
 * names[0] all instructions strict, [1] a list of each strict, [2] all loose, [3] each loose. ERR_FORMAT: the
 * document's "instruction_id_list" and "kwargs" have a fault. */
enum status ifeval_verdicts(const json_t *doc, struct pystr answer, const char *const names[4],
                            json_t *metrics, struct error *e);

#endif
