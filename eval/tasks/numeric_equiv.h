/* SPDX-License-Identifier: Apache-2.0 */
/* numeric_equiv: do two mathematical answers name the same value? Not math_verify, which needs a computer
 * algebra system: equal as texts after hendrycks_math's rewriting; or numbers built of + - * / ^, fractions,
 * roots, pi and e that agree to 12 digits; or lists and intervals of the same shape whose members agree.
 * Anything with a variable is equal as text or not at all. */
#ifndef EVAL_TASKS_NUMERIC_EQUIV_H
#define EVAL_TASKS_NUMERIC_EQUIV_H

#include "eval/pystr.h"

int numeric_equiv(struct pystr a, struct pystr b);
/* 1 and the value, when a is nothing but a number so built. */
int numeric_value(struct pystr a, long double *value);
/* The part of a worked answer that is the answer: after "The final answer is", else the last \boxed{}, else
 * the last
 * $...$, else the last line. */
struct pystr numeric_answer(struct pystr worked);

#endif
