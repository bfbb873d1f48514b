/* SPDX-License-Identifier: Apache-2.0 */
/* golden: named arrays in an HDF5 file: logits and ids that one program writes and another compares. Only for
 * files this project or its user made; HDF5 is not a format to take from strangers. */
#ifndef DATA_GOLDEN_H
#define DATA_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

struct golden;
enum { GOLDEN_MAX_RANK = 4 };

/* A new file is written under a temporary name in the same directory. golden_commit gives it its name and
 * closes it; until then an older file of that name stays whole, and golden_close discards the new one. */
enum status golden_create(struct golden **out, const char *path, struct error *e);
enum status golden_write_f32(struct golden *g, const char *name, int rank, const int64_t *shape,
                             const float *x, struct error *e);
enum status golden_write_i32(struct golden *g, const char *name, int rank, const int64_t *shape,
                             const int32_t *x, struct error *e);
/* A text attribute of the file: what its arrays are of. */
enum status golden_write_text(struct golden *g, const char *name, const char *text, struct error *e);
enum status golden_commit(struct golden *g, struct error *e); /* g is gone, also on error */

/* Reading states what is expected: an array of another element type or shape is an error that says what was
 * found. A length -1 in shape accepts any and is replaced by the length found. The array is allocated;
 * the caller frees *x. */
enum status golden_open(struct golden **out, const char *path, struct error *e);
enum status golden_read_f32(struct golden *g, const char *name, int rank, int64_t *shape, float **x,
                            struct error *e);
enum status golden_read_i32(struct golden *g, const char *name, int rank, int64_t *shape, int32_t **x,
                            struct error *e);

void golden_close(struct golden *g); /* NULL is fine */

#endif
