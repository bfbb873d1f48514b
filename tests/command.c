/* SPDX-License-Identifier: Apache-2.0 */
/* command: fork, limits, exec, and two files for the output, which a child can fill as far as it likes. */
#include "tests/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 64 };

int command_has_asan(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 1;
#else
    return 0;
#endif
}

void command_beside(char *out, size_t size, const char *name) {
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    out[n > 0 ? n : 0] = 0;
    char *slash = strrchr(out, '/');
    size_t room = slash ? size - (size_t)(slash + 1 - out) : 0;
    if (room > strlen(name)) strcpy(slash + 1, name);
}

static void limit(int what, size_t bytes) {
    struct rlimit r = {bytes, bytes};
    if (bytes) setrlimit(what, &r);
}

static void become(const struct command *c, const char *program, char **argv, int in, int out, int err) {
    /* A shell that starts this in the background has it ignore SIGINT, which would be handed on. */
    int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) signal(ends[i], SIG_DFL);
    if ((c->folder && chdir(c->folder)) || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    if (c->preload) setenv("LD_PRELOAD", c->preload, 1);
    if (c->environment) putenv((char *)(size_t)c->environment);
    if (!command_has_asan()) limit(RLIMIT_AS, c->memory);
    limit(RLIMIT_FSIZE, c->file);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    execv(program, argv);
    _exit(127);
}

static void read_back(int fd, char *text, size_t size) {
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = 0;
    close(fd);
}

static int open_input(const struct command *c) {
    if (!c->input) return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    size_t n = strlen(c->input);
    if (fd >= 0 && (write(fd, c->input, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)) close(fd), fd = -1;
    return fd;
}

static void wait_for(struct command *c, pid_t pid) {
    int status = 0, fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {fd, POLLIN, 0};
    struct rusage used;
    int ready = fd < 0 ? 1 : poll(&p, 1, (c->seconds ? c->seconds : 60) * 1000);
    c->timed_out = ready == 0;
    if (c->timed_out) kill(pid, SIGKILL);
    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR) continue;
    if (fd >= 0) close(fd);
    c->cpu_seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int command_run(struct command *c) {
    char program[4096], words[8192], *argv[MAX_WORDS] = {program};
    int argc = 1;
    command_beside(program, sizeof program, "lfm2");
    if (strlen(c->line) >= sizeof words) return -1;
    strcpy(words, c->line);
    for (char *w = strtok(words, " "); w && argc < MAX_WORDS - 1; w = strtok(NULL, " "))
        argv[argc++] = strcmp(w, "''") == 0 ? w + 2 : w;
    int in = open_input(c);
    int out = c->output ? open(c->output, O_RDWR | O_CLOEXEC) : memfd_create("out", MFD_CLOEXEC);
    int err = memfd_create("err", MFD_CLOEXEC);
    if (in < 0 || out < 0 || err < 0) return -1;
    pid_t pid = fork();
    if (pid < 0) return -1;
    if (pid == 0) become(c, program, argv, in, out, err);
    if (c->meanwhile) c->meanwhile(pid, c->arg);
    wait_for(c, pid);
    close(in);
    read_back(out, c->out, sizeof c->out);
    read_back(err, c->err, sizeof c->err);
    return 0;
}

int command_one_line(const struct command *c) {
    const char *end = strchr(c->err, '\n');
    return strncmp(c->err, "lfm2: ", 6) == 0 && end && end[1] == 0;
}
