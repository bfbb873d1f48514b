/* SPDX-License-Identifier: Apache-2.0 */
/* base_file: what a model says about every scored token of a text, in the file format of llama-perplexity
 * (--kl-divergence-base), both ways: "_logits_", int32 n_ctx, n_vocab, n_chunks, the int32 ids of all chunks,
 * then for each scored position float scale, float lowest and n_vocab (made even) 16-bit codes of
 * log p = scale * code + lowest. Probabilities below e^-16 of the largest share one code. All little-endian.
 * Files from strangers are checked whole before use. */
#ifndef BENCH_BASE_FILE_H
#define BENCH_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "data/mapped.h"
#include "data/status.h"

/* Of a chunk of n_ctx ids, those at n_ctx/2 + 1 and later are predicted and scored; each by the position
 * before. */
static inline int chunk_scored(int n_ctx) {
    return n_ctx - 1 - n_ctx / 2;
}

struct base_header {
    int32_t n_ctx, n_vocab, n_chunks;
};

/* Reading. */
struct base_file {
    struct base_header header;
    int32_t *ids; /* [n_chunks, n_ctx], each in [0, n_vocab); as in the text, without BOS put in */
    const uint8_t *codes;
    struct mapped file; /* private */
    char path[4096];
};
/* Opens and checks: sizes against the file's, ids against n_vocab. Close with base_close, also after an
 * error.
 */
enum status base_open(struct base_file *out, const char *path, struct error *e);
void base_close(struct base_file *b); /* a zeroed struct is fine */
/* log p of every token at scored position i of a chunk. ERR_FORMAT when the stored scale makes no sense. */
enum status base_read(const struct base_file *b, int chunk, int i, float *log_p, struct error *e);

/* Writing, to a temporary file beside it that base_finish renames. */
struct base_writer {
    struct base_header header;
    FILE *file;
    uint16_t *row;
    char path[4096], temporary[4200];
};
enum status base_create(struct base_writer *w, const char *path, const struct base_header *h,
                        const int32_t *ids, struct error *e);
/* The next scored position. */
enum status base_write(struct base_writer *w, const float *logits, struct error *e);
enum status base_finish(struct base_writer *w, struct error *e);
void base_abandon(struct base_writer *w); /* nothing is left; after base_finish it does nothing */

/* The coding by itself. row: base_row_bytes. */
size_t base_row_bytes(int n_vocab);
void base_encode(const float *logits, int n_vocab, uint16_t *row);
void base_decode(const uint8_t *row, int n_vocab, float *log_p);

#endif
