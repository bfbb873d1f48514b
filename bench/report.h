/* SPDX-License-Identifier: Apache-2.0 */
/* report: RESULTS.md and the figures, from records alone. Reads no clock, no machine and no model: the same
 * records give the same bytes anywhere. Layout of the code: report_source.c reads a record, report.c writes
 * the page, report_headline.c its beginning, report_speed.c its throughput sections, report_plots.c the
 * figures, report_quality.c the section about quantisation, report_eval.c the one about answers,
 * report_schemes.c the one about schemes that are not offered. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdio.h>

#include "bench/chain.h"
#include "bench/eval_rows.h"
#include "bench/lookup.h"
#include "bench/parity_rows.h"
#include "bench/quality_rows.h"
#include "bench/records.h"

/* One run of a record file; texts that the run does not hold are "not recorded". */
struct report_run {
    char name[64], kind[32], time[32], commit[64], preset[32];
    char warnings[1024], notes[4096]; /* "" when there are none */
    char compiler[256], cpu[256], caches[256], isa[256], os[256], kernel[256], flags[512];
    int64_t dirty, cores, threads, memory_bytes; /* -1: not recorded */
};

struct report_parity {
    struct model_row model;
    struct parity_rows rows;
    char reference[512], optimized[512];
    char scheme[16]; /* "exact" where a record does not say */
    int64_t n_prefill, n_decode, passed;
    struct chain_row chain[CHAIN_LINKS]; /* positions 0: none */
    int is_text;
};

/* What the report needs of one record file. A repeated measurement replaces the one before: the last run
 * counts. */
struct report_source {
    char name[128]; /* "chart.h5" */
    struct report_run *runs;
    int n_runs;
    const struct report_run
        *machine;             /* the run that the machine section describes: the last bench, or last */
    struct model_row *models; /* [n_models] by name, in order of first appearance */
    size_t n_models;
    struct throughput_row *speeds; /* [n_speeds], sorted: see report_source_open */
    size_t n_speeds;
    struct lookup_row *lookups; /* prompt lookup */
    size_t n_lookups;
    struct limits_row *limits; /* of the last "limits" run */
    size_t n_limits;
    struct limits_row *bench_limits; /* measured around the last "bench" run: what its shares refer to */
    size_t n_bench_limits;
    struct kernel_row *kernels; /* of the last "kernels" run */
    size_t n_kernels;
    struct report_parity
        *parity; /* the last per model and way of computing it; a model's first is its main one */
    size_t n_parity;
    struct quality_row *quality; /* of the last "quality" run */
    size_t n_quality;
    struct kl_pair_row *kl_pairs; /* of the same */
    size_t n_kl_pairs;
    struct eval_run_row *eval_runs; /* all, in order */
    size_t n_eval_runs;
    struct eval_row *evals; /* the last of each score */
    size_t n_evals;
    struct eval_pair_row *eval_pairs; /* the last of each pair */
    size_t n_eval_pairs;
};

/* speeds are sorted by model (order of models), threads, prefill before decode before both, depth, prompt,
 * generated tokens, and "optimized" before other engines. */
enum status report_source_open(struct report_source *out, const char *path, struct error *e);
void report_source_close(struct report_source *s); /* a zeroed struct is fine */

enum report_test { TEST_PREFILL, TEST_DECODE, TEST_MIXED };
enum report_test report_test_of(const struct throughput_row *r);
const struct model_row *report_model(const struct report_source *s,
                                     const char *name); /* NULL: not in the record */

/* The whole page. published: path of published.csv. Figures are linked as plots/PREFIXname.svg. */
enum status report_page(FILE *to, const struct report_source *sources, int n, const char *published,
                        struct error *e);

/* "LFM2-8B-A1B, Q4_0, **synthetic weights**" of a model's name. */
void report_model_text(FILE *to, const struct report_source *s, const char *name);

/* The most important figures of the main source. */
void report_headline(FILE *to, const struct report_source *s);
/* Throughput tables of one source; heading: "###". */
void report_speeds(FILE *to, const struct report_source *s);
void report_schemes(FILE *to, const struct report_source *s); /* nothing when there are none but exact */
void report_quality(FILE *to, const struct report_source *s);
void report_batched(FILE *to, const struct report_source *s);
void report_eval(FILE *to, const struct report_source *s);
void report_card(FILE *to, const struct report_source *sources, int n);
enum status report_published(FILE *to, const struct report_source *s, const char *published, struct error *e);

/* Draws every figure that the source has data for into dir. prefix: "" or "chart-". scripts: folder of the
 * *.gp. */
enum status report_plots(const struct report_source *s, const char *prefix, const char *dir,
                         const char *scripts, struct error *e);

/* Figures that a source has data for, in the order of the page. */
enum report_figure {
    FIGURE_PREFILL,
    FIGURE_DECODE,
    FIGURE_SHARE,
    FIGURE_THREADS,
    FIGURE_PARITY,
    FIGURE_QUALITY,
    FIGURE_EVAL,
    FIGURE_COUNT
};
/* With how many numbers of threads the test of row i was measured. */
int report_thread_counts(const struct report_source *s, size_t i);
/* Whether parity i is its model's first: later ones (other instructions, another cache) get one line each. */
int report_parity_is_main(const struct report_source *s, size_t i);
/* Whether any parity run is of another scheme than the exact one; whether this one is. */
int report_has_schemes(const struct report_source *s);
int report_other_scheme(const struct report_parity *p);
/* Whether a score says something: those of synthetic models do not. */
int report_eval_counts(const struct report_source *s, const struct eval_row *r);
int report_has_figure(const struct report_source *s, enum report_figure figure);
extern const char *const report_figure_names[FIGURE_COUNT]; /* "prefill" */

/* The name prefix of a source's figures: "" for the only source and for chart.h5, the main one; else
 * its stem and '-'. */
void report_prefix(char *out, size_t size, const struct report_source *s, int n_sources);

/* Text from a record inside a Markdown table: '|' escaped, control characters as spaces. */
void md_text(FILE *to, const char *text);
/* Three to four significant digits: "1234", "56.7", "8.90"; "-" when not measured (0, negative, NaN). */
const char *md_rate(char out[32], double x);

#endif
