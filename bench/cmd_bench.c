/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_bench: options, models, limits before and after, the timed run, output and record. */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/baseline.h"
#include "bench/clock.h"
#include "bench/cmd.h"
#include "bench/gauge.h"
#include "bench/limits.h"
#include "bench/lookup.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/throughput.h"
#include "bench/throughput_print.h"
#include "data/cpus.h"

enum {
    UNSET = INT_MIN,
    MAX_DELAY = 3600, /* usleep counts microseconds in 32 bits */
    MAX_MODELS = 16,
    MAX_ENGINES = 2,
    MAX_CACHES = 2,
    MAX_BENCH_PEERS = 8,
    COMPARED_REPETITIONS = 10
};

struct bench_command {
    /* as given */
    const char *models, *prompts, *gens, *pairs, *depths, *parallel, *batches, *threads, *engines, *format,
        *format_err, *peers, *packed, *against, *lora, *cache_types, *lookups;
    struct baseline_options names;
    const char *preset_name, *record, *cpus;
    int repetitions, no_warmup, no_limits, show_lines, seed;
    double delay, max_seconds;
    /* made of it */
    const struct preset *preset;
    struct test_list tests;
    struct int_list batch_list, thread_list, lookup_list;
    unsigned cpu_mask;
    const struct engine *engine_list[MAX_ENGINES];
    int n_engines;
    enum kv_type caches[MAX_CACHES];
    int n_caches;
    struct peer peer_list[MAX_BENCH_PEERS];
    int n_peers;
    struct host host;
    struct baseline baseline;
    struct timed_list timed;
    struct model *model_list[MAX_MODELS];
    char packed_list[MAX_MODELS][4096];
    struct subject subjects[MAX_MODELS * (MAX_ENGINES - 1 + MAX_CACHES)];
    int n_models, n_subjects;
    int64_t started;
    struct progress progress;
    char notes[4096]; /* what was left out, one per line */
    struct rows model_rows, throughput, limits, samples, comparison, lookup;
    struct gauge *gauge; /* while tests run */
};

/* Takes the next of a list separated by commas; returns 0 at its end. */
static int next_word(const char **list, char *word, size_t size) {
    if (!*list || !**list) return 0;
    size_t n = strcspn(*list, ",");
    snprintf(word, size, "%.*s", (int)n, *list);
    *list += n;
    if (**list) ++*list;
    return 1;
}

static void say(void *arg, const char *line) {
    struct bench_command *c = arg;
    size_t n = strlen(c->notes);
    progress_end(&c->progress);
    fprintf(stderr, "lfm2: bench: %s\n", line);
    if (n < sizeof c->notes) snprintf(c->notes + n, sizeof c->notes - n, "%s%s", n ? "\n" : "", line);
}

static void show_progress(void *arg, double share, const char *what) {
    struct bench_command *c = arg;
    if (c->show_lines)
        fprintf(stderr, "lfm2: bench: %s\n", what);
    else
        progress_show(&c->progress, share, "bench: %s", what);
}

static void show_limits(void *arg, const char *what, int done, int total) {
    char text[128];
    (void)done, (void)total;
    snprintf(text, sizeof text, "limits: %s", what);
    show_progress(arg, 0, text);
}

/* ---- options ---- */

/* -C: CPUs by bit, as llama-bench's. */
static enum status restrict_cpus(const char *hex, struct error *e) {
    char *end;
    unsigned long long bits = strtoull(hex, &end, 16);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < 64; i++)
        if (bits >> i & 1) CPU_SET(i, &set);
    if (*end || !bits || sched_setaffinity(0, sizeof set, &set) != 0)
        return fail(e, ERR_ARG,
                    "bench: --cpu-mask %s: not CPUs of this machine (expected hexadecimal bits like 0x3)",
                    hex);
    return OK;
}

static enum status read_tests(struct bench_command *c, struct error *e) {
    struct int_list p = {0}, n = {0}, pg = {0}, d = {0}, np = {0};
    int own = c->prompts || c->gens || c->pairs || c->depths || c->parallel;
    if (c->lookups) TRY(int_list_parse(&c->lookup_list, c->lookups, "--lookup", e));
    if (c->preset_name) {
        c->preset = preset_by_name(c->preset_name);
        if (!c->preset)
            return fail(e, ERR_ARG, "bench: --preset %s: unknown (expected %s)", c->preset_name,
                        preset_names);
        if (own)
            return fail(e, ERR_ARG,
                        "bench: --preset names the tests; give it or -p, -n, -pg, -d, -np, not both");
        c->tests.n = c->preset->n;
        memcpy(c->tests.v, c->preset->tests, (size_t)c->preset->n * sizeof *c->tests.v);
        return OK;
    }
    if (c->lookups && !own) return OK; /* nothing but that */
    TRY(int_list_parse(&p, c->prompts ? c->prompts : "512", "-p", e));
    TRY(int_list_parse(&n, c->gens ? c->gens : "128", "-n", e));
    if (c->pairs) TRY(int_list_parse(&pg, c->pairs, "-pg", e));
    TRY(int_list_parse(&d, c->depths ? c->depths : "0", "-d", e));
    if (c->parallel) TRY(int_list_parse(&np, c->parallel, "-np", e));
    return test_list_make(&c->tests, &p, &n, &pg, &d, &np, e);
}

static enum status check_range(const struct int_list *l, const char *what, int most, struct error *e) {
    for (int i = 0; i < l->n; i++)
        if (l->v[i] < 1 || l->v[i] > most)
            return fail(e, ERR_ARG, "bench: %s %d: expected 1 to %d", what, l->v[i], most);
    return OK;
}

/* Whatever can go wrong with a comparison is said before the measurement. */
static enum status read_comparison(struct bench_command *c, struct error *e) {
    const struct baseline_options *n = &c->names;
    if (!n->save && !n->compare && !c->against) return OK;
    if (n->compare && c->against) return fail(e, ERR_ARG, "bench: give --baseline or --against, not both");
    if ((n->compare || c->against) && strcmp(c->format, "md") != 0 && strcmp(c->format, "json") != 0)
        return fail(e, ERR_ARG, "bench: -o %s: a comparison prints as md or json", c->format);
    if (c->repetitions == UNSET && !c->preset) c->repetitions = COMPARED_REPETITIONS;
    machine_host(&c->host);
    if (n->compare) TRY(baseline_open(&c->baseline, n->folder, n->compare, "bench", &c->host, e));
    if (n->save) TRY(baseline_check(n->folder, n->save, &c->host, e));
    return c->against ? peer_open(&c->peer_list[c->n_peers++], c->against, e) : OK;
}

static enum status read_options(struct bench_command *c, struct error *e) {
    char word[1024], cpus[16];
    if (!c->models) return fail(e, ERR_ARG, "bench: no model given; see lfm2 bench --help");
    if (c->lora && (c->peers || c->against))
        return fail(e, ERR_ARG,
                    "bench: --lora cannot be given with --peer or --against, which get no adapter");
    TRY(throughput_format_check(c->format, e));
    if (c->lookups && (strcmp(c->format, "md") != 0 || c->format_err))
        return fail(e, ERR_ARG, "bench: --lookup prints as md only (leave out -o and -oe)");
    if (c->lookups && (c->names.save || c->names.compare || c->against))
        return fail(e, ERR_ARG, "bench: --lookup has no baseline; leave it out of comparisons");
    if (c->format_err) TRY(throughput_format_check(c->format_err, e));
    TRY(read_tests(c, e));
    if (c->cpus) TRY(restrict_cpus(c->cpus, e));
    snprintf(cpus, sizeof cpus, "%d", usable_cpus());
    TRY(int_list_parse(&c->thread_list, c->threads ? c->threads : cpus, "-t", e));
    TRY(check_range(&c->thread_list, "-t", OPTION_MAX_THREADS, e));
    TRY(int_list_parse(&c->batch_list, c->batches ? c->batches : "2048", "-b", e));
    TRY(check_range(&c->batch_list, "-b", 1 << 20, e));
    TRY(read_comparison(c, e));
    if (c->repetitions == UNSET) c->repetitions = c->preset ? c->preset->repetitions : 5;
    if (c->repetitions < 1) return fail(e, ERR_ARG, "bench: -r %d: expected at least 1", c->repetitions);
    if (c->max_seconds == 0 && c->preset) c->max_seconds = c->preset->max_seconds;
    if (c->max_seconds < 0 || c->delay < 0) return fail(e, ERR_ARG, "bench: times cannot be negative");
    if (c->delay > MAX_DELAY)
        return fail(e, ERR_ARG, "bench: --delay %g: expected at most %d seconds", c->delay, MAX_DELAY);
    for (const char *list = c->engines; next_word(&list, word, sizeof word);) {
        const struct engine *engine = engine_by_name(word);
        if (!engine || c->n_engines == MAX_ENGINES)
            return fail(e, ERR_ARG, "bench: --engine %s: expected optimized, reference or both", c->engines);
        c->engine_list[c->n_engines++] = engine;
    }
    for (const char *list = c->cache_types ? c->cache_types : "f16"; next_word(&list, word, sizeof word);) {
        if (c->n_caches == MAX_CACHES) return fail(e, ERR_ARG, "bench: -ctk: expected f16, q8_0 or both");
        TRY(cmd_kv_type(&c->caches[c->n_caches++], &(struct cache_types){word, NULL}, NULL, e));
    }
    int packs = 0;
    for (int i = 0; i < c->n_engines; i++) packs |= c->engine_list[i]->pack != NULL;
    if (!packs && (c->packed || c->cache_types))
        return fail(e, ERR_ARG,
                    "bench: %s: not with the reference engine alone (expected --engine optimized)",
                    c->packed ? "--packed" : "-ctk");
    if (c->against && c->packed)
        return fail(e, ERR_ARG,
                    "bench: --against: another build may pack in another way; leave out --packed");
    if (c->record) TRY(records_check(c->record, e));
    for (const char *list = c->peers; next_word(&list, word, sizeof word);) {
        if (c->n_peers == MAX_BENCH_PEERS)
            return fail(e, ERR_ARG, "bench: more than %d peers", MAX_BENCH_PEERS);
        TRY(peer_open(&c->peer_list[c->n_peers], word, e));
        c->n_peers++;
    }
    if (c->peers && c->n_peers == (c->against != NULL))
        return fail(e, ERR_ARG, "bench: --peer names no program");
    return OK;
}

/* ---- the run ---- */

/* Two files may carry one name; rows must tell them apart. */
static void name_apart(const struct bench_command *c, struct model_row *row) {
    const struct model_row *old = c->model_rows.data;
    char name[64];
    memcpy(name, row->name, sizeof name);
    for (int copy = 2;; copy++) {
        size_t i = 0;
        while (i < c->model_rows.n && strcmp(old[i].name, row->name) != 0) i++;
        if (i == c->model_rows.n) return;
        snprintf(row->name, sizeof row->name, "%.50s (%d)", name, copy);
    }
}

/* Beyond the model's own context positions mean nothing, and the memory they would take may not be there. */
static enum status check_context(const struct bench_command *c, const struct model *m, struct error *e) {
    char name[64];
    for (int i = 0; i < c->tests.n; i++) {
        const struct bench_test *t = &c->tests.v[i];
        int64_t tokens = (int64_t)t->n_depth + t->n_prompt + t->n_gen;
        bench_test_name(t, name, sizeof name);
        if (tokens > m->config.context_length)
            return fail(e, ERR_ARG,
                        "%s: %s takes more than the model's context (found %lld tokens, expected at "
                        "most %d)",
                        m->path, name, (long long)tokens, m->config.context_length);
    }
    return OK;
}

static enum status open_models(struct bench_command *c, struct error *e) {
    char path[4096];
    const char *packed = c->packed;
    for (const char *list = c->models; next_word(&list, path, sizeof path);) {
        if (c->n_models == MAX_MODELS) return fail(e, ERR_ARG, "bench: more than %d models", MAX_MODELS);
        int64_t t0 = now_ns();
        TRY(model_open_lora(&c->model_list[c->n_models], path, c->lora, e));
        TRY(check_context(c, c->model_list[c->n_models], e));
        char *beside = c->packed_list[c->n_models];
        if (!next_word(&packed, beside, sizeof c->packed_list[0]) || strcmp(beside, "-") == 0) beside = NULL;
        struct model *m = c->model_list[c->n_models++];
        struct model_row row = model_row(m);
        int64_t load_ns = now_ns() - t0;
        name_apart(c, &row);
        if (rows_add(&c->model_rows, &models_table, &row)) return fail(e, ERR_MEMORY, "bench: out of memory");
        for (int i = 0; i < c->n_engines; i++)
            for (int j = 0; j < (c->engine_list[i]->pack ? c->n_caches : 1); j++) {
                struct subject *s = &c->subjects[c->n_subjects++];
                *s = (struct subject){.engine = c->engine_list[i], .model = m, .model_load_ns = load_ns};
                if (s->engine->pack) s->packed = beside, s->kv_type = c->caches[j];
                memcpy(s->name, row.name, sizeof s->name);
            }
    }
    if (next_word(&packed, path, sizeof path))
        return fail(e, ERR_ARG, "bench: --packed: more files than models (found %s too)", path);
    return OK;
}

static enum status measure_limits(struct bench_command *c, int threads, struct error *e) {
    struct limits_options o = {
        .threads = threads, .quick = 1, .cpu_mask = c->cpu_mask, .progress = show_limits, .progress_arg = c};
    return c->no_limits ? OK : limits_measure(&o, &c->limits, &c->samples, e);
}

static enum status gauge_now(void *arg, double seconds, double *read_gb_s, double *int8_gmac_s,
                             struct error *e) {
    struct bench_command *c = arg;
    return gauge_measure(c->gauge, seconds, read_gb_s, int8_gmac_s, e);
}

static enum status run_lookups(struct bench_command *c, int threads, int batch, struct error *e) {
    struct lookup_options o = {.n_gen = &c->lookup_list,
                               .threads = threads,
                               .batch = batch,
                               .repetitions = c->repetitions,
                               .seed = (uint64_t)c->seed,
                               .cpu_mask = c->cpu_mask,
                               .progress = show_progress,
                               .arg = c};
    for (int i = 0; c->lookups && i < c->n_subjects; i++)
        TRY(lookup_run(&o, &c->subjects[i], &c->lookup, &c->samples, e));
    return OK;
}

static enum status run_with(struct bench_command *c, int threads, int batch, struct error *e) {
    if (!c->tests.n) return run_lookups(c, threads, batch, e);
    double elapsed = (double)(now_ns() - c->started) * 1e-9;
    int least = c->preset ? c->preset->min_repetitions : 3;
    struct throughput_options o = {
        .tests = c->tests.v,
        .n_tests = c->tests.n,
        .threads = threads,
        .batch = batch,
        .repetitions = c->repetitions,
        .min_repetitions = least < c->repetitions ? least : c->repetitions,
        .max_seconds = c->max_seconds > 0 ? (c->max_seconds > elapsed + 1 ? c->max_seconds - elapsed : 1) : 0,
        .no_warmup = c->no_warmup,
        .delay = c->delay,
        .seed = (uint64_t)c->seed,
        .cpu_mask = c->cpu_mask,
        .peers = c->peer_list,
        .n_peers = c->n_peers,
        .progress = show_progress,
        .say = say,
        .arg = c,
    };
    TRY(measure_limits(c, threads, e));
    struct error cannot;
    if (!c->no_limits && !gauge_open(&c->gauge, threads, c->cpu_mask, &cannot))
        o.gauge = gauge_now;
    else if (!c->no_limits)
        say(c, cannot.text);
    enum status status = throughput_run(&o, c->subjects, c->n_subjects, &c->throughput, &c->samples, e);
    gauge_close(c->gauge);
    c->gauge = NULL;
    if (status) return status;
    /* The limits once more, for the table of limits and for tests that nothing could be measured beside: the
     * better of both counts. */
    TRY(measure_limits(c, threads, e));
    for (int i = 0; i < c->n_models; i++)
        throughput_limits(&c->throughput, ((struct model_row *)c->model_rows.data)[i].name, c->model_list[i],
                          threads, limits_best(&c->limits, "read", threads),
                          limits_best(&c->limits, "int8", threads));
    return run_lookups(c, threads, batch, e);
}

/* ---- then and now ---- */

/* The first peer is the one of --against; its row follows ours, repetition for repetition. */
static enum status compare_against(struct bench_command *c, struct error *e) {
    const struct throughput_row *all = c->throughput.data;
    const struct sample_row *ns = c->samples.data;
    for (size_t i = 1; i < c->throughput.n; i++) {
        const struct throughput_row *r = &all[i], *ours = r - 1;
        double then[COMPARE_MAX_PAIRS], now[COMPARE_MAX_PAIRS];
        char name[256];
        if (strcmp(r->engine, c->peer_list[0].name) != 0) continue;
        int n = (int)(r->samples_count < ours->samples_count ? r->samples_count : ours->samples_count);
        if (n > COMPARE_MAX_PAIRS) n = COMPARE_MAX_PAIRS;
        for (int k = 0; k < n; k++) {
            then[k] = (double)ns[r->samples_first + k].ns;
            now[k] = (double)ns[ours->samples_first + k].ns;
        }
        snprintf(name, sizeof name, "%s, %s, %s, -t %d -b %d", r->model, ours->engine, r->test,
                 (int)r->threads, (int)r->n_batch);
        struct comparison_row row = compare_pairs(name, then, now, n, (uint64_t)c->seed);
        if (rows_add(&c->comparison, &comparison_table, &row))
            return fail(e, ERR_MEMORY, "bench: out of memory");
    }
    return c->comparison.n ? OK : fail(e, ERR_ARG, "%s: ran none of the tests", c->against);
}

static enum status compare_all(struct bench_command *c, struct error *e) {
    TRY(timed_throughput(&c->timed, &c->throughput, &c->model_rows, &c->samples, e));
    if (c->against) return compare_against(c, e);
    if (!c->names.compare) return OK;
    return compare(&c->comparison, &c->baseline.timed, &c->timed, 1, (uint64_t)c->seed, e);
}

static enum status print_all(struct bench_command *c, struct error *e) {
    char title[400];
    int compared = c->names.compare || c->against;
    snprintf(title, sizeof title, "%s",
             c->against         ? c->peer_list[0].name
             : c->names.compare ? c->baseline.title
                                : "");
    if (compared && strcmp(c->format, "json") == 0)
        compare_print_json(stdout, title, &c->comparison);
    else {
        if (c->tests.n)
            TRY(throughput_print(stdout, c->format, &c->throughput, &c->model_rows, &c->samples, e));
        if (c->tests.n && c->lookup.n) putchar('\n');
        if (c->lookup.n) lookup_print(stdout, c->lookup.data, c->lookup.n);
        if (compared) compare_print(stdout, title, &c->comparison);
    }
    if (c->format_err)
        TRY(throughput_print(stderr, c->format_err, &c->throughput, &c->model_rows, &c->samples, e));
    return OK;
}

static enum status store(struct bench_command *c, struct error *e) {
    struct record *r = record_new("bench");
    if (!r) return fail(e, ERR_MEMORY, "bench: out of memory");
    machine_attributes(r, c->thread_list.v[0]);
    record_text(r, "preset", "%s", c->preset ? c->preset->name : "");
    record_integer(r, "repetitions", c->repetitions);
    record_integer(r, "seed", c->seed);
    record_integer(r, "warmup", !c->no_warmup);
    record_text(r, "notes", "%s", c->notes);
    record_rows(r, &models_table, c->model_rows.data, c->model_rows.n);
    if (c->tests.n) {
        record_rows(r, &throughput_table, c->throughput.data, c->throughput.n);
        record_rows(r, &limits_table, c->limits.data, c->limits.n);
    }
    if (c->lookup.n) record_rows(r, &lookup_table, c->lookup.data, c->lookup.n);
    record_rows(r, &samples_table, c->samples.data, c->samples.n);
    if (c->names.compare || c->against)
        record_rows(r, &comparison_table, c->comparison.data, c->comparison.n);
    enum status st = c->record ? records_append(c->record, r, NULL, e) : OK;
    if (!st && c->names.save) st = baseline_save(r, &c->timed, c->names.folder, c->names.save, &c->host, e);
    record_free(r);
    return st;
}

/* What was measured is printed and kept all the same. */
static enum status check_peers(const struct bench_command *c, struct error *e) {
    for (int i = 0; i < c->n_peers; i++)
        if (c->peer_list[i].failures && !c->peer_list[i].successes)
            return fail(e, ERR_FORMAT, "%s: ran none of the tests", c->peer_list[i].path);
    return OK;
}

static enum status run(struct bench_command *c, struct error *e) {
    char warnings[512];
    TRY(read_options(c, e));
    c->started = now_ns();
    TRY(open_models(c, e));
    if (machine_warnings(warnings, sizeof warnings, c->thread_list.v[0]))
        for (char *line = strtok(warnings, "\n"); line; line = strtok(NULL, "\n"))
            fprintf(stderr, "lfm2: warning: %s\n", line);
    for (int t = 0; t < c->thread_list.n; t++)
        for (int b = 0; b < c->batch_list.n; b++)
            TRY(run_with(c, c->thread_list.v[t], c->batch_list.v[b], e));
    progress_end(&c->progress);
    TRY(compare_all(c, e));
    TRY(print_all(c, e));
    if (c->record || c->names.save) TRY(store(c, e));
    return check_peers(c, e);
}

/* 1 when a repetition's logits differed from another's: then the times are not of one computation. */
static int outputs_differ(const struct bench_command *c) {
    const struct throughput_row *r = c->throughput.data;
    int differ = 0;
    for (size_t i = 0; i < c->throughput.n; i++)
        if (r[i].output_sha256[0] && !r[i].output_same) {
            fprintf(stderr,
                    "lfm2: %s: %s on %s: repetitions gave different logits (expected the same bytes)\n",
                    r[i].model, r[i].test, r[i].engine);
            differ = 1;
        }
    const struct lookup_row *l = c->lookup.data;
    for (size_t i = 0; i < c->lookup.n; i++)
        if (!l[i].same_tokens) {
            fprintf(stderr, "lfm2: %s: %s on %s: other tokens than without lookup (expected the same)\n",
                    l[i].model, l[i].test, l[i].engine);
            differ = 1;
        }
    return differ;
}

static void close_all(struct bench_command *c) {
    for (int i = 0; i < c->n_models; i++) model_close(c->model_list[i]);
    progress_end(&c->progress);
    free(c->model_rows.data);
    free(c->throughput.data);
    free(c->limits.data);
    free(c->samples.data);
    free(c->comparison.data);
    free(c->lookup.data);
    timed_free(&c->timed);
    baseline_close(&c->baseline);
}

int cmd_bench(int argc, char **argv) {
    static struct bench_command c = {
        .engines = "optimized", .format = "md", .seed = 1, .repetitions = UNSET, .names.folder = "baselines"};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &c.models, "A,B", "model files, timed interleaved"},
        {"--packed", OPTION_TEXT, &c.packed, "A,B",
         "their packed files (lfm2 pack) in the same order; - for none"},
        {"--lora", OPTION_TEXT, &c.lora, "F[:S]",
         "add a PEFT adapter to the models, S times (default 1); may be repeated"},
        {"-p,--n-prompt", OPTION_TEXT, &c.prompts, "N,...",
         "prompt lengths to prefill (default: 512; 0: none)"},
        {"-n,--n-gen", OPTION_TEXT, &c.gens, "N,...", "numbers of tokens to decode (default: 128; 0: none)"},
        {"-pg", OPTION_TEXT, &c.pairs, "PP,TG", "prefill PP and decode TG in one test"},
        {"-d,--n-depth", OPTION_TEXT, &c.depths, "N,...", "tokens before the test, not timed (default: 0)"},
        {"-np,--parallel", OPTION_TEXT, &c.parallel, "N,...",
         "sequences decoded at once in the tests of -n; rows count\nthe tokens of all (default: 1)"},
        {"--lookup", OPTION_TEXT, &c.lookups, "N,...",
         "decode N tokens of a text that repeats, with and without prompt\nlookup; a table of its own, alone "
         "unless "
         "-p, -n ... are given too"},
        {"-ctk,--cache-type-k", OPTION_TEXT, &c.cache_types, "TYPE,...",
         "f16 (default), q8_0 or both: how keys and values are cached"},
        {"-b,--batch-size", OPTION_TEXT, &c.batches, "N,...", "tokens computed at once (default: 2048)"},
        {"-t,--threads", OPTION_TEXT, &c.threads, "N,...", "threads, pinned (default: one per CPU)"},
        {"-C,--cpu-mask", OPTION_TEXT, &c.cpus, "HEX", "CPUs to use, by bit"},
        {"-r,--repetitions", OPTION_INT, &c.repetitions, "N", "repetitions of each test (default: 5)"},
        {"-o,--output", OPTION_TEXT, &c.format, "FORMAT", "md, csv, json, jsonl or sql (default: md)"},
        {"-oe,--output-err", OPTION_TEXT, &c.format_err, "FORMAT",
         "print the results in this format on stderr too"},
        {"--no-warmup", OPTION_FLAG, &c.no_warmup, NULL,
         "do not warm up with a token and a prompt, nor let peers"},
        {"--progress", OPTION_FLAG, &c.show_lines, NULL,
         "one line on stderr per repetition, terminal or not"},
        {"--delay", OPTION_FLOAT, &c.delay, "SECONDS", "wait before each repetition (default: 0)"},
        {"--engine", OPTION_TEXT, &c.engines, "NAME,...",
         "optimized, reference or both (default: optimized)"},
        {"--preset", OPTION_TEXT, &c.preset_name, "NAME",
         "report: 1K and 4K, decode 100 tokens after each\nchart: a sweep over lengths and depths, six "
         "minutes\nsmoke: a few tokens"},
        {"--max-seconds", OPTION_FLOAT, &c.max_seconds, "SECONDS",
         "fewer repetitions (at least 3), then fewer tests, to end in time"},
        {"--no-limits", OPTION_FLAG, &c.no_limits, NULL,
         "do not measure the machine before, beside and after"},
        {"--peer", OPTION_TEXT, &c.peers, "PATH",
         "a llama-bench of llama.cpp or ik_llama.cpp, run interleaved;\nexit code 2 when it runs none of the "
         "tests"},
        {"--against", OPTION_TEXT, &c.against, "PATH",
         "an older lfm2, run in turns with this one (10 repetitions unless -r says else);\nexit code 1 when "
         "something is worse"},
        BASELINE_OPTIONS(c.names),
        {"--seed", OPTION_INT, &c.seed, "N", "of the random token ids (default: 1)"},
        {"--record", OPTION_TEXT, &c.record, "FILE.h5",
         "append the run to a record file (default: not stored)"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(
        argc, argv,
        "usage: lfm2 bench -m MODEL.gguf[,...] [options]\n\nTimes prefill and decode. Lists take "
        "commas, repeated options and ranges:\nfirst-last, first-last+step, first-last*mult.",
        specs, NULL, 0, NULL, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (cmd_isa_mask(&c.cpu_mask, &e)) return cmd_fail(&e);
    enum status st = run(&c, &e);
    int differ = st == OK && outputs_differ(&c), worse = compare_count(&c.comparison, "worse");
    close_all(&c);
    return st ? cmd_fail(&e) : differ || worse;
}
