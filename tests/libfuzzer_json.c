/* SPDX-License-Identifier: Apache-2.0 */
/* libfuzzer_json: one change to the tree of a JSON text: a value replaced, dropped, repeated, nested,
 * renamed. The JSON library is not instrumented, so libFuzzer alone finds no form that it accepts. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/libfuzzer.h"

enum { MAX_NODES = 4096, TEXT = 256 };

/* A value and where it hangs. */
struct node {
    json_t *value, *parent;
    const char *key; /* in an object */
    size_t index;    /* in an array */
};
static struct node nodes[MAX_NODES];
static size_t n_nodes;

static void collect(json_t *value, struct node n) {
    const char *key;
    json_t *child;
    size_t i;
    n.value = value;
    if (n_nodes == MAX_NODES) return;
    nodes[n_nodes++] = n;
    json_object_foreach(value, key, child) collect(child, (struct node){.parent = value, .key = key});
    json_array_foreach(value, i, child) collect(child, (struct node){.parent = value, .index = i});
}

static json_t *number(unsigned *state) {
    static const json_int_t interesting[] = {0,         1,         -1,         2,         3,        31,
                                             32,        64,        255,        256,       65535,    65536,
                                             INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN};
    unsigned r = fuzz_next(state);
    if (r % 8 == 0) return json_real(r % 16 ? 1e300 : 0.5);
    return json_integer(interesting[fuzz_next(state) % (sizeof interesting / sizeof *interesting)]);
}

static json_t *changed_text(const json_t *value) {
    char text[TEXT];
    size_t n = json_string_length(value) < TEXT ? json_string_length(value) : TEXT;
    memcpy(text, json_string_value(value), n);
    n = LLVMFuzzerMutate((uint8_t *)text, n, TEXT);
    json_t *out = json_stringn(text, n);
    return out ? out : json_string("\xc3\xa9");
}

/* What stands in a value's place afterwards; NULL: nothing. */
static json_t *instead(const struct node *n, unsigned *state) {
    json_t *other = nodes[fuzz_next(state) % n_nodes].value;
    switch (fuzz_next(state) % 8) {
    case 0:
        return NULL;
    case 1:
        return number(state);
    case 2:
        return json_pack("[OO]", n->value, n->value);
    case 3:
        return json_boolean(fuzz_next(state) & 1);
    case 4:
        return fuzz_next(state) % 4 ? json_string("") : json_null();
    case 5:
        if (json_is_string(n->value)) return changed_text(n->value);
        if (json_is_integer(n->value))
            return json_integer(
                (json_int_t)((uint64_t)json_integer_value(n->value) + (fuzz_next(state) % 64) - 32));
        /* fall through */
    default:
        return json_deep_copy(other);
    }
}

static void put(struct node *n, unsigned *state) {
    json_t *value = instead(n, state);
    if (json_is_object(n->parent)) {
        const char *other = nodes[fuzz_next(state) % n_nodes].key;
        if (!value)
            json_object_del(n->parent, n->key);
        else
            json_object_set_new(n->parent, other && fuzz_next(state) % 4 == 0 ? other : n->key, value);
    } else if (json_is_array(n->parent)) {
        if (!value)
            json_array_remove(n->parent, n->index);
        else if (fuzz_next(state) & 1)
            json_array_insert_new(n->parent, n->index, value);
        else
            json_array_set_new(n->parent, n->index, value);
    } else {
        json_decref(value);
    }
}

static size_t mutate_json(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    unsigned state = seed;
    json_t *all = json_loadb((const char *)bytes, n, JSON_ALLOW_NUL, NULL);
    if (!all) return 0;
    n_nodes = 0;
    collect(all, (struct node){0});
    if (n_nodes > 1) put(&nodes[1 + fuzz_next(&state) % (n_nodes - 1)], &state);
    char *text = json_dumps(all, JSON_COMPACT);
    size_t size = text ? strlen(text) : 0;
    if (size > max) size = 0;
    if (size) memcpy(bytes, text, size);
    free(text);
    json_decref(all);
    return size;
}

/* bytes[at..at+n) of `whole` bytes changes as JSON, and what follows it moves. */
static size_t mutate_within(uint8_t *bytes, size_t whole, size_t max, size_t at, size_t n, unsigned seed) {
    static uint8_t tail[1 << 16];
    size_t rest = whole - at - n;
    if (rest > sizeof tail) return 0;
    memcpy(tail, bytes + at + n, rest);
    size_t size = mutate_json(bytes + at, n, max - at - rest, seed);
    if (!size) return 0;
    memcpy(bytes + at + size, tail, rest);
    return at + size + rest;
}

size_t mutate_tail(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    return n < 2 ? 0 : mutate_within(bytes, n, max, 1, n - 1, seed);
}

size_t mutate_parts(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    const uint8_t *first = memchr(bytes, 0, n);
    size_t end = first ? (size_t)(first - bytes) : n;
    if (!first || seed % 2) return mutate_within(bytes, n, max, 0, end, seed / 2);
    const uint8_t *second = memchr(first + 1, 0, n - end - 1);
    return mutate_within(bytes, n, max, end + 1, (second ? (size_t)(second - bytes) : n) - end - 1, seed / 2);
}

size_t mutate_header(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    uint64_t length;
    if (n < 8) return 0;
    memcpy(&length, bytes, 8);
    if (length > n - 8) return 0;
    size_t size = mutate_within(bytes, n, max, 8, length, seed);
    if (!size) return 0;
    length += size - n;
    memcpy(bytes, &length, 8);
    return size;
}

size_t mutate_folder(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    const uint8_t *end = memchr(bytes, 0, n);
    size_t first = end ? (size_t)(end - bytes) : n;
    if (!end || seed % 2) return mutate_within(bytes, n, max, 0, first, seed / 2);
    size_t size = mutate_header(bytes + first + 1, n - first - 1, max - first - 1, seed / 2);
    return size ? first + 1 + size : 0;
}
