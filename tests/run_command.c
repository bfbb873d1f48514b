/* SPDX-License-Identifier: Apache-2.0 */
/* run_command: streams are put aside and back around a call. */
#include "tests/run_command.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int run_command(int (*cmd)(int, char **), const char *name, const char *const *words, const char *in,
                const char *out, const char *err) {
    const char *const paths[] = {in, out, err};
    char *argv[RUN_WORDS + 2] = {(char *)name};
    int argc = 1, kept[3], code = 0;
    for (; words[argc - 1]; argc++) {
        if (argc > RUN_WORDS) return -1;
        argv[argc] = (char *)words[argc - 1];
    }
    fflush(stdout);
    clearerr(stdin);
    for (int i = 0; i < 3; i++) {
        int fd = open(paths[i], i ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0600);
        kept[i] = dup(i);
        if (fd < 0 || kept[i] < 0 || dup2(fd, i) != i) code = -1;
        if (fd >= 0) close(fd);
    }
    if (code == 0) code = cmd(argc, argv);
    fflush(stdout);
    for (int i = 0; i < 3; i++)
        if (kept[i] >= 0) dup2(kept[i], i), close(kept[i]);
    return code;
}
