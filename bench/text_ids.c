/* SPDX-License-Identifier: Apache-2.0 */
/* text_ids: file to ids. */
#include "bench/text_ids.h"

#include <limits.h>

#include "bench/text_input.h"

enum status text_ids(const struct model *m, const char *file, int special, struct tokens *out, int *adds_bos,
                     struct error *e) {
    struct tokenizer *t = NULL;
    struct buffer text = {0};
    enum status st = tokenizer_of_model(&t, m, e);
    if (st == OK) st = text_input(&text, NULL, file, e);
    if (st == OK) {
        size_t n = text.n - (text.n > 0 && text.data[text.n - 1] == '\n');
        *adds_bos = tokenizer_adds_bos(t);
        st = tokenizer_encode(t, text.data, n, TOKENS_BOS | (special ? TOKENS_SPECIAL : 0u), out, e);
    }
    if (st == OK && out->n > INT_MAX / 2)
        st = fail(e, ERR_UNSUPPORTED, "%s: too many ids (%zu)", file, out->n);
    for (size_t i = 0; st == OK && i < out->n; i++)
        if (out->ids[i] >= m->config.n_vocab)
            st = fail(e, ERR_SHAPE, "%s: its tokenizer gives id %d (expected less than %d)", m->path,
                      (int)out->ids[i], m->config.n_vocab);
    buffer_free(&text), tokenizer_close(t);
    return st;
}

enum status text_adds_bos(const struct model *m, int *adds_bos, struct error *e) {
    struct tokenizer *t = NULL;
    TRY(tokenizer_of_model(&t, m, e));
    *adds_bos = tokenizer_adds_bos(t);
    tokenizer_close(t);
    return OK;
}

enum status text_fits(const struct model *m, int n, struct error *e) {
    if (n <= m->config.context_length) return OK;
    return fail(e, ERR_ARG, "%s: a sequence of %d ids is longer than its context (expected at most %d)",
                m->path, n, m->config.context_length);
}
