/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_lora: damaged adapters for a small model: adapter_config.json, a NUL, adapter_model.safetensors. Adds
 * every row of what opens, as merging does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/lora.h"
#include "tests/fuzz.h"
#include "tests/tiny.h"

enum { WIDEST = 96 };

/* The model that all of them are for: convolutions, attention, dense layers and experts. */
static const struct gguf *base(void) {
    static struct gguf *g;
    char folder[200], path[256];
    struct tiny_spec s = tiny_default("lfm2moe");
    struct error e;
    if (g) return g;
    s.D = 32, s.H = 2, s.G = 1, s.F = s.EF = WIDEST, s.E = 4, s.k = 2, s.V = 64;
    if (tiny_directory(folder, sizeof folder)) abort();
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    if (tiny_write(path, &s, &e) != OK || gguf_open(&g, path, &e) != OK) abort();
    tiny_directory_remove(folder); /* it stays mapped */
    return g;
}

static void add_rows(const struct lora *l, const struct gguf *g) {
    float row[WIDEST] = {0};
    for (uint64_t t = 0; t < g->n_tensors; t++)
        for (int64_t r = 0; lora_touches(l, t) && r < gguf_tensor_rows(&g->tensors[t]); r++)
            lora_add_row(l, t, r, row);
}

void fuzz_lora(const uint8_t *bytes, size_t n) {
    const struct gguf *g = base();
    struct fuzz_folder f;
    struct lora *l;
    struct error e;
    const uint8_t *end = n ? memchr(bytes, 0, n) : NULL;
    const uint8_t *rest = end ? end + 1 : bytes + n;
    fuzz_folder_open(&f);
    fuzz_folder_add(&f, "adapter_config.json", bytes, end ? (size_t)(end - bytes) : n);
    fuzz_folder_add(&f, "adapter_model.safetensors", rest, n - (size_t)(rest - bytes));
    if (lora_open(&l, f.path, 1.0f, g, &e) == OK) {
        add_rows(l, g);
        lora_close(l);
    }
    fuzz_folder_close(&f);
}
