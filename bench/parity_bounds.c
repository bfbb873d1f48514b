/* SPDX-License-Identifier: Apache-2.0 */
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

static double unexplained_flips(const struct parity_result *r) {
    int64_t n = 0, decisions = 0;
    for (int p = 0; p < PARITY_PHASES; p++) {
        n += r->phase[p].router.unexplained + r->phase[p].routed.unexplained;
        decisions += r->phase[p].router.decisions;
    }
    return decisions ? (double)n : NAN;
}

static double router_agreement(const struct parity_result *r) {
    int64_t flips = 0, decisions = 0;
    for (int p = 0; p < PARITY_PHASES; p++) {
        flips += r->phase[p].routed.flips;
        decisions += r->phase[p].routed.decisions;
    }
    return decisions ? 100.0 * (double)(decisions - flips) / (double)decisions : NAN;
}

/* The view that is judged: with routers the run that used the reference's choices. */
static const struct parity_logits *judged(const struct parity_result *r, int phase) {
    const struct parity_logits *routed = &r->phase[phase].logits[PARITY_ROUTED];
    return routed->positions ? routed : &r->phase[phase].logits[PARITY_ALL];
}

/* The NMSE that one rounding of activations adds: int8 with a scale per 32 normally distributed values
 * gives 2.9e-5 per product, a layer half chains two or three, and the first layers of the full-size models
 * measure 1e-4 to 5e-4; the f16 cache and float sums give 1e-7. */
static const double int8_rounding = 2e-4;

static double rounding(const struct parity_result *r) {
    return r->int8 ? int8_rounding : 5e-7;
}

/* What attention over an int8 cache adds in float models too: queries, keys, values and the weights of
 * positions are rounded, as often as activations in a layer half. */
static double mixer_rounding(const struct parity_result *r, const struct parity_layer *l) {
    return l->int8_attention ? int8_rounding : rounding(r);
}

/* By how much the worst layer half, or the head, raises the NMSE it is given, rounding allowed for. */
static double worst_gain(const struct parity_result *r) {
    double worst = NAN;
    for (int p = 0; p < PARITY_PHASES; p++) {
        const struct parity_layer *layers = r->phase[p].layers;
        double in = 0;
        if (!judged(r, p)->positions) continue;
        int view = layers[0].positions[PARITY_ROUTED] ? PARITY_ROUTED : PARITY_ALL;
        for (int l = 0; l < r->n_layers; l++) {
            const struct difference *at = layers[l].at[view];
            double middle = rounding(r) + difference_nmse(&layers[l].middle[view]);
            worst = fmax(worst, difference_nmse(&at[PARITY_MIXER]) / (mixer_rounding(r, &layers[l]) + in));
            worst = fmax(worst, difference_nmse(&at[PARITY_FFN]) / middle);
            in = difference_nmse(&at[PARITY_RESIDUAL]);
        }
        worst = fmax(worst, difference_nmse(&judged(r, p)->difference) / (rounding(r) + in));
    }
    return worst;
}

static double logits_nmse(const struct parity_result *r) {
    double worst = NAN; /* of prefill and decode */
    for (int p = 0; p < PARITY_PHASES; p++)
        if (judged(r, p)->positions) worst = fmax(worst, difference_nmse(&judged(r, p)->difference));
    return worst;
}

static double own_logits_nmse(const struct parity_result *r) {
    double worst = NAN;
    for (int p = 0; p < PARITY_PHASES; p++) {
        const struct parity_logits *own = &r->phase[p].logits[PARITY_ALL];
        if (own->positions) worst = fmax(worst, difference_nmse(&own->difference));
    }
    return worst;
}

static double worst_position(const struct parity_result *r) {
    double worst = NAN;
    for (int p = 0; p < PARITY_PHASES; p++)
        if (judged(r, p)->positions) worst = fmax(worst, judged(r, p)->worst_nmse);
    return worst;
}

static double kl_mean(const struct parity_result *r) {
    int64_t positions = judged(r, PARITY_PREFILL)->positions + judged(r, PARITY_DECODE)->positions;
    return (judged(r, PARITY_PREFILL)->kl_sum + judged(r, PARITY_DECODE)->kl_sum) / (double)positions;
}

static double same_top1(const struct parity_result *r) {
    int64_t positions = judged(r, PARITY_PREFILL)->positions + judged(r, PARITY_DECODE)->positions;
    return 100.0 * (double)(judged(r, PARITY_PREFILL)->same_top1 + judged(r, PARITY_DECODE)->same_top1) /
           (double)positions;
}

/* The limits leave five to ten times what the synthetic LFM2-8B-A1B and Qwen3-1.7B measure (gain 3.4,
 * NMSE 1.5e-3, KL 0.006, top-1 89 %, sets 91 %; routing for itself NMSE 7e-3): other weights may damp
 * rounding less. They say that nothing is broken, not that int8 costs nothing; worst gain is what finds a
 * wrong layer. */
const struct parity_bound parity_bounds[] = {
    {"NaN or Inf, any point or weight", 0, 0, "values", "one is a fault: every input is finite", non_finite},
    {"embedding NMSE", 1e-12, 0, "", "both dequantise the same row; only the order of one product may differ",
     embedding},
    {"worst gain of a layer half", 8, 0, "x",
     "NMSE out over NMSE in plus rounding: a product of n noisy factors gives n, so 2 for SwiGLU, 3 for the "
     "gated convolution, some more for softmax; a wrong layer gives tens to thousands",
     worst_gain},
    {"logits NMSE", 1e-2, 0, "",
     "int8 rounding of 3e-5 per product through 24 to 40 layers at gains of 2 to 4; with routers, both "
     "engines using the reference's choices",
     logits_nmse},
    {"logits NMSE, worst position", 5e-2, 0, "", "five times the bound of the mean: no position stands out",
     worst_position},
    {"logits NMSE, own routing", 5e-2, 0, "",
     "five times that of equal choices: a flip at a near-tie swaps one of four experts in one layer",
     own_logits_nmse},
    {"mean KL", 5e-2, 0, "nats",
     "half the variance of the logit error, so half of logits NMSE times a logit variance of about 10",
     kl_mean},
    {"same top-1", 60, 1, "%",
     "at the NMSE bound the error is a third of the gap of the two best of 65536 random logits; chance is "
     "0.002 %",
     same_top1},
    {"router sets agree", 75, 1, "%",
     "own choices from inputs no flip has touched; near-ties among 32 random scores are common",
     router_agreement},
    {"unexplained flips", 0, 0, "",
     "sets can differ only where a score moved by half the margin; else the choice itself is wrong",
     unexplained_flips},
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
