/* child: runs another program and keeps what it prints. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stddef.h>

#include "data/status.h"

/* Runs argv (NULL-terminated; argv[0] is searched in PATH) with stdin and stderr on /dev/null and stores its
 * stdout in *out (NUL-terminated, free it). *exit_code is its exit status, or 128 + the signal that ended it.
 * Fails when it cannot be started or prints more than 16 MiB. */
enum status child_run(char *const argv[], char **out, int *exit_code, struct error *e);

#endif
