/* SPDX-License-Identifier: Apache-2.0 */
/* child: fork, exec, read a pipe, wait. */
#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_OUTPUT = 16 << 20 };
extern char **environ;

static enum status read_all(int fd, const char *name, char **out, struct error *e) {
    size_t n = 0, capacity = 4096;
    char *text = malloc(capacity);
    for (;;) {
        if (!text) return fail(e, ERR_MEMORY, "%s: no memory for its output", name);
        ssize_t got = read(fd, text + n, capacity - n - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
        if (n > MAX_OUTPUT) {
            free(text);
            return fail(e, ERR_FORMAT, "%s: prints more than %d bytes", name, MAX_OUTPUT);
        }
        if (capacity - n < 2) {
            char *more = realloc(text, capacity *= 2);
            if (!more) free(text);
            text = more;
        }
    }
    text[n] = 0;
    *out = text;
    return OK;
}

/* The last line that is not empty among the last bytes written to a file. */
static void read_last_line(int fd, char *out, size_t size) {
    char tail[2048], *save = NULL;
    off_t end = lseek(fd, 0, SEEK_END),
          from = end > (off_t)sizeof tail - 1 ? end - (off_t)sizeof tail + 1 : 0;
    ssize_t n = end > 0 ? pread(fd, tail, sizeof tail - 1, from) : 0;
    tail[n > 0 ? n : 0] = 0;
    out[0] = 0;
    for (char *line = strtok_r(tail, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
        if (line[strspn(line, " \t")]) snprintf(out, size, "%s", line);
}

static enum status run_with(struct child *c, char *const argv[], const int ends[2], int complaints,
                            struct error *e) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawn_file_actions_adddup2(&files, complaints, 2);
    pid_t pid;
    int problem = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    if (problem) return fail(e, ERR_IO, "%s: cannot be run: %s", argv[0], strerror(problem));
    enum status st = read_all(ends[0], argv[0], &c->out, e);
    if (st) kill(pid, SIGKILL);
    int how = 0;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) {
    }
    c->exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + (WIFSIGNALED(how) ? WTERMSIG(how) : 0);
    read_last_line(complaints, c->last_line, sizeof c->last_line);
    return st;
}

enum status child_run(struct child *c, char *const argv[], struct error *e) {
    int ends[2];
    memset(c, 0, sizeof *c);
    if (pipe2(ends, O_CLOEXEC) != 0) return fail(e, ERR_IO, "%s: %s", argv[0], strerror(errno));
    /* A file in memory, not a second pipe: nobody has to read it while the child runs. */
    int complaints = memfd_create("stderr", MFD_CLOEXEC);
    if (complaints < 0) {
        close(ends[0]);
        close(ends[1]);
        return fail(e, ERR_IO, "%s: %s", argv[0], strerror(errno));
    }
    enum status st = run_with(c, argv, ends, complaints, e);
    close(ends[0]);
    close(complaints);
    return st;
}
