/* SPDX-License-Identifier: Apache-2.0 */
/* pool: threads, one barrier, futex sleep. */
#include "optimized/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "data/cpus.h"

/* A number that only changes by being raised, and the threads asleep on it. On its own cache line: everybody
 * spins on it. */
struct gate {
    _Alignas(64) atomic_uint value;
    atomic_uint sleepers;
};

struct pool {
    struct gate start, step; /* raised when a function starts; when the last thread reaches a barrier */
    _Alignas(64) atomic_int arrived;
    pool_fn *fn;
    void *arg;
    int threads, spin, pinned, stop;
    cpu_set_t allowed;
    struct member {
        struct pool *pool;
        pthread_t thread;
        int index, running;
    } * members;
};

static void relax(void) {
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void gate_wait(struct gate *g, unsigned old, int spin) {
    for (int i = 0; i < spin; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != old) return;
        relax();
    }
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->value) == old)
        syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
}

/* Sequentially consistent against the sleeper's add-then-test: either it sees the new value or we see it
 * asleep. */
static void gate_raise(struct gate *g) {
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->sleepers)) syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

void pool_barrier(struct pool *p) {
    unsigned old = atomic_load_explicit(&p->step.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == p->threads) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        gate_raise(&p->step);
    } else {
        gate_wait(&p->step, old, p->spin);
    }
}

/* Binds the calling thread to the index-th allowed CPU. */
static void pin(const cpu_set_t *allowed, int index) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && index-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one); /* a hint: without it the run is only noisier */
            return;
        }
}

static void *member_main(void *arg) {
    struct member *m = arg;
    struct pool *p = m->pool;
    if (p->pinned) pin(&p->allowed, m->index);
    for (unsigned seen = 0;; seen++) {
        gate_wait(&p->start, seen, p->spin);
        if (p->stop) return NULL;
        p->fn(p->arg, m->index);
        pool_barrier(p);
    }
}

enum status pool_open(struct pool **out, int threads, int pinned, struct error *e) {
    *out = NULL;
    struct pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    struct member *members = calloc((size_t)threads, sizeof *members);
    if (!p || !members) {
        free(p);
        free(members);
        return fail(e, ERR_MEMORY, "out of memory for %d threads", threads);
    }
    *p = (struct pool){.threads = threads, .members = members};
    if (sched_getaffinity(0, sizeof p->allowed, &p->allowed)) CPU_ZERO(&p->allowed);
    p->pinned = pinned && CPU_COUNT(&p->allowed) >= threads;
    /* About a millisecond. On a machine with other work a thread that sleeps at a barrier gets its CPU back
     * late: decode is 1.1 x as fast as with a twentieth of it, and the same on a quiet machine. With fewer
     * CPUs than threads, spinning only delays the others. */
    p->spin = usable_cpus() >= threads ? 50000 : 0;
    for (int i = 1; i < threads; i++) {
        members[i].pool = p;
        members[i].index = i;
        int code = pthread_create(&members[i].thread, NULL, member_main, &members[i]);
        if (code) {
            pool_close(p);
            return fail(e, ERR_MEMORY, "cannot create thread %d of %d (error %d)", i + 1, threads, code);
        }
        members[i].running = 1;
    }
    *out = p;
    return OK;
}

void pool_run(struct pool *p, pool_fn *fn, void *arg) {
    p->fn = fn;
    p->arg = arg;
    /* The caller is bound only while it works here: it may be a thread that does other things too. */
    cpu_set_t before;
    int restore = p->pinned && sched_getaffinity(0, sizeof before, &before) == 0;
    if (restore) pin(&p->allowed, 0);
    gate_raise(&p->start);
    fn(arg, 0);
    pool_barrier(p);
    if (restore) sched_setaffinity(0, sizeof before, &before);
}

void pool_close(struct pool *p) {
    if (!p) return;
    p->stop = 1;
    gate_raise(&p->start);
    for (int i = 1; i < p->threads; i++)
        if (p->members[i].running) pthread_join(p->members[i].thread, NULL);
    free(p->members);
    free(p);
}
