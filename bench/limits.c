/* SPDX-License-Identifier: Apache-2.0 */
/* limits: runs the loops of optimized/peak.h on a gang of pinned threads. */
#include "bench/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/machine.h"
#include "bench/stats.h"
#include "data/cpus.h"
#include "optimized/kernels.h"
#include "optimized/peak.h"

/* 3 GB: more than any cache of today. 0.9 GB: what one token of LFM2-8B-A1B reads. */
static const size_t set_bytes[] = {(size_t)3000000000 / 4096 * 4096, (size_t)900000000 / 4096 * 4096};
enum { N_SETS = 2, MAX_THREADS = 1024, MAX_REPETITIONS = 1000 };

/* A gang does one job per repetition, all threads together; run with job NULL ends it. */
struct gang {
    int threads;
    pthread_mutex_t opening; /* held until all threads stand */
    int broken;              /* not all could be started */
    pthread_barrier_t start, end;
    void (*job)(void *arg, int index, int threads);
    void *arg;
    struct seat {
        struct gang *gang;
        int index;
        pthread_t thread;
    } * seats;
};

static void *seat_main(void *arg) {
    struct seat *s = arg;
    struct gang *g = s->gang;
    machine_pin(s->index);
    pthread_mutex_lock(&g->opening);
    int broken = g->broken;
    pthread_mutex_unlock(&g->opening);
    if (broken) return NULL;
    for (;;) {
        pthread_barrier_wait(&g->start);
        if (!g->job) return NULL;
        g->job(g->arg, s->index, g->threads);
        pthread_barrier_wait(&g->end);
    }
}

static int64_t gang_run(struct gang *g, void (*job)(void *arg, int index, int threads), void *arg) {
    g->job = job;
    g->arg = arg;
    int64_t t0 = now_ns();
    pthread_barrier_wait(&g->start);
    if (job) pthread_barrier_wait(&g->end);
    return now_ns() - t0;
}

static void gang_close(struct gang *g, int started) {
    if (!g->broken) gang_run(g, NULL, NULL);
    for (int i = 0; i < started; i++) pthread_join(g->seats[i].thread, NULL);
    pthread_mutex_destroy(&g->opening);
    pthread_barrier_destroy(&g->start);
    pthread_barrier_destroy(&g->end);
    free(g->seats);
}

static enum status gang_open(struct gang *g, int threads, struct error *e) {
    g->threads = threads;
    g->seats = calloc((size_t)threads, sizeof *g->seats);
    if (!g->seats) return fail(e, ERR_MEMORY, "limits: out of memory");
    pthread_barrier_init(&g->start, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&g->end, NULL, (unsigned)threads + 1);
    pthread_mutex_init(&g->opening, NULL);
    pthread_mutex_lock(&g->opening);
    int started = 0;
    for (; started < threads && !g->broken; started += !g->broken) {
        g->seats[started] = (struct seat){.gang = g, .index = started};
        g->broken = pthread_create(&g->seats[started].thread, NULL, seat_main, &g->seats[started]) != 0;
    }
    pthread_mutex_unlock(&g->opening);
    if (!g->broken) return OK;
    gang_close(g, started);
    return fail(e, ERR_MEMORY, "limits: cannot start thread %d of %d", started + 1, threads);
}

struct measurement {
    const struct limits_options *o;
    unsigned features;
    struct rows *limits, *samples;
    int done, total;
};

static void progress(struct measurement *m, const struct limits_row *row) {
    char what[96];
    snprintf(what, sizeof what, "%s %s, %d thread%s", row->name, row->isa, (int)row->threads,
             row->threads > 1 ? "s" : "");
    if (m->o->progress) m->o->progress(m->o->progress_arg, what, m->done, m->total);
    m->done++;
}

/* Stores the repetitions of one row: work units each. */
static enum status add(struct measurement *m, struct limits_row *row, double work, const int64_t *ns, int n,
                       struct error *e) {
    double rate[MAX_REPETITIONS];
    row->samples_first = (int64_t)m->samples->n;
    row->samples_count = n;
    for (int i = 0; i < n; i++) {
        struct sample_row s = {.ns = ns[i]};
        rate[i] = work / (double)ns[i]; /* per ns: giga per second */
        if (rows_add(m->samples, &samples_table, &s)) return fail(e, ERR_MEMORY, "limits: out of memory");
    }
    row->median = median(rate, n);
    row->lowest = percentile(rate, n, 0);
    row->highest = percentile(rate, n, 1);
    return rows_add(m->limits, &limits_table, row) ? fail(e, ERR_MEMORY, "limits: out of memory") : OK;
}

/* ---- multiply-accumulate ---- */

struct peak_job {
    const struct peak *peak;
    int64_t iterations;
};

static void peak_job(void *arg, int index, int threads) {
    (void)index, (void)threads;
    struct peak_job *job = arg;
    job->peak->run(job->iterations);
}

static enum status measure_peak(struct measurement *m, struct gang *g, const struct peak *p, int repetitions,
                                struct error *e) {
    int64_t ns[MAX_REPETITIONS], wanted = m->o->quick ? 30000000 : 80000000;
    struct limits_row row = {.threads = g->threads};
    snprintf(row.name, sizeof row.name, "%s", p->name);
    snprintf(row.isa, sizeof row.isa, "%s", p->isa);
    snprintf(row.unit, sizeof row.unit, "GMAC/s");
    progress(m, &row);
    struct peak_job job = {p, 4096};
    while (gang_run(g, peak_job, &job) < wanted / 2 && job.iterations < INT64_C(1) << 40) job.iterations *= 2;
    for (int i = 0; i < repetitions; i++) ns[i] = gang_run(g, peak_job, &job);
    return add(m, &row, (double)job.iterations * p->macs * g->threads, ns, repetitions, e);
}

/* Whether quick measurement takes this row: the last usable one of its name, int8 only. */
static int is_last_int8(unsigned features, int at) {
    if (strcmp(peaks[at].name, "int8") != 0) return 0;
    for (int i = at + 1; i < n_peaks; i++)
        if (strcmp(peaks[i].name, "int8") == 0 && !(peaks[i].needs & ~features)) return 0;
    return 1;
}

static int takes_peak(const struct measurement *m, int at) {
    if (peaks[at].needs & ~m->features) return 0;
    return m->o->quick ? is_last_int8(m->features, at) : 1;
}

/* ---- reading ---- */

struct read_job {
    const struct reader *reader;
    char *set;
    size_t bytes;
    uint64_t seen[MAX_THREADS]; /* what each thread read, so that nobody can leave the loop out */
};

static void share(size_t bytes, int index, int threads, size_t *from, size_t *to) {
    size_t pages = bytes / 4096;
    *from = pages * (size_t)index / (size_t)threads * 4096;
    *to = pages * (size_t)(index + 1) / (size_t)threads * 4096;
}

static void read_job(void *arg, int index, int threads) {
    struct read_job *job = arg;
    size_t from, to;
    share(job->bytes, index, threads, &from, &to);
    job->seen[index] += job->reader->run(job->set + from, to - from);
}

/* Each thread first touches what it will read, so that pages lie near its CPU. */
static void fill_job(void *arg, int index, int threads) {
    struct read_job *job = arg;
    size_t from, to;
    share(job->bytes, index, threads, &from, &to);
    memset(job->set + from, 0x5a, to - from);
}

static size_t free_memory(void) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1) break;
    if (f) fclose(f);
    return (size_t)kib * 1024;
}

static int takes_set(const struct measurement *m, int set) {
    if (m->o->quick && set_bytes[set] > 1000000000u) return 0;
    return set_bytes[set] + set_bytes[set] / 8 < free_memory();
}

/* Memory for a set, in huge pages where there are any; NULL: there is none. */
static char *map_set(size_t bytes) {
    char *set = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (set == MAP_FAILED) return NULL;
    madvise(set, bytes, MADV_HUGEPAGE);
    return set;
}

static enum status measure_read(struct measurement *m, struct gang *g, size_t bytes, int repetitions,
                                struct error *e) {
    struct read_job *job = calloc(1, sizeof *job);
    char *set = map_set(bytes);
    if (!job || !set) {
        free(job);
        if (set) munmap(set, bytes);
        return fail(e, ERR_MEMORY, "limits: no memory for %zu bytes to read", bytes);
    }
    job->set = set;
    job->bytes = bytes;
    gang_run(g, fill_job, job);
    enum status st = OK;
    for (int i = 0; i < n_readers && !st; i++) {
        if (readers[i].needs & ~m->features) continue;
        int64_t ns[MAX_REPETITIONS];
        struct limits_row row = {.threads = g->threads, .bytes = (int64_t)bytes};
        snprintf(row.name, sizeof row.name, "read");
        snprintf(row.isa, sizeof row.isa, "%s", readers[i].isa);
        snprintf(row.unit, sizeof row.unit, "GB/s");
        progress(m, &row);
        job->reader = &readers[i];
        gang_run(g, read_job, job); /* warm-up */
        for (int k = 0; k < repetitions; k++) ns[k] = gang_run(g, read_job, job);
        st = add(m, &row, (double)bytes, ns, repetitions, e);
    }
    munmap(set, bytes);
    free(job);
    return st;
}

/* ---- all of it ---- */

static enum status measure_with(struct measurement *m, int threads, struct error *e) {
    struct gang g = {0};
    int repetitions = m->o->repetitions > 0 ? m->o->repetitions : m->o->quick ? 5 : 7;
    if (repetitions > MAX_REPETITIONS) repetitions = MAX_REPETITIONS;
    TRY(gang_open(&g, threads, e));
    enum status st = OK;
    for (int i = 0; i < N_SETS && !st; i++)
        if (takes_set(m, i)) st = measure_read(m, &g, set_bytes[i], repetitions, e);
    for (int i = 0; i < n_peaks && !st; i++)
        if (takes_peak(m, i)) st = measure_peak(m, &g, &peaks[i], repetitions, e);
    gang_close(&g, threads);
    return st;
}

static int rows_per_gang(const struct measurement *m) {
    int sets = 0, rows = 0;
    for (int i = 0; i < N_SETS; i++) sets += takes_set(m, i);
    for (int i = 0; i < n_readers; i++) rows += (readers[i].needs & ~m->features) ? 0 : sets;
    for (int i = 0; i < n_peaks; i++) rows += takes_peak(m, i);
    return rows;
}

/* Marks the highest median of each (name, threads, bytes) among rows from first on. */
static void mark_best(struct rows *limits, size_t first) {
    struct limits_row *all = limits->data;
    for (size_t i = first; i < limits->n; i++) {
        all[i].best = 1;
        for (size_t k = first; k < limits->n; k++)
            if (strcmp(all[k].name, all[i].name) == 0 && all[k].threads == all[i].threads &&
                all[k].bytes == all[i].bytes && all[k].median > all[i].median)
                all[i].best = 0;
    }
}

enum status limits_measure(const struct limits_options *o, struct rows *limits, struct rows *samples,
                           struct error *e) {
    int threads = o->threads > 0 ? o->threads : usable_cpus();
    if (threads > MAX_THREADS)
        return fail(e, ERR_ARG, "limits: %d threads (expected at most %d)", threads, MAX_THREADS);
    struct measurement m = {.o = o, .limits = limits, .samples = samples};
    m.features = cpu_features() & (o->cpu_mask ? o->cpu_mask : ~0u);
    int alone = !o->quick && threads > 1;
    size_t first = limits->n;
    m.total = rows_per_gang(&m) * (1 + alone);
    if (alone) TRY(measure_with(&m, 1, e));
    TRY(measure_with(&m, threads, e));
    mark_best(limits, first);
    return OK;
}

/* ---- a stand ---- */

struct limits_stand {
    struct gang gang;
    struct read_job read;
    struct peak_job peak;
};

enum status limits_stand_open(struct limits_stand **out, int threads, unsigned cpu_mask, struct error *e) {
    const size_t bytes = set_bytes[N_SETS - 1];
    const unsigned features = cpu_features() & (cpu_mask ? cpu_mask : ~0u);
    *out = NULL;
    if (bytes + bytes / 8 > free_memory() || threads > MAX_THREADS)
        return fail(e, ERR_MEMORY, "limits: no memory for %zu bytes to read", bytes);
    struct limits_stand *s = calloc(1, sizeof *s);
    char *set = map_set(bytes);
    if (!s || !set || gang_open(&s->gang, threads, e)) {
        if (set) munmap(set, bytes);
        free(s);
        return fail(e, ERR_MEMORY, "limits: no memory or threads for %zu bytes to read", bytes);
    }
    for (int i = 0; i < n_readers; i++)
        if (!(readers[i].needs & ~features)) s->read.reader = &readers[i];
    for (int i = 0; i < n_peaks; i++)
        if (!(peaks[i].needs & ~features) && is_last_int8(features, i)) s->peak.peak = &peaks[i];
    s->read.set = set;
    s->read.bytes = bytes;
    gang_run(&s->gang, fill_job, &s->read);
    s->peak.iterations = 4096;
    while (gang_run(&s->gang, peak_job, &s->peak) < 10000000 && s->peak.iterations < INT64_C(1) << 40)
        s->peak.iterations *= 2;
    *out = s;
    return OK;
}

/* Passes of a job until its share of the time is over; passes per nanosecond. */
static double pace(struct limits_stand *s, void (*job)(void *arg, int index, int threads), void *arg,
                   double seconds) {
    int64_t ns = 0;
    int passes = 0;
    while (passes == 0 || (double)ns < seconds * 1e9) {
        ns += gang_run(&s->gang, job, arg);
        passes++;
    }
    return passes / (double)ns;
}

void limits_stand_run(struct limits_stand *s, double seconds, double *read_gb_s, double *int8_gmac_s) {
    *read_gb_s = pace(s, read_job, &s->read, 0.8 * seconds) * (double)s->read.bytes;
    *int8_gmac_s = pace(s, peak_job, &s->peak, 0.2 * seconds) * (double)s->peak.iterations *
                   s->peak.peak->macs * s->gang.threads;
}

double limits_best(const struct rows *limits, const char *name, int threads) {
    const struct limits_row *all = limits->data, *best = NULL;
    for (size_t i = 0; i < limits->n; i++) {
        const struct limits_row *r = &all[i];
        if (strcmp(r->name, name) != 0 || r->threads != threads || !r->best) continue;
        if (!best || r->bytes > best->bytes || (r->bytes == best->bytes && r->median > best->median))
            best = r;
    }
    return best ? best->median : 0;
}
