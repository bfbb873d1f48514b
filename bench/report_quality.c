/* report_quality: what quantisation costs, from a stored sweep. */
#include <string.h>

#include "bench/report.h"

/* Whole recipes, or one class at a time. */
static void print_part(FILE *to, const struct report_source *s, int classes) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_quality; i++) {
        if ((strchr(s->quality[i].recipe, '=') != NULL) != classes) continue;
        if (n++ == 0) fprintf(to, classes ? "### One class of tensors at a time\n\n" : "### Recipes\n\n");
        quality_print_rows(to, &s->quality[i], 1, n == 1);
    }
    if (n) fprintf(to, "\n");
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
            "integer kernels for a type (Q4_0, Q8_0, Q6_K); other types it computes in float32.\n\n");
    print_part(to, s, 0);
    print_part(to, s, 1);
}
