/* SPDX-License-Identifier: Apache-2.0 */
/* report_quality: what quantisation costs, from a stored sweep and, where the record has them, answers
 * compared question by question. */
#include <math.h>
#include <string.h>

#include "bench/report.h"

/* Of each task, or of all tasks together, the first filter and metric: what else a task has is in the record.
 */
static int is_column(const struct report_source *s, size_t i) {
    const struct eval_pair_row *r = s->eval_pairs;
    for (size_t k = 0; k < i; k++)
        if (!strcmp(r[k].task, r[i].task)) return 0;
    for (size_t k = 0; k < s->n_eval_pairs; k++) /* parts of a whole that has a row of its own */
        if (!strncmp(r[k].task, "all ", 4) && strncmp(r[i].task, "all ", 4) &&
            !strcmp(r[k].metric, r[i].metric) && !strcmp(r[k].filter, r[i].filter))
            return 0;
    return 1;
}

/* "mini_gsm8k"; of "all 4 tasks" what the names of those before it begin with. */
static void column_name(char out[64], const struct report_source *s, size_t i) {
    const struct eval_pair_row *r = s->eval_pairs;
    snprintf(out, 64, "%s", r[i].task);
    if (strncmp(out, "all ", 4)) return;
    for (size_t k = 0, first = 1; k < i; k++) {
        if (strcmp(r[k].metric, r[i].metric) || strcmp(r[k].filter, r[i].filter)) continue;
        if (first) snprintf(out, 64, "%s", r[k].task);
        size_t n = 0;
        while (out[n] && out[n] == r[k].task[n]) n++;
        if (!first) out[n] = 0;
        first = 0;
    }
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '_') out[--n] = 0;
}

/* How a run of this row is called in a comparison: "Q4_0.gguf, optimized avx2". */
static int is_run_of(const char *name, const struct quality_row *q) {
    size_t n = strlen(q->recipe);
    if (strncmp(name, q->recipe, n)) return 0;
    if (!strncmp(name + n, ".gguf", 5)) n += 5;
    return !strncmp(name + n, ", ", 2) && !strcmp(name + n + 2, q->engine);
}

static void print_answers(FILE *to, const struct report_source *s, const struct quality_row *q) {
    for (size_t c = 0; c < s->n_eval_pairs; c++) {
        if (!is_column(s, c)) continue;
        const struct eval_pair_row *found = NULL, *column = &s->eval_pairs[c];
        for (size_t i = 0; i < s->n_eval_pairs && !found; i++) {
            const struct eval_pair_row *r = &s->eval_pairs[i];
            if (is_run_of(r->b, q) && !strcmp(r->task, column->task) && !strcmp(r->filter, column->filter) &&
                !strcmp(r->metric, column->metric))
                found = r;
        }
        if (found)
            fprintf(to, "| %.1f %%: %+.1f [%+.1f, %+.1f], +%lld −%lld, p %.2g ", 100 * found->value_b,
                    100 * found->difference, 100 * found->lo, 100 * found->hi, (long long)found->gained,
                    (long long)found->lost, found->p);
        else if (!*q->base)
            fprintf(to, "| %.1f %% ", 100 * column->value_a);
        else
            fprintf(to, "| - ");
    }
    fprintf(to, "|\n");
}

static void print_head(FILE *to, const struct report_source *s, int answers) {
    char name[64];
    quality_print_head(to);
    for (size_t c = 0; c < s->n_eval_pairs && answers; c++) {
        if (!is_column(s, c)) continue;
        column_name(name, s, c);
        fprintf(to, "| %s, %lld questions ", name, (long long)s->eval_pairs[c].n);
    }
    fprintf(to, "|\n");
    quality_print_rule(to);
    for (size_t c = 0; c < s->n_eval_pairs && answers; c++)
        if (is_column(s, c)) fprintf(to, "|--:");
    fprintf(to, "|\n");
}

/* Whole recipes, or one class at a time. */
static void print_part(FILE *to, const struct report_source *s, int classes) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_quality; i++) {
        if ((strchr(s->quality[i].recipe, '=') != NULL) != classes) continue;
        if (n++ == 0) {
            fprintf(to, classes ? "### One class of tensors at a time\n\n" : "### Recipes\n\n");
            print_head(to, s, !classes);
        }
        quality_print_cells(to, &s->quality[i]);
        if (classes)
            fprintf(to, "|\n");
        else
            print_answers(to, s, &s->quality[i]);
    }
    if (n) fprintf(to, "\n");
}

/* What stands after a '+', beside the same without it. */
static void print_differences(FILE *to, const struct report_source *s) {
    if (!s->n_kl_pairs) return;
    fprintf(
        to,
        "### What each choice changes\n\nMean KL divergence of a recipe beside that of its plain type, token "
        "by "
        "token; the 95 %% interval is of a bootstrap that draws the %lld chunks in pairs, since neighbouring "
        "tokens are no independent draws.\n\n"
        "| recipe | engine | KL mean | of | KL mean | difference | 95 %% | share |\n"
        "|---|---|--:|---|--:|--:|--:|--:|\n",
        (long long)s->kl_pairs[0].windows);
    for (size_t i = 0; i < s->n_kl_pairs; i++) {
        const struct kl_pair_row *r = &s->kl_pairs[i];
        fprintf(to, "| %s | %s | %.6f | %s | %.6f | %+.6f | %+.6f to %+.6f | ", r->recipe, r->engine, r->kl,
                r->plain, r->kl_plain, r->difference, r->lo, r->hi);
        if (r->kl_plain > 1e-6)
            fprintf(to, "%+.1f %% |\n", 100 * r->difference / r->kl_plain);
        else
            fprintf(to, "- |\n");
    }
    fprintf(to, "\n");
}

void report_quality(FILE *to, const struct report_source *s) {
    if (!s->n_quality) {
        fprintf(to, "Not in this record; `lfm2 quality --record FILE` adds it.\n\n");
        return;
    }
    const struct quality_row *r = &s->quality[0];
    const struct model_row *m = report_model(s, r->model);
    md_text(to, r->model);
    fprintf(to, "%s over `%s`: %lld chunks of %lld ids, %lld scored positions.",
            m && m->synthetic ? " (**synthetic weights: these figures say nothing about a trained model**)"
                              : "",
            r->text, (long long)r->windows, (long long)r->n_ctx, (long long)r->positions);
    fprintf(to,
            " Each row is a file of its own, compared with the original on the reference engine in float32: "
            "perplexity and KL divergence as llama-perplexity defines them, with standard errors, in nats; "
            "router flips: decisions in which another set of experts was chosen. The reference engine "
            "computes in float32 with the weights as the file means them: its rows are the price of the "
            "weights alone. The rows of the optimized engine add the price of int8 activations, where it has "
            "integer kernels for a type (Q4_0, Q8_0, Q6_K); other types it computes in float32. A word after "
            "its name lowers the instruction set (no word: the strongest of this machine); kv-q8_0 caches "
            "keys and values as int8.\n\n");
    if (s->n_eval_pairs)
        fprintf(
            to,
            "Answers, question by question beside the original on the reference engine: how many are "
            "right, the difference in percentage points with its paired 95 %% interval, how many were gained "
            "and lost, and McNemar's exact p.\n\n");
    print_part(to, s, 0);
    print_part(to, s, 1);
    print_differences(to, s);
}
