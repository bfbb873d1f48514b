/* SPDX-License-Identifier: Apache-2.0 */
/* throughput: the timed loop. What is timed is feed() and nothing else. */
#include "bench/throughput.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sha256.h"
#include "bench/clock.h"
#include "bench/cost.h"
#include "bench/stats.h"

enum { MAX_REPETITIONS = 1000, MAX_PEERS = 8, WARMUP_TOKENS = 512 };

/* An opened subject. */
struct runner {
    const struct subject *subject;
    struct session **sessions; /* [n_sessions]: one, and its forks for tests of several sequences */
    int n_sessions;
    struct part *parts;           /* [n_sessions] */
    const char *file;             /* for errors */
    int32_t *ids;                 /* the same for all tests, so that depths share prefixes */
    float *logits;                /* [n_sessions, V] */
    struct snapshot snapshot;     /* of the deepest prefix so far */
    double prefill_ns, decode_ns; /* per token, as last seen: for estimates */
    int64_t load_ns, first_token_ns, peak_rss, base_rss;
    char kernels[512];
};

/* The samples of one participant in one test: a runner, or a peer on the runner's file. */
struct entry {
    struct runner *runner;
    struct peer *peer; /* NULL: the runner itself */
    int64_t ns[MAX_REPETITIONS];
    double read[MAX_REPETITIONS], int8[MAX_REPETITIONS]; /* limits around each; 0: not measured */
    int n, broken;
    char sha256[SHA256_HEX];
    int output_same;
};

struct bench {
    const struct throughput_options *o;
    struct runner *runners;
    int n_runners;
    struct entry *entries; /* runner 0, its peers, runner 1, ... */
    int n_entries;
    int64_t deadline;  /* ns; 0: none */
    int64_t reload_ns; /* what starting a peer takes, about */
    int gauge_failed;
    int peer_ran;      /* before what comes next */
    double read, int8; /* the latest limits; 0: none that still counts */
};

/* ---- memory ---- */

/* "VmHWM" (the peak) or "VmRSS" of this process, in bytes. */
static int64_t resident(const char *key) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), ": %lld", &kib) == 1) break;
    if (f) fclose(f);
    return kib * 1024;
}

static void reset_peak(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* ---- one runner ---- */

static enum status feed(struct runner *r, const int32_t *ids, int n, int want_logits, struct error *e) {
    return r->subject->engine->feed(r->sessions[0], ids, n, want_logits ? r->logits : NULL, want_logits, e);
}

static size_t output_size(const struct runner *r, const struct bench_test *t) {
    return (size_t)bench_test_sequences(t) * (size_t)r->subject->model->config.n_vocab;
}

static void hash_logits(const struct runner *r, const struct bench_test *t, char hex[SHA256_HEX]) {
    sha256_hex(r->logits, output_size(r, t) * sizeof(float), hex);
}

static enum status check_finite(const struct runner *r, const struct bench_test *t, struct error *e) {
    char test[48];
    bench_test_name(t, test, sizeof test);
    for (size_t i = 0; i < output_size(r, t); i++)
        if (!isfinite(r->logits[i]))
            return fail(e, ERR_FORMAT, "%s: %s: logit %zu is %f (expected finite numbers)", r->file, test, i,
                        (double)r->logits[i]);
    return OK;
}

/* One token, then a prompt: touches all weights and most scratch memory. */
static enum status warm_up(struct runner *r, int prompt, int64_t opened, struct error *e) {
    TRY(feed(r, r->ids, 1, 1, e));
    r->first_token_ns = r->subject->model_load_ns + now_ns() - opened;
    r->subject->engine->reset(r->sessions[0]);
    int64_t t0 = now_ns();
    TRY(feed(r, r->ids, prompt, 1, e));
    int64_t t1 = now_ns();
    TRY(feed(r, r->ids, 1, 1, e));
    r->prefill_ns = (double)(t1 - t0) / prompt;
    r->decode_ns = (double)(now_ns() - t1);
    return OK;
}

static enum status runner_open(struct runner *r, const struct throughput_options *o,
                               const struct subject *subject, struct error *e) {
    int max_tokens = 2, longest = 1, n_ids = 0;
    r->n_sessions = 1;
    for (int i = 0; i < o->n_tests; i++) {
        const struct bench_test *t = &o->tests[i];
        int all = t->n_depth + t->n_prompt + t->n_gen;
        if (all > max_tokens) max_tokens = all;
        if (t->n_prompt > longest) longest = t->n_prompt;
        if (t->n_depth + bench_test_tokens(t) > n_ids) n_ids = t->n_depth + bench_test_tokens(t);
        if (bench_test_sequences(t) > r->n_sessions) r->n_sessions = bench_test_sequences(t);
    }
    if (longest > WARMUP_TOKENS) longest = WARMUP_TOKENS;
    if (max_tokens < longest + 1) max_tokens = longest + 1;
    const struct config *c = &subject->model->config;
    r->subject = subject;
    const char *slash = strrchr(subject->model->path, '/');
    r->file = slash ? slash + 1 : subject->model->path;
    if (n_ids < max_tokens) n_ids = max_tokens;
    r->ids = malloc((size_t)n_ids * sizeof *r->ids);
    r->logits = malloc((size_t)r->n_sessions * (size_t)c->n_vocab * sizeof *r->logits);
    r->sessions = calloc((size_t)r->n_sessions, sizeof *r->sessions);
    r->parts = calloc((size_t)r->n_sessions, sizeof *r->parts);
    if (!r->ids || !r->logits || !r->sessions || !r->parts)
        return fail(e, ERR_MEMORY, "bench: out of memory");
    uint64_t state = o->seed;
    for (int i = 0; i < n_ids; i++) r->ids[i] = (int32_t)random_below(&state, (uint64_t)c->n_vocab);
    if (c->bos_id >= 0 && c->bos_id < c->n_vocab) r->ids[0] = c->bos_id;
    r->base_rss = resident("VmRSS");
    reset_peak();
    int64_t opened = now_ns();
    struct engine_options options = {.threads = o->threads,
                                     .max_tokens = max_tokens,
                                     .max_batch = o->batch,
                                     .cpu_mask = o->cpu_mask,
                                     .kv_type = subject->kv_type,
                                     .packed = subject->packed};
    TRY(subject->engine->open(&r->sessions[0], subject->model, &options, e));
    for (int i = 1; i < r->n_sessions; i++) TRY(subject->engine->fork(&r->sessions[i], r->sessions[0], 0, e));
    r->load_ns = subject->model_load_ns + now_ns() - opened;
    if (!o->no_warmup) TRY(warm_up(r, longest, opened, e));
    r->peak_rss = resident("VmHWM") - r->base_rss;
    subject->engine->describe(r->sessions[0], r->kernels, sizeof r->kernels);
    return OK;
}

static void runner_close(struct runner *r) {
    for (int i = r->n_sessions - 1; r->sessions && i >= 0; i--)
        if (r->sessions[i]) r->subject->engine->close(r->sessions[i]);
    free(r->sessions);
    free(r->parts);
    snapshot_free(&r->snapshot);
    free(r->ids);
    free(r->logits);
}

/* Brings the session to `depth` tokens: restored, or fed on from what was saved before. */
static enum status go_to_depth(struct runner *r, int depth, struct error *e) {
    const struct engine *engine = r->subject->engine;
    int have = r->snapshot.data && r->snapshot.position <= depth ? r->snapshot.position : 0;
    if (depth == 0 || have == 0)
        engine->reset(r->sessions[0]);
    else
        TRY(engine->restore(r->sessions[0], &r->snapshot, e));
    if (depth == have) return OK;
    TRY(feed(r, r->ids + have, depth - have, 0, e));
    return engine->save(r->sessions[0], &r->snapshot, e);
}

/* n_gen steps of several sequences, each with its own tokens after the common depth. */
static enum status time_parallel(struct runner *r, const struct bench_test *t, int64_t *ns, struct error *e) {
    const struct engine *engine = r->subject->engine;
    int n = bench_test_sequences(t);
    for (int i = 1; i < n; i++) {
        engine->reset(r->sessions[i]);
        if (t->n_depth) TRY(engine->restore(r->sessions[i], &r->snapshot, e));
    }
    int64_t t0 = now_ns();
    for (int step = 0; step < t->n_gen; step++) {
        for (int i = 0; i < n; i++)
            r->parts[i] =
                (struct part){r->sessions[i], r->ids + t->n_depth + (size_t)i * (size_t)t->n_gen + step, 1,
                              r->logits + (size_t)i * (size_t)r->subject->model->config.n_vocab, 1};
        TRY(engine->feed_many(r->parts, n, e));
    }
    *ns = now_ns() - t0;
    return OK;
}

/* From where go_to_depth went. */
static enum status time_runner(struct runner *r, const struct bench_test *t, int64_t *ns, struct error *e) {
    if (bench_test_sequences(t) > 1) return time_parallel(r, t, ns, e);
    const int32_t *ids = r->ids + t->n_depth;
    int64_t t0 = now_ns(), t1 = t0;
    if (t->n_prompt) {
        TRY(feed(r, ids, t->n_prompt, 1, e));
        t1 = now_ns();
        r->prefill_ns = (double)(t1 - t0) / t->n_prompt;
        ids += t->n_prompt;
    }
    for (int i = 0; i < t->n_gen; i++) TRY(feed(r, ids + i, 1, 1, e));
    int64_t t2 = now_ns();
    if (t->n_gen) r->decode_ns = (double)(t2 - t1) / t->n_gen;
    *ns = t2 - t0;
    return OK;
}

/* What another process leaves behind when it ends, a system that takes back gigabytes of memory among it, is
 * not ours to time: as llama-bench does, a short run of the same kind goes before, at most 512 tokens. */
static enum status warm_again(struct runner *r, const struct bench_test *t, struct error *e) {
    const int32_t *ids = r->ids + t->n_depth;
    TRY(go_to_depth(r, t->n_depth, e));
    if (t->n_prompt) return feed(r, ids, t->n_prompt < 512 ? t->n_prompt : 512, 0, e);
    for (int i = 0; i < t->n_gen && i < 16; i++) TRY(feed(r, ids + i, 1, 0, e));
    return OK;
}

/* ---- one repetition of one participant ---- */

static void say(const struct bench *b, const char *line) {
    if (b->o->say) b->o->say(b->o->arg, line);
}

static void time_peer(struct bench *b, struct entry *x, const struct bench_test *t) {
    struct error e = {0};
    if (x->broken || bench_test_sequences(t) > 1) return; /* llama-bench decodes one sequence */
    x->peer->no_warmup = b->o->no_warmup;
    enum status st =
        peer_run(x->peer, x->runner->subject->model->path, t, b->o->threads, b->o->batch, &x->ns[x->n], &e);
    if (!st) {
        x->n++;
        return;
    }
    x->broken = 1;
    char test[48], line[800];
    bench_test_name(t, test, sizeof test);
    snprintf(line, sizeof line, "%s of %s left out: %s", test, x->peer->name, e.text);
    say(b, line);
}

/* A tenth of what is timed: enough to see the same disturbances, little enough not to double the time. */
static double gauge_seconds(double test_ns) {
    return fmin(fmax(0.1e-9 * test_ns, 0.1), 1);
}

static void gauge(struct bench *b, double seconds) {
    struct error e;
    if (!b->o->gauge || b->gauge_failed || !b->o->gauge(b->o->arg, seconds, &b->read, &b->int8, &e)) return;
    b->gauge_failed = 1;
    b->read = b->int8 = 0;
    say(b, e.text);
}

static enum status time_ours(struct entry *x, const struct bench_test *t, struct error *e) {
    char hash[65];
    TRY(time_runner(x->runner, t, &x->ns[x->n], e));
    TRY(check_finite(x->runner, t, e));
    hash_logits(x->runner, t, hash);
    x->output_same = x->n == 0 || (x->output_same && strcmp(hash, x->sha256) == 0);
    memcpy(x->sha256, hash, sizeof hash);
    x->n++;
    return OK;
}

static enum status time_entry(struct bench *b, struct entry *x, const struct bench_test *t, struct error *e) {
    int before = x->n;
    if (b->o->delay > 0) usleep((useconds_t)(b->o->delay * 1e6));
    if (!x->peer && b->peer_ran && !b->o->no_warmup) TRY(warm_again(x->runner, t, e));
    TRY(x->peer ? OK : go_to_depth(x->runner, t->n_depth, e)); /* not timed, and it may take long */
    b->peer_ran = x->peer != NULL;
    double seconds = gauge_seconds(before ? (double)x->ns[before - 1] : 0);
    if (b->read <= 0 || x->peer || t->n_depth) gauge(b, seconds);
    double read = b->read, int8 = b->int8;
    if (x->peer)
        time_peer(b, x, t);
    else
        TRY(time_ours(x, t, e));
    if (x->n == before) return OK;
    gauge(b, gauge_seconds((double)x->ns[before]));
    x->read[before] = b->read > 0 ? (read + b->read) / 2 : 0;
    x->int8[before] = b->read > 0 ? (int8 + b->int8) / 2 : 0;
    return OK;
}

/* ---- results ---- */

static void describe_rates(struct throughput_row *row, const struct entry *x, const struct bench_test *t,
                           uint64_t seed) {
    double ns[MAX_REPETITIONS], ts[MAX_REPETITIONS];
    for (int i = 0; i < x->n; i++) {
        ns[i] = (double)x->ns[i];
        ts[i] = 1e9 * bench_test_tokens(t) / ns[i];
    }
    row->avg_ns = mean(ns, x->n);
    row->stddev_ns = stddev(ns, x->n);
    row->avg_ts = mean(ts, x->n);
    row->stddev_ts = stddev(ts, x->n);
    struct interval m = median_interval(ts, x->n, seed);
    row->median_ts = m.mid, row->ci_lo = m.lo, row->ci_hi = m.hi;
}

/* Each repetition as a share of what the machine could do around it. */
static void describe_share(struct throughput_row *row, const struct entry *x, const struct bench_test *t,
                           uint64_t seed) {
    double limit[MAX_REPETITIONS], share[MAX_REPETITIONS];
    const char *by = "";
    for (int i = 0; i < x->n; i++) {
        limit[i] = test_limit(x->runner->subject->model, t, x->read[i], x->int8[i], &by);
        if (limit[i] <= 0) return;
        share[i] = 1e9 * bench_test_tokens(t) / (double)x->ns[i] / limit[i];
    }
    struct interval m = median_interval(share, x->n, seed);
    row->limit_ts = median(limit, x->n);
    row->share_of_limit = m.mid, row->share_lo = m.lo, row->share_hi = m.hi;
    test_limit(x->runner->subject->model, t, median(x->read, x->n), median(x->int8, x->n), &by);
    snprintf(row->limited_by, sizeof row->limited_by, "%s", by);
}

/* Ours over theirs in speed is theirs over ours in time. Pairs are the two's same repetitions. */
static void describe_ratio(struct throughput_row *row, const struct entry *ours, const struct entry *theirs,
                           uint64_t seed) {
    double a[MAX_REPETITIONS], b[MAX_REPETITIONS];
    int n = ours->n < theirs->n ? ours->n : theirs->n;
    for (int i = 0; i < n; i++) {
        a[i] = 1 / (double)ours->ns[i];
        b[i] = 1 / (double)theirs->ns[i];
    }
    struct interval m = ratio_interval(a, b, n, seed);
    row->ratio = m.mid, row->ratio_lo = m.lo, row->ratio_hi = m.hi;
}

void subject_engine_text(const struct subject *s, char text[64]) {
    snprintf(text, 64, "%.40s%s", s->engine->name, s->kv_type == KV_Q8 ? ", q8_0 cache" : "");
}

static enum status store(const struct bench *b, const struct entry *x, const struct entry *ours,
                         const struct bench_test *t, struct rows *throughput, struct rows *samples,
                         struct error *e) {
    struct throughput_row row = {.n_prompt = t->n_prompt,
                                 .n_gen = bench_test_tokens(t) - t->n_prompt,
                                 .n_depth = t->n_depth,
                                 .n_batch = b->o->batch,
                                 .threads = b->o->threads,
                                 .repetitions = x->n,
                                 .samples_first = (int64_t)samples->n,
                                 .samples_count = x->n};
    struct test_cost cost = test_cost(x->runner->subject->model, t);
    if (x->n == 0) return OK;
    const struct subject *subject = x->runner->subject;
    if (x->peer)
        snprintf(row.engine, sizeof row.engine, "%s", x->peer->name);
    else
        subject_engine_text(subject, row.engine);
    snprintf(row.model, sizeof row.model, "%s", x->runner->subject->name);
    bench_test_name(t, row.test, sizeof row.test);
    row.bytes_per_token = cost.bytes / bench_test_tokens(t);
    row.macs_per_token = cost.macs / bench_test_tokens(t);
    describe_rates(&row, x, t, b->o->seed);
    describe_share(&row, x, t, b->o->seed);
    if (x->peer)
        describe_ratio(&row, ours, x, b->o->seed);
    else {
        row.seed = (int64_t)b->o->seed;
        row.peak_rss = x->runner->peak_rss;
        row.load_ns = x->runner->load_ns;
        row.first_token_ns = x->runner->first_token_ns;
        row.output_same = x->output_same;
        memcpy(row.output_sha256, x->sha256, sizeof row.output_sha256);
        memcpy(row.kernels, x->runner->kernels, sizeof row.kernels);
    }
    for (int i = 0; i < x->n; i++)
        if (rows_add(samples, &samples_table, &(struct sample_row){x->ns[i], x->read[i], x->int8[i], 0}))
            return fail(e, ERR_MEMORY, "bench: out of memory");
    return rows_add(throughput, &throughput_table, &row) ? fail(e, ERR_MEMORY, "bench: out of memory") : OK;
}

void throughput_limits(struct rows *throughput, const char *name, const struct model *m, int threads,
                       double read, double int8) {
    struct throughput_row *row = throughput->data;
    for (size_t i = 0; i < throughput->n; i++, row++) {
        if (strcmp(row->model, name) != 0 || row->threads != threads || row->share_hi > 0) continue;
        const char *parallel = strstr(row->test, " x"); /* as bench_test_name writes it */
        int sequences = parallel ? atoi(parallel + 2) : 1;
        struct bench_test t = {(int)row->n_prompt, (int)row->n_gen / sequences, (int)row->n_depth, sequences};
        const char *by;
        row->limit_ts = test_limit(m, &t, read, int8, &by);
        row->share_of_limit = row->limit_ts > 0 ? row->median_ts / row->limit_ts : 0;
        snprintf(row->limited_by, sizeof row->limited_by, "%s", by);
    }
}

/* ---- all tests ---- */

/* What one repetition of a test will take for everyone, and once the way to its depth. */
static void estimate(const struct bench *b, const struct bench_test *t, double *once, double *each) {
    *once = *each = 0;
    for (int i = 0; i < b->n_entries; i++) {
        const struct runner *r = b->entries[i].runner;
        double one = t->n_prompt * r->prefill_ns + t->n_gen * r->decode_ns * sqrt(bench_test_sequences(t));
        if (b->entries[i].peer)
            *each += (b->o->no_warmup ? 1 : 2) * one + t->n_depth * r->prefill_ns + (double)b->reload_ns;
        else {
            *each += one + b->o->delay * 1e9;
            if (b->o->gauge) *each += 1e9 * gauge_seconds(one);
            if (t->n_depth > r->snapshot.position)
                *once += (t->n_depth - r->snapshot.position) * r->prefill_ns;
        }
    }
}

/* How often test `at` can be repeated: 0 when there is no time for the least number. The later tests' least
 * comes before this one's more, unless that is a fiftieth of the time or less. */
static int choose_repetitions(const struct bench *b, int at) {
    const struct throughput_options *o = b->o;
    double once, each, left, later = 0;
    if (!b->deadline) return o->repetitions;
    estimate(b, &o->tests[at], &once, &each);
    left = (double)(b->deadline - now_ns()) - once;
    if (left < each * o->min_repetitions) return 0;
    for (int i = at + 1; i < o->n_tests; i++) {
        double later_once, later_each;
        estimate(b, &o->tests[i], &later_once, &later_each);
        later += later_once + later_each * o->min_repetitions;
    }
    int n = o->repetitions;
    while (n > o->min_repetitions && n * each > fmax(left - later, o->max_seconds * 1e9 / 50)) n--;
    return n;
}

static double work(const struct bench_test *t) {
    return t->n_prompt + 8.0 * t->n_gen * sqrt(bench_test_sequences(t)); /* between free and no gain */
}

static void show(const struct bench *b, int test, int repetition, int repetitions, const struct entry *x) {
    char what[160], name[48];
    double done = 0, all = 0;
    for (int i = 0; i < b->o->n_tests; i++) {
        all += work(&b->o->tests[i]);
        if (i < test) done += work(&b->o->tests[i]);
    }
    done += work(&b->o->tests[test]) * repetition / repetitions;
    bench_test_name(&b->o->tests[test], name, sizeof name);
    snprintf(what, sizeof what, "%s on %.40s, %.30s, %d of %d", name, x->runner->subject->name,
             x->peer ? x->peer->name : x->runner->subject->engine->name, repetition + 1, repetitions);
    if (b->o->progress) b->o->progress(b->o->arg, done / all, what);
}

static enum status run_test(struct bench *b, int at, struct rows *throughput, struct rows *samples,
                            struct error *e) {
    const struct bench_test *t = &b->o->tests[at];
    int repetitions = choose_repetitions(b, at);
    if (repetitions == 0) {
        char name[48], line[128];
        bench_test_name(t, name, sizeof name);
        snprintf(line, sizeof line, "%s left out: %d repetitions do not fit into the %.0f seconds allowed",
                 name, b->o->min_repetitions, b->o->max_seconds);
        say(b, line);
        return OK;
    }
    for (int i = 0; i < b->n_entries; i++) b->entries[i].n = b->entries[i].broken = 0;
    for (int k = 0; k < repetitions; k++)
        for (int i = 0; i < b->n_entries; i++) {
            struct entry *x = &b->entries[k % 2 ? b->n_entries - 1 - i : i];
            show(b, at, k, repetitions, x);
            TRY(time_entry(b, x, t, e));
        }
    /* With one model open, what the process holds is what the model needs. */
    if (b->n_runners == 1) b->runners[0].peak_rss = resident("VmHWM") - b->runners[0].base_rss;
    const struct entry *ours = NULL;
    for (int i = 0; i < b->n_entries; i++) {
        if (!b->entries[i].peer) ours = &b->entries[i];
        TRY(store(b, &b->entries[i], ours, t, throughput, samples, e));
    }
    return OK;
}

static enum status run_all(struct bench *b, const struct subject *subjects, struct rows *throughput,
                           struct rows *samples, struct error *e) {
    for (int i = 0; i < b->n_runners; i++) {
        char what[96];
        struct runner *r = &b->runners[i];
        snprintf(what, sizeof what, "opening %.60s", subjects[i].name);
        if (b->o->progress) b->o->progress(b->o->arg, 0, what);
        TRY(runner_open(r, b->o, &subjects[i], e));
        if (r->load_ns > b->reload_ns) b->reload_ns = r->load_ns;
        b->entries[b->n_entries++].runner = r;
        int first = 1; /* of this model */
        for (int k = 0; k < i; k++) first = first && subjects[k].model != subjects[i].model;
        for (int k = 0; first && k < b->o->n_peers; k++)
            b->entries[b->n_entries++] = (struct entry){.runner = r, .peer = &b->o->peers[k]};
    }
    for (int i = 0; i < b->o->n_tests; i++) TRY(run_test(b, i, throughput, samples, e));
    return OK;
}

enum status throughput_run(const struct throughput_options *o, const struct subject *subjects, int n_subjects,
                           struct rows *throughput, struct rows *samples, struct error *e) {
    if (o->repetitions < 1 || o->repetitions > MAX_REPETITIONS)
        return fail(e, ERR_ARG, "bench: %d repetitions (expected 1 to %d)", o->repetitions, MAX_REPETITIONS);
    if (o->n_peers > MAX_PEERS)
        return fail(e, ERR_ARG, "bench: %d peers (expected at most %d)", o->n_peers, MAX_PEERS);
    struct bench b = {.o = o, .n_runners = n_subjects};
    if (o->max_seconds > 0) b.deadline = now_ns() + (int64_t)(o->max_seconds * 1e9);
    b.runners = calloc((size_t)n_subjects + 1, sizeof *b.runners);
    b.entries = calloc((size_t)(n_subjects * (1 + o->n_peers)) + 1, sizeof *b.entries);
    enum status st = b.runners && b.entries ? run_all(&b, subjects, throughput, samples, e)
                                            : fail(e, ERR_MEMORY, "bench: out of memory");
    for (int i = 0; b.runners && i < n_subjects; i++) runner_close(&b.runners[i]);
    free(b.runners);
    free(b.entries);
    return st;
}
