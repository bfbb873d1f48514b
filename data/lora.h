/* SPDX-License-Identifier: Apache-2.0 */
/* lora: low-rank adapters as PEFT writes them (adapter_config.json and adapter_model.safetensors): to a
 * matrix W comes scale * B A, scale being lora_alpha / r (or / sqrt(r), use_rslora) times the user's factor.
 * The rows are those of a GGUF-style index, so an adapter fits a GGUF file and the folder it was made from
 * alike. Adapters of linear layers only; what changes anything else is refused by name, never left out. */
#ifndef DATA_LORA_H
#define DATA_LORA_H

#include "data/gguf.h"

struct lora;

/* path: the folder, or its .safetensors file with adapter_config.json beside it. g: what it will be added to,
 * which must stay open. *out is NULL on error. */
enum status lora_open(struct lora **out, const char *path, float factor, const struct gguf *g,
                      struct error *e);
void lora_close(struct lora *l); /* NULL is fine */

/* SHA-256 of the adapter's file and scale: what makes a merged model another model. */
const uint8_t *lora_digest(const struct lora *l); /* [32] */

/* 1: the adapter changes tensor number t of g. */
int lora_touches(const struct lora *l, uint64_t t);

/* row of tensor t += scale * (B A)[row]; rows of stacked experts are numbered through. */
void lora_add_row(const struct lora *l, uint64_t t, int64_t row, float *out);

/* Adds the adapter for good: each tensor of g that it touches becomes a copy in memory, which lora_close
 * gives back. F32, F16 and BF16 keep their type, as PEFT's merge does; a quantised tensor becomes Q8_0, since
 * blocks of 4 to 6 bits would round most of a small change away (lfm2 convert merges before it quantises). */
enum status lora_merge(struct lora *l, struct gguf *g, struct error *e);

/* A list "F[:factor],F[:factor],..." of the command line. */
struct weighted_path {
    char *path;
    float weight;
};
enum status weighted_paths_parse(const char *text, float fallback, struct weighted_path **out, int *n,
                                 struct error *e);
void weighted_paths_free(struct weighted_path *list, int n);

#endif
