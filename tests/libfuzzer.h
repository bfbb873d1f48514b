/* SPDX-License-Identifier: Apache-2.0 */
/* libfuzzer: changes to inputs that keep their outer form, so that what lies behind the first checks is
 * reached too. Built with clang only. */
#ifndef TESTS_LIBFUZZER_H
#define TESTS_LIBFUZZER_H

#include "tests/fuzz.h"

/* Changes bytes[0..n), which has room for max; returns the new size, 0 when the input does not have the form.
 */
typedef size_t mutate(uint8_t *bytes, size_t n, size_t max, unsigned seed);

mutate mutate_gguf;   /* keys and tensors of a GGUF file */
mutate mutate_header; /* the JSON of a safetensors file; its length follows */
mutate mutate_parts;  /* one of several JSON texts with a NUL between them */
mutate mutate_folder; /* a JSON text, a NUL, a safetensors file */
mutate mutate_tail;   /* a byte, then a JSON text */

/* libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t max);

/* The next of a sequence of numbers. */
static inline unsigned fuzz_next(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

#endif
