/* SPDX-License-Identifier: Apache-2.0 */
/* engine: what "running the model" means. Two engines fulfil this contract: `reference` (float32, readable,
 * the definition) and `optimized` (int4/int8, fast, never trusted, only compared). bench and eval reach a
 * model only through this file.
 *
 * An engine is stateless; a session is one timeline of tokens: KV cache, convolution state and position. */
#ifndef REFERENCE_ENGINE_H
#define REFERENCE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "data/model.h"
#include "data/status.h"

/* Named points of the forward pass. Both engines report all of them, in this order within a layer. */
enum tap_point {
    TAP_EMBEDDING,  /* [n, D]   layer -1: the residual stream before layer 0 */
    TAP_MIXER_OUT,  /* [n, D]   what the mixer adds to the residual stream */
    TAP_ROUTER,     /* [n, E]   router probabilities (sigmoid, without the bias); experts is set */
    TAP_FFN_OUT,    /* [n, D]   what the ffn adds to the residual stream */
    TAP_LAYER_OUT,  /* [n, D]   the residual stream after the layer */
    TAP_FINAL_NORM, /* [n, D]   layer L: input of the head. Optimized may report only the positions whose
                     *          logits were asked for */
    TAP_COUNT,
};

struct tap_event {
    enum tap_point point;
    int layer;
    int position;                  /* of the first row */
    const struct session *session; /* whose rows these are: with several parts in a batch, each part's are
                                    * reported on their own, in the order of the parts */
    int n, dim;                    /* rows and columns of x */
    const float *x;                /* [n, dim], valid during the call only */
    const int32_t *experts;        /* TAP_ROUTER: [n, k], the chosen experts in ascending order; else NULL */
    int k;
};
typedef void tap_fn(void *arg, const struct tap_event *event);

/* Replaces the k experts [k] of a token by those to use, ascending and different, each in [0, E). */
typedef void route_fn(void *arg, int layer, int position, int32_t *experts);

/* The input x [n, w->cols] of a product with a matrix w of the model, which is about to be computed. */
typedef void input_fn(void *arg, const struct tensor *w, const float *x, int n);

/* How keys and values are cached. Q8: int8 with a scale per 32 values (keys) or per head (values); half the
 * memory, and attention in integers with queries and weights rounded to 8 bits, too. The reference engine
 * always caches float32. */
enum kv_type { KV_F16, KV_Q8 };

/* How products are rounded. EXACT is the engine's own: activations in int8 per 32, and of Q4_0, Q8_0 and Q6_K
 * the file's own integers. The others are for comparing accuracy, slowly, with what tiles would compute that
 * sum more than 32 products in integers, or in bf16; optimized only, and not with a packed file.
 * FOLDED: Q4_0 weights rounded anew to int8 with one scale per 256 of a row, activations likewise; other
 * types as in EXACT. BF16: the weights of every matrix but the routers, and activations, rounded to bf16. */
enum scheme { SCHEME_EXACT, SCHEME_FOLDED, SCHEME_BF16, SCHEMES };
extern const char *const scheme_names[SCHEMES]; /* "exact", "folded", "bf16" */

enum { ENGINE_MAX_THREADS = 1024 };

struct engine_options {
    int threads;          /* 0: one per available CPU; at most ENGINE_MAX_THREADS */
    int max_tokens;       /* positions the session can hold; 0: 4096. Memory is taken for them in open */
    int max_batch;        /* tokens computed at once; 0: the engine's default. feed() splits longer input */
    unsigned cpu_mask;    /* optimized: kernel columns that may be used (see optimized/kernels.h); 0: all */
    const char *packed;   /* optimized: a file written by pack() for this model; NULL: pack at open */
    enum kv_type kv_type; /* optimized only: one set of options goes to both engines when they are compared */
    enum scheme scheme;   /* optimized only, as kv_type */
    int no_pin;           /* 1: do not pin threads to CPUs */
    tap_fn *tap;          /* NULL: none. Timing runs leave it NULL */
    void *tap_arg;
    route_fn *route; /* NULL: routers choose. Else called for every token of every mixture layer after
                      * TAP_ROUTER reported the engine's own choice; weights are those of the experts used. So
                      * that a near-tie in one engine's router does not hide what else differs */
    void *route_arg;
    input_fn *input; /* NULL: none. reference: called for every product, of an expert with its own tokens;
                      * the optimized engine does not call it */
    void *input_arg;
};

struct session; /* each engine has its own */

/* The state of a session at one position. Zero-initialise, fill with save, free with snapshot_free. */
struct snapshot {
    void *data;
    size_t size, capacity;
    int position;
    const struct engine *engine;
};
void snapshot_free(struct snapshot *s);

/* What one session gets in a feed of several. */
struct part {
    struct session *session;
    const int32_t *ids; /* [n] */
    int n;              /* >= 1 */
    float *logits;      /* [n_logits, V] of the last n_logits of them; NULL when there are none */
    int n_logits;       /* 0 .. n */
};

struct engine {
    const char *name;
    /* Takes all memory the session will ever need. The model must outlive the session. */
    enum status (*open)(struct session **out, const struct model *m, const struct engine_options *o,
                        struct error *e);
    /* Appends n >= 1 tokens and writes the logits of the last n_logits (0 <= n_logits <= n) of them to
     * logits [n_logits, V]. Prefill is n > 1, decode n = 1; any split of the same ids gives the same
     * state. Fails with ERR_ARG, and changes nothing, on an id outside [0, V) or past max_tokens. */
    enum status (*feed)(struct session *s, const int32_t *ids, int n, float *logits, int n_logits,
                        struct error *e);
    /* Opens one more timeline, empty, of the same family: it shares the weights, threads, options and batch
     * buffers of `of` and has its own KV cache, convolution state and position, whose memory is taken here.
     * max_tokens: at most that of `of`; 0: the same. The session that was opened first must be closed last;
     * a family's sessions are never used by two threads at once. */
    enum status (*fork)(struct session **out, struct session *of, int max_tokens, struct error *e);
    /* feed() for each of n_parts >= 1 different sessions of one family, in one go: every weight that several
     * parts need is read once for all of them (the reference engine may take them one after the other). What
     * a part gets does not depend on the others. Fails with ERR_ARG, and changes nothing, when feed() would
     * for any part. */
    enum status (*feed_many)(const struct part *parts, int n_parts, struct error *e);
    /* Copies KV cache, convolution state and position to and from a snapshot. restore fails with ERR_ARG when
     * the snapshot was made by another engine or for other shapes. A snapshot may be restored many times,
     * also to other sessions of the same model. Costs a copy of what the cache holds up to that position. */
    enum status (*save)(const struct session *s, struct snapshot *to, struct error *e);
    enum status (*restore)(struct session *s, const struct snapshot *from, struct error *e);
    /* Remembers this position (one per session, the latest), and takes the session back to it, as often as
     * wanted. Only the convolution state is copied, no keys and values. reset and restore forget the mark;
     * rollback without one fails with ERR_ARG. */
    void (*mark)(struct session *s);
    enum status (*rollback)(struct session *s, struct error *e);
    /* Tokens fed so far. */
    int (*position)(const struct session *s);
    /* Empties the session: position 0, no state. */
    void (*reset)(struct session *s);
    /* One line for records: threads and, for optimized, the kernel chosen for each op ("gemm_q4a8=avx2 ...").
     */
    void (*describe)(const struct session *s, char *text, size_t size);
    void (*close)(struct session *s); /* NULL is fine */
    /* Writes the engine's own form of the weights to a file that open then maps (engine_options.packed).
     * progress may be NULL; done is in [0, 1]. The whole pointer is NULL for an engine without such a form.
     */
    enum status (*pack)(const struct model *m, const char *path, int threads,
                        void (*progress)(void *arg, double done), void *arg, struct error *e);
};

extern const struct engine engine_reference;
extern const struct engine engine_optimized;

/* "reference" or "optimized"; NULL otherwise. */
const struct engine *engine_by_name(const char *name);

#endif
