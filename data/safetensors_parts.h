/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_parts: the header of one file. Private to safetensors. */
#ifndef DATA_SAFETENSORS_PARTS_H
#define DATA_SAFETENSORS_PARTS_H

#include "data/safetensors.h"

/* Appends the tensors of s->files[file], which is mapped, to s->tensors, unsorted, and fills in header_bytes.
 */
enum status safetensors_parse(struct safetensors *s, int file, struct error *e);

#endif
