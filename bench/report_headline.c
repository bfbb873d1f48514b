/* SPDX-License-Identifier: Apache-2.0 */
/* report_headline: the few figures that most readers come for, first on the page. What the main record lacks
 * is left out; nothing is computed here that the sections below do not show. */
#include <string.h>

#include "bench/report.h"

static int is_candidate(const struct throughput_row *r, const char *model, const char *engine,
                        enum report_test test) {
    return !strcmp(r->model, model) && !strcmp(r->engine, engine) && r->n_depth == 0 && r->median_ts > 0 &&
           report_test_of(r) == test;
}

/* One thread per CPU before other numbers, then the usual length, then the longest. */
static int is_better(const struct throughput_row *a, const struct throughput_row *b, int64_t cores) {
    int64_t n = a->n_prompt + a->n_gen, m = b->n_prompt + b->n_gen, usual = a->n_prompt ? 512 : 128;
    if ((a->threads == cores) != (b->threads == cores)) return a->threads == cores;
    if (a->threads != b->threads) return a->threads > b->threads;
    if ((n == usual) != (m == usual)) return n == usual;
    return n > m;
}

static const struct throughput_row *find(const struct report_source *s, const char *model,
                                         enum report_test test) {
    const struct throughput_row *best = NULL;
    for (size_t i = 0; i < s->n_speeds; i++)
        if (is_candidate(&s->speeds[i], model, "optimized", test) &&
            (!best || is_better(&s->speeds[i], best, s->machine->cores)))
            best = &s->speeds[i];
    return best;
}

/* "**3.72** (2.64 – 3.73) llama.cpp b1", for each peer that ran the same test. */
static void print_peers(FILE *to, const struct report_source *s, const struct throughput_row *ours) {
    int n = 0;
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        if (strcmp(r->model, ours->model) || strcmp(r->test, ours->test) || r->threads != ours->threads ||
            !(r->ratio > 0))
            continue;
        fprintf(to, "%s**%.2f** (%.2f – %.2f) ", n++ ? ", " : "", r->ratio, r->ratio_lo, r->ratio_hi);
        md_text(to, r->engine);
    }
    if (!n) fprintf(to, "-");
}

static void print_speed(FILE *to, const struct report_source *s, const struct throughput_row *r) {
    char a[32], b[32], c[32];
    fprintf(to, "| ");
    report_model_text(to, s, r->model);
    if (r->n_gen)
        fprintf(to, " | decode %lld tokens", (long long)r->n_gen);
    else
        fprintf(to, " | prefill %lld tokens", (long long)r->n_prompt);
    fprintf(to, " | %lld | **%s** (%s – %s) | ", (long long)r->threads, md_rate(a, r->median_ts),
            md_rate(b, r->ci_lo), md_rate(c, r->ci_hi));
    if (r->limit_ts > 0)
        fprintf(to, "%.1f %% of %s | ", 100 * r->share_of_limit, r->limited_by);
    else
        fprintf(to, "- | ");
    print_peers(to, s, r);
    fprintf(to, " |\n");
}

/* A model agrees when every way of computing it that was compared does. */
static void print_agreement(FILE *to, const struct report_source *s) {
    const char *separator = "\n**Agreement with the float32 reference**: ";
    for (size_t i = 0; i < s->n_parity; i++) {
        int ways = 0, failed = 0;
        if (!report_parity_is_main(s, i)) continue;
        for (size_t j = i; j < s->n_parity; j++) {
            if (strcmp(s->parity[j].model.name, s->parity[i].model.name) ||
                report_other_scheme(&s->parity[j]))
                continue;
            ways++;
            failed += !s->parity[j].passed;
        }
        fprintf(to, "%s", separator);
        md_text(to, s->parity[i].model.name);
        fprintf(to, failed ? ": **FAIL**" : ": pass");
        if (ways > 1) fprintf(to, " in %d of %d ways of computing it", failed ? failed : ways, ways);
        separator = "; ";
    }
    if (s->n_parity) fprintf(to, ".\n");
}

void report_headline(FILE *to, const struct report_source *s) {
    int lines = 0;
    if (!s->n_speeds && !s->n_parity) return;
    fprintf(to, "## In short\n\n");
    for (size_t i = 0; i < s->n_models; i++)
        for (enum report_test test = TEST_PREFILL; test <= TEST_DECODE; test++) {
            const struct throughput_row *r = find(s, s->models[i].name, test);
            if (r && !lines++)
                fprintf(to,
                        "| model | test | threads | tok/s (95 %% interval) | share of the machine's limit | "
                        "ours ÷ theirs |\n|---|---|--:|--:|--:|---|\n");
            if (r) print_speed(to, s, r);
        }
    print_agreement(to, s);
    fprintf(to, "\n");
}
