/* SPDX-License-Identifier: Apache-2.0 */
/* second_coding: see the header. */
#include "tests/second_coding.h"

#include <stdio.h>

#include "tests/kernel_cases.h"

static const struct kernel *scalar_row(enum kernel_op op) {
    int i = 0;
    while (kernels[i].op != op) i++;
    return &kernels[i];
}

int second_coding_check(enum kernel_op op, void (*fn)(void), int stride, int *cases, long *values,
                        char *why) {
    const struct kernel_case *c = kernel_case(op);
    struct kernel row = *scalar_row(op);
    const struct kernel *rows[] = {&row};
    struct shape shape;
    row.isa = "second coding";
    row.fn = fn;
    *cases = 0;
    *values = 0;
    for (int i = 0; c->shape(i, &shape); i += stride, ++*cases) {
        struct verdict v = {0};
        if (check_case(c, &shape, (uint64_t)i, scalar_row(op), rows, 1, &v)) {
            snprintf(why, sizeof v.why, "out of memory");
            return 1;
        }
        *values += v.values;
        if (v.why[0]) {
            snprintf(why, sizeof v.why, "case %d: %.200s", i, v.why);
            return 1;
        }
    }
    return 0;
}
