/* SPDX-License-Identifier: Apache-2.0 */
/* moe: the feed-forward half of a layer. A dense ffn is the case of one expert that gets every token with
 * weight 1.
 *
 * Tokens are grouped by expert (counting sort), each expert's rows are multiplied once for all its tokens,
 * gate and up together, and silu(gate) * up is quantised where it is computed. The down projection is shared
 * out by output rows: each thread adds the experts in ascending order, so the sum does not depend on how work
 * was shared. */
#include "optimized/session.h"

#include <math.h>
#include <string.h>

/* One ffn over grouped tokens. */
struct ffn {
    struct packed_expert *experts;
    const struct share *shares; /* [n] */
    int n, F;
    const struct rows *in; /* slot i reads row i, or row 0 when `same` */
    int same;
    const struct rows *hidden; /* [slots], silu(gate) * up */
    const int32_t *slot_token; /* NULL: slot i is token i */
    const float *slot_weight;  /* NULL: 1 */
};

static int int8_only(const struct packed_expert *x) {
    return x->gate.kind != MATRIX_FLOAT && x->up.kind != MATRIX_FLOAT && x->down.kind != MATRIX_FLOAT;
}

/* silu(gate) * up for panels [begin, end) of one expert, all its slots, into f->hidden. */
static void hidden_panels(struct worker *w, const struct ffn *f, int expert, int begin, int end) {
    struct session *s = w->s;
    const struct packed_expert *x = &f->experts[expert];
    const struct share *share = &f->shares[expert];
    size_t stride = CHUNK * PANEL;
    int fused = int8_only(x), float_in = x->gate.kind == MATRIX_FLOAT || x->up.kind == MATRIX_FLOAT;
    int step =
        float_in ? 1 : end - begin; /* an unpacked panel serves all tokens before the next is unpacked */
    for (int p = begin; p < end; p += step) {
        if (x->gate.kind == MATRIX_FLOAT) matrix_unpack(&x->gate, p, w->unpacked[0], w->row);
        if (x->up.kind == MATRIX_FLOAT) matrix_unpack(&x->up, p, w->unpacked[1], w->row);
        int columns = step * PANEL, column = p * PANEL;
        if (column + columns > f->F) columns = f->F - column;
        for (int t = 0; t < share->count; t += TILE_TOKENS) {
            int now = share->count - t < TILE_TOKENS ? share->count - t : TILE_TOKENS;
            struct rows in = rows_at(f->in, f->same ? 0 : share->first + t);
            for (int i = 0; i < 2; i++) {
                const struct matrix *m = i ? &x->up : &x->gate;
                if (m->kind == MATRIX_FLOAT)
                    float_gemm(w, m, w->unpacked[i], &in, now, w->tile[i], stride);
                else
                    matrix_gemm(&s->k, m, p, step, &in.a, now, w->tile[i], stride);
            }
            for (int j = 0; j < now; j++) {
                float *g = w->tile[0] + (size_t)j * stride;
                struct rows out = rows_at(f->hidden, share->first + t + j);
                s->k.swiglu(g, w->tile[1] + (size_t)j * stride, columns, g);
                if (fused) {
                    int b = column / BLOCK;
                    s->k.quantize_a8(g, columns, out.a.q + column, out.a.scale + b, out.a.offset8 + b,
                                     out.a.sum16 + 2 * b);
                } else {
                    memcpy(out.x + column, g, (size_t)columns * sizeof *g);
                }
            }
        }
    }
}

/* Gate and up of all experts, shared out in pairs of panels, since activations are quantised 32 at a time. */
static void hidden_step(struct worker *w, const struct ffn *f, int few) {
    atomic_int *counter = step_counter(w);
    int panels = f->experts[0].gate.panels;
    if (few) { /* every expert's rows in fixed ranges, neighbouring experts continuing each other's ranges */
        int pairs = (panels + 1) / 2, active = 0, seen = 0;
        for (int e = 0; e < f->n; e++) active += f->shares[e].count > 0;
        int begin = part_begin(active * pairs, w->thread, w->s->threads);
        int end = part_begin(active * pairs, w->thread + 1, w->s->threads);
        for (int e = 0; e < f->n; e++) {
            if (!f->shares[e].count) continue;
            int first = begin - seen * pairs, last = end - seen * pairs;
            seen++;
            if (first < 0) first = 0;
            if (last > pairs) last = pairs;
            for (int p = 2 * first; p < 2 * last; p += CHUNK) {
                int stop = p + CHUNK < 2 * last ? p + CHUNK : 2 * last;
                hidden_panels(w, f, e, p, stop < panels ? stop : panels);
            }
        }
        return;
    }
    int chunks = (panels + CHUNK - 1) / CHUNK;
    for (int i; (i = next_unit(counter, f->n * chunks)) >= 0;) {
        int e = i / chunks, p = i % chunks * CHUNK;
        if (f->shares[e].count) hidden_panels(w, f, e, p, p + CHUNK < panels ? p + CHUNK : panels);
    }
}

struct weighted {
    const struct ffn *f;
    int first; /* slot of the expert's first token */
};

static void tile_weighted(struct worker *w, void *arg, const float *tile, size_t stride, int t, int n,
                          int column, int width) {
    const struct weighted *a = arg;
    struct session *s = w->s;
    if (column + width > s->c->n_embd) width = s->c->n_embd - column;
    for (int i = 0; i < n; i++) {
        int slot = a->first + t + i;
        int token = a->f->slot_token ? a->f->slot_token[slot] : slot;
        float weight = a->f->slot_weight ? a->f->slot_weight[slot] : 1.0f;
        float *y = s->y + (size_t)token * s->y_stride + column;
        const float *v = tile + (size_t)i * stride;
        for (int j = 0; j < width; j++) y[j] += weight * v[j];
    }
}

/* Output columns [begin, end) panels: y = sum of the experts, then x += y. */
static void down_panels(struct worker *w, const struct ffn *f, int begin, int end) {
    struct session *s = w->s;
    int D = s->c->n_embd, column = begin * PANEL, width = (end - begin) * PANEL;
    if (column + width > D) width = D - column;
    for (int t = 0; t < s->T; t++)
        memset(s->y + (size_t)t * s->y_stride + column, 0, (size_t)width * sizeof *s->y);
    for (int e = 0; e < f->n; e++) {
        if (!f->shares[e].count) continue;
        struct rows in = rows_at(f->hidden, f->shares[e].first);
        struct weighted arg = {f, f->shares[e].first};
        multiply(w, &f->experts[e].down, begin, end, &in, f->shares[e].count, tile_weighted, &arg);
    }
    for (int t = 0; t < s->T; t++) {
        float *x = s->x + (size_t)t * D + column;
        const float *y = s->y + (size_t)t * s->y_stride + column;
        for (int j = 0; j < width; j++) x[j] += y[j];
    }
}

static void down_step(struct worker *w, const struct ffn *f, int few) {
    atomic_int *counter = step_counter(w);
    int panels = f->experts[0].down.panels;
    if (few) {
        int end = part_begin(panels, w->thread + 1, w->s->threads);
        for (int p = part_begin(panels, w->thread, w->s->threads); p < end; p += CHUNK)
            down_panels(w, f, p, p + CHUNK < end ? p + CHUNK : end);
        return;
    }
    for (int i; (i = next_unit(counter, (panels + CHUNK - 1) / CHUNK)) >= 0;)
        down_panels(w, f, i * CHUNK, (i + 1) * CHUNK < panels ? (i + 1) * CHUNK : panels);
}

static void ffn(struct worker *w, const struct ffn *f, int slots) {
    struct session *s = w->s;
    int few = s->T <= FEW_TOKENS;
    hidden_step(w, f, few);
    pool_barrier(s->pool);
    atomic_int *counter = step_counter(w);
    if (!int8_only(&f->experts[0]) && f->experts[0].down.kind != MATRIX_FLOAT) {
        for (int i; (i = next_unit(counter, slots)) >= 0;) {
            struct rows out = rows_at(f->hidden, i);
            rows_quantize(s, &out, 0, out.x, f->F);
        }
        pool_barrier(s->pool);
    }
    down_step(w, f, few);
    pool_barrier(s->pool);
}

void ffn_dense(struct worker *w, struct packed_layer *l, const struct rows *u) {
    struct share all = {0, w->s->T};
    struct ffn f = {.experts = &l->dense,
                    .shares = &all,
                    .n = 1,
                    .F = l->dense.gate.rows,
                    .in = u,
                    .hidden = &w->s->hidden_dense};
    ffn(w, &f, w->s->T);
}

/* For one token every worker chooses for itself, which costs less than waiting for another to have chosen;
 * unless somebody is told or asked about the choice, which happens once. */
static int alone(const struct session *s) {
    return s->T == 1 && !s->tap && !s->route;
}

static struct routing *routing(struct worker *w) {
    return alone(w->s) ? &w->routing : &w->s->routing;
}

/* s = sigmoid(logits); the k largest of s + bias, ties to the lower index. */
static void route(struct worker *w, const struct packed_layer *l, const float *u, int t) {
    struct session *s = w->s;
    const struct config *c = s->c;
    int E = c->n_experts, k = c->n_experts_used;
    struct routing *to = routing(w);
    for (int p = 0; p * PANEL < E; p++)
        s->k.gemm_f32(l->router + (size_t)p * PANEL * c->n_embd, c->n_embd, u, 0, 1, w->router + p * PANEL,
                      0);
    float *score = to->scores + (size_t)t * E;
    int32_t *chosen = to->chosen + (size_t)t * k;
    for (int e = 0; e < E; e++) score[e] = 1.0f / (1.0f + expf(-w->router[e]));
    float *rank = w->router;
    for (int e = 0; e < E; e++) rank[e] = score[e] + (l->router_bias ? l->router_bias[e] : 0.0f);
    for (int i = 0; i < k; i++) {
        int best = -1;
        for (int e = 0; e < E; e++)
            if (rank[e] != -INFINITY && (best < 0 || rank[e] > rank[best])) best = e;
        if (best < 0) best = i; /* all NaN or -inf: any choice is as wrong as the input */
        rank[best] = -INFINITY;
        int j = i; /* insertion keeps them ascending */
        for (; j > 0 && chosen[j - 1] > best; j--) chosen[j] = chosen[j - 1];
        chosen[j] = best;
    }
}

/* Weights = s of the experts used / (sum + 1e-6). */
static void weigh(struct session *s, struct routing *to, int layer, int t) {
    const struct config *c = s->c;
    int k = c->n_experts_used;
    const float *score = to->scores + (size_t)t * c->n_experts;
    int32_t *chosen = to->chosen + (size_t)t * k;
    float sum = 0;
    if (s->route) s->route(s->route_arg, layer, s->rows[t].position, chosen);
    for (int i = 0; i < k; i++) sum += score[chosen[i]];
    float scale = c->expert_norm ? c->expert_scale / (sum + 1e-6f) : c->expert_scale;
    for (int i = 0; i < k; i++) to->weight[(size_t)t * k + i] = score[chosen[i]] * scale;
}

/* Counting sort of the T*k (token, expert) pairs by expert; within an expert by token. */
static void group(const struct session *s, struct routing *to) {
    int E = s->c->n_experts, pairs = s->T * s->c->n_experts_used;
    memset(to->shares, 0, (size_t)E * sizeof *to->shares);
    for (int i = 0; i < pairs; i++) to->shares[to->chosen[i]].count++;
    for (int e = 1; e < E; e++) to->shares[e].first = to->shares[e - 1].first + to->shares[e - 1].count;
    for (int e = 0; e < E; e++) to->shares[e].count = 0;
    for (int i = 0; i < pairs; i++) {
        struct share *share = &to->shares[to->chosen[i]];
        int slot = share->first + share->count++;
        to->slot_token[slot] = i / s->c->n_experts_used;
        to->slot_weight[slot] = to->weight[i];
    }
}

/* Chooses the experts of all tokens and gives them their slots in routing(w). */
static void choose(struct worker *w, const struct packed_layer *l, int layer, const struct rows *u) {
    struct session *s = w->s;
    struct routing *to = routing(w);
    atomic_int *counter = step_counter(w);
    if (alone(s)) {
        route(w, l, u->x, 0);
        weigh(s, to, layer, 0);
        group(s, to);
        return;
    }
    for (int t; (t = next_unit(counter, s->T)) >= 0;) route(w, l, u->x + (size_t)t * u->x_stride, t);
    report(w, TAP_ROUTER, layer, to->scores, s->c->n_experts, to->chosen);
    pool_barrier(s->pool);
    if (w->thread == 0) {
        for (int t = 0; t < s->T; t++) weigh(s, to, layer, t);
        group(s, to);
    }
    pool_barrier(s->pool);
}

void ffn_moe(struct worker *w, struct packed_layer *l, int layer, const struct rows *u) {
    struct session *s = w->s;
    const struct config *c = s->c;
    const struct routing *to = routing(w);
    int slots = s->T * c->n_experts_used;
    struct ffn f = {.experts = l->experts, .shares = to->shares, .n = c->n_experts, .F = c->n_expert_ff};
    f.hidden = &s->hidden_moe;
    f.slot_token = to->slot_token;
    f.slot_weight = to->slot_weight;
    f.same = s->T == 1;
    f.in = f.same ? u : &s->gathered;

    choose(w, l, layer, u);
    atomic_int *counter = step_counter(w);
    if (!f.same) {
        int with_float = l->experts[0].gate.kind == MATRIX_FLOAT || l->experts[0].up.kind == MATRIX_FLOAT;
        for (int i; (i = next_unit(counter, slots)) >= 0;)
            rows_copy(u, to->slot_token[i], &s->gathered, i, c->n_embd, with_float);
        pool_barrier(s->pool);
    }
    ffn(w, &f, slots);
}
