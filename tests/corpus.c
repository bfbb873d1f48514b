/* SPDX-License-Identifier: Apache-2.0 */
/* corpus: the good model, and what all lists of cases share. */
#include "tests/corpus.h"

#include <stdio.h>
#include <string.h>

#include "data/synth.h"

enum status corpus_base(const char *path, struct error *e) {
    static const signed char attention[] = {1, 3, -1};
    static const struct synth_shape shape = {.name = "corpus",
                                             .arch = "lfm2moe",
                                             .title = "corpus (synthetic)",
                                             .layers = 4,
                                             .width = 64,
                                             .heads = 4,
                                             .kv_heads = 2,
                                             .head_dim = 16,
                                             .ff = 192,
                                             .dense_layers = 2,
                                             .expert_ff = 96,
                                             .experts = 8,
                                             .experts_used = 4,
                                             .vocab = 512,
                                             .context = 4096,
                                             .norm_eps = 1e-5f,
                                             .attention = attention};
    struct synth_options o = {.shape = &shape, .recipe = "q4_0", .seed = 1, .threads = 1, .path = path};
    return synth_write(&o, e);
}

void making_file(struct making *m, const char *name, const void *bytes, uint64_t n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", m->folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(bytes, 1, n, f) != n)) m->failed = 1;
    if (f && fclose(f)) m->failed = 1;
    m->written = 1;
}

void making_text(struct making *m, const char *name, const char *text) {
    making_file(m, name, text, strlen(text));
}

int corpus_make(const struct corpus_case *c, const struct gguf *base, const char *folder) {
    char file[4096];
    static struct making m;
    snprintf(file, sizeof file, "%s/model.gguf", folder);
    m.folder = folder, m.file = file, m.written = m.failed = 0;
    image_of(&m.im, base);
    c->make(&m);
    if (!m.written && image_write(&m.im, file)) m.failed = 1;
    image_free(&m.im);
    return m.failed ? -1 : 0;
}
