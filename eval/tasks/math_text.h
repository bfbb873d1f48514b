/* SPDX-License-Identifier: Apache-2.0 */
/* math_text: hendrycks_math's way of comparing answers: both are brought to one spelling, as texts. */
#ifndef EVAL_TASKS_MATH_TEXT_H
#define EVAL_TASKS_MATH_TEXT_H

#include "eval/pystr.h"

/* The inside of the last \boxed{...} of a solution; 0: lm-eval raises an exception there. */
int math_boxed(struct pystr solution, struct pystr *out);
/* What lies between the first and the last '$' of an answer; all of it when there are not two. */
struct pystr math_between_dollars(struct pystr answer);
/* is_equiv */
int math_equal_text(struct pystr a, struct pystr b);
/* str(doc_to_target): lm-eval reads a target that looks like a Python list as one, and writes it again. */
void math_target(struct pystr answer, struct buffer *out);

#endif
