/* SPDX-License-Identifier: Apache-2.0 */
/* cache: keys and values of one timeline, as f16 or as int8, in the layouts that kernels.h gives for
 * attention and attention8. Every piece keeps the kv heads apart, so that a head's positions are one run of
 * memory. */
#include "optimized/session.h"

#include <math.h>

#include "data/quant.h"

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* Keys of one position are spread over their block: whole blocks count. */
size_t cache_bytes(const struct session *s, int part, size_t positions) {
    size_t d = (size_t)s->c->head_dim, blocks = round_up(positions, KV_BLOCK);
    int q8 = s->kv_type == KV_Q8;
    switch (part) {
    case CACHE_KEYS:
        return q8 ? blocks * d : blocks * d * 2;
    case CACHE_VALUES:
        return q8 ? round_up(positions, 4) * d : positions * d * 2;
    case CACHE_KEY_SCALES:
        return q8 ? blocks * (d / BLOCK) * 2 : 0;
    default:
        return q8 ? positions * 2 : 0;
    }
}

static void *part_of(const struct session *s, const struct memory *m, int part, int g) {
    return m->cache[part] + (size_t)g * cache_bytes(s, part, s->positions);
}

static void append_f16(const struct session *s, const struct kernel_set *set, const struct memory *m, int g,
                       size_t position, const float *key, const float *value) {
    size_t d = (size_t)s->c->head_dim;
    uint16_t half[512], *k = part_of(s, m, CACHE_KEYS, g), *v = part_of(s, m, CACHE_VALUES, g);
    set->to_f16(key, half, (int)d);
    k += position / KV_BLOCK * KV_BLOCK * d + position % KV_BLOCK;
    for (size_t i = 0; i < d; i++) k[i * KV_BLOCK] = half[i];
    set->to_f16(value, v + position * d, (int)d);
}

/* One scale for the whole value: then the weights of a span need rounding once, not once per block. */
static void append_value8(int8_t *v, uint16_t *scale, size_t d, const float *value) {
    float most = 0, sum = 0;
    for (size_t i = 0; i < d; i++) {
        most = fmaxf(most, fabsf(value[i]));
        sum += value[i];
    }
    float inverse = most > 1e-30f && most < 1e30f ? 127.0f / most : 0.0f;
    *scale = f32_to_f16(most / 127.0f + 0.0f * sum); /* NaN and infinity in, NaN out */
    for (size_t i = 0; i < d; i++) {
        float x = value[i] * inverse;
        v[4 * i] = x >= -127.5f && x <= 127.5f ? (int8_t)lrintf(x) : 0;
    }
}

static void append_q8(const struct session *s, const struct kernel_set *set, const struct memory *m, int g,
                      size_t position, const float *key, const float *value, struct act8 *row) {
    size_t d = (size_t)s->c->head_dim, blocks = d / BLOCK, block = position / KV_BLOCK,
           at = position % KV_BLOCK;
    uint8_t *k = part_of(s, m, CACHE_KEYS, g);
    uint16_t *ks = part_of(s, m, CACHE_KEY_SCALES, g), *vs = part_of(s, m, CACHE_VALUE_SCALES, g);
    int8_t *v = part_of(s, m, CACHE_VALUES, g);
    set->quantize_a8(key, (int)d, row->q, row->scale, row->offset8, row->sum16);
    k += block * KV_BLOCK * d + 4 * at;
    for (size_t i = 0; i < d; i++) k[i / 4 * 4 * KV_BLOCK + i % 4] = (uint8_t)(row->q[i] + 128);
    for (size_t b = 0; b < blocks; b++) ks[(block * blocks + b) * KV_BLOCK + at] = f32_to_f16(row->scale[b]);
    append_value8(v + position / 4 * 4 * d + position % 4, vs + position, d, value);
}

void cache_append(const struct session *s, const struct kernel_set *k, const struct memory *m, int g,
                  size_t position, const float *key, const float *value, struct act8 *scratch) {
    if (s->kv_type == KV_Q8)
        append_q8(s, k, m, g, position, key, value, scratch);
    else
        append_f16(s, k, m, g, position, key, value);
}

void cache_queries(struct worker *w, const struct session *s, int R) {
    if (s->kv_type != KV_Q8) return;
    for (int r = 0; r < R; r++)
        rows_quantize(w->s, &w->q8, r, w->q + (size_t)r * (size_t)s->c->head_dim, s->c->head_dim);
}

void cache_attend(struct worker *w, const struct session *s, const struct memory *memory, int g, int R,
                  const int32_t *limit, int begin, int end, float *o, float *m, float *l) {
    int d = s->c->head_dim;
    if (s->kv_type == KV_Q8) {
        struct attention8_task a = {.q = w->q8.a,
                                    .k = part_of(s, memory, CACHE_KEYS, g),
                                    .k_scale = part_of(s, memory, CACHE_KEY_SCALES, g),
                                    .v = part_of(s, memory, CACHE_VALUES, g),
                                    .v_scale = part_of(s, memory, CACHE_VALUE_SCALES, g),
                                    .limit = limit,
                                    .R = R,
                                    .d = d,
                                    .begin = begin,
                                    .end = end,
                                    .o = o,
                                    .m = m,
                                    .l = l,
                                    .scratch = w->attention_scratch,
                                    .weights8 = w->weights8};
        w->s->k.attention8(&a);
        return;
    }
    struct attention_task a = {.q = w->q,
                               .q_stride = (size_t)d,
                               .k = part_of(s, memory, CACHE_KEYS, g),
                               .v = part_of(s, memory, CACHE_VALUES, g),
                               .limit = limit,
                               .R = R,
                               .d = d,
                               .begin = begin,
                               .end = end,
                               .o = o,
                               .m = m,
                               .l = l,
                               .scratch = w->attention_scratch};
    w->s->k.attention(&a);
}
