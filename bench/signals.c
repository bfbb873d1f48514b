/* SPDX-License-Identifier: Apache-2.0 */
/* signals: handlers that call nothing but write, unlink, rmdir, sigaction, raise and _exit. */
#include "bench/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/mapped.h"
#include "data/unfinished.h"

static int at_terminal;

static void put(const char *text) {
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n; /* there is nobody left to tell */
}

static void end_by(int number) {
    signal(number, SIG_DFL);
    raise(number); /* delivered when the handler returns */
}

static void on_end(int number) {
    unfinished_remove();
    if (at_terminal) put("\r\033[K"); /* a progress line may stand there */
    end_by(number);
}

/* Several threads may meet the missing pages at once; the first one speaks and ends the process. */
static atomic_flag told = ATOMIC_FLAG_INIT;

static void on_bus(int number, siginfo_t *info, void *context) {
    (void)context;
    const char *path = mapped_path(info->si_addr);
    if (!path && info->si_code == BUS_ADRERR)
        path = "a mapped file"; /* more are mapped than it knows by name */
    if (!path) {
        end_by(number);
        return;
    }
    while (atomic_flag_test_and_set(&told)) pause();
    unfinished_remove();
    put("lfm2: ");
    put(path);
    put(": the file became shorter while it was used, or its disk failed\n");
    _exit(2);
}

void signals_install(void) {
    struct sigaction end = {.sa_handler = on_end}, bus = {.sa_flags = SA_SIGINFO};
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    bus.sa_sigaction = on_bus;
    sigemptyset(&end.sa_mask), sigemptyset(&bus.sa_mask);
    at_terminal = isatty(STDERR_FILENO);
    for (int i = 0; i < 3; i++) {
        struct sigaction old;
        /* nohup and background jobs of a shell ignore some of them: that stays so. */
        if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(ends[i], &end, NULL);
    }
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN);
}
