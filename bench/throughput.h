/* SPDX-License-Identifier: Apache-2.0 */
/* throughput: times tests on models, interleaved. For every test, repetition 1 runs model A, then B;
 * repetition 2 B, then A; and so on, so that a disturbance meets all of them. Each repetition starts from an
 * empty session or from the restored depth, feeds seeded random ids, and hashes its last logits: the hash
 * proves that what was timed computed the same each time. Reaches models only through reference/engine.h. */
#ifndef BENCH_THROUGHPUT_H
#define BENCH_THROUGHPUT_H

#include <stdint.h>

#include "bench/peer.h"
#include "bench/plan.h"
#include "bench/records.h"
#include "reference/engine.h"

/* One model on one engine. */
struct subject {
    const struct engine *engine;
    const struct model *model;
    char name[64];         /* of its rows: its model_row's, made unique by the caller */
    int64_t model_load_ns; /* of model_open */
    enum kv_type kv_type;
    const char *packed; /* a packed file of the model (engine_options.packed), or NULL */
};

/* The engine as rows name it: "optimized, q8_0 cache". */
void subject_engine_text(const struct subject *s, char text[64]);

struct throughput_options {
    const struct bench_test *tests;
    int n_tests;
    int threads, batch;
    int repetitions, min_repetitions; /* fewer than repetitions only when max_seconds runs short */
    double max_seconds;               /* 0: none */
    int no_warmup;
    double delay; /* seconds before each repetition */
    uint64_t seed;
    unsigned cpu_mask;
    struct peer *peers; /* run on the file of every model, beside its first engine */
    int n_peers;
    /* Measures the machine's limits for about so many seconds, before and after each repetition; NULL: not
     * measured. A failure ends the measuring of limits, not the run. */
    enum status (*gauge)(void *arg, double seconds, double *read_gb_s, double *int8_gmac_s, struct error *e);
    /* share: of the work, 0..1; NULL: not called. say: one line about something left out or failed. */
    void (*progress)(void *arg, double share, const char *what);
    void (*say)(void *arg, const char *line);
    void *arg;
};

/* Appends throughput and sample rows. Limits and shares are filled where they were gauged beside the
 * repetitions; throughput_limits does it for the others. */
enum status throughput_run(const struct throughput_options *o, const struct subject *subjects, int n_subjects,
                           struct rows *throughput, struct rows *samples, struct error *e);

/* Fills limit_ts, limited_by and share_of_limit of the rows of this name with this many threads that have
 * none yet. */
void throughput_limits(struct rows *throughput, const char *name, const struct model *m, int threads,
                       double read, double int8);

#endif
