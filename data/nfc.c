/* SPDX-License-Identifier: Apache-2.0 */
/* nfc: Unicode's normal form C: every character is taken apart, the marks that follow a letter are put in
 * order of their classes, and what can be is put together again. */
#include <stdlib.h>
#include <string.h>

#include "data/nfc_tables.h"
#include "data/tokenizer_parts.h"

/* Korean syllables are computed: first consonant, vowel, last consonant. */
enum { S = 0xac00, L = 0x1100, V = 0x1161, T = 0x11a7, N_L = 19, N_V = 21, N_T = 28, N_S = N_L * N_V * N_T };

/* A character with its combining class, so that sorting numbers sorts by class, then by place, which keeps
 * equal classes in order. */
enum { CLASS_SHIFT = 56, PLACE_SHIFT = 24, CODE_MASK = (1 << PLACE_SHIFT) - 1 };
static uint32_t code_in(uint64_t c) {
    return (uint32_t)c & CODE_MASK;
}
static uint32_t class_in(uint64_t c) {
    return (uint32_t)(c >> CLASS_SHIFT);
}

struct characters {
    uint64_t *at;
    size_t n;
};

int nfc_is_plain(const char *text, size_t n) {
    /* U+0300 is 0xcc 0x80; below it no character is a mark and all are composed. */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 0xcc) return 0;
    return 1;
}

static int compare_single(const void *code, const void *entry) {
    uint32_t a = *(const uint32_t *)code, b = ((const struct nfc_single *)entry)->code;
    return (a > b) - (a < b);
}
static int compare_pair(const void *code, const void *entry) {
    uint32_t a = *(const uint32_t *)code, b = ((const struct nfc_pair *)entry)->code;
    return (a > b) - (a < b);
}
static int compare_class(const void *code, const void *entry) {
    uint32_t a = *(const uint32_t *)code;
    const struct nfc_class *c = entry;
    return a < c->low ? -1 : a > c->high;
}
static int compare_parts(const void *parts, const void *entry) {
    const struct nfc_pair *a = parts, *b = &nfc_pairs[*(const uint16_t *)entry];
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return (a->second > b->second) - (a->second < b->second);
}
static int compare_characters(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void add_code(struct characters *c, uint32_t code) {
    const struct nfc_class *found = NULL;
    if (code >= 0x300)
        found = bsearch(&code, nfc_classes, (size_t)nfc_n_classes, sizeof *nfc_classes, compare_class);
    c->at[c->n] = (uint64_t)(found ? found->class : 0) << CLASS_SHIFT | (uint64_t)c->n << PLACE_SHIFT | code;
    c->n++;
}

/* No canonical decomposition is longer than four characters. */
static void add_decomposed(struct characters *c, uint32_t code) {
    if (code < 0xc0) {
        add_code(c, code);
        return;
    }
    if (code >= S && code < S + N_S) {
        uint32_t i = code - S;
        add_code(c, L + i / (N_V * N_T));
        add_code(c, V + i % (N_V * N_T) / N_T);
        if (i % N_T) add_code(c, T + i % N_T);
        return;
    }
    const struct nfc_pair *pair = bsearch(&code, nfc_pairs, (size_t)nfc_n_pairs, sizeof *pair, compare_pair);
    if (pair) { /* the first part may have parts again, the second may not */
        add_decomposed(c, pair->first);
        add_decomposed(c, pair->second);
        return;
    }
    const struct nfc_single *one =
        bsearch(&code, nfc_singles, (size_t)nfc_n_singles, sizeof *one, compare_single);
    if (one)
        add_decomposed(c, one->becomes);
    else
        add_code(c, code);
}

static void order_marks(struct characters *c) {
    for (size_t i = 0; i < c->n;) {
        size_t start = i;
        while (i < c->n && class_in(c->at[i]) > 0) i++;
        if (i - start > 1) qsort(c->at + start, i - start, sizeof *c->at, compare_characters);
        i += i == start;
    }
}

/* The character that a and b make together; 0 when there is none. */
static uint32_t compose(uint32_t a, uint32_t b) {
    if (a >= L && a < L + N_L && b >= V && b < V + N_V) return S + ((a - L) * N_V + (b - V)) * N_T;
    if (a >= S && a < S + N_S && (a - S) % N_T == 0 && b > T && b < T + N_T) return a + (b - T);
    struct nfc_pair parts = {0, a, b};
    const uint16_t *found =
        bsearch(&parts, nfc_by_parts, (size_t)nfc_n_by_parts, sizeof *nfc_by_parts, compare_parts);
    return found ? nfc_pairs[*found].code : 0;
}

static void compose_all(struct characters *c) {
    size_t n = 0, starter = SIZE_MAX;
    uint32_t last_class = 0;
    for (size_t i = 0; i < c->n; i++) {
        uint32_t class = class_in(c->at[i]);
        /* A mark of the same or a higher class in between keeps the two apart. */
        int reaches = starter != SIZE_MAX && (n == starter + 1 || last_class < class);
        uint32_t whole = reaches ? compose(code_in(c->at[starter]), code_in(c->at[i])) : 0;
        if (whole) {
            c->at[starter] = whole;
            continue;
        }
        if (class == 0) starter = n;
        last_class = class;
        c->at[n++] = c->at[i];
    }
    c->n = n;
}

enum status nfc_normalize(const char *text, size_t n, struct buffer *out, struct error *e) {
    /* A decomposition has at most 3 characters for 2 bytes of UTF-8. */
    struct characters c = {malloc((2 * n + 4) * sizeof *c.at), 0};
    if (!c.at) return fail(e, ERR_MEMORY, "out of memory for normalising a text of %zu bytes", n);
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        i += utf8_decode(text + i, n - i, &code);
        add_decomposed(&c, code);
    }
    order_marks(&c);
    compose_all(&c);
    for (size_t i = 0; i < c.n; i++) {
        char bytes[4];
        buffer_add(out, bytes, utf8_encode(code_in(c.at[i]), bytes));
    }
    free(c.at);
    return buffer_check(out, e);
}
