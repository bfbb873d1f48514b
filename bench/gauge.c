/* SPDX-License-Identifier: Apache-2.0 */
/* gauge: a child that waits on a socket, measures when asked, and ends when the socket does. */
#include "bench/gauge.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/limits.h"

struct gauge {
    pid_t child;
    int socket;
};

struct reading {
    double read_gb_s, int8_gmac_s;
};

static int take(int fd, void *data, size_t bytes) {
    ssize_t n;
    while ((n = recv(fd, data, bytes, 0)) < 0 && errno == EINTR) {
    }
    return n == (ssize_t)bytes ? 0 : -1;
}

static int give(int fd, const void *data, size_t bytes) {
    return send(fd, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -1;
}

static void serve(int fd, int threads, unsigned cpu_mask) {
    struct limits_stand *stand;
    struct error e;
    struct reading r = {0, 0};
    double seconds;
    if (limits_stand_open(&stand, threads, cpu_mask, &e)) return;
    if (give(fd, &r, sizeof r)) return; /* it is ready */
    while (!take(fd, &seconds, sizeof seconds)) {
        limits_stand_run(stand, seconds, &r.read_gb_s, &r.int8_gmac_s);
        if (give(fd, &r, sizeof r)) return;
    }
}

enum status gauge_open(struct gauge **out, int threads, unsigned cpu_mask, struct error *e) {
    int ends[2];
    struct reading ready;
    struct gauge *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
        free(g);
        return fail(e, ERR_MEMORY, "limits: no memory or files left");
    }
    g->socket = ends[0];
    g->child = fork();
    if (g->child == 0) {
        close(ends[0]);
        serve(ends[1], threads, cpu_mask);
        _exit(0); /* what is registered to happen at exit is the parent's */
    }
    close(ends[1]);
    if (g->child < 0 || take(g->socket, &ready, sizeof ready)) {
        gauge_close(g);
        return fail(e, ERR_MEMORY, "limits: no process, memory or threads to measure beside the tests");
    }
    *out = g;
    return OK;
}

enum status gauge_measure(struct gauge *g, double seconds, double *read_gb_s, double *int8_gmac_s,
                          struct error *e) {
    struct reading r;
    if (give(g->socket, &seconds, sizeof seconds) || take(g->socket, &r, sizeof r))
        return fail(e, ERR_IO, "limits: the process that measures beside the tests has ended");
    *read_gb_s = r.read_gb_s;
    *int8_gmac_s = r.int8_gmac_s;
    return OK;
}

void gauge_close(struct gauge *g) {
    if (!g) return;
    close(g->socket);
    if (g->child > 0)
        while (waitpid(g->child, NULL, 0) < 0 && errno == EINTR) {
        }
    free(g);
}
