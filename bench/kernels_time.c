/* SPDX-License-Identifier: Apache-2.0 */
/* kernels_time: how fast the rows of the kernel table are. All rows of an op take turns on the same operands,
 * so that what disturbs the machine disturbs them alike; the clock runs around many calls, never around one
 * short one. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench/kernels.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/stats.h"

enum { MAX_ROWS = 16, SAMPLES = 9, FEW_SAMPLES = 3, MAX_PASSES = 5, MAX_THREADS = 256 };
static const double sample_seconds = 0.02, long_call = 0.05, very_long_call = 0.5;
static const size_t cold_bytes = (size_t)512 << 20;

/* Copies of one set of operands, side by side in huge pages as an engine's weights are. */
struct copies {
    unsigned char *arena;
    size_t arena_bytes;
    struct operands *sets;
    int n;
};

static size_t set_bytes(const struct operands *o) {
    size_t n = 0;
    for (int i = 0; i < o->count; i++) n += (o->list[i].memory.bytes + 127) / 64 * 64;
    return n;
}

static size_t bytes_to_rotate(void) {
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return cache > 0 && 2 * (size_t)cache > cold_bytes ? 2 * (size_t)cache : cold_bytes;
}

static void copies_drop(struct copies *c) {
    if (c->arena) munmap(c->arena, c->arena_bytes);
    free(c->sets);
    *c = (struct copies){0};
}

static enum status copies_take(struct copies *c, const struct operands *from, int cold, int threads,
                               struct error *e) {
    size_t one = set_bytes(from);
    c->n = threads;
    if (cold && one && bytes_to_rotate() / one > (size_t)threads)
        c->n = (int)(bytes_to_rotate() / one) / threads * threads + threads;
    c->arena_bytes = one * (size_t)c->n;
    c->sets = calloc((size_t)c->n, sizeof *c->sets);
    void *map = mmap(NULL, c->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || !c->sets) {
        if (map != MAP_FAILED) munmap(map, c->arena_bytes);
        free(c->sets);
        *c = (struct copies){0};
        return fail(e, ERR_MEMORY, "kernels: no memory for %zu MB of operands", c->arena_bytes >> 20);
    }
    madvise(map, c->arena_bytes, MADV_HUGEPAGE);
    c->arena = map;
    unsigned char *at = c->arena;
    for (int k = 0; k < c->n; k++) {
        c->sets[k] = *from;
        for (int i = 0; i < from->count; i++) {
            const struct guarded *m = &from->list[i].memory;
            memcpy(at, m->data, m->bytes);
            c->sets[k].list[i].memory = (struct guarded){.data = at, .bytes = m->bytes};
            at += (m->bytes + 127) / 64 * 64;
        }
    }
    return OK;
}

/* --- one sample --- */

struct gate { /* closed until every thread stands */
    pthread_mutex_t lock;
    int broken; /* not all could be started */
};

struct job {
    const struct kernel_case *c;
    void (*fn)(void);
    const struct copies *copies;
    struct gate *gate;
    int thread, threads;
    int next; /* copy; goes round over all samples of a shape */
    long calls;
    double seconds;
    pthread_t id;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *job_main(void *arg) {
    struct job *j = arg;
    machine_pin(j->thread);
    pthread_mutex_lock(&j->gate->lock);
    int broken = j->gate->broken;
    pthread_mutex_unlock(&j->gate->lock);
    double begin = now();
    for (long i = 0; i < j->calls && !broken; i++) {
        j->c->run(j->fn, &j->copies->sets[j->next]);
        j->next += j->threads;
        if (j->next >= j->copies->n) j->next = j->thread;
    }
    j->seconds = now() - begin;
    return NULL;
}

/* Seconds of one call while all threads call; NAN when the threads cannot be had. */
static double sample(struct job *jobs, void (*fn)(void), long calls) {
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, 0};
    int threads = jobs[0].threads, started = 0;
    double worst = 0;
    pthread_mutex_lock(&gate.lock);
    for (; started < threads; started++) {
        struct job *j = &jobs[started];
        j->fn = fn;
        j->calls = calls;
        j->gate = &gate;
        if (pthread_create(&j->id, NULL, job_main, j) != 0) break;
    }
    gate.broken = started < threads;
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < started; i++) {
        pthread_join(jobs[i].id, NULL);
        worst = fmax(worst, jobs[i].seconds);
    }
    pthread_mutex_destroy(&gate.lock);
    return gate.broken ? (double)NAN : worst / (double)calls;
}

/* --- one shape --- */

/* All passes over one shape of one op. */
struct contest {
    int rows[MAX_ROWS]; /* of kernels[] */
    int n_rows;
    int n_samples[MAX_ROWS]; /* of the running pass */
    long calls[MAX_ROWS];    /* likewise */
    int n[MAX_ROWS];         /* of all passes */
    double seconds[MAX_ROWS][SAMPLES * MAX_PASSES];
    long of[MAX_ROWS][SAMPLES * MAX_PASSES]; /* calls of each sample */
};

/* The first call of a row touches what is not yet there and tells how many calls make a sample. */
static int warm_up(struct contest *t, struct job *jobs) {
    for (int i = 0; i < t->n_rows; i++) {
        void (*fn)(void) = kernels[t->rows[i]].fn;
        double once = sample(jobs, fn, 1);
        if (once < long_call) once = sample(jobs, fn, 1);
        if (!(once >= 0)) return -1;
        if (once < 1e-4) once = sample(jobs, fn, 20);
        t->n_samples[i] = once > very_long_call ? 1 : once > long_call ? FEW_SAMPLES : SAMPLES;
        t->calls[i] = once > sample_seconds ? 1 : (long)(sample_seconds / fmax(once, 1e-9)) + 1;
    }
    return 0;
}

static enum status time_shape(struct contest *t, const struct kernel_case *c, const struct copies *copies,
                              int threads, struct error *e) {
    struct job *jobs = calloc((size_t)threads, sizeof *jobs);
    if (!jobs) return fail(e, ERR_MEMORY, "kernels: out of memory");
    for (int i = 0; i < threads; i++)
        jobs[i] = (struct job){.c = c, .copies = copies, .thread = i, .threads = threads, .next = i};
    int bad = warm_up(t, jobs);
    for (int k = 0; k < SAMPLES && !bad; k++)
        for (int i = 0; i < t->n_rows && !bad; i++)
            if (k < t->n_samples[i]) {
                double seconds = sample(jobs, kernels[t->rows[i]].fn, t->calls[i]);
                t->of[i][t->n[i]] = t->calls[i];
                t->seconds[i][t->n[i]++] = seconds;
                bad = !(seconds >= 0);
            }
    free(jobs);
    return bad ? fail(e, ERR_MEMORY, "kernels: cannot start %d threads", threads) : OK;
}

/* --- what it means --- */

/* The time no kernel can beat: reading cold inputs, and the multiply-adds at the machine's peak. */
static void add_limit(struct kernel_row *row, const struct shape *s, double bytes, double macs,
                      const struct rows *limits) {
    const char *unit = strncmp(row->op, "gemm_q", 6) == 0 ? "int8" : "fp32";
    int threads = (int)row->threads;
    double seconds = 0, read = s->cold ? limits_best(limits, "read", threads) : 0;
    double peak = macs > 0 ? limits_best(limits, unit, threads) : 0;
    row->limit_gb_s = read;
    row->limit_gmac_s = peak;
    if (read > 0) {
        seconds = threads * bytes / (read * 1e9);
        snprintf(row->limited_by, sizeof row->limited_by, "read");
    }
    if (peak > 0 && threads * macs / (peak * 1e9) > seconds) {
        seconds = threads * macs / (peak * 1e9);
        snprintf(row->limited_by, sizeof row->limited_by, "%s", unit);
    }
    row->share_of_limit = seconds / (row->median_ns * 1e-9);
}

static enum status add_rows(const struct contest *t, const struct kernel_case *c, const struct shape *s,
                            const struct kernels_time_options *o, uint64_t seed,
                            const struct kernel_result *results, struct rows *timed, struct rows *samples,
                            struct error *e) {
    double bytes, macs, medians[MAX_ROWS], best = INFINITY, scalar = 0;
    c->cost(s, &bytes, &macs);
    for (int i = 0; i < t->n_rows; i++) {
        medians[i] = median(t->seconds[i], t->n[i]);
        best = fmin(best, medians[i]);
        if (strcmp(kernels[t->rows[i]].isa, "scalar") == 0) scalar = medians[i];
    }
    for (int i = 0; i < t->n_rows; i++) {
        int k = t->rows[i], n = t->n[i];
        struct kernel_row row = kernel_row_of(k, seed, o->cpu_mask, &results[k]);
        struct interval in = median_interval(t->seconds[i], n, seed);
        c->describe(s, row.shape, sizeof row.shape);
        row.threads = o->threads;
        row.fastest = medians[i] == best;
        row.median_ns = medians[i] * 1e9;
        row.ci_lo_ns = in.lo * 1e9;
        row.ci_hi_ns = in.hi * 1e9;
        row.samples_first = (int64_t)samples->n;
        row.samples_count = n;
        row.gb_s = o->threads * bytes / medians[i] * 1e-9;
        row.gmac_s = o->threads * macs / medians[i] * 1e-9;
        row.times_scalar = scalar / medians[i];
        add_limit(&row, s, bytes, macs, o->limits);
        int bad = rows_add(timed, &kernels_table, &row);
        for (int j = 0; j < n && !bad; j++) {
            double calls = (double)t->of[i][j];
            struct sample_row ns = {.ns = (int64_t)(t->seconds[i][j] * calls * 1e9 + 0.5), .calls = calls};
            bad = rows_add(samples, &samples_table, &ns);
        }
        if (bad) return fail(e, ERR_MEMORY, "kernels: out of memory");
    }
    return OK;
}

static enum status time_once(struct contest *t, const struct kernel_case *c, const struct shape *s,
                             uint64_t key, int threads, struct error *e) {
    struct operands one;
    struct copies copies;
    if (operands_take(&one, c, s, key, LEFT) != 0) return fail(e, ERR_MEMORY, "kernels: out of memory");
    enum status st = copies_take(&copies, &one, s->cold, threads, e);
    operands_drop(&one);
    if (!st) st = time_shape(t, c, &copies, threads, e);
    copies_drop(&copies);
    return st;
}

/* --- all shapes --- */

/* Every shape of every op, in order; `visit` gets the shape's contest. */
struct tour {
    const struct kernels_time_options *o;
    uint64_t seed;
    const struct kernel_result *results;
    struct rows *timed, *samples;
    struct contest *contests; /* NULL: only count them */
    int n_contests, pass;
};
typedef enum status visit_fn(struct tour *tour, struct contest *t, enum kernel_op op, int i,
                             const struct shape *s, struct error *e);

static enum status visit_all(struct tour *tour, visit_fn *visit, struct error *e) {
    struct shape s;
    int n = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        const struct kernel_case *c = kernel_case((enum kernel_op)op);
        for (int i = 0; c && c->bench_shape(i, &s); i++, n++)
            if (visit) TRY(visit(tour, &tour->contests[n], (enum kernel_op)op, i, &s, e));
    }
    tour->n_contests = n;
    return OK;
}

static enum status visit_time(struct tour *tour, struct contest *t, enum kernel_op op, int i,
                              const struct shape *s, struct error *e) {
    const struct kernel_case *c = kernel_case(op);
    const struct kernels_time_options *o = tour->o;
    char what[160], text[80];
    t->n_rows = 0;
    for (int k = 0; k < n_kernels; k++)
        if (kernels[k].op == op && tour->results[k].selected && tour->results[k].state == KERNEL_PASS &&
            t->n_rows < MAX_ROWS)
            t->rows[t->n_rows++] = k;
    if (t->n_rows == 0) return OK;
    c->describe(s, text, sizeof text);
    snprintf(what, sizeof what, "%s %s", kernels[t->rows[0]].op_name, text);
    if (o->progress)
        o->progress(o->progress_arg, what, (tour->pass + (double)op / OP_COUNT) / fmax(1, o->passes));
    return time_once(t, c, s, rng_key(tour->seed, op, (uint64_t)i), o->threads, e);
}

static enum status visit_add(struct tour *tour, struct contest *t, enum kernel_op op, int i,
                             const struct shape *s, struct error *e) {
    (void)i;
    return add_rows(t, kernel_case(op), s, tour->o, tour->seed, tour->results, tour->timed, tour->samples, e);
}

enum status kernels_time(const struct kernels_time_options *o, uint64_t seed,
                         const struct kernel_result *results, struct rows *timed, struct rows *samples,
                         struct error *e) {
    struct tour tour = {.o = o, .seed = seed, .results = results, .timed = timed, .samples = samples};
    int passes = o->passes > 0 ? o->passes : 1;
    if (o->threads < 1 || o->threads > MAX_THREADS)
        return fail(e, ERR_ARG, "kernels: %d threads (expected 1 to %d)", o->threads, MAX_THREADS);
    if (passes > MAX_PASSES)
        return fail(e, ERR_ARG, "kernels: %d passes (expected 1 to %d)", passes, MAX_PASSES);
    TRY(visit_all(&tour, NULL, e));
    tour.contests = calloc((size_t)tour.n_contests + 1, sizeof *tour.contests);
    enum status st = tour.contests ? OK : fail(e, ERR_MEMORY, "kernels: out of memory");
    for (; !st && tour.pass < passes; tour.pass++) st = visit_all(&tour, visit_time, e);
    if (!st) st = visit_all(&tour, visit_add, e);
    free(tour.contests);
    return st;
}
