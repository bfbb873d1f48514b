/* SPDX-License-Identifier: Apache-2.0 */
/* report_eval: how well models answer, what sharing saves, and the model card's benchmarks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"
#include "bench/stats.h"
#include "eval/task.h"

enum { MAX_CHILDREN = 8, MAX_REPETITIONS = 64 };

int report_eval_counts(const struct report_source *s, const struct eval_row *r) {
    const struct model_row *m = report_model(s, r->model);
    return !(m && m->synthetic);
}

static int is_card(const struct eval_row *r) {
    return !strcmp(r->protocol, "card");
}

static int same_score(const struct eval_row *a, const struct eval_row *b) {
    return !strcmp(a->task, b->task) && !strcmp(a->filter, b->filter) && !strcmp(a->metric, b->metric) &&
           a->num_fewshot == b->num_fewshot && a->limit == b->limit && a->chat == b->chat &&
           is_card(a) == is_card(b);
}

/* "0.7792", "0.7792 – 0.8000"; "-" for what there is none of. */
static void print_number(FILE *to, const char *before, double x) {
    if (isnan(x))
        fprintf(to, "%s-", before);
    else
        fprintf(to, "%s%.4f", before, x);
}

static void print_score(FILE *to, const struct eval_row *r, int child) {
    fprintf(to, "| %s", child ? "– " : "");
    md_text(to, r->task);
    fprintf(to, " | ");
    md_text(to, r->version);
    fprintf(to, " | %lld | %s, %s | ", (long long)r->num_fewshot, r->filter, r->metric);
    md_text(to, r->model);
    fprintf(to, " %s, %s | %lld | ", r->recipe, r->engine, (long long)r->n);
    print_number(to, child ? "" : "**", r->value);
    print_number(to, child ? " | " : "** | ", r->error);
    print_number(to, " | ", r->lo);
    print_number(to, " – ", r->hi);
    fprintf(to, " | %lld | %lld |\n", (long long)r->n_failed, (long long)r->n_truncated);
}

/* All models' and engines' rows of the score that row `at` is of; 0 when they were printed with an earlier
 * one.
 */
static int print_same(FILE *to, const struct report_source *s, size_t at, int child) {
    for (size_t i = 0; i < at; i++)
        if (report_eval_counts(s, &s->evals[i]) && same_score(&s->evals[i], &s->evals[at])) return 0;
    for (size_t i = at; i < s->n_evals; i++)
        if (report_eval_counts(s, &s->evals[i]) && same_score(&s->evals[i], &s->evals[at]))
            print_score(to, &s->evals[i], child);
    return 1;
}

static int is_child(const struct eval_row *r, const struct eval_row *parent) {
    return !strcmp(r->parent, parent->task) && !strcmp(r->filter, parent->filter) &&
           !strcmp(r->metric, parent->metric) && r->limit == parent->limit && r->chat == parent->chat &&
           r->num_fewshot == parent->num_fewshot && is_card(r) == is_card(parent);
}

/* Direct members of a group, when they are few; `at` stands for all that were printed with it. */
static void print_children(FILE *to, const struct report_source *s, size_t at) {
    const struct eval_row *parent = &s->evals[at];
    int n = 0;
    for (size_t i = 0; i < s->n_evals; i++) {
        const struct eval_row *r = &s->evals[i];
        n += is_child(r, parent) && !strcmp(r->model, parent->model) && !strcmp(r->recipe, parent->recipe) &&
             !strcmp(r->engine, parent->engine);
    }
    for (size_t i = 0; n <= MAX_CHILDREN && i < s->n_evals; i++)
        if (is_child(&s->evals[i], parent) && report_eval_counts(s, &s->evals[i])) print_same(to, s, i, 1);
}

static void print_protocol(FILE *to, const struct report_source *s, int card) {
    int any = 0;
    for (size_t i = 0; i < s->n_evals; i++) {
        const struct eval_row *r = &s->evals[i];
        if (is_card(r) != card || *r->parent || !report_eval_counts(s, r)) continue;
        if (!any++)
            fprintf(
                to,
                "### Protocol: %s\n\n| task | version | shots | filter, metric | model, engine | documents | "
                "score | standard error | 95 %% interval | failed | cut |\n"
                "|---|--:|--:|---|---|--:|--:|--:|--:|--:|--:|\n",
                card ? "card-like" : "lm-eval");
        if (print_same(to, s, i, 0)) print_children(to, s, i);
    }
    if (any) fprintf(to, "\n");
}

static int same_sides(const struct eval_pair_row *p, const struct eval_pair_row *q) {
    return !strcmp(p->a, q->a) && !strcmp(p->b, q->b) && !strcmp(p->filter, q->filter) &&
           !strcmp(p->metric, q->metric);
}

static int is_pool(const struct eval_pair_row *p) {
    return !strncmp(p->task, "all ", 4);
}

/* 1: a later row has this one's documents and more. Subjects have too few questions each to say anything. */
static int is_pooled(const struct report_source *s, size_t at) {
    for (size_t i = at + 1; i < s->n_eval_pairs && same_sides(&s->eval_pairs[i], &s->eval_pairs[at]); i++)
        if (is_pool(&s->eval_pairs[i])) return !is_pool(&s->eval_pairs[at]);
    return 0;
}

/* "all 4 tasks mini_mmlu": with what the names of the rows before have in common. */
static void print_pair_task(FILE *to, const struct report_source *s, size_t at) {
    const char *first = NULL;
    size_t n = 0;
    md_text(to, s->eval_pairs[at].task);
    for (size_t i = at; is_pool(&s->eval_pairs[at]) && i-- > 0 && is_pooled(s, i);) {
        const char *name = s->eval_pairs[i].task;
        if (!first) n = strlen(first = name);
        while (strncmp(first, name, n) != 0) n--;
    }
    while (n > 0 && first[n - 1] == '_') n--;
    if (n > 0) fprintf(to, " %.*s", (int)n, first);
}

static void print_pairs(FILE *to, const struct report_source *s) {
    if (!s->n_eval_pairs) return;
    fprintf(to,
            "### In pairs\n\nThe same questions to two runs, question by question: pairs say more than two "
            "means, since both saw the same easy and hard ones. Difference: B − A with its 95 %% paired "
            "bootstrap interval; p: McNemar's exact test of the answers that changed.\n\n"
            "| task, filter, metric | A | B | n | A | B | B − A | 95 %% interval | gained | lost | p |\n"
            "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < s->n_eval_pairs; i++) {
        const struct eval_pair_row *p = &s->eval_pairs[i];
        if (is_pooled(s, i)) continue;
        fprintf(to, "| ");
        print_pair_task(to, s, i);
        fprintf(to, ", %s, %s | ", p->filter, p->metric);
        md_text(to, p->a);
        fprintf(to, " | ");
        md_text(to, p->b);
        fprintf(to, " | %lld | %.4f | %.4f | **%+.4f** | %+.4f – %+.4f | %lld | %lld | ", (long long)p->n,
                p->value_a, p->value_b, p->difference, p->lo, p->hi, (long long)p->gained,
                (long long)p->lost);
        if (isnan(p->p))
            fprintf(to, "- |\n");
        else
            fprintf(to, "%.3g |\n", p->p);
    }
    fprintf(to, "\n");
}

/* ---- speed ---- */

static int same_question(const struct eval_run_row *a, const struct eval_run_row *b) {
    return !strcmp(a->model, b->model) && !strcmp(a->recipe, b->recipe) && !strcmp(a->engine, b->engine) &&
           !strcmp(a->protocol, b->protocol) && !strcmp(a->tasks, b->tasks) &&
           a->num_fewshot == b->num_fewshot && a->limit == b->limit && a->chat == b->chat &&
           a->context == b->context && a->threads == b->threads && a->batch == b->batch &&
           a->items == b->items && !a->n_before && !b->n_before && a->processes == 1 && b->processes == 1;
}

/* Speeds of the runs that ask what run `at` asks, in the order in which they were made. */
static int speeds_of(const struct report_source *s, size_t at, int prefix, double out[MAX_REPETITIONS],
                     double *tokens) {
    int n = 0;
    for (size_t i = 0; i < s->n_eval_runs && n < MAX_REPETITIONS; i++) {
        const struct eval_run_row *r = &s->eval_runs[i];
        if (r->prefix != prefix || !same_question(r, &s->eval_runs[at])) continue;
        out[n++] = r->items_s;
        *tokens = (double)r->fed / (double)r->items;
    }
    return n;
}

static int is_first(const struct report_source *s, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (same_question(&s->eval_runs[i], &s->eval_runs[at])) return 0;
    return 1;
}

static void print_sharing(FILE *to, const struct report_source *s) {
    int any = 0;
    for (size_t i = 0; i < s->n_eval_runs; i++) {
        const struct eval_run_row *r = &s->eval_runs[i];
        double with[MAX_REPETITIONS], without[MAX_REPETITIONS], fed = 0, alone = 0;
        char a[32], b[32];
        if (!is_first(s, i)) continue;
        int n = speeds_of(s, i, 1, with, &fed), m = speeds_of(s, i, 0, without, &alone);
        if (!n || !m) continue;
        if (!any++)
            fprintf(
                to,
                "### What sharing beginnings saves\n\nThe examples before the questions of a task are "
                "computed once and restored for each question; `--no-prefix-cache` computes them every "
                "time. Tokens computed are exact counts; questions per second are medians of runs that "
                "took turns, without the time to open the model; the ratio is of pairs, with its 95 %% "
                "interval.\n\n"
                "| model | tasks | shots | questions | threads | tokens per question: alone | shared | ratio "
                "| questions/s: alone | shared | ratio | pairs |\n"
                "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        int pairs = n < m ? n : m;
        struct interval ratio = ratio_interval(with, without, pairs, 1);
        fprintf(to, "| ");
        md_text(to, r->model);
        fprintf(to, " %s, %s | ", r->recipe, r->engine);
        md_text(to, r->tasks);
        fprintf(to,
                " | %lld | %lld | %lld | %.1f | %.1f | **%.2f** | %s | %s | **%.2f** (%.2f – %.2f) | %d |\n",
                (long long)r->num_fewshot, (long long)r->items, (long long)r->threads, alone, fed,
                alone / fed, md_rate(a, median(without, m)), md_rate(b, median(with, n)), ratio.mid, ratio.lo,
                ratio.hi, pairs);
    }
    if (any) fprintf(to, "\n");
}

/* The same test with one sequence; NULL: not measured. */
static const struct throughput_row *one_of(const struct report_source *s, const struct throughput_row *r,
                                           int sequences) {
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *x = &s->speeds[i];
        if (!strcmp(x->model, r->model) && !strcmp(x->engine, r->engine) && x->threads == r->threads &&
            x->n_depth == r->n_depth && report_test_of(x) == TEST_DECODE && x->n_gen * sequences == r->n_gen)
            return x;
    }
    return NULL;
}

void report_batched(FILE *to, const struct report_source *s) {
    int any = 0;
    char a[32], b[32], c[32];
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        const char *parallel = strstr(r->test, " x"); /* as bench_test_name writes it */
        int sequences = parallel ? atoi(parallel + 2) : 0;
        const struct throughput_row *one = sequences > 1 ? one_of(s, r, sequences) : NULL;
        if (!one || !(one->median_ts > 0)) continue;
        if (!any++)
            fprintf(to,
                    "\n### Several sequences at once\n\nEvaluations decode several answers together: weights "
                    "are read once for all. Tokens per second of all sequences; the interval is the widest "
                    "that both 95 %% intervals allow. What the limits allow: bytes and products of one step "
                    "at this machine's measured limits, where a mixture's sequences choose their experts "
                    "independently, so that 8 times 4 of 32 are about 21 different ones and not 4.\n\n"
                    "| model | test | threads | one sequence | all together | ratio | the limits allow a "
                    "ratio of | limit tok/s | share of the limit |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
        fprintf(to, "| ");
        md_text(to, r->model);
        fprintf(to, " | %s | %lld | %s | %s | **%.2f**", r->test, (long long)r->threads,
                md_rate(a, one->median_ts), md_rate(b, r->median_ts), r->median_ts / one->median_ts);
        if (r->ci_lo > 0 && one->ci_lo > 0)
            fprintf(to, " (%.2f – %.2f)", r->ci_lo / one->ci_hi, r->ci_hi / one->ci_lo);
        if (r->limit_ts > 0 && one->limit_ts > 0)
            fprintf(to, " | %.2f | %s | %.1f %% of %s |\n", r->limit_ts / one->limit_ts,
                    md_rate(c, r->limit_ts), 100 * r->share_of_limit, r->limited_by);
        else
            fprintf(to, " | - | - | - |\n");
    }
    if (any) fprintf(to, "\n");
}

void report_eval(FILE *to, const struct report_source *s) {
    int random = 0, trained = 0;
    for (size_t i = 0; i < s->n_evals; i++) {
        random |= !report_eval_counts(s, &s->evals[i]);
        trained |= report_eval_counts(s, &s->evals[i]);
    }
    if (trained)
        fprintf(to,
                "Tasks, prompts, filters, metrics and standard errors are lm-evaluation-harness's "
                "(`lfm2 eval`); the intervals are bootstraps over questions. Cut: prompts longer than the "
                "model's context, which lost their beginning. The two protocols are different measurements "
                "and stand in different tables.\n\n");
    print_protocol(to, s, 0);
    print_protocol(to, s, 1);
    if (random)
        fprintf(to,
                "Scores of synthetic models are not shown: random weights know nothing. They were run for "
                "their speed.\n\n");
    print_pairs(to, s);
    print_sharing(to, s);
}

/* ---- the model card ---- */

enum { CARD_BENCHMARKS = 16 };

/* What the card says of LFM2-8B-A1B, in percent. suite: whose `card` names it. */
static const struct {
    const char *name, *value;
} card[CARD_BENCHMARKS] = {
    {"MMLU", "64.84"},    {"MMLU-Pro", "37.42"},   {"GPQA", "29.29"},       {"IFEval", "77.58"},
    {"IFBench", "25.85"}, {"Multi-IF", "58.19"},   {"GSM8K", "84.38"},      {"GSMPlus", "64.76"},
    {"MATH 500", "74.2"}, {"MATH Lvl 5", "62.38"}, {"MGSM", "72.4"},        {"MMMLU", "55.26"},
    {"LCB v6", "21.04"},  {"LCB v5", "21.36"},     {"HumanEval+", "69.51"}, {"Creative Writing v3", "44.22"},
};

static const struct suite *suite_of(const char *name) {
    size_t n = strlen(name);
    for (const struct suite *const *s = suites; *s; s++)
        for (const char *at = (*s)->card; at; at = strchr(at, ',') ? strchr(at, ',') + 2 : NULL)
            if (!strncmp(at, name, n) && (at[n] == 0 || at[n] == ',')) return *s;
    return NULL;
}

/* The card's model: this architecture, as many weights, and not seeded ones. */
static int is_card_model(const struct report_source *s, const struct eval_row *r) {
    const struct model_row *m = report_model(s, r->model);
    return m && !m->synthetic && !strcmp(m->arch, "lfm2moe") && m->params > 8200000000 &&
           m->params < 8500000000;
}

/* Top scores of the suite in the card's unit; returns how many. */
static int print_real(FILE *to, const struct report_source *sources, int n, const struct suite *suite,
                      int of_card) {
    int any = 0;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < sources[i].n_evals; k++) {
            const struct eval_row *r = &sources[i].evals[k];
            if (strcmp(r->suite, suite->name) || *r->parent || is_card(r) != of_card ||
                !is_card_model(&sources[i], r))
                continue;
            fprintf(to, "%s%.2f (%s, %s, %s, %lld shots, %s %s)", any++ ? "; " : "", 100 * r->value, r->task,
                    r->filter, r->metric, (long long)r->num_fewshot, r->recipe, r->engine);
        }
    if (!any) fprintf(to, "-");
    return any;
}

void report_card(FILE *to, const struct report_source *sources, int n) {
    static const char *const states[] = {"exact", "near", "partial", "export"};
    fprintf(to,
            "## The model card's benchmarks\n\nWhat `lfm2 eval` does for each. Exact: prompts and scores are "
            "lm-evaluation-harness's byte for byte; near: but for what the note names; partial: a part; "
            "export: answers are written for the benchmark's own scorer. Ours and the card's value, in "
            "percent, appear where the published LFM2-8B-A1B itself was run: with none of other weights, "
            "since its scores would say nothing about it. How the card's values were made is not published "
            "in full: only a card-like run is meant to be compared with them.\n\n"
            "| benchmark | suite | state | lm-eval protocol | card-like protocol | the card says | note |\n"
            "|---|---|---|---|---|--:|---|\n");
    for (int i = 0; i < CARD_BENCHMARKS; i++) {
        const struct suite *suite = suite_of(card[i].name);
        if (!suite) continue;
        fprintf(to, "| %s | %s | %s | ", card[i].name, suite->name, states[suite->state]);
        int real = print_real(to, sources, n, suite, 0);
        fprintf(to, " | ");
        real += print_real(to, sources, n, suite, 1);
        fprintf(to, " | %s | ", real ? card[i].value : "-");
        md_text(to, suite->note);
        fprintf(to, " |\n");
    }
    fprintf(to, "\n");
}
