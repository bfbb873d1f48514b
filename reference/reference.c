/* SPDX-License-Identifier: Apache-2.0 */
/* reference: the forward pass in float32, top to bottom. This file says what a model means; it is written to
 * be read, and to be right to float32 rounding. It does not try to be fast: weights are dequantised each time
 * they are used, which also keeps an 8 B model within the memory of its file plus a few hundred megabytes.
 *
 *     h = embedding[ids]                                        [n, D]
 *     for each layer:
 *         h += mixer(rmsnorm(h, mixer_norm))                    gated short convolution, or attention
 *         h += ffn(rmsnorm(h, ffn_norm))                        dense SwiGLU, or mixture of experts
 *     logits = head rmsnorm(h, norm)                            [n, V]
 *
 * The steps mixer_conv, mixer_attention, ffn_dense and ffn_moe have the same names and order in the optimized
 * engine. */
#include "reference/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/cpus.h"
#include "reference/ops.h"

enum { DEFAULT_MAX_TOKENS = 4096, DEFAULT_MAX_BATCH = 512 };

/* What a layer remembers of the tokens before: one of the two, by the kind of its mixer. */
struct memory {
    float *keys, *values; /* [max_tokens, G*d], rows 0 .. position-1 in use; keys after norm and rotation */
    float *conv;          /* [taps-1, D]: the newest columns of B*x, oldest first; zeros at position 0 */
    float *conv_mark;     /* the same at the mark */
};

struct session {
    const struct model *model;
    struct ref_workers workers;
    int max_tokens, max_batch, position;
    int mark;   /* a position; -1: none */
    int forked; /* 1: everything but `memory` belongs to the session opened first */
    tap_fn *tap;
    void *tap_arg;
    route_fn *route;
    void *route_arg;
    input_fn *input;
    void *input_arg;
    struct memory *memory; /* [L] */

    /* Activations of one batch of n <= max_batch tokens. */
    float *h;            /* [n, D]  the residual stream */
    float *u;            /* [n, D]  its norm: what a mixer or ffn reads */
    float *y;            /* [n, D]  what a mixer or ffn adds */
    float *bcx;          /* [n, 3D] B | C | x of a convolution */
    float *mixed;        /* [n, D] or [n, H*d]: input of a mixer's last matrix */
    float *q;            /* [n, H*d] */
    float *gate, *up;    /* [n, F] */
    float *p;            /* [n, E]  router probabilities */
    int32_t *chosen;     /* [n, k]  experts of a token, ascending */
    float *weights;      /* [n, k]  and their weights */
    float *expert_in;    /* [n, D]  the tokens of one expert, gathered */
    float *expert_out;   /* [n, D] */
    int *expert_tokens;  /* [n]     which tokens those are, */
    float *expert_scale; /* [n]     and with what weight */
};

static void report(const struct session *s, enum tap_point point, int layer, const float *x, int n, int dim) {
    if (!s->tap) return;
    struct tap_event event = {
        .point = point, .layer = layer, .position = s->position, .session = s, .n = n, .dim = dim, .x = x};
    if (point == TAP_ROUTER) {
        event.experts = s->chosen;
        event.k = s->model->config.n_experts_used;
    }
    s->tap(s->tap_arg, &event);
}

/* y [n, rows] = x [n, cols] w^T */
static void multiply(struct session *s, const struct tensor *w, const float *x, int n, float *y) {
    if (s->input) s->input(s->input_arg, w, x, n);
    ref_matmul(&s->workers, w, x, n, y);
}

/* ---- the forward pass ---- */

/* B, C, x = split(in_proj(u));  y = out_proj(C * conv(B*x)) */
static void mixer_conv(struct session *s, const struct layer *l, struct memory *m, int n) {
    const struct config *c = &s->model->config;
    multiply(s, &l->conv_in, s->u, n, s->bcx);
    ref_short_conv(s->bcx, &l->conv_taps, m->conv, n, c->n_embd, s->mixed);
    multiply(s, &l->conv_out, s->mixed, n, s->y);
}

/* q, k: normed per head, then rotated;  y = o softmax(q k^T / sqrt(d)) v.  New keys and values are computed
 * in their place in the cache. */
static void mixer_attention(struct session *s, const struct layer *l, struct memory *m, int n) {
    const struct config *c = &s->model->config;
    int H = c->n_heads, G = c->n_kv_heads, d = c->head_dim;
    size_t end = (size_t)s->position * (size_t)G * (size_t)d;
    float *q = s->q, *k = m->keys + end, *v = m->values + end;

    multiply(s, &l->q, s->u, n, q);
    multiply(s, &l->k, s->u, n, k);
    multiply(s, &l->v, s->u, n, v);
    ref_rmsnorm(q, &l->q_norm, c->norm_eps, (int64_t)n * H, d, q);
    ref_rmsnorm(k, &l->k_norm, c->norm_eps, (int64_t)n * G, d, k);
    ref_rope(q, n, H, d, s->position, c->rope_theta);
    ref_rope(k, n, G, d, s->position, c->rope_theta);
    ref_attention(&s->workers, q, m->keys, m->values, n, s->position, H, G, d, s->mixed);
    multiply(s, &l->o, s->mixed, n, s->y);
}

/* y = down(silu(gate u) * up u) */
static void ffn_dense(struct session *s, const struct layer *l, int n) {
    multiply(s, &l->gate, s->u, n, s->gate);
    multiply(s, &l->up, s->u, n, s->up);
    ref_swiglu(s->gate, s->up, n * l->gate.rows);
    multiply(s, &l->down, s->gate, n, s->y);
}

/* Copies the rows of u whose tokens chose expert e to expert_in. Returns how many. */
static int gather_tokens(struct session *s, int e, int n) {
    int D = s->model->config.n_embd, k = s->model->config.n_experts_used, count = 0;
    for (int i = 0; i < n * k; i++) {
        if (s->chosen[i] != e) continue;
        memcpy(s->expert_in + (size_t)count * (size_t)D, s->u + (size_t)(i / k) * (size_t)D,
               (size_t)D * sizeof *s->u);
        s->expert_tokens[count] = i / k;
        s->expert_scale[count++] = s->weights[i];
    }
    return count;
}

/* y[token] += weight * expert_out, for the tokens gathered last. */
static void scatter_add(struct session *s, int count) {
    int D = s->model->config.n_embd;
    for (int j = 0; j < count; j++) {
        float *y = s->y + (size_t)s->expert_tokens[j] * (size_t)D;
        const float *out = s->expert_out + (size_t)j * (size_t)D;
        for (int i = 0; i < D; i++) y[i] += s->expert_scale[j] * out[i];
    }
}

/* y = sum over the k experts a token chose of weight * down(silu(gate u) * up u). Expert by expert, so that
 * the weights of each are read once for all of its tokens. */
static void ffn_moe(struct session *s, const struct layer *l, int layer, int n) {
    const struct config *c = &s->model->config;
    multiply(s, &l->router, s->u, n, s->p);
    ref_router(s->p, l->router_bias.data, n, c->n_experts, c->n_experts_used, s->chosen);
    report(s, TAP_ROUTER, layer, s->p, n, c->n_experts);
    for (int t = 0; s->route && t < n; t++)
        s->route(s->route_arg, layer, s->position + t, s->chosen + (size_t)t * (size_t)c->n_experts_used);
    ref_expert_weights(s->p, s->chosen, n, c->n_experts, c->n_experts_used, c->expert_norm, c->expert_scale,
                       s->weights);

    memset(s->y, 0, (size_t)n * (size_t)c->n_embd * sizeof *s->y);
    for (int e = 0; e < c->n_experts; e++) {
        const struct expert *x = &l->experts[e];
        int count = gather_tokens(s, e, n);
        if (count == 0) continue;
        multiply(s, &x->gate, s->expert_in, count, s->gate);
        multiply(s, &x->up, s->expert_in, count, s->up);
        ref_swiglu(s->gate, s->up, count * x->gate.rows);
        multiply(s, &x->down, s->gate, count, s->expert_out);
        scatter_add(s, count);
    }
}

static void add(float *h, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) h[i] += y[i];
}

/* One batch. Logits of its last n_logits tokens. */
static void forward(struct session *s, const int32_t *ids, int n, float *logits, int n_logits) {
    const struct model *m = s->model;
    const struct config *c = &m->config;
    int D = c->n_embd;
    size_t row_bytes = type_row_bytes(m->embedding.type, D);

    for (int t = 0; t < n; t++)
        dequantize_row(m->embedding.type, (const char *)m->embedding.data + (size_t)ids[t] * row_bytes,
                       s->h + (size_t)t * (size_t)D, D);
    report(s, TAP_EMBEDDING, -1, s->h, n, D);

    for (int i = 0; i < c->n_layers; i++) {
        const struct layer *l = &m->layers[i];
        ref_rmsnorm(s->h, &l->mixer_norm, c->norm_eps, n, D, s->u);
        if (l->mixer == MIXER_CONV)
            mixer_conv(s, l, &s->memory[i], n);
        else
            mixer_attention(s, l, &s->memory[i], n);
        report(s, TAP_MIXER_OUT, i, s->y, n, D);
        add(s->h, s->y, (int64_t)n * D);

        ref_rmsnorm(s->h, &l->ffn_norm, c->norm_eps, n, D, s->u);
        if (l->ffn == FFN_DENSE)
            ffn_dense(s, l, n);
        else
            ffn_moe(s, l, i, n);
        report(s, TAP_FFN_OUT, i, s->y, n, D);
        add(s->h, s->y, (int64_t)n * D);
        report(s, TAP_LAYER_OUT, i, s->h, n, D);
    }

    ref_rmsnorm(s->h, &m->norm, c->norm_eps, n, D, s->u);
    report(s, TAP_FINAL_NORM, c->n_layers, s->u, n, D);
    if (n_logits > 0) multiply(s, &m->head, s->u + (size_t)(n - n_logits) * (size_t)D, n_logits, logits);
    s->position += n;
}

static enum status check_part(const struct part *p, struct error *e) {
    const struct session *s = p->session;
    int V = s->model->config.n_vocab, n = p->n;
    if (n < 1 || p->n_logits < 0 || p->n_logits > n || (p->n_logits > 0 && !p->logits))
        return fail(e, ERR_ARG, "feed: %d logits of %d tokens cannot be computed", p->n_logits, n);
    if (n > s->max_tokens - s->position)
        return fail(e, ERR_ARG, "feed: %d tokens after position %d exceed the session's %d", n, s->position,
                    s->max_tokens);
    for (int t = 0; t < n; t++)
        if (p->ids[t] < 0 || p->ids[t] >= V)
            return fail(e, ERR_ARG, "feed: token id %d is outside the vocabulary (expected 0 to %d)",
                        (int)p->ids[t], V - 1);
    return OK;
}

static void feed_part(const struct part *p) {
    struct session *s = p->session;
    float *logits = p->logits;
    int first = p->n - p->n_logits; /* whose logits are wanted */
    for (int done = 0, batch; done < p->n; done += batch) {
        batch = p->n - done < s->max_batch ? p->n - done : s->max_batch;
        int wanted = done + batch - first;
        if (wanted < 0) wanted = 0;
        if (wanted > batch) wanted = batch;
        forward(s, p->ids + done, batch, logits, wanted);
        if (wanted > 0) logits += (size_t)wanted * (size_t)s->model->config.n_vocab;
    }
}

/* One part after the other: that nothing depends on the company is then plain to see. */
static enum status feed_many(const struct part *parts, int n_parts, struct error *e) {
    if (n_parts < 1) return fail(e, ERR_ARG, "feed: %d parts (expected at least 1)", n_parts);
    for (int i = 0; i < n_parts; i++) {
        TRY(check_part(&parts[i], e));
        if (parts[i].session->h != parts[0].session->h)
            return fail(e, ERR_ARG, "feed: the session of part %d is not a fork of the others'", i);
        for (int j = 0; j < i; j++)
            if (parts[j].session == parts[i].session)
                return fail(e, ERR_ARG, "feed: parts %d and %d have the same session", j, i);
    }
    for (int i = 0; i < n_parts; i++) feed_part(&parts[i]);
    return OK;
}

static enum status feed(struct session *s, const int32_t *ids, int n, float *logits, int n_logits,
                        struct error *e) {
    struct part all = {s, ids, n, logits, n_logits};
    return feed_many(&all, 1, e);
}

/* ---- snapshots: a header, then each layer's memory in order ---- */

struct snapshot_header {
    int32_t n_layers, n_embd, n_kv_heads, head_dim, conv_taps, position;
};

static struct snapshot_header describe_snapshot(const struct session *s, int position) {
    const struct config *c = &s->model->config;
    return (struct snapshot_header){c->n_layers, c->n_embd,    c->n_kv_heads,
                                    c->head_dim, c->conv_taps, position};
}

static size_t conv_bytes(const struct config *c) {
    return (size_t)(c->conv_taps - 1) * (size_t)c->n_embd * sizeof(float);
}

static size_t kv_bytes(const struct config *c, int positions) {
    return (size_t)positions * (size_t)c->n_kv_heads * (size_t)c->head_dim * sizeof(float);
}

static size_t snapshot_bytes(const struct session *s, int position) {
    const struct config *c = &s->model->config;
    size_t bytes = sizeof(struct snapshot_header);
    for (int i = 0; i < c->n_layers; i++)
        bytes += s->model->layers[i].mixer == MIXER_CONV ? conv_bytes(c) : 2 * kv_bytes(c, position);
    return bytes;
}

static enum status save(const struct session *s, struct snapshot *to, struct error *e) {
    const struct config *c = &s->model->config;
    size_t bytes = snapshot_bytes(s, s->position), kv = kv_bytes(c, s->position);
    if (to->capacity < bytes) {
        void *data = realloc(to->data, bytes);
        if (!data) return fail(e, ERR_MEMORY, "save: no memory for a snapshot of %zu bytes", bytes);
        to->data = data;
        to->capacity = bytes;
    }
    struct snapshot_header header = describe_snapshot(s, s->position);
    char *p = to->data;
    p = (char *)memcpy(p, &header, sizeof header) + sizeof header;
    for (int i = 0; i < c->n_layers; i++) {
        const struct memory *m = &s->memory[i];
        if (s->model->layers[i].mixer == MIXER_CONV) {
            p = (char *)memcpy(p, m->conv, conv_bytes(c)) + conv_bytes(c);
        } else {
            p = (char *)memcpy(p, m->keys, kv) + kv;
            p = (char *)memcpy(p, m->values, kv) + kv;
        }
    }
    to->size = bytes;
    to->position = s->position;
    to->engine = &engine_reference;
    return OK;
}

static enum status restore(struct session *s, const struct snapshot *from, struct error *e) {
    const struct config *c = &s->model->config;
    if (from->engine != &engine_reference)
        return fail(e, ERR_ARG, "restore: the snapshot is from the engine %s (expected reference)",
                    from->engine ? from->engine->name : "(none)");
    struct snapshot_header header = describe_snapshot(s, from->position);
    if (from->position < 0 || from->position > s->max_tokens ||
        from->size != snapshot_bytes(s, from->position) || memcmp(from->data, &header, sizeof header) != 0)
        return fail(e, ERR_ARG,
                    "restore: the snapshot (position %d) is from a model or session of other shapes",
                    from->position);
    const char *p = (const char *)from->data + sizeof header;
    size_t kv = kv_bytes(c, from->position);
    for (int i = 0; i < c->n_layers; i++) {
        struct memory *m = &s->memory[i];
        if (s->model->layers[i].mixer == MIXER_CONV) {
            memcpy(m->conv, p, conv_bytes(c));
            p += conv_bytes(c);
        } else {
            memcpy(m->keys, p, kv);
            memcpy(m->values, p + kv, kv);
            p += 2 * kv;
        }
    }
    s->position = from->position;
    s->mark = -1;
    return OK;
}

static void mark(struct session *s) {
    for (int i = 0; i < s->model->config.n_layers; i++)
        if (s->memory[i].conv)
            memcpy(s->memory[i].conv_mark, s->memory[i].conv, conv_bytes(&s->model->config));
    s->mark = s->position;
}

/* Keys and values of the positions before are still there: feeding only appends. */
static enum status rollback(struct session *s, struct error *e) {
    if (s->mark < 0) return fail(e, ERR_ARG, "rollback: the session has no mark");
    for (int i = 0; i < s->model->config.n_layers; i++)
        if (s->memory[i].conv)
            memcpy(s->memory[i].conv, s->memory[i].conv_mark, conv_bytes(&s->model->config));
    s->position = s->mark;
    return OK;
}

/* ---- life of a session ---- */

static int position(const struct session *s) {
    return s->position;
}

static void reset(struct session *s) {
    for (int i = 0; i < s->model->config.n_layers; i++)
        if (s->memory[i].conv) memset(s->memory[i].conv, 0, conv_bytes(&s->model->config));
    s->position = 0;
    s->mark = -1;
}

static void describe(const struct session *s, char *text, size_t size) {
    snprintf(text, size, "threads=%d float32 OpenBLAS batch=%d", s->workers.n, s->max_batch);
}

static void close_session(struct session *s) {
    if (!s) return;
    for (int i = 0; s->memory && i < s->model->config.n_layers; i++) {
        free(s->memory[i].keys);
        free(s->memory[i].values);
        free(s->memory[i].conv);
        free(s->memory[i].conv_mark);
    }
    free(s->memory);
    if (!s->forked) {
        void *const buffers[] = {
            s->h,           s->u, s->y,      s->bcx,     s->mixed,     s->q,          s->gate,
            s->up,          s->p, s->chosen, s->weights, s->expert_in, s->expert_out, s->expert_tokens,
            s->expert_scale};
        for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
        ref_workers_close(&s->workers);
    }
    free(s);
}

/* Zeroed [a, b] of 4-byte elements; *ok becomes 0 when there is no memory. */
static void *array(int a, int64_t b, int *ok) {
    size_t n;
    void *p = __builtin_mul_overflow((size_t)a, (size_t)b, &n) ? NULL : calloc(n ? n : 1, sizeof(float));
    if (!p) *ok = 0;
    return p;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* What a timeline remembers. */
static int take_memory(struct session *s) {
    const struct config *c = &s->model->config;
    int ok = 1;
    s->memory = calloc((size_t)c->n_layers, sizeof *s->memory);
    if (!s->memory) return 0;
    for (int i = 0; i < c->n_layers; i++) {
        struct memory *m = &s->memory[i];
        if (s->model->layers[i].mixer == MIXER_CONV) {
            m->conv = array(c->conv_taps - 1, c->n_embd, &ok);
            m->conv_mark = array(c->conv_taps - 1, c->n_embd, &ok);
        } else {
            m->keys = array(s->max_tokens, (int64_t)c->n_kv_heads * c->head_dim, &ok);
            m->values = array(s->max_tokens, (int64_t)c->n_kv_heads * c->head_dim, &ok);
        }
    }
    return ok;
}

/* The activations of a batch. */
static int take_buffers(struct session *s) {
    const struct config *c = &s->model->config;
    int n = s->max_batch, D = c->n_embd, k = c->n_experts_used, ok = 1;
    int64_t heads = (int64_t)c->n_heads * c->head_dim, F = larger(c->n_ff, c->n_expert_ff);
    s->h = array(n, D, &ok);
    s->u = array(n, D, &ok);
    s->y = array(n, D, &ok);
    s->bcx = array(n, c->conv_taps ? 3 * (int64_t)D : 0, &ok);
    s->mixed = array(n, larger(D, heads), &ok);
    s->q = array(n, heads, &ok);
    s->gate = array(n, F, &ok);
    s->up = array(n, F, &ok);
    s->p = array(n, c->n_experts, &ok);
    s->chosen = array(n, k, &ok);
    s->weights = array(n, k, &ok);
    s->expert_in = array(n, c->n_experts ? D : 0, &ok);
    s->expert_out = array(n, c->n_experts ? D : 0, &ok);
    s->expert_tokens = array(n, 1, &ok);
    s->expert_scale = array(n, 1, &ok);
    return ok;
}

static enum status open_session(struct session **out, const struct model *m, const struct engine_options *o,
                                struct error *e) {
    const struct config *c = &m->config;
    *out = NULL;
    if (o->threads < 0 || o->max_tokens < 0 || o->max_batch < 0)
        return fail(e, ERR_ARG, "reference engine: %d threads, %d tokens, batch %d: none may be negative",
                    o->threads, o->max_tokens, o->max_batch);
    if (o->threads > ENGINE_MAX_THREADS)
        return fail(e, ERR_ARG, "reference engine: %d threads (expected at most %d)", o->threads,
                    ENGINE_MAX_THREADS);
    if (o->packed)
        return fail(e, ERR_ARG, "%s: the reference engine takes no packed file (expected --engine optimized)",
                    o->packed);
    struct session *s = calloc(1, sizeof *s);
    if (!s) return fail(e, ERR_MEMORY, "reference engine: out of memory");
    s->model = m;
    s->max_tokens = o->max_tokens ? o->max_tokens : DEFAULT_MAX_TOKENS;
    s->max_batch = o->max_batch ? o->max_batch : DEFAULT_MAX_BATCH;
    if (s->max_batch > s->max_tokens) s->max_batch = s->max_tokens;
    s->tap = o->tap;
    s->tap_arg = o->tap_arg;
    s->route = o->route;
    s->route_arg = o->route_arg;
    s->input = o->input;
    s->input_arg = o->input_arg;
    s->mark = -1;
    int64_t cols =
        larger(larger(c->n_embd, (int64_t)c->n_heads * c->head_dim), larger(c->n_ff, c->n_expert_ff));
    enum status status =
        ref_workers_open(&s->workers, o->threads ? o->threads : usable_cpus(), cols, s->max_tokens, e);
    if (status == OK && !(take_buffers(s) && take_memory(s)))
        status = fail(e, ERR_MEMORY, "reference engine: no memory for a session of %d tokens", s->max_tokens);
    if (status != OK) {
        close_session(s);
        return status;
    }
    *out = s;
    return OK;
}

static enum status fork_session(struct session **out, struct session *of, int max_tokens, struct error *e) {
    *out = NULL;
    if (max_tokens < 0 || max_tokens > of->max_tokens)
        return fail(e, ERR_ARG, "reference engine: a fork of %d tokens (expected at most %d)", max_tokens,
                    of->max_tokens);
    struct session *s = malloc(sizeof *s);
    if (!s) return fail(e, ERR_MEMORY, "reference engine: out of memory");
    *s = *of;
    s->forked = 1;
    s->position = 0;
    s->mark = -1;
    if (max_tokens) s->max_tokens = max_tokens;
    if (!take_memory(s)) {
        close_session(s);
        return fail(e, ERR_MEMORY, "reference engine: no memory for a fork of %d tokens", max_tokens);
    }
    *out = s;
    return OK;
}

const struct engine engine_reference = {
    .name = "reference",
    .open = open_session,
    .fork = fork_session,
    .feed = feed,
    .feed_many = feed_many,
    .save = save,
    .restore = restore,
    .mark = mark,
    .rollback = rollback,
    .position = position,
    .reset = reset,
    .describe = describe,
    .close = close_session,
};
