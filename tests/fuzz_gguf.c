/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_gguf: damaged weight files, with the vocabularies in them, and damaged Hugging Face folders. Reads
 * every byte that the loader vouches for, so that a size or an offset that was not checked ends in a report
 * of the sanitizer. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/chat.h"
#include "data/gguf.h"
#include "data/model.h"
#include "tests/fuzz.h"

static uint64_t sum; /* keeps the reads */

static void read_tensor(const struct tensor *t) {
    const uint8_t *p = t->data;
    for (size_t i = 0; p && i < t->bytes; i++) sum += p[i];
}

static void read_layer(const struct layer *l, int n_experts) {
    read_tensor(&l->mixer_norm);
    read_tensor(&l->ffn_norm);
    read_tensor(&l->conv_in);
    read_tensor(&l->conv_taps);
    read_tensor(&l->conv_out);
    read_tensor(&l->q);
    read_tensor(&l->k);
    read_tensor(&l->v);
    read_tensor(&l->o);
    read_tensor(&l->q_norm);
    read_tensor(&l->k_norm);
    read_tensor(&l->gate);
    read_tensor(&l->up);
    read_tensor(&l->down);
    read_tensor(&l->router);
    read_tensor(&l->router_bias);
    for (int i = 0; l->ffn == FFN_MOE && i < n_experts; i++) {
        read_tensor(&l->experts[i].gate);
        read_tensor(&l->experts[i].up);
        read_tensor(&l->experts[i].down);
    }
}

static void read_vocabulary(const struct gguf *g) {
    static const char text[] = "the <|im_end|>\n\xff 12";
    struct tokenizer *t;
    struct tokens ids = {0};
    struct buffer back = {0};
    struct error e;
    enum chat_template template;
    if (tokenizer_of_gguf(&t, g, 0, &e) != OK) return;
    if (tokenizer_encode(t, text, sizeof text - 1, TOKENS_BOS | TOKENS_SPECIAL, &ids, &e) == OK &&
        tokenizer_decode(t, ids.ids, ids.n, TOKENS_SPECIAL, &back, &e) != OK)
        abort();
    chat_template_of(&template, tokenizer_chat_template(t), "-", &e);
    tokens_free(&ids), buffer_free(&back), tokenizer_close(t);
}

static void read_model(const char *path) {
    struct error e;
    struct model *m;
    if (model_open(&m, path, &e) != OK) return;
    for (int i = 0; i < m->config.n_layers; i++) read_layer(&m->layers[i], m->config.n_experts);
    read_tensor(&m->embedding);
    read_tensor(&m->norm);
    read_tensor(&m->head);
    model_close(m);
}

void fuzz_gguf(const uint8_t *bytes, size_t n) {
    char path[FUZZ_PATH];
    struct error e;
    struct gguf *g;
    int fd = fuzz_file(path, bytes, n);
    if (gguf_open(&g, path, &e) == OK) {
        for (uint64_t i = 0; i < g->n_tensors; i++)
            for (uint64_t k = 0; k < g->tensors[i].bytes; k++)
                sum += ((const uint8_t *)g->tensors[i].data)[k];
        read_vocabulary(g);
        gguf_close(g);
        read_model(path);
    }
    close(fd);
}

/* config.json, a NUL, then model.safetensors, or its index where that begins with a brace. */
void fuzz_folder(const uint8_t *bytes, size_t n) {
    struct fuzz_folder f;
    const uint8_t *end = n ? memchr(bytes, 0, n) : NULL;
    const uint8_t *rest = end ? end + 1 : bytes + n;
    size_t left = n - (size_t)(rest - bytes);
    int index = left && *rest == '{';
    fuzz_folder_open(&f);
    fuzz_folder_add(&f, "config.json", bytes, end ? (size_t)(end - bytes) : n);
    fuzz_folder_add(&f, index ? "model.safetensors.index.json" : "model.safetensors", rest, left);
    read_model(f.path);
    fuzz_folder_close(&f);
}
