/* SPDX-License-Identifier: Apache-2.0 */
/* test_parity_weights: a weight that is NaN or infinite fails parity even where no computed value shows it.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/parity.h"
#include "data/gguf.h"
#include "tests/tiny.h"

static char folder[256], path[300];

/* Overwrites the first float of a tensor of a tiny model. */
static void damage(const char *name, float value) {
    struct error e = {0};
    struct tiny_spec spec = tiny_default("lfm2moe");
    struct gguf *g;
    cr_assert_eq(tiny_directory(folder, sizeof folder), 0);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    cr_assert_eq(tiny_write(path, &spec, &e), OK, "%s", e.text);
    if (!name) return;
    cr_assert_eq(gguf_open(&g, path, &e), OK, "%s", e.text);
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    cr_assert_not_null(t);
    long at = (long)(g->data_offset + t->offset);
    gguf_close(g);
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    fseek(f, at, SEEK_SET);
    cr_assert_eq(fwrite(&value, sizeof value, 1, f), 1u);
    fclose(f);
}

static int64_t bad_weights(const char *name, float value, char *where) {
    struct error e = {0};
    struct model *m;
    struct parity_result r = {0};
    damage(name, value);
    cr_assert_eq(model_open(&m, path, &e), OK, "%s", e.text);
    cr_assert_eq(parity_weights(&r, m, &e), OK, "%s", e.text);
    snprintf(where, sizeof r.first_bad, "%s", r.first_bad);
    model_close(m);
    tiny_directory_remove(folder);
    return r.bad;
}

Test(parity_weights, found) {
    char where[96];
    cr_expect_eq(bad_weights(NULL, 0, where), 0);
    cr_expect_eq(bad_weights("blk.2.exp_probs_b.bias", NAN, where), 1);
    cr_expect(strstr(where, "blk.2.exp_probs_b.bias"), "%s", where);
    cr_expect_eq(bad_weights("blk.3.ffn_up_exps.weight", -INFINITY, where), 1);
    cr_expect(strstr(where, "blk.3.ffn_up_exps.weight"), "%s", where);
}
