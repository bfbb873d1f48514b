/* SPDX-License-Identifier: Apache-2.0 */
/* child: runs another program and keeps what it prints. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "data/status.h"

struct child {
    char *out;           /* its stdout, ended by a NUL; free it */
    char last_line[160]; /* of its stderr: usually why it failed */
    int exit_code;       /* or 128 + the signal that ended it */
};

/* Runs argv (NULL-terminated; argv[0] is searched in PATH) with stdin from /dev/null. Fails when it cannot be
 * started or prints more than 16 MiB; out is NULL then. */
enum status child_run(struct child *c, char *const argv[], struct error *e);

#endif
