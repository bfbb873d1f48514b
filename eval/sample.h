/* SPDX-License-Identifier: Apache-2.0 */
/* sample: one line of samples_TASK_DATE.jsonl, which lm-eval writes for every document and filter, and what
 * it is made of. */
#ifndef EVAL_SAMPLE_H
#define EVAL_SAMPLE_H

#include "data/sha256.h"
#include "eval/pyjson.h"
#include "eval/task.h"

struct sample_hashes {
    char doc[SHA256_HEX], prompt[SHA256_HEX], target[SHA256_HEX];
};
/* lm-eval's: of the document as json.dumps(indent=2), of the prompt, of the target's text. */
enum status sample_hash(const struct item *item, const struct buffer *prompt, struct sample_hashes *out,
                        struct error *e);

/* The whole line as an object, keys in lm-eval's order. score: of this filter. responses are the item's. */
enum status sample_line(int doc_id, const struct item *item, const struct buffer *prompt,
                        const struct response *r, int n, const char *filter, const struct score *score,
                        const struct sample_hashes *hashes, json_t **out, struct error *e);

/* resps of a line, as lm-eval nests and writes them. */
json_t *sample_resps(enum item_kind kind, const struct response *r, int n);
/* filtered_resps, everything as text. */
json_t *sample_filtered(enum item_kind kind, const struct response *r, int n, const struct score *score);

#endif
