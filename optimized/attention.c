/* SPDX-License-Identifier: Apache-2.0 */
/* attention: per-head RMSNorm, RoPE and grouped-query attention over the KV cache.
 *
 * All query heads of one kv head are computed together, so that keys and values are read once for the group.
 * Positions are summed in chunks of KV_CHUNK that are merged in order; with one token the chunks of one head
 * may be computed by different threads, which changes nothing in the sums. */
#include "optimized/session.h"

#include <math.h>
#include <string.h>

/* Cuts the row's head h out of wide, normalises and rotates it. */
static void head_prepare(const struct session *s, const float *src, const float *norm, int t, float *dst) {
    int d = s->c->head_dim;
    s->k.rmsnorm(src, norm, d, s->c->norm_eps, dst);
    s->k.rope(dst, s->rope_cos + (size_t)t * (d / 2), s->rope_sin + (size_t)t * (d / 2), d);
}

/* Appends row t's key and value of kv head g to the cache of its session. */
static void append(struct worker *w, struct packed_layer *l, int layer, int g, int t) {
    struct session *s = w->s;
    const struct config *c = s->c;
    size_t d = (size_t)c->head_dim;
    const struct session *of = s->rows[t].session;
    const float *row = s->wide + (size_t)t * s->wide_stride + (size_t)c->n_heads * d;
    head_prepare(s, row + (size_t)g * d, l->k_norm, t, w->q);
    cache_append(of, &s->k, &of->memory[layer], g, (size_t)s->rows[t].position, w->q,
                 row + (size_t)(c->n_kv_heads + g) * d, &w->q8.a);
}

/* Adds a chunk's (o, m, l) to a running one; the first chunk is taken as it is. */
static void merge(float *o, float *m, float *l, const float *o2, float m2, float l2, int d) {
    if (m2 == -INFINITY) return;
    if (*m == -INFINITY) {
        memcpy(o, o2, (size_t)d * sizeof *o);
        *m = m2;
        *l = l2;
        return;
    }
    float top = fmaxf(*m, m2), a = expf(*m - top), b = expf(m2 - top);
    for (int i = 0; i < d; i++) o[i] = o[i] * a + o2[i] * b;
    *l = *l * a + l2 * b;
    *m = top;
}

/* Queries of rows [t0, t1) for all heads of kv head g into w->q, token-major. Returns the number of rows.
 */
static int gather_queries(struct worker *w, const struct packed_layer *l, int g, int t0, int t1,
                          int32_t *limit) {
    struct session *s = w->s;
    int d = s->c->head_dim, group = s->c->n_heads / s->c->n_kv_heads, R = 0;
    float scale = 1.0f / sqrtf((float)d);
    for (int t = t0; t < t1; t++)
        for (int h = g * group; h < (g + 1) * group; h++, R++) {
            float *q = w->q + (size_t)R * d;
            head_prepare(s, s->wide + (size_t)t * s->wide_stride + (size_t)h * d, l->q_norm, t, q);
            for (int i = 0; i < d; i++) q[i] *= scale;
            limit[R] = s->rows[t].position + 1;
        }
    cache_queries(w, s->rows[t0].session, R);
    return R;
}

static int chunks_before(int position) {
    return (position + KV_CHUNK - 1) / KV_CHUNK;
}

/* The rows of gather_queries over one chunk of positions. */
static void attend_chunk(struct worker *w, const struct session *of, int layer, int g, int R,
                         const int32_t *limit, int chunk, float *o, float *m, float *l) {
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): there is a row, and it fills `limit` */
    int last = limit[R - 1], end = (chunk + 1) * KV_CHUNK;
    cache_attend(w, of, &of->memory[layer], g, R, limit, chunk * KV_CHUNK, end < last ? end : last, o, m, l);
}

static void normalize(const struct worker *w, const float *o, float l, int t, int h) {
    struct session *s = w->s;
    int d = s->c->head_dim;
    float *y = s->y + (size_t)t * s->y_stride + (size_t)h * d;
    for (int i = 0; i < d; i++) y[i] = o[i] / l;
}

/* All chunks of one kv head for rows [t0, t1), all of one session. */
static void attend(struct worker *w, const struct packed_layer *l, int layer, int g, int t0, int t1) {
    struct session *s = w->s;
    int32_t limit[ATTENTION_ROWS];
    float m[ATTENTION_ROWS], sum[ATTENTION_ROWS], m2[ATTENTION_ROWS], sum2[ATTENTION_ROWS];
    int d = s->c->head_dim, group = s->c->n_heads / s->c->n_kv_heads;
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): as above */
    int R = gather_queries(w, l, g, t0, t1, limit), chunks = chunks_before(limit[R - 1]);
    for (int i = 0; i < chunks; i++) {
        attend_chunk(w, s->rows[t0].session, layer, g, R, limit, i, i ? w->part : w->o, i ? m2 : m,
                     i ? sum2 : sum);
        for (int r = 0; i && r < R; r++)
            merge(w->o + (size_t)r * d, &m[r], &sum[r], w->part + (size_t)r * d, m2[r], sum2[r], d);
    }
    for (int r = 0; r < R; r++) /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): as above */
        normalize(w, w->o + (size_t)r * d, sum[r], t0 + r / group, g * group + r % group);
}

/* One row, several chunks: (head, chunk) pairs are shared out, then each head's parts are merged in order.
 * Part (h, i) is at partial + (h * most + i) * (d + 2): o, m, l. */
static void attend_split(struct worker *w, const struct packed_layer *l, int layer, int chunks) {
    struct session *s = w->s, *of = s->rows[0].session;
    int d = s->c->head_dim, G = s->c->n_kv_heads, group = s->c->n_heads / G;
    int most = chunks_before(of->max_tokens);
    size_t size = (size_t)d + 2;
    atomic_int *counter = step_counter(w);
    for (int unit; (unit = next_unit(counter, G * chunks)) >= 0;) {
        int g = unit / chunks, i = unit % chunks;
        int32_t limit[ATTENTION_ROWS];
        float m[ATTENTION_ROWS], sum[ATTENTION_ROWS];
        int R = gather_queries(w, l, g, 0, 1, limit);
        attend_chunk(w, of, layer, g, R, limit, i, w->part, m, sum);
        for (int r = 0; r < R; r++) {
            float *part = of->partial + ((size_t)(g * group + r) * most + i) * size;
            memcpy(part, w->part + (size_t)r * d, (size_t)d * sizeof *part);
            part[d] = m[r], part[d + 1] = sum[r];
        }
    }
    pool_barrier(s->pool);
    int H = s->c->n_heads;
    for (int h = part_begin(H, w->thread, s->threads); h < part_begin(H, w->thread + 1, s->threads); h++) {
        float *first = of->partial + (size_t)h * most * size;
        for (int i = 1; i < chunks; i++) {
            const float *part = first + i * size;
            merge(first, &first[d], &first[d + 1], part, part[d], part[d + 1], d);
        }
        normalize(w, first, first[d + 1], 0, h);
    }
}

/* Spans are cut into blocks of tokens, and (kv head, block) pairs are shared out. */
static void attend_spans(struct worker *w, const struct packed_layer *l, int layer) {
    struct session *s = w->s;
    int G = s->c->n_kv_heads, tokens = ATTENTION_ROWS / (s->c->n_heads / G), units = 0;
    for (int i = 0; i < s->n_spans; i++) units += G * ((s->spans[i].n + tokens - 1) / tokens);
    atomic_int *counter = step_counter(w);
    const struct span *p = s->spans;
    for (int i, before = 0; (i = next_unit(counter, units)) >= 0;) {
        int blocks;
        while (blocks = (p->n + tokens - 1) / tokens, i >= before + G * blocks) before += G * blocks, p++;
        int b = blocks - 1 - (i - before) / G; /* the last tokens see most: they go first */
        int end = (b + 1) * tokens < p->n ? (b + 1) * tokens : p->n;
        attend(w, l, layer, (i - before) % G, p->first + b * tokens, p->first + end);
    }
}

int attention_by_heads(const struct session *s) {
    return s->T == 1 && s->c->n_kv_heads % s->threads == 0;
}

/* One token, a thread's own kv heads: waits for the others only when they share the attention. */
static void own_heads(struct worker *w, struct packed_layer *l, int layer, int chunks) {
    struct session *s = w->s;
    int G = s->c->n_kv_heads, end = part_begin(G, w->thread + 1, s->threads);
    for (int g = part_begin(G, w->thread, s->threads); g < end; g++) {
        append(w, l, layer, g, 0);
        if (chunks == 1) attend(w, l, layer, g, 0, 1);
    }
}

void attention_steps(struct worker *w, struct packed_layer *l, int layer) {
    struct session *s = w->s;
    int G = s->c->n_kv_heads, chunks = chunks_before(s->rows[0].position + 1);
    if (attention_by_heads(s))
        own_heads(w, l, layer, chunks);
    else {
        atomic_int *counter = step_counter(w);
        for (int i; (i = next_unit(counter, G * s->T)) >= 0;) append(w, l, layer, i % G, i / G);
    }
    if (s->T == 1 && chunks > 1) {
        pool_barrier(s->pool);
        attend_split(w, l, layer, chunks);
    } else if (!attention_by_heads(s)) {
        pool_barrier(s->pool);
        attend_spans(w, l, layer);
    }
    pool_barrier(s->pool);
}
