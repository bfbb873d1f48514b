/* SPDX-License-Identifier: Apache-2.0 */
/* tiny: seeded random models of a few hundred kilobytes, written as ordinary GGUF, so that tests run the real
 * loader and both engines in milliseconds. Names and keys are spelled out here and not taken from
 * data/names.c: the loader is tested against a second statement of them.
 *
 * Layers alternate: even ones are short convolutions, odd ones attention (qwen3: all attention); in lfm2moe
 * the first two have a dense ffn and the rest experts, so that four layers hold every combination. Weights
 * have variance 1/K, which keeps activations near 1; the router bias is large enough to change choices. */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include <stdint.h>

#include "data/quant.h"
#include "data/status.h"

struct tiny_spec {
    const char *arch; /* "lfm2moe", "lfm2", "qwen3" */
    int L, D, H, G, d, F, EF, E, k, V;
    enum tensor_type type;      /* of the matrices; one whose rows do not fit its blocks is stored as Q8_0 */
    enum tensor_type embedding; /* of the embedding and of a separate head; likewise */
    int tied;                   /* 1: no output.weight */
    uint64_t seed;
    int all_attention; /* 1: no convolutions */
};

/* L 4, D 64, H 4, G 2, d 16, F 192, EF 96, E 8, k 4, V 512, F32, tied, seed 1. */
struct tiny_spec tiny_default(const char *arch);

enum status tiny_write(const char *path, const struct tiny_spec *s, struct error *e);
/* The same, but norms, taps, routers and biases are rounded to values that bfloat16 has too. */
enum status tiny_write_short(const char *path, const struct tiny_spec *s, struct error *e);

/* A directory for a test's files under $TMPDIR or /tmp, made with mkdtemp; returns -1 on error. */
int tiny_directory(char *out, unsigned size);
/* Removes it with the plain files in it. */
void tiny_directory_remove(const char *path);

#endif
