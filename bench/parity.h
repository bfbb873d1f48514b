/* SPDX-License-Identifier: Apache-2.0 */
/* parity: does one engine compute what the other computes? Both are fed the same ids (teacher forced): a
 * prefill and then single steps. Every tapped point of every layer is compared, and the logits of every
 * position.
 *
 * A router may choose another set of experts when two scores are nearly equal ("flip"). Everything behind a
 * flip differs, for that token and, through attention and convolution, for later ones, although neither
 * engine is wrong. So figures are given in three views: all        the engine routes for itself, all
 * positions unflipped  of those, the positions whose sets agreed in every layer up to this one routed     a
 * second run in which every token goes to the experts that the reference chose, all positions; nothing for
 * models without routers, where it would repeat the first In the routed run each router still states its own
 * choice, from inputs that no flip has touched. */
#ifndef BENCH_PARITY_H
#define BENCH_PARITY_H

#include <stdint.h>

#include "bench/metrics.h"
#include "reference/engine.h"

enum parity_point { PARITY_MIXER, PARITY_FFN, PARITY_RESIDUAL, PARITY_POINTS };
enum parity_view { PARITY_ALL, PARITY_UNFLIPPED, PARITY_ROUTED, PARITY_VIEWS };
extern const char *const parity_view_names[PARITY_VIEWS]; /* "all", "unflipped", "routed" */
enum parity_phase_id { PARITY_PREFILL, PARITY_DECODE, PARITY_PHASES };
extern const char *const parity_phase_names[PARITY_PHASES]; /* "prefill", "decode" */

/* Scores are sigmoids plus a bias, so differences of scores are on an absolute scale. A flip whose reference
 * margin (k-th minus (k+1)-th biased score) is below this is a near-tie. */
#define PARITY_NEAR_TIE 0.02

struct parity_router {
    int64_t decisions;   /* (token, layer) pairs with a router */
    int64_t flips;       /* of them: the chosen sets differ */
    int64_t first;       /* of the flips: the token's sets agreed in all layers before */
    int64_t near_ties;   /* of the flips: the reference's margin is below PARITY_NEAR_TIE */
    int64_t unexplained; /* of the flips: no score moved by half the margin, so the choice itself is wrong */
    double max_margin;   /* the reference's largest margin at a flip */
};

struct parity_layer {
    struct difference at[PARITY_VIEWS][PARITY_POINTS];
    struct difference middle[PARITY_VIEWS]; /* the residual stream between mixer and ffn */
    int64_t positions[PARITY_VIEWS];
    int int8_attention;                  /* 1: the mixer is attention over an int8 cache */
    struct parity_router router, routed; /* of the first and the second run; decisions 0 for dense layers */
};

struct parity_logits {
    int64_t positions;
    struct difference difference; /* over all positions together */
    double worst_nmse;            /* of a single position */
    double kl_sum, kl_max;        /* nats, reference || optimized */
    int64_t same_top1;
};

struct parity_phase {
    int tokens;
    struct difference embedding;
    struct parity_layer *layers; /* [L] */
    struct parity_logits logits[PARITY_VIEWS];
    struct parity_router router, routed; /* all layers together */
};

struct parity_result {
    int n_layers;
    int int8; /* 1: some matrix of a layer has a type whose products take int8 activations */
    struct parity_phase phase[PARITY_PHASES];
    int64_t bad;        /* NaN or Inf, in either engine, at any tapped point or logit, or a row of weights */
    char first_bad[96]; /* where: "optimized, layer 3, ffn, position 17"; "" when bad is 0 */
    double seconds[2];  /* of the reference, and of the first run of the other; for information */
    char got_describe[512], want_describe[512];
};

struct parity_options {
    const struct engine *want, *got; /* NULL: engine_reference, engine_optimized */
    int threads;
    unsigned cpu_mask;
    enum kv_type kv_type;
    enum scheme scheme;
    const int32_t *ids;      /* [n_prefill + n_decode] */
    int n_prefill, n_decode; /* n_prefill >= 1, n_decode >= 0 */
    /* Called now and then from the thread that called parity_run; NULL: never. done of total layer passes. */
    void (*progress)(void *arg, const char *engine, int done, int total);
    void *progress_arg;
};

/* Runs both engines one after the other; never two sessions at once, so that the full-size model fits. Fails
 * when an engine fails or does not report a point that the contract names; differences are results, not
 * failures. Free with parity_free, after an error too. */
enum status parity_run(struct parity_result *out, const struct model *m, const struct parity_options *o,
                       struct error *e);
void parity_free(struct parity_result *r);

/* Counts the rows of weights that hold NaN or infinity into r->bad. Part of parity_run. */
enum status parity_weights(struct parity_result *r, const struct model *m, struct error *e);

/* Seeded ids for a run: the model's BOS first when it has one, then uniform in [0, V). */
void parity_ids(const struct model *m, uint64_t seed, int32_t *ids, int n);

/* The bounds of a pass, one table with a reason each. */
struct parity_bound {
    const char *name;
    double limit;
    int at_least; /* 1: found >= limit passes; 0: found <= limit passes */
    const char *unit;
    const char *why;
    double (*found)(const struct parity_result *r); /* NaN: nothing to judge, e.g. no router */
};
extern const struct parity_bound parity_bounds[];
extern const int n_parity_bounds;

/* 1 when the found value keeps the bound; a NaN from found() keeps it (nothing to judge). */
int parity_bound_holds(const struct parity_bound *b, const struct parity_result *r);
/* 1 when all hold. */
int parity_passes(const struct parity_result *r);

#endif
