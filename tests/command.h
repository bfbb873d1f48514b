/* SPDX-License-Identifier: Apache-2.0 */
/* command: runs the lfm2 beside this test program in a child with limits, and keeps what it printed. */
#ifndef TESTS_COMMAND_H
#define TESTS_COMMAND_H

#include <stddef.h>
#include <sys/types.h>

struct command {
    const char *folder;      /* working directory; NULL: this one */
    const char *line;        /* words after `lfm2`, split at spaces; '' stands for an empty word */
    const char *preload;     /* LD_PRELOAD; NULL: none */
    const char *environment; /* one more variable, "NAME=value"; NULL: none */
    size_t memory;           /* RLIMIT_AS in bytes; 0: none. Without effect under AddressSanitizer */
    size_t file;             /* RLIMIT_FSIZE in bytes; 0: none */
    int seconds;             /* of wall clock, after which it is killed; 0: 60 */
    const char *input;       /* standard input; NULL: /dev/null */
    const char *output;      /* a file that standard output goes to, instead of out; NULL: none */
    /* Called in this process while the child runs, NULL: nothing. */
    void (*meanwhile)(pid_t child, void *arg);
    void *arg;

    int code;      /* exit code, or 128 + the signal that ended it */
    int timed_out; /* 1: killed after `seconds` */
    double cpu_seconds;
    char out[65536], err[65536]; /* what does not fit is dropped */
};

/* Returns 0, or -1 when it could not be started. */
int command_run(struct command *c);

/* 1: built with AddressSanitizer, under which memory cannot be limited. */
int command_has_asan(void);

/* 1: err is exactly one line that begins with "lfm2: ". */
int command_one_line(const struct command *c);

/* A file of the build folder beside this program. */
void command_beside(char *out, size_t size, const char *name);

#endif
