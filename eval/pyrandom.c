/* SPDX-License-Identifier: Apache-2.0 */
/* pyrandom: MT19937 and the two ways of drawing from it. The generator is Matsumoto and Nishimura's; what
 * must equal CPython's is how a seed becomes an initialising array and how numbers below n are drawn. */
#include "eval/pyrandom.h"

#include <stdlib.h>

enum { N = 624, M = 397 };

static void seed_number(struct pyrandom *r, uint32_t s) {
    r->state[0] = s;
    for (uint32_t i = 1; i < N; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
    r->next = N;
}

void pyrandom_seed(struct pyrandom *r, uint64_t seed) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int n_key = key[1] ? 2 : 1, i = 1, j = 0;
    uint32_t *s = r->state;
    seed_number(r, 19650218u);
    for (int k = 0; k < N; k++) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + key[j] + (uint32_t)j;
        if (++i >= N) s[0] = s[N - 1], i = 1;
        if (++j >= n_key) j = 0;
    }
    for (int k = 0; k < N - 1; k++) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - (uint32_t)i;
        if (++i >= N) s[0] = s[N - 1], i = 1;
    }
    s[0] = 0x80000000u;
}

static uint32_t next_number(struct pyrandom *r) {
    uint32_t *s = r->state;
    if (r->next >= N) {
        for (int i = 0; i < N; i++) {
            uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
            s[i] = s[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        r->next = 0;
    }
    uint32_t y = s[r->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t pyrandom_bits(struct pyrandom *r, int k) {
    return next_number(r) >> (32 - k);
}

/* A number below n > 0. */
static int below(struct pyrandom *r, int n) {
    int k = 32 - __builtin_clz((unsigned)n);
    uint32_t got = pyrandom_bits(r, k);
    while (got >= (uint32_t)n) got = pyrandom_bits(r, k);
    return (int)got;
}

static int contains(const int *x, int n, int value) {
    for (int i = 0; i < n; i++)
        if (x[i] == value) return 1;
    return 0;
}

int pyrandom_sample(struct pyrandom *r, int n, int k, int *out) {
    if (k > n || k < 0) return 0;
    /* Where CPython expects a list to take less memory than a set of k; which of both it is decides the
     * numbers. 4 ** ceil(log(3k, 4)) without its rounding: 3k is no power of 4. */
    long set_size = 21;
    if (k > 5) {
        long power = 1;
        while (power < 3L * k) power *= 4;
        set_size += power;
    }
    if (n > set_size) {
        for (int i = 0; i < k; i++) {
            int j = below(r, n);
            while (contains(out, i, j)) j = below(r, n);
            out[i] = j;
        }
        return 1;
    }
    int *pool = malloc((size_t)(n > 0 ? n : 1) * sizeof *pool);
    if (!pool) return 0;
    for (int i = 0; i < n; i++) pool[i] = i;
    for (int i = 0; i < k; i++) {
        int j = below(r, n - i);
        out[i] = pool[j];
        pool[j] = pool[n - i - 1];
    }
    free(pool);
    return 1;
}

void pyrandom_shuffle(struct pyrandom *r, int *x, int n) {
    for (int i = n - 1; i > 0; i--) {
        int j = below(r, i + 1), swap = x[i];
        x[i] = x[j];
        x[j] = swap;
    }
}
