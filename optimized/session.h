/* SPDX-License-Identifier: Apache-2.0 */
/* session: the state of optimized timelines and the steps that threads take together. Private to optimized/.
 *
 * The session opened first has the weights, threads and buffers of its family; every session, forked or not,
 * has a timeline. A batch is T rows: tokens of one or several sessions, those of one session next to each
 * other (a span). All steps work on rows; only convolution and attention look at a row's session.
 *
 * A batch of T rows is computed by all threads running the same steps in the same order with barriers
 * between them (a "worker" is one thread's view). For T = 1 each thread normalises, quantises and routes for
 * itself, which is cheaper than a barrier; for T > 1 tokens are shared out. Work on matrices is shared out by
 * panels: fixed ranges for a few tokens, so that each thread streams its own part of memory; taken from a
 * counter for many, so that a slow core does less. */
#ifndef OPTIMIZED_SESSION_H
#define OPTIMIZED_SESSION_H

#include <stdatomic.h>

#include "data/packed.h"
#include "optimized/kernels.h"
#include "optimized/pack.h"
#include "optimized/pool.h"
#include "reference/engine.h"

enum {
    CHUNK = 8,        /* panels taken at once: with K = 2048 about 150 KB of weights, which stay in L2 */
    TILE_TOKENS = 96, /* tokens per epilogue */
    KV_CHUNK = 1024,  /* positions whose attention is summed before it is merged: fixed, so that the order of
                       * sums  depends on neither threads nor batch */
    RELEASE = 64,     /* positions after which pages of the embedding are given back */
    FEW_TOKENS = 4,   /* up to here panels are shared out in fixed ranges */
    LAYER_STEPS = 14, /* shared-out steps of a layer: at most 2 norms, 7 of attention, 5 of experts */
    OTHER_STEPS = 3,  /* embedding, last norm, head */
};

/* Rows of activations in both forms a matrix may want. */
struct rows {
    struct act8 a;
    float *x; /* [n, x_stride] */
    size_t x_stride;
};

struct packed_expert {
    struct matrix gate, up, down;
};

struct packed_layer {
    struct matrix conv_in, conv_out, q, k, v, o;
    struct packed_expert dense, *experts;
    const float *mixer_norm, *ffn_norm, *q_norm, *k_norm, *router_bias;
    float *taps;   /* [3, D]: the file's [D, 3] with channels adjacent */
    float *router; /* panels [ceil(E/16)][D][16] */
};

/* The pieces of the KV cache: two for f16, four for int8. */
enum { CACHE_KEYS, CACHE_VALUES, CACHE_KEY_SCALES, CACHE_VALUE_SCALES, CACHE_PARTS };

/* What a layer remembers of one timeline. */
struct memory {
    float *conv_state, *conv_mark;     /* [2, D]: now, and at the mark */
    unsigned char *cache[CACHE_PARTS]; /* [G][part] each, see cache.c */
};

/* One row of a batch. */
struct row {
    struct session *session;
    int32_t id;
    int position;
};

/* Rows [first, first + n) are consecutive tokens of one session, from its position on. */
struct span {
    struct session *session;
    int first, n;
};

/* A row whose logits are wanted. */
struct wanted {
    int row;
    float *logits; /* [V] */
};

/* The tokens that go to one expert: slots [first, first + count). */
struct share {
    int first, count;
};

/* Which experts a batch of T tokens goes to. */
struct routing {
    float *scores;        /* [T, E] router probabilities */
    int32_t *chosen;      /* [T, k] experts, ascending */
    float *weight;        /* [T, k] */
    struct share *shares; /* [E] */
    int32_t *slot_token;  /* [T*k] */
    float *slot_weight;   /* [T*k] */
};

struct session {
    const struct model *model;
    const struct config *c;

    /* the timeline */
    struct session *first; /* of the family: it alone has what follows after the timeline */
    int max_tokens, position;
    int mark; /* a position; -1: none */
    enum kv_type kv_type;
    enum scheme scheme;
    size_t positions;      /* max_tokens rounded up to KV blocks */
    struct memory *memory; /* [L] */
    float *partial;        /* decode attention over several chunks: o [H, chunks, d], m, l */
    void *timeline;        /* what these point to, one mapping */
    size_t timeline_bytes;

    struct kernel_set k;
    struct pool *pool;
    int threads, pin, max_batch;
    tap_fn *tap;
    void *tap_arg;
    route_fn *route;
    void *route_arg;

    void *weights; /* all packed matrices, one mapping; NULL when they are in `packed` */
    size_t weights_bytes;
    struct packed packed;
    const char *packed_path; /* NULL: packed here */
    uint64_t sample;         /* see packed_id */
    void *buffers;           /* everything below, one mapping */
    size_t buffers_bytes;
    struct packed_layer *layers;
    struct packed_expert *experts; /* of all layers */
    struct matrix head;

    /* the current batch */
    int T, n_spans, n_wanted;
    struct row *rows;      /* [T] */
    struct span *spans;    /* [n_spans] */
    struct wanted *wanted; /* [n_wanted], rows ascending */
    atomic_int *counters;  /* one for each shared-out step of a batch */
    int n_counters;

    float *x; /* [T, D] residual stream */
    float *y; /* [T, y_stride] mixer output before its projection, later what the ffn adds */
    size_t y_stride;
    struct rows u; /* [T] normalised input */
    /* The halves of a layer share their memory: in the mixer */
    float *wide; /* [T, wide_stride] in_proj or q|k|v; between the halves, with a tap, what a half adds */
    size_t wide_stride;
    struct rows mixed; /* [T] quantised mixer output */
    /* in a dense ffn, and in a mixture of experts */
    struct rows hidden_dense; /* [T] silu(gate) * up */
    struct rows gathered;     /* [T*k] u sorted by expert */
    struct rows hidden_moe;   /* [T*k] */

    float *rope_cos, *rope_sin; /* [T, d/2] */
    struct routing routing;
    struct worker *workers; /* [threads] */
};

/* One thread's view and scratch. */
struct worker {
    struct session *s;
    int thread;
    int step;             /* next counter; all threads count alike */
    struct rows u, mixed; /* one row each, for T = 1 */
    float *tile[2];       /* [TILE_TOKENS, CHUNK*PANEL] */
    float *unpacked[2];   /* [max cols, PANEL], only with MATRIX_FLOAT */
    float *row;           /* [max cols] */
    float *rounded;       /* [TILE_TOKENS, max cols], not with SCHEME_EXACT */
    float *q, *o;         /* [ATTENTION_ROWS, d] */
    float *part;          /* [ATTENTION_ROWS, d] */
    float *attention_scratch;
    struct rows q8;         /* [ATTENTION_ROWS] queries, KV_Q8 only */
    uint8_t *weights8;      /* [ATTENTION_ROWS, ATTENTION_SPAN], KV_Q8 only */
    float *router;          /* [E rounded up] one token's logits */
    struct routing routing; /* of one token */
};

/* session.c */
enum status session_open(struct session **out, const struct model *m, const struct engine_options *o,
                         struct error *e);
enum status session_fork(struct session **out, struct session *of, int max_tokens, struct error *e);
void session_close(struct session *s);
enum status session_pack(const struct model *m, const char *path, int threads,
                         void (*progress)(void *arg, double done), void *arg, struct error *e);

/* linear.c */

/* What to do with a computed tile: rows t .. t+n of the output, columns [column, column + width). */
typedef void tile_fn(struct worker *w, void *arg, const float *tile, size_t stride, int t, int n, int column,
                     int width);

/* Computes panels [begin, end) of m (at most CHUNK) times rows [0, n) of in, tile by tile. */
void multiply(struct worker *w, const struct matrix *m, int begin, int end, const struct rows *in, int n,
              tile_fn *done, void *arg);

/* y as in the gemm kernels, for any kind but MATRIX_FLOAT. */
void matrix_gemm(const struct kernel_set *k, const struct matrix *m, int panel, int panels,
                 const struct act8 *a, int n, float *y, size_t y_stride);

/* Rows [0, n) of in, at most TILE_TOKENS, times a panel of m, a MATRIX_FLOAT that is unpacked. */
void float_gemm(struct worker *w, const struct matrix *m, const float *panel, const struct rows *in, int n,
                float *y, size_t y_stride);

/* Panels of a matrix shared out over the threads; done sees each output element once. No barrier at the end.
 */
void linear(struct worker *w, const struct matrix *m, const struct rows *in, int n, tile_fn *done, void *arg);

/* A tile_fn that stores to {float *y, size_t stride, int columns}; further columns are dropped. */
struct store {
    float *y;
    size_t stride;
    int columns;
};
tile_fn tile_store;

/* A tile_fn that adds to the residual stream and, for taps, stores to s->wide as [T, D]: the mixer is done
 * with that, whereas s->y is still the input of the product. arg is unused. */
tile_fn tile_add;

/* A tile_fn that stores row i where s->wanted[i] says. arg is unused. */
tile_fn tile_logits;

/* Next unit of a shared-out step, or -1 when all `units` are taken. counter = step_counter(w), taken once per
 * step. */
atomic_int *step_counter(struct worker *w);
int next_unit(atomic_int *counter, int units);

/* First and one-past-last of thread's part of n. */
static inline int part_begin(int n, int thread, int threads) {
    return (int)((int64_t)n * thread / threads);
}

/* View of rows from row `first` on. */
struct rows rows_at(const struct rows *r, int first);
void rows_copy(const struct rows *from, int i, struct rows *to, int j, int K, int with_float);
void rows_quantize(const struct session *s, struct rows *r, int i, const float *x, int K);

/* cache.c */

/* Bytes of one kv head's piece of the cache that `positions` positions from 0 on use; 0 for a piece that this
 * kind of cache does not have. */
size_t cache_bytes(const struct session *s, int part, size_t positions);

/* Stores key and value [d] of one position of kv head g. scratch: one row of width d. */
void cache_append(const struct session *s, const struct kernel_set *k, const struct memory *m, int g,
                  size_t position, const float *key, const float *value, struct act8 *scratch);

/* Query rows [R, d] are in w->q, already scaled; for int8 caches they are rounded into w->q8 first. */
void cache_queries(struct worker *w, const struct session *s, int R);

/* Attention of those rows over positions [begin, end) of kv head g of s; o, m, l as in attention_task. */
void cache_attend(struct worker *w, const struct session *s, const struct memory *memory, int g, int R,
                  const int32_t *limit, int begin, int end, float *o, float *m, float *l);

/* moe.c, attention.c */
void ffn_dense(struct worker *w, struct packed_layer *l, const struct rows *u);
void ffn_moe(struct worker *w, struct packed_layer *l, int layer, const struct rows *u);
void attention_steps(struct worker *w, struct packed_layer *l, int layer);

/* 1: each thread computes query, key and value of its own kv heads (part_begin) and attention_steps goes on
 * from there without waiting; 0: attention_steps is called when all have all of them. */
int attention_by_heads(const struct session *s);

/* optimized.c */
void report(struct worker *w, enum tap_point point, int layer, const float *x, int dim,
            const int32_t *experts);

#endif
