/* parity_bounds: what still counts as agreement, in one table with a reason for each number. */
#include "bench/parity.h"

#include <math.h>
#include <stddef.h>

static double non_finite(const struct parity_result *r) {
    return (double)r->bad;
}

static double embedding(const struct parity_result *r) {
    struct difference d = {0};
    for (int p = 0; p < PARITY_PHASES; p++) difference_merge(&d, &r->phase[p].embedding);
    return difference_nmse(&d);
}

static double clear_flips(const struct parity_result *r) {
    int64_t n = 0, decisions = 0;
    for (int p = 0; p < PARITY_PHASES; p++) {
        n += r->phase[p].router.first - r->phase[p].router.near_ties;
        decisions += r->phase[p].router.decisions;
    }
    return decisions ? (double)n : NAN;
}

static double router_agreement(const struct parity_result *r) {
    int64_t flips = 0, decisions = 0;
    for (int p = 0; p < PARITY_PHASES; p++) {
        flips += r->phase[p].router.flips;
        decisions += r->phase[p].router.decisions;
    }
    return decisions ? 100.0 * (double)(decisions - flips) / (double)decisions : NAN;
}

/* Both phases together; NaN without positions. */
static struct parity_logits logits(const struct parity_result *r, enum parity_view view) {
    struct parity_logits sum = r->phase[PARITY_PREFILL].logits[view];
    const struct parity_logits *decode = &r->phase[PARITY_DECODE].logits[view];
    sum.positions += decode->positions;
    sum.kl_sum += decode->kl_sum;
    sum.same_top1 += decode->same_top1;
    return sum;
}

static double worst_phase_nmse(const struct parity_result *r, enum parity_view view) {
    double worst = NAN;
    for (int p = 0; p < PARITY_PHASES; p++)
        if (r->phase[p].logits[view].positions)
            worst = fmax(worst, difference_nmse(&r->phase[p].logits[view].difference));
    return worst;
}
static double nmse_all(const struct parity_result *r) {
    return worst_phase_nmse(r, PARITY_ALL);
}
static double nmse_unflipped(const struct parity_result *r) {
    return worst_phase_nmse(r, PARITY_UNFLIPPED);
}

static double kl_mean(const struct parity_result *r) {
    struct parity_logits l = logits(r, PARITY_ALL);
    return l.positions ? l.kl_sum / (double)l.positions : NAN;
}

static double same_top1(const struct parity_result *r) {
    struct parity_logits l = logits(r, PARITY_ALL);
    return l.positions ? 100.0 * (double)l.same_top1 / (double)l.positions : NAN;
}

const struct parity_bound parity_bounds[] = {
    {"NaN or Inf, any point", 0, 0, "values", "one is a fault: every input is finite", non_finite},
    {"embedding NMSE", 1e-12, 0, "", "both dequantise the same row; only the order of one product may differ",
     embedding},
    {"logits NMSE, no flip", 2e-2, 0, "", "TODO", nmse_unflipped},
    {"logits NMSE", 5e-2, 0, "", "TODO", nmse_all},
    {"mean KL", 5e-2, 0, "nats", "TODO", kl_mean},
    {"same top-1", 80, 1, "%", "TODO", same_top1},
    {"router sets agree", 90, 1, "%", "TODO", router_agreement},
    {"clear flips", 0, 0, "", "TODO", clear_flips},
};
const int n_parity_bounds = sizeof parity_bounds / sizeof *parity_bounds;

int parity_bound_holds(const struct parity_bound *b, const struct parity_result *r) {
    double found = b->found(r);
    if (isnan(found)) return 1;
    return b->at_least ? found >= b->limit : found <= b->limit;
}

int parity_passes(const struct parity_result *r) {
    for (int i = 0; i < n_parity_bounds; i++)
        if (!parity_bound_holds(&parity_bounds[i], r)) return 0;
    return 1;
}
