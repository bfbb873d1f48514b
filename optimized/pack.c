/* SPDX-License-Identifier: Apache-2.0 */
/* pack: rows of blocks -> panels. Only moves bits: every integer and scale of the file survives exactly. */
#include "optimized/pack.h"

#include <string.h>

#include "optimized/scheme.h"

enum matrix_kind matrix_kind(enum tensor_type type) {
    switch (type) {
    case TYPE_Q4_0:
        return MATRIX_Q4;
    case TYPE_Q8_0:
        return MATRIX_Q8;
    case TYPE_Q6_K:
        return MATRIX_Q6;
    default:
        return MATRIX_FLOAT;
    }
}

struct matrix matrix_describe(const struct tensor *t) {
    struct matrix m = {
        .kind = matrix_kind(t->type), .rows = (int)t->rows, .cols = (int)t->cols, .source = *t};
    m.panels = (m.rows + PANEL - 1) / PANEL;
    size_t cols = (size_t)m.cols;
    if (m.kind == MATRIX_Q4) m.panel_bytes = cols / BLOCK * sizeof(struct q4_block);
    if (m.kind == MATRIX_Q8) m.panel_bytes = cols / BLOCK * sizeof(struct q8_block);
    if (m.kind == MATRIX_Q6) m.panel_bytes = cols / 256 * sizeof(struct q6_block);
    return m;
}

size_t matrix_bytes(const struct matrix *m) {
    return m->panel_bytes * (size_t)m->panels;
}

/* The file's blocks (little-endian, unaligned): Q4_0 = f16, 16 bytes; Q8_0 = f16, 32 bytes; Q6_K = 128 bytes
 * of low nibbles, 64 of high bits, 16 int8 scales, f16. */
enum { Q4_BYTES = 18, Q8_BYTES = 34, Q6_BYTES = 210 };

/* Nibble i of a Q4_0 byte belongs to weights i and i + 16: exactly the packed order, so groups of 4 bytes
 * move as they are. */
static void pack_q4(struct q4_block *b, const unsigned char *src, int r) {
    memcpy(&b->scale[r], src, 2);
    for (int g = 0; g < 4; g++) memcpy(b->q[g][r], src + 2 + 4 * g, 4);
}

static void pack_q8(struct q8_block *b, const unsigned char *src, int r) {
    memcpy(&b->scale[r], src, 2);
    for (int g = 0; g < 8; g++) memcpy(b->q[g][r], src + 2 + 4 * g, 4);
}

/* Six bits of weight k (0..255) of a Q6_K block, 0..63: each half of 128 weights is four quarters of 32 that
 * share 64 nibble bytes and 32 bytes of 2-bit fields. */
static int q6_bits(const unsigned char *src, int k) {
    int half = k / 128, quarter = k % 128 / 32, i = k % 32;
    int low = src[64 * half + 32 * (quarter & 1) + i] >> (quarter < 2 ? 0 : 4) & 15;
    int high = src[128 + 32 * half + i] >> 2 * quarter & 3;
    return low | high << 4;
}

static void pack_q6(struct q6_block *w, const unsigned char *src, int r) {
    memcpy(&w->scale[r], src + 208, 2);
    for (int b = 0; b < 8; b++) {
        for (int s = 0; s < 2; s++) w->part[b].sub_scale[s][r] = (int8_t)src[192 + 2 * b + s];
        for (int g = 0; g < 8; g++)
            for (int i = 0; i < 4; i++) {
                int v = q6_bits(src, 32 * b + 4 * g + i);
                w->part[b].low[g % 4][r][i] |= (uint8_t)((v & 15) << (g < 4 ? 0 : 4));
                w->part[b].high[g % 2][r][i] |= (uint8_t)((v >> 4) << g / 2 * 2);
            }
    }
}

void matrix_pack(const struct matrix *m, void *dst, int begin, int end) {
    size_t row_bytes = m->source.bytes / (size_t)m->rows;
    for (int p = begin; p < end; p++) {
        unsigned char *panel = (unsigned char *)dst + (size_t)p * m->panel_bytes;
        int rows = m->rows - p * PANEL < PANEL ? m->rows - p * PANEL : PANEL;
        /* Q6 fields are or-ed together; rows that do not exist must read as 0 in every kind */
        if (rows < PANEL || m->kind == MATRIX_Q6) memset(panel, 0, m->panel_bytes);
        for (int r = 0; r < rows; r++) {
            const unsigned char *src =
                (const unsigned char *)m->source.data + (size_t)(p * PANEL + r) * row_bytes;
            if (m->kind == MATRIX_Q4)
                for (int b = 0; b < m->cols / BLOCK; b++)
                    pack_q4((struct q4_block *)panel + b, src + b * Q4_BYTES, r);
            if (m->kind == MATRIX_Q8)
                for (int b = 0; b < m->cols / BLOCK; b++)
                    pack_q8((struct q8_block *)panel + b, src + b * Q8_BYTES, r);
            if (m->kind == MATRIX_Q6)
                for (int b = 0; b < m->cols / 256; b++)
                    pack_q6((struct q6_block *)panel + b, src + b * Q6_BYTES, r);
        }
    }
}

static float packed_weight(const struct matrix *m, const void *panel, int r, int k) {
    int b = k / BLOCK, g = k % BLOCK / 4, i = k % 4;
    if (m->kind == MATRIX_Q4) {
        const struct q4_block *w = (const struct q4_block *)panel + b;
        return (float)((w->q[g % 4][r][i] >> (g < 4 ? 0 : 4) & 15) - 8) * f16_to_f32(w->scale[r]);
    }
    if (m->kind == MATRIX_Q8) {
        const struct q8_block *w = (const struct q8_block *)panel + b;
        return (float)w->q[g][r][i] * f16_to_f32(w->scale[r]);
    }
    const struct q6_block *w = (const struct q6_block *)panel + k / 256;
    b %= 8;
    int low = w->part[b].low[g % 4][r][i] >> (g < 4 ? 0 : 4) & 15,
        high = w->part[b].high[g % 2][r][i] >> g / 2 * 2 & 3;
    return f16_to_f32(w->scale[r]) * (float)w->part[b].sub_scale[g / 4][r] * (float)((low | high << 4) - 32);
}

void matrix_unpack(const struct matrix *m, int panel, float *out, float *row) {
    for (int r = 0; r < PANEL; r++) {
        int64_t index = (int64_t)panel * PANEL + r;
        if (index >= m->rows)
            memset(row, 0, (size_t)m->cols * sizeof *row);
        else if (m->kind == MATRIX_FLOAT)
            dequantize_row(m->source.type,
                           (const char *)m->source.data + (size_t)index * (m->source.bytes / (size_t)m->rows),
                           row, m->cols);
        else
            for (int k = 0; k < m->cols; k++)
                row[k] = packed_weight(m, m->data + (size_t)panel * m->panel_bytes, r, k);
        scheme_round(m->scheme, row, m->cols);
        for (int k = 0; k < m->cols; k++) out[(size_t)k * PANEL + r] = row[k];
    }
}
