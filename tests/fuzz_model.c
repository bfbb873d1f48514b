/* fuzz_model: damaged weight files. Opens the input as a model and reads every byte that the loader vouches
 * for, so that a size or an offset that was not checked ends in a report of the sanitizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t max, unsigned seed);

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

/* Damage belongs in the header: nine tenths of a file are weights, in which every byte is fine. Whole or cut.
 */
enum { HEADER = 16 << 10 };

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    if (seed % 16 == 0 || n < HEADER) return LLVMFuzzerMutate(bytes, n, max);
    size_t left = LLVMFuzzerMutate(bytes, HEADER, HEADER);
    memmove(bytes + left, bytes + HEADER, n - HEADER);
    return n - (HEADER - left);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    char path[64];
    struct error e;
    struct model *m;
    int fd = memfd_create("fuzz_model", 0);
    if (fd < 0 || (n && write(fd, bytes, n) != (ssize_t)n)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (model_open(&m, path, &e) == OK) {
        for (int i = 0; i < m->config.n_layers; i++) read_layer(&m->layers[i], m->config.n_experts);
        read_tensor(&m->embedding);
        read_tensor(&m->norm);
        read_tensor(&m->head);
        model_close(m);
    }
    close(fd);
    return 0;
}
