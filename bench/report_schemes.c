/* SPDX-License-Identifier: Apache-2.0 */
/* report_schemes: what schemes that are not offered would cost in accuracy, beside the one that is. */
#include "bench/report.h"

#include <math.h>
#include <string.h>

int report_other_scheme(const struct report_parity *p) {
    return strcmp(p->scheme, scheme_names[SCHEME_EXACT]) != 0;
}

int report_has_schemes(const struct report_source *s) {
    for (size_t i = 0; i < s->n_parity; i++)
        if (report_other_scheme(&s->parity[i])) return 1;
    return 0;
}

/* The exact run that a model's others stand beside: its first. */
static const struct report_parity *exact_of(const struct report_source *s, const char *model) {
    for (size_t i = 0; i < s->n_parity; i++)
        if (!strcmp(s->parity[i].model.name, model) && !report_other_scheme(&s->parity[i]))
            return &s->parity[i];
    return NULL;
}

/* Of the prefill, with the reference's choices of experts where there are any. */
static const struct parity_logits_row *prefill(const struct report_parity *p) {
    const char *view = parity_has_router(&p->rows) ? "routed" : "all";
    for (size_t i = 0; i < p->rows.n_logits; i++)
        if (!strcmp(p->rows.logits[i].phase, "prefill") && !strcmp(p->rows.logits[i].view, view))
            return &p->rows.logits[i];
    return NULL;
}

static void print_agreement(FILE *to, const struct report_source *s, const struct report_parity *p) {
    const struct report_parity *exact = exact_of(s, p->model.name);
    const struct parity_logits_row *r = prefill(p), *base = exact ? prefill(exact) : NULL;
    int64_t decisions = 0, flips = 0;
    for (size_t i = 0; i < p->rows.n_layers; i++) {
        if (strcmp(p->rows.layers[i].phase, "prefill")) continue;
        decisions += p->rows.layers[i].router_decisions;
        flips += p->rows.layers[i].routed_flips;
    }
    if (!r || r->positions == 0) return;
    fprintf(to, "| ");
    md_text(to, p->model.name);
    fprintf(to, " | %s | %lld | %.2e | ", p->scheme, (long long)r->positions, r->nmse);
    if (base && base->nmse > 0)
        fprintf(to, "%.2f", r->nmse / base->nmse);
    else
        fprintf(to, "-");
    fprintf(to, " | %.2e | %.2e | %.1f %% | ", r->kl_mean, r->kl_max,
            100.0 * (double)r->same_top1 / (double)r->positions);
    if (decisions)
        fprintf(to, "%.2f %%", 100.0 * (double)(decisions - flips) / (double)decisions);
    else
        fprintf(to, "-");
    fprintf(to, " | %s |\n", p->passed ? "kept" : "**broken**");
}

static void print_link(FILE *to, const struct report_parity *p, const char *what, const struct chain_row *r) {
    fprintf(to, "| ");
    md_text(to, p->model.name);
    fprintf(to, " | %s | %lld | %.6f ± %.6f | %.6f | %.2f ± %.2f %% | ", what, (long long)r->positions,
            r->kl_mean, r->kl_se, r->kl_max, 100 * r->same_top1, 100 * r->same_top1_se);
    if (r->router_decisions)
        fprintf(to, "%.2f %%", 100.0 * (double)r->router_flips / (double)r->router_decisions);
    else
        fprintf(to, "-");
    fprintf(to, " | %.4f → %.4f |\n", r->ppl_from, r->ppl_to);
}

static int has_text(const struct report_parity *p) {
    return p->is_text && p->chain[0].positions > 0;
}

static void print_texts(FILE *to, const struct report_source *s) {
    int n = 0;
    for (size_t i = 0; i < s->n_parity; i++) n += has_text(&s->parity[i]);
    if (!n) return;
    fprintf(to, "\nOn a text, with experts of its own choice. \"Weights\": what the file's four bits alone "
                "cost, from the original; below it, what each scheme adds to that.\n\n"
                "| model | price of | positions | KL mean | KL max | same top-1 | router flips | perplexity "
                "|\n|---|---|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < s->n_parity; i++) {
        const struct report_parity *p = &s->parity[i];
        if (!has_text(p)) continue;
        if (report_parity_is_main(s, i)) print_link(to, p, "weights", &p->chain[0]);
        print_link(to, p, p->scheme, &p->chain[1]);
    }
}

void report_schemes(FILE *to, const struct report_source *s) {
    if (!report_has_schemes(s)) return;
    fprintf(
        to,
        "## What other schemes would cost\n\nInteger tiles (AMX) are fastest when they need not rescale "
        "every 32 products. **exact** is what this program offers: activations in int8 and a scale "
        "per 32, of weights the file's own integers. **folded** is int8 tiles that sum 256 products: each "
        "256 Q4_0 weights of a row are rounded anew to int8 under one scale, and so are the activations "
        "(Q8_0 and Q6_K stay exact). **bf16** rounds all weights and activations to bf16 and sums in "
        "float32. Both were computed in float32 with just these roundings (`lfm2 parity --scheme`), so that "
        "the figures need no such tiles; speed was not measured. Against the float32 reference on the "
        "same file, prefill, every token sent to the experts that the reference chose; bounds: those of "
        "agreement with the reference.\n\n| model | scheme | positions | logits NMSE | ÷ exact | KL mean | "
        "KL "
        "max | same top-1 | router sets agree | bounds |\n|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n");
    for (size_t i = 0; i < s->n_parity; i++)
        if (report_other_scheme(&s->parity[i]) || report_parity_is_main(s, i))
            print_agreement(to, s, &s->parity[i]);
    print_texts(to, s);
    fprintf(
        to,
        "\n**Why exact is the one offered.** Folding would buy speed on AMX alone and pays for it twice: "
        "weights are rounded a second time and an outlier spoils 256 activations instead of 32. "
        "bf16 rounds activations less than int8 does and is the more accurate scheme, but its tiles "
        "multiply half as many values at a time and take weights of two bytes, unpacked and scaled, so it "
        "could pay in prefill on AMX only, and decode would need int8 beside it: results would depend on the "
        "batch. Exact sums are the same integers in every instruction set and batch.\n\n");
}
