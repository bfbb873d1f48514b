/* SPDX-License-Identifier: Apache-2.0 */
/* packed: weights in an engine's own layout, kept in an HDF5 file so that a model starts without packing. The
 * file holds one contiguous dataset `/weights`, which is mapped by its offset and never read through HDF5,
 * and attributes that say which model file and which layout it belongs to. What the bytes mean is the
 * engine's business.
 *
 * A packed file is a cache its user made (`lfm2 pack`), not a format to take from strangers: use one only
 * with the model file it was made from. */
#ifndef DATA_PACKED_H
#define DATA_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

/* What must agree for a packed file to be used. */
struct packed_id {
    const char *layout; /* names the engine's layout and its version */
    const char *header_sha256;
    uint64_t model_bytes, weights_bytes;
    uint64_t sample; /* hash of some bytes of every matrix: two checkpoints can have equal headers */
};

/* Writing: create, add the weights front to back in pieces, commit. Until commit the file has a temporary
 * name; an older file stays whole. packed_discard gives up. */
struct packed_writer;
enum status packed_create(struct packed_writer **out, const char *path, const struct packed_id *id,
                          struct error *e);
enum status packed_add(struct packed_writer *w, const void *data, size_t bytes, struct error *e);
enum status packed_commit(struct packed_writer *w, struct error *e); /* w is gone, also on error */
void packed_discard(struct packed_writer *w);                        /* NULL is fine */

/* Maps /weights read-only. Fails with ERR_SHAPE when the file belongs to another model or layout. */
struct packed {
    const unsigned char *weights; /* id->weights_bytes of them, 64-byte aligned */
    void *map;                    /* private */
    size_t map_bytes;
};
enum status packed_open(struct packed *out, const char *path, const struct packed_id *id, struct error *e);
void packed_close(struct packed *p);

#endif
