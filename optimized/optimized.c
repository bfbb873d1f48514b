/* SPDX-License-Identifier: Apache-2.0 */
/* optimized: the fast engine. Same steps, same order, same names as reference/reference.c, from packed
 * int4/int8 weights, int8 activations quantised on the fly, and an f16 KV cache. Nothing here is trusted:
 * tests and `lfm2 parity` compare it with the reference.
 *
 * Every function with a `struct worker *` is run by all threads together; see session.h. */
#include "optimized/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Hands one named point to the tap, span by span. Everyone waits, since the values are everyone's. */
void report(struct worker *w, enum tap_point point, int layer, const float *x, int dim,
            const int32_t *experts) {
    struct session *s = w->s;
    if (!s->tap) return;
    pool_barrier(s->pool);
    for (int i = 0; i < s->n_spans && w->thread == 0; i++) {
        const struct span *p = &s->spans[i];
        int k = experts ? s->c->n_experts_used : 0;
        struct tap_event event = {.point = point,
                                  .layer = layer,
                                  .position = p->session->position,
                                  .session = p->session,
                                  .n = p->n,
                                  .dim = dim,
                                  .x = x + (size_t)p->first * dim,
                                  .experts = experts ? experts + (size_t)p->first * k : NULL,
                                  .k = k};
        s->tap(s->tap_arg, &event);
    }
    pool_barrier(s->pool);
}

/* s->y has rows of y_stride: packs them to [T, D] in place of `wide`, which is free by then. */
static void report_ffn(struct worker *w, int layer) {
    struct session *s = w->s;
    if (!s->tap) return;
    int D = s->c->n_embd;
    pool_barrier(s->pool);
    for (int t = 0; t < s->T && w->thread == 0; t++)
        memcpy(s->wide + (size_t)t * D, s->y + (size_t)t * s->y_stride, (size_t)D * sizeof *s->y);
    report(w, TAP_FFN_OUT, layer, s->wide, D, NULL);
}

/* rmsnorm(x) in float and int8 form. For one token every thread does it for itself. */
static const struct rows *normalized(struct worker *w, const float *norm) {
    struct session *s = w->s;
    int D = s->c->n_embd;
    atomic_int *counter = step_counter(w);
    struct rows *u = s->T == 1 ? &w->u : &s->u;
    for (int t = 0; s->T == 1 ? t < 1 : (t = next_unit(counter, s->T)) >= 0; t++) {
        float *x = u->x + (size_t)t * u->x_stride;
        s->k.rmsnorm(s->x + (size_t)t * D, norm, D, s->c->norm_eps, x);
        rows_quantize(s, u, t, x, D);
    }
    if (s->T > 1) pool_barrier(s->pool);
    return u;
}

/* The mixer's output in s->y, quantised for its projection. */
static const struct rows *quantized_mix(struct worker *w, int K) {
    struct session *s = w->s;
    atomic_int *counter = step_counter(w);
    struct rows *m = s->T == 1 ? &w->mixed : &s->mixed;
    for (int t = 0; s->T == 1 ? t < 1 : (t = next_unit(counter, s->T)) >= 0; t++)
        rows_quantize(s, m, t, s->y + (size_t)t * s->y_stride, K);
    if (s->T > 1) pool_barrier(s->pool);
    return m;
}

/* Output rows [r0, r1) of m, multiples of PANEL, for one token. */
static void own_rows(struct worker *w, const struct matrix *m, int r0, int r1, const struct rows *u,
                     struct store *to) {
    int end = r1 / PANEL;
    for (int p = r0 / PANEL; p < end; p += CHUNK)
        multiply(w, m, p, p + CHUNK < end ? p + CHUNK : end, u, 1, tile_store, to);
}

/* B, C, x = split(in_proj(u)); out_proj(C * conv(B * x)) */
static void mixer_conv(struct worker *w, struct packed_layer *l, int layer, const struct rows *u) {
    struct session *s = w->s;
    int D = s->c->n_embd, T = s->T;
    struct store wide = {s->wide, s->wide_stride, 3 * D};
    /* channels are independent; whole cache lines to each thread */
    int lines = (D + 15) / 16;
    int c0 = 16 * part_begin(lines, w->thread, s->threads),
        c1 = 16 * part_begin(lines, w->thread + 1, s->threads);
    if (c1 > D) c1 = D;
    if (T == 1 && D % PANEL == 0) { /* a thread's channels depend on nothing that others compute */
        for (int part = 0; part < 3; part++) own_rows(w, &l->conv_in, part * D + c0, part * D + c1, u, &wide);
    } else {
        linear(w, &l->conv_in, u, T, tile_store, &wide);
        pool_barrier(s->pool);
    }
    for (int i = 0; i < s->n_spans && c0 < c1; i++) {
        const struct span *p = &s->spans[i];
        size_t row = (size_t)p->first;
        s->k.conv(s->wide + row * s->wide_stride + c0, s->wide_stride, (size_t)D, l->taps + c0,
                  p->session->memory[layer].conv_state + c0, p->n, c1 - c0, s->y + row * s->y_stride + c0,
                  s->y_stride);
    }
    pool_barrier(s->pool);
    linear(w, &l->conv_out, quantized_mix(w, D), T, tile_add, NULL);
    pool_barrier(s->pool);
}

/* q, k, v = projections of u; per-head RMSNorm and RoPE on q and k; causal GQA; output projection */
static void mixer_attention(struct worker *w, struct packed_layer *l, int layer, const struct rows *u) {
    struct session *s = w->s;
    const struct config *c = s->c;
    int T = s->T, heads = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    struct store q = {s->wide, s->wide_stride, heads};
    struct store k = {s->wide + heads, s->wide_stride, kv};
    struct store v = {s->wide + heads + kv, s->wide_stride, kv};
    int G = c->n_kv_heads, g0 = part_begin(G, w->thread, s->threads), d = c->head_dim,
        g1 = part_begin(G, w->thread + 1, s->threads), group = c->n_heads / G;
    if (attention_by_heads(s)) {
        own_rows(w, &l->q, g0 * group * d, g1 * group * d, u, &q);
        own_rows(w, &l->k, g0 * d, g1 * d, u, &k);
        own_rows(w, &l->v, g0 * d, g1 * d, u, &v);
    } else {
        linear(w, &l->q, u, T, tile_store, &q);
        linear(w, &l->k, u, T, tile_store, &k);
        linear(w, &l->v, u, T, tile_store, &v);
        pool_barrier(s->pool);
    }
    attention_steps(w, l, layer);
    linear(w, &l->o, quantized_mix(w, heads), T, tile_add, NULL);
    pool_barrier(s->pool);
}

static void embed(struct worker *w) {
    struct session *s = w->s;
    const struct tensor *embedding = &s->model->embedding;
    int D = s->c->n_embd, half = s->c->head_dim / 2;
    int streamed = s->head.kind == MATRIX_FLOAT && s->model->head.data == embedding->data;
    size_t row = embedding->bytes / (size_t)embedding->rows;
    atomic_int *counter = step_counter(w);
    for (int t; (t = next_unit(counter, s->T)) >= 0;) {
        dequantize_row(embedding->type, (const char *)embedding->data + (size_t)s->rows[t].id * row,
                       s->x + (size_t)t * D, D);
        /* a row read maps many pages around it: a long text would hold the whole embedding */
        if (s->rows[t].position % RELEASE == RELEASE - 1 && !streamed)
            model_release_pages(s->model, embedding);
        for (int i = 0; i < half; i++) {
            double angle = s->rows[t].position * pow(s->c->rope_theta, -2.0 * i / s->c->head_dim);
            s->rope_cos[(size_t)t * half + i] = (float)cos(angle);
            s->rope_sin[(size_t)t * half + i] = (float)sin(angle);
        }
    }
    pool_barrier(s->pool);
    report(w, TAP_EMBEDDING, -1, s->x, D, NULL);
}

/* Final norm and head of the rows whose logits are wanted. */
static void head(struct worker *w) {
    struct session *s = w->s;
    int D = s->c->n_embd, n = s->n_wanted;
    if (n == 0) return;
    atomic_int *counter = step_counter(w);
    for (int i; (i = next_unit(counter, n)) >= 0;) {
        float *x = s->u.x + (size_t)i * s->u.x_stride;
        s->k.rmsnorm(s->x + (size_t)s->wanted[i].row * D, s->model->norm.data, D, s->c->norm_eps, x);
        rows_quantize(s, &s->u, i, x, D);
    }
    pool_barrier(s->pool);
    linear(w, &s->head, &s->u, n, tile_logits, NULL);
    if (s->tap && w->thread == 0) {
        for (int i = 0; i < n; i++) {
            const struct row *row = &s->rows[s->wanted[i].row];
            struct tap_event event = {.point = TAP_FINAL_NORM,
                                      .layer = s->c->n_layers,
                                      .dim = D,
                                      .n = 1,
                                      .position = row->position,
                                      .session = row->session,
                                      .x = s->u.x + (size_t)i * s->u.x_stride};
            s->tap(s->tap_arg, &event);
        }
    }
}

static void forward(void *arg, int thread) {
    struct session *s = arg;
    struct worker *w = &s->workers[thread];
    w->step = 0;
    embed(w);
    for (int i = 0; i < s->c->n_layers; i++) {
        struct packed_layer *l = &s->layers[i];
        const struct layer *kind = &s->model->layers[i];
        const struct rows *u = normalized(w, l->mixer_norm);
        if (kind->mixer == MIXER_CONV)
            mixer_conv(w, l, i, u);
        else
            mixer_attention(w, l, i, u);
        report(w, TAP_MIXER_OUT, i, s->wide, s->c->n_embd, NULL); /* left there by tile_add */
        u = normalized(w, l->ffn_norm);
        if (kind->ffn == FFN_DENSE)
            ffn_dense(w, l, u);
        else
            ffn_moe(w, l, i, u);
        report_ffn(w, i);
        report(w, TAP_LAYER_OUT, i, s->x, s->c->n_embd, NULL);
    }
    head(w);
}

static enum status check_part(const struct part *p, struct error *e) {
    const struct session *s = p->session;
    int V = s->c->n_vocab;
    if (p->n < 1 || p->n_logits < 0 || p->n_logits > p->n || (p->n_logits > 0 && !p->logits))
        return fail(e, ERR_ARG, "feed: n must be at least 1 and n_logits 0..n (found n=%d, n_logits=%d)",
                    p->n, p->n_logits);
    if (p->n > s->max_tokens - s->position)
        return fail(e, ERR_ARG, "the context is full: %d of %d tokens used, %d more asked for", s->position,
                    s->max_tokens, p->n);
    for (int i = 0; i < p->n; i++)
        if (p->ids[i] < 0 || p->ids[i] >= V)
            return fail(e, ERR_ARG, "token id %d at index %d is outside the vocabulary (0..%d)", p->ids[i], i,
                        V - 1);
    return OK;
}

static enum status check_parts(const struct part *parts, int n_parts, struct error *e) {
    if (n_parts < 1) return fail(e, ERR_ARG, "feed: no parts (found %d, expected at least 1)", n_parts);
    for (int i = 0; i < n_parts; i++) {
        TRY(check_part(&parts[i], e));
        if (parts[i].session->first != parts[0].session->first)
            return fail(e, ERR_ARG, "feed: the sessions of parts 0 and %d share no weights", i);
        for (int j = 0; j < i; j++)
            if (parts[j].session == parts[i].session)
                return fail(e, ERR_ARG, "feed: parts %d and %d have the same session", j, i);
    }
    return OK;
}

/* Appends tokens [from, from + n) of a part to the batch. */
static void add_span(struct session *s, const struct part *p, int from, int n) {
    int unwanted = p->n - p->n_logits;
    s->spans[s->n_spans++] = (struct span){p->session, s->T, n};
    for (int i = from; i < from + n; i++) {
        if (i >= unwanted)
            s->wanted[s->n_wanted++] =
                (struct wanted){s->T, p->logits + (size_t)(i - unwanted) * s->c->n_vocab};
        s->rows[s->T++] = (struct row){p->session, p->ids[i], p->session->position + i - from};
    }
}

/* Batches of up to max_batch rows, one part after the other; a part may be cut anywhere. */
static enum status feed_many(const struct part *parts, int n_parts, struct error *e) {
    TRY(check_parts(parts, n_parts, e));
    struct session *s = parts[0].session->first;
    for (int i = 0, done = 0; i < n_parts;) {
        s->T = s->n_spans = s->n_wanted = 0;
        while (i < n_parts && s->T < s->max_batch) {
            int room = s->max_batch - s->T, left = parts[i].n - done, n = left < room ? left : room;
            add_span(s, &parts[i], done, n);
            done += n;
            if (done == parts[i].n) i++, done = 0;
        }
        for (int j = 0; j < s->n_counters; j++)
            atomic_store_explicit(&s->counters[j], 0, memory_order_relaxed);
        pool_run(s->pool, forward, s);
        for (int j = 0; j < s->n_spans; j++) s->spans[j].session->position += s->spans[j].n;
    }
    return OK;
}

static enum status feed(struct session *s, const int32_t *ids, int n, float *logits, int n_logits,
                        struct error *e) {
    struct part all = {s, ids, n, logits, n_logits};
    return feed_many(&all, 1, e);
}

static int position(const struct session *s) {
    return s->position;
}

static size_t conv_bytes(const struct session *s) {
    return 2 * (size_t)s->c->n_embd * sizeof(float);
}

static void reset(struct session *s) {
    s->position = 0;
    s->mark = -1;
    for (int i = 0; i < s->c->n_layers; i++)
        if (s->memory[i].conv_state) memset(s->memory[i].conv_state, 0, conv_bytes(s));
}

static void mark(struct session *s) {
    s->mark = s->position;
    for (int i = 0; i < s->c->n_layers; i++)
        if (s->memory[i].conv_state) memcpy(s->memory[i].conv_mark, s->memory[i].conv_state, conv_bytes(s));
}

/* Keys and values before the mark are still there: feeding only appends. */
static enum status rollback(struct session *s, struct error *e) {
    if (s->mark < 0) return fail(e, ERR_ARG, "rollback: the session has no mark");
    s->position = s->mark;
    for (int i = 0; i < s->c->n_layers; i++)
        if (s->memory[i].conv_state) memcpy(s->memory[i].conv_state, s->memory[i].conv_mark, conv_bytes(s));
    return OK;
}

static void describe(const struct session *any, char *text, size_t size) {
    const struct session *s = any->first;
    int n = snprintf(text, size, "threads=%d batch=%d kv=%s", s->threads, s->max_batch,
                     s->kv_type == KV_Q8 ? "q8_0" : "f16");
    if (s->scheme != SCHEME_EXACT && n > 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, " scheme=%s", scheme_names[s->scheme]);
    for (int i = 0; i < OP_COUNT && n > 0 && (size_t)n < size; i++)
        n += snprintf(text + n, size - (size_t)n, " %s=%s", s->k.chosen[i]->op_name, s->k.chosen[i]->isa);
}

/* What a snapshot starts with: it fits a session only if all of this is equal. */
struct snapshot_header {
    char magic[8];
    int32_t n_layers, n_embd, n_kv_heads, head_dim, position, kv_type;
    char model[64];
};

static struct snapshot_header header_for(const struct session *s, int at) {
    const struct config *c = s->c;
    struct snapshot_header h = {"lfm2opt",   c->n_layers, c->n_embd,           c->n_kv_heads,
                                c->head_dim, at,          (int32_t)s->kv_type, {0}};
    memcpy(h.model, s->model->header_sha256, sizeof h.model);
    return h;
}

/* Walks the state of all layers: copies it to p, or back when `restoring`; counts only when p is NULL. */
static size_t walk_state(const struct session *s, unsigned char *p, int at, int restoring) {
    const struct config *c = s->c;
    size_t used = 0;
    for (int i = 0; i < c->n_layers; i++) {
        const struct memory *m = &s->memory[i];
        int parts = m->conv_state ? 1 : CACHE_PARTS * c->n_kv_heads;
        for (int j = 0; j < parts; j++) {
            int part = j % CACHE_PARTS, g = j / CACHE_PARTS;
            size_t bytes = m->conv_state ? conv_bytes(s) : cache_bytes(s, part, (size_t)at);
            void *state = m->conv_state ? (void *)m->conv_state
                                        : m->cache[part] + (size_t)g * cache_bytes(s, part, s->positions);
            if (p && restoring) memcpy(state, p + used, bytes);
            if (p && !restoring) memcpy(p + used, state, bytes);
            used += bytes;
        }
    }
    return used;
}

static enum status save(const struct session *s, struct snapshot *to, struct error *e) {
    struct snapshot_header h = header_for(s, s->position);
    size_t size = sizeof h + walk_state(s, NULL, s->position, 0);
    if (to->capacity < size) {
        void *data = realloc(to->data, size);
        if (!data) return fail(e, ERR_MEMORY, "out of memory for a snapshot of %zu bytes", size);
        to->data = data;
        to->capacity = size;
    }
    memcpy(to->data, &h, sizeof h);
    walk_state(s, (unsigned char *)to->data + sizeof h, s->position, 0);
    to->size = size;
    to->position = s->position;
    to->engine = &engine_optimized;
    return OK;
}

static enum status restore(struct session *s, const struct snapshot *from, struct error *e) {
    struct snapshot_header want = header_for(s, from->position);
    if (from->engine != &engine_optimized || from->size < sizeof want ||
        memcmp(from->data, &want, sizeof want) != 0)
        return fail(e, ERR_ARG, "the snapshot was made by another engine or for another model");
    if (from->position > s->max_tokens)
        return fail(e, ERR_ARG, "the snapshot holds %d tokens, this session only %d", from->position,
                    s->max_tokens);
    if (from->size != sizeof want + walk_state(s, NULL, from->position, 0))
        return fail(e, ERR_ARG, "the snapshot is incomplete");
    walk_state(s, (unsigned char *)from->data + sizeof want, from->position, 1);
    s->position = from->position;
    s->mark = -1;
    return OK;
}

const struct engine engine_optimized = {
    .name = "optimized",
    .open = session_open,
    .fork = session_fork,
    .feed = feed,
    .feed_many = feed_many,
    .save = save,
    .restore = restore,
    .mark = mark,
    .rollback = rollback,
    .position = position,
    .reset = reset,
    .describe = describe,
    .close = session_close,
    .pack = session_pack,
};
