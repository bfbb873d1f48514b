/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_write: writes GGUF version 3 files, front to back, without holding tensor data in memory.
 *
 *     gguf_writer_new -> gguf_put_... (keys) -> gguf_put_tensor (all of them) -> gguf_writer_begin
 *     -> gguf_writer_data (bytes of the tensors in the order declared, in pieces of any size)
 *     -> gguf_writer_finish -> gguf_writer_free
 *
 * The bytes go to a temporary file in the same directory, which finish renames: a killed or failed run never
 * leaves half a model under the final name. */
#ifndef DATA_GGUF_WRITE_H
#define DATA_GGUF_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "data/gguf.h"
#include "data/quant.h"
#include "data/status.h"

struct gguf_writer;

/* *out is NULL on error. No file is created before begin. */
enum status gguf_writer_new(struct gguf_writer **out, const char *path, struct error *e);

/* Metadata and tensors. These only collect; what goes wrong in them (memory, a name too long, dims that do
 * not fit the type) is remembered and reported by begin. Everything is copied. */
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, int v);
void gguf_put_string(struct gguf_writer *w, const char *key, const char *v);
void gguf_put_u32s(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *v, size_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *v, size_t n);
void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *v, size_t n);
/* A key copied as it is from another file. */
void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv);
/* dims fastest first: a matrix of rows x cols is {cols, rows}. */
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum tensor_type type, int n_dims,
                     const int64_t *dims);

/* Bytes the whole file will have. */
uint64_t gguf_writer_size(const struct gguf_writer *w);

/* Reports what the puts met, checks that the disk has room for the whole file, writes the header. */
enum status gguf_writer_begin(struct gguf_writer *w, struct error *e);

/* Instead of begin: what a file with these keys and no tensors would read back as. */
enum status gguf_writer_keys(struct gguf_writer *w, struct gguf **out, struct error *e);

/* The next bytes of tensor data; a call may end inside a tensor and go on in the next call, but not run over
 * from one tensor into another. Padding between tensors is written by itself. */
enum status gguf_writer_data(struct gguf_writer *w, const void *bytes, size_t n, struct error *e);

/* Fails when data is missing; else the file stands under its name. */
enum status gguf_writer_finish(struct gguf_writer *w, struct error *e);

/* Removes the temporary file unless finish succeeded. NULL is fine. */
void gguf_writer_free(struct gguf_writer *w);

#endif
