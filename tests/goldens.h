/* SPDX-License-Identifier: Apache-2.0 */
/* goldens: what Hugging Face Transformers computed on tiny models (data/golden, made by make_golden.py), and
 * how far a float32 engine may be from it. No test framework.
 *
 * How the bounds come about. u = 2^-24. A float32 sum of K products errs by about sqrt(K) u sum |w x| when
 * its roundings are independent (Higham and Mary, 2019), and sum |w x| is about sqrt(K) times the size of the
 * sums themselves, measured by the root mean square of a row of them: a matrix of K columns errs by K u
 * RMS(row). (BLAS adds in lanes and blocks and errs by less; the largest of all values of a row errs by more;
 * the two about cancel.) What such errors do further on: factors of a product add their relative errors, and
 * no link has more than three that depend on its input (B, C and x; q, k and v; silu(gate), up and a router's
 * weight). So a link whose first matrices have K columns and whose last one has M errs by (3 K + M) u
 * RMS(row), and two programs, each on its own, by twice that. roundings() has these sums.
 *
 * Each link is first held to this alone: it is given Transformers' own input. Then the engine runs by itself,
 * and its links inherit the errors of those before: a relative error of the residual stream passes the at
 * most three factors as independent ones (times sqrt 3), and adds to the stream's own as independent, too. */
#ifndef TESTS_GOLDENS_H
#define TESTS_GOLDENS_H

#include "data/model.h"
#include "data/status.h"
#include "reference/engine.h"
#include "tests/check.h"

enum { GOLDEN_LAYERS = 8, GOLDEN_TOKENS = 96, GOLDEN_LOGITS = TAP_COUNT, GOLDEN_LINKS };

extern const char *const golden_names[];
extern const int n_goldens;
extern const char *const golden_links[GOLDEN_LINKS]; /* "embedding" ... "logits" */

struct recording {
    const char *name;
    struct model *model;
    int n, n_pieces;
    int32_t *ids;                  /* [n] */
    int32_t *pieces;               /* [n_pieces] lengths, that add up to n */
    float *pieces_logits;          /* [n, V] of Transformers fed in these pieces, with its cache */
    float *embedding, *final_norm; /* [n, D] */
    float *logits;                 /* [n, V] */
    struct recorded_layer {
        float *mixer_out, *ffn_out, *layer_out; /* [n, D] */
        float *router;                          /* [n, E] probabilities; NULL without a router */
        int32_t *experts;                       /* [n, k] ascending */
        float *margin;                          /* [n] k-th minus (k+1)-th of s + bias */
    } layers[GOLDEN_LAYERS];
};

/* Opens data/golden/NAME and NAME.h5; which is an index of golden_names. Close after an error, too. */
enum status recording_open(struct recording *r, int which, struct error *e);
void recording_close(struct recording *r);

/* What came of holding an engine to a recording. */
struct golden_verdict {
    struct verdict link[GOLDEN_LINKS]; /* worst is the share of the bound */
    long flips;                        /* choices of experts that differ */
};
double
golden_worst(const struct golden_verdict *v); /* of all links; INFINITY when one gave no value or a flip */

/* Every link of the reference engine on Transformers' own input of that link. */
enum status golden_judge_links(const struct recording *r, struct golden_verdict *v, struct error *e);

/* The reference engine on a model (the recording's, or a changed copy), all tokens at once. */
enum status golden_judge_run(const struct recording *r, const struct model *m, struct golden_verdict *v,
                             struct error *e);

/* Logits [n, V] of a run, however it came about. */
void golden_judge_logits(const struct recording *r, const float *got, const float *want, struct verdict *v);

#endif
