/* SPDX-License-Identifier: Apache-2.0 */
/* parity_weights: looks at every weight of a file for NaN and infinity. Taps see only what was computed: a
 * bad bias that both routers skip alike, or an expert that no token chose, would pass unseen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/parity.h"
#include "data/gguf.h"

static int row_is_finite(const float *x, int64_t n) {
    float zero = 0; /* x * 0 is NaN for NaN and infinity, and adding keeps it */
    for (int64_t i = 0; i < n; i++) zero += x[i] * 0.0f;
    return !isnan(zero);
}

enum status parity_weights(struct parity_result *r, const struct model *m, struct error *e) {
    const struct gguf *g = m->index;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        int64_t cols = t->dims[0], rows = gguf_tensor_rows(t);
        float *x = malloc((size_t)cols * sizeof *x);
        if (!x) return fail(e, ERR_MEMORY, "parity: out of memory");
        for (int64_t row = 0; row < rows; row++) {
            dequantize_row(t->type, gguf_tensor_row(t, row), x, cols);
            if (row_is_finite(x, cols)) continue;
            if (r->bad++ == 0)
                snprintf(r->first_bad, sizeof r->first_bad, "weights, %s, row %d", t->name, (int)row);
        }
        free(x);
    }
    return OK;
}
