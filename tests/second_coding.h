/* SPDX-License-Identifier: Apache-2.0 */
/* second_coding: checks a kernel that this CPU cannot run in its real coding. The kernel's file is compiled a
 * second time with an equivalent coding (an emulation, or another encoding of an instruction) and goes
 * through the cases of the kernel table as a row of its own. */
#ifndef TESTS_SECOND_CODING_H
#define TESTS_SECOND_CODING_H

#include "optimized/kernels.h"

/* Runs every `stride`-th case of op on fn. Returns 1 and fills why (240 bytes) when one fails; *cases,
 * *values count what ran. */
int second_coding_check(enum kernel_op op, void (*fn)(void), int stride, int *cases, long *values, char *why);

#endif
