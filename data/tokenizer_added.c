/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_added: finds added tokens in running text: the longest one at a position, among hundreds that
 * begin alike, by narrowing a sorted list byte by byte. */
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_parts.h"

/* Every place of a text is compared with as many bytes as the longest has; real ones have a few dozen. */
enum { MAX_ADDED = 256 };

static int compare_tokens(const void *a, const void *b, void *t) {
    const struct tokenizer *k = t;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    size_t nx = k->tokens[x].size, ny = k->tokens[y].size;
    int order = memcmp(token_bytes(k, x), token_bytes(k, y), nx < ny ? nx : ny);
    return order ? order : (nx > ny) - (nx < ny);
}

static enum status collect(struct tokenizer *t, struct added_set *set, int with_special, struct error *e) {
    int n = 0;
    for (int32_t id = 0; id < t->n; id++) n += t->tokens[id].kind >= TOKEN_ADDED;
    set->ids = malloc((size_t)(n + 1) * sizeof *set->ids);
    if (!set->ids) return fail(e, ERR_MEMORY, "%s: out of memory for %d added tokens", t->name, n);
    for (int32_t id = 0; id < t->n; id++) {
        if (t->tokens[id].kind != TOKEN_ADDED && !(with_special && t->tokens[id].kind == TOKEN_SPECIAL))
            continue;
        if (t->tokens[id].size > MAX_ADDED)
            return fail(e, ERR_UNSUPPORTED,
                        "%s: added token %d is too long (found %zu bytes, expected at most %d)", t->name, id,
                        t->tokens[id].size, MAX_ADDED);
        set->ids[set->n++] = id;
        set->begins[(unsigned char)*token_bytes(t, id)] = 1;
    }
    qsort_r(set->ids, (size_t)set->n, sizeof *set->ids, compare_tokens, t);
    for (int i = 1; i < set->n; i++)
        if (compare_tokens(&set->ids[i - 1], &set->ids[i], t) == 0)
            return fail(e, ERR_FORMAT, "%s: added tokens %d and %d have the same text '%.*s'", t->name,
                        set->ids[i - 1], set->ids[i],
                        t->tokens[set->ids[i]].size > 60 ? 60 : (int)t->tokens[set->ids[i]].size,
                        token_bytes(t, set->ids[i]));
    return OK;
}

/* The first of ids[low..high), all alike in `depth` bytes, whose next byte is at least c. Tokens that end
 * there come before all others. */
static int first_at_least(const struct tokenizer *t, const int32_t *ids, int low, int high, size_t depth,
                          int c) {
    while (low < high) {
        int middle = low + (high - low) / 2;
        int32_t id = ids[middle];
        int byte = t->tokens[id].size > depth ? (unsigned char)token_bytes(t, id)[depth] : -1;
        if (byte < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t added_match(const struct tokenizer *t, const struct added_set *set, const char *text, size_t n,
                    size_t special_limit, size_t *size) {
    int low = 0, high = set->n;
    int32_t best = -1;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        int c = (unsigned char)text[depth];
        low = first_at_least(t, set->ids, low, high, depth, c);
        high = first_at_least(t, set->ids, low, high, depth, c + 1);
        if (low == high) break;
        int32_t id = set->ids[low]; /* the shortest */
        if (t->tokens[id].size != depth + 1) continue;
        if (t->tokens[id].kind == TOKEN_SPECIAL && depth + 1 > special_limit) continue;
        best = id, *size = depth + 1;
    }
    return best;
}

enum status vocab_finish(struct tokenizer *t, const struct pre_tokenizer *pre, struct error *e) {
    TRY(collect(t, &t->all, 1, e));
    TRY(collect(t, &t->plain, 0, e));
    return pre_tokenizer_compile(t, pre, e);
}
