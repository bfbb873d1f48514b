/* child: fork, exec, read a pipe, wait. */
#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
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

enum status child_run(char *const argv[], char **out, int *exit_code, struct error *e) {
    int ends[2];
    *out = NULL;
    *exit_code = -1;
    if (pipe2(ends, O_CLOEXEC) != 0) return fail(e, ERR_IO, "%s: %s", argv[0], strerror(errno));
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int problem = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    if (problem) {
        close(ends[0]);
        return fail(e, ERR_IO, "%s: cannot be run: %s", argv[0], strerror(problem));
    }
    enum status st = read_all(ends[0], argv[0], out, e);
    close(ends[0]);
    if (st) kill(pid, SIGKILL);
    int how = 0;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) {
    }
    *exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + (WIFSIGNALED(how) ? WTERMSIG(how) : 0);
    return st;
}
