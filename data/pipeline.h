/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline: tensor data made in pieces by several threads and written in order by the caller's. Which thread
 * made a piece leaves no trace in the file. */
#ifndef DATA_PIPELINE_H
#define DATA_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#include "data/gguf_write.h"
#include "data/status.h"

struct pipeline {
    int threads;      /* at least 1 */
    int64_t n_pieces; /* numbered in the order of the file */
    size_t most;      /* bytes that a piece can have */
    /* Fills out with piece number i and *n with its bytes; called by several threads at once. A piece lies
     * inside one tensor. */
    enum status (*make)(void *arg, int64_t i, uint8_t *out, size_t *n, struct error *e);
    void *arg;
    uint64_t total; /* bytes of all pieces, for progress */
    void (*progress)(void *arg, uint64_t done,
                     uint64_t total); /* called by the caller's thread; NULL: none */
    void *progress_arg;
};

/* After gguf_writer_begin; the caller finishes the file. The first piece that fails, in the order of the
 * file, is what is reported. */
enum status pipeline_run(const struct pipeline *p, struct gguf_writer *w, struct error *e);

#endif
