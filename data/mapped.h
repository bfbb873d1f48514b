/* SPDX-License-Identifier: Apache-2.0 */
/* mapped: a regular file as read-only memory. Nothing is read before it is touched, and pages that were read
 * can be dropped and read again. */
#ifndef DATA_MAPPED_H
#define DATA_MAPPED_H

#include <stdint.h>

#include "data/status.h"

/* {0}: none. */
struct mapped {
    const uint8_t *data;
    uint64_t size; /* at least 1 */
};

/* format: what an empty file was expected to hold, for the message: "GGUF". Symbolic links are followed; what
 * is not a regular file in the end is refused, without waiting for a pipe's writer. */
enum status mapped_open(struct mapped *out, const char *path, const char *format, struct error *e);
void mapped_close(struct mapped *m);

/* The same refusal for a file that a library will open by its name. */
enum status regular_file(const char *path, struct error *e);

/* The path of the mapped file that this address lies in; NULL when it is none of the first 64 that are open.
 * Safe in a signal handler: a file that is cut short after it was mapped is met there first. */
const char *mapped_path(const void *at);
/* For a file that is mapped elsewhere: makes mapped_path know it, until data is given back. */
void mapped_name(const void *data, uint64_t size, const char *path);
void mapped_forget(const void *data);

/* 1: all of these bytes lie in the file. */
int mapped_holds(const struct mapped *m, const void *data, uint64_t bytes);

#endif
