/* ifeval_checks: IFEval's 25 kinds of instruction, and whether a text follows one. */
#ifndef EVAL_TASKS_IFEVAL_CHECKS_H
#define EVAL_TASKS_IFEVAL_CHECKS_H

#include <jansson.h>

#include "data/status.h"
#include "eval/pystr.h"

/* NULL: a known instruction with all it needs; else what is wrong with it. */
const char *ifeval_fault(const char *id, const json_t *kwargs);
/* Does the text follow it? The instruction has no fault. ERR_FORMAT: its keyword is no regular expression. */
enum status ifeval_check(const char *id, const json_t *kwargs, struct pystr a, int *follows, struct error *e);

#endif
