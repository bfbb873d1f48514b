/* SPDX-License-Identifier: Apache-2.0 */
/* overrides: types that a user wants for some tensors in place of the recipe's, by class or by a regular
 * expression over GGUF's names. */
#ifndef DATA_OVERRIDES_H
#define DATA_OVERRIDES_H

#include "data/gguf.h"

/* In the order in which they count; tensor-type stands for patterns of one's own. */
enum tensor_class {
    CLASS_EMBEDDING,
    CLASS_HEAD, /* output.weight; of a tied model the embedding, unless that has a type of its own */
    CLASS_PATTERN,
    CLASS_EXPERTS,
    CLASS_DENSE, /* ffn_gate, ffn_up, ffn_down of dense layers */
    CLASS_ATTENTION,
    CLASS_CONV,
    CLASS_ROUTER,
    CLASS_TAPS,
    CLASS_COUNT,
};
extern const char
    *const tensor_class_names[CLASS_COUNT]; /* "token-embedding", "output-tensor", "tensor", ... */

/* Start with {0}; free with overrides_free. */
struct overrides {
    struct override *at; /* [n], sorted by class, then by the order in which they were added */
    int n;
};
void overrides_free(struct overrides *o);

/* pattern: of CLASS_PATTERN, a regular expression that may match anywhere in a name; else NULL.
 * type: a tensor type's name, any case. */
enum status overrides_add(struct overrides *o, enum tensor_class class, const char *pattern, const char *type,
                          struct error *e);

/* The first that fits, or NULL. Routers and taps are F32 in every file, since programs read them as that:
 * their classes round the values through the type, and nothing else touches them. keeps: the tensor is one of
 * those that recipes leave alone (norms, biases, routers, taps). */
const enum tensor_type *overrides_find(struct overrides *o, const char *name, int tied, int keeps);

/* An override that fitted no tensor since it was added is a mistake. file: for the message. */
enum status overrides_check_used(const struct overrides *o, const char *file, struct error *e);

#endif
