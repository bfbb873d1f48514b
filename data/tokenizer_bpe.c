/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_bpe: one word becomes tokens: the pair of neighbours whose merge has the lowest rank is joined,
 * the leftmost first, until no pair has a merge. Pairs wait in a heap, so that a word of n bytes takes O(n
 * log n). */
#include "data/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { UNKNOWN_YET, IS_WHOLE, IS_NOT_WHOLE };

static void heap_push(uint64_t *heap, size_t *n, uint64_t v) {
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0], v = heap[--*n];
    size_t i = 0;
    for (size_t child = 1; child < *n; child = 2 * i + 1) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= v) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = v;
    return top;
}

static enum status make_room(struct encoder *c, size_t n) {
    if (n <= c->room) return OK;
    size_t room = n < 256 ? 256 : n;
    /* Each symbol enters the heap once at the start, and each merge ends one symbol and enters at most two
     * pairs; the entry that was taken for it has left: never more than 2 n wait. */
    struct symbol *symbols = realloc(c->symbols, room * sizeof *symbols);
    if (symbols) c->symbols = symbols;
    uint64_t *heap = realloc(c->heap, 2 * room * sizeof *heap);
    if (heap) c->heap = heap;
    if (!symbols || !heap) return fail(c->e, ERR_MEMORY, "out of memory for a word of %zu bytes", n);
    c->room = room;
    return OK;
}

/* Looks up the merge of symbol i with its neighbour and lets it wait. */
static void offer(struct encoder *c, size_t *n_heap, int32_t i) {
    struct symbol *s = &c->symbols[i];
    s->rank = UINT32_MAX;
    if (s->next < 0) return;
    const struct merge *m = merge_find(c->t, s->id, c->symbols[s->next].id);
    if (!m) return;
    s->rank = m->rank, s->merged = m->id;
    heap_push(c->heap, n_heap, (uint64_t)m->rank << 32 | (uint32_t)i);
}

static void merge_all(struct encoder *c, size_t n) {
    struct symbol *s = c->symbols;
    size_t n_heap = 0;
    for (size_t i = 0; i < n; i++) offer(c, &n_heap, (int32_t)i);
    while (n_heap > 0) {
        uint64_t top = heap_pop(c->heap, &n_heap);
        int32_t i = (int32_t)(uint32_t)top;
        if (s[i].rank != top >> 32) continue; /* the pair it stood for is gone */
        struct symbol *gone = &s[s[i].next];
        s[i].id = s[i].merged;
        s[i].next = gone->next;
        gone->rank = UINT32_MAX;
        if (s[i].next >= 0) s[s[i].next].prev = i;
        offer(c, &n_heap, i);
        if (s[i].prev >= 0) offer(c, &n_heap, s[i].prev);
    }
}

enum status encode_word(struct encoder *c, const char *word, size_t n) {
    const struct tokenizer *t = c->t;
    int32_t whole = vocab_find(t, word, n);
    if (whole >= 0 &&
        (t->ignore_merges || atomic_load_explicit(&t->whole[whole], memory_order_relaxed) == IS_WHOLE))
        return tokens_add(c->out, whole, c->e);
    TRY(make_room(c, n));
    for (size_t i = 0; i < n; i++) {
        int32_t id = t->byte_ids[(unsigned char)word[i]];
        if (id < 0)
            return fail(c->e, ERR_FORMAT, "%s: the vocabulary has no token for the byte 0x%02x", t->name,
                        (unsigned char)word[i]);
        c->symbols[i] = (struct symbol){id, (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1, UINT32_MAX, -1};
    }
    merge_all(c, n);
    if (whole >= 0) /* threads that meet the same word write the same answer */
        atomic_store_explicit(&t->whole[whole], c->symbols[0].next < 0 ? IS_WHOLE : IS_NOT_WHOLE,
                              memory_order_relaxed);
    for (int32_t i = 0; i >= 0; i = c->symbols[i].next) TRY(tokens_add(c->out, c->symbols[i].id, c->e));
    return OK;
}
