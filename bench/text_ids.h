/* SPDX-License-Identifier: Apache-2.0 */
/* text_ids: the ids of a file's text, as llama-perplexity and llama-imatrix take them: one newline at its end
 * is dropped, BOS comes first where the vocabulary wants one. */
#ifndef BENCH_TEXT_IDS_H
#define BENCH_TEXT_IDS_H

#include "data/model.h"
#include "data/tokenizer.h"

/* special: text such as <|im_end|> becomes its special token. Free with tokens_free, also after an error. */
enum status text_ids(const struct model *m, const char *file, int special, struct tokens *out, int *adds_bos,
                     struct error *e);
/* What the model's vocabulary wants; a model without one wants none. */
enum status text_adds_bos(const struct model *m, int *adds_bos, struct error *e);
/* Fails when one sequence of n ids is longer than what the model was made for. */
enum status text_fits(const struct model *m, int n, struct error *e);

#endif
