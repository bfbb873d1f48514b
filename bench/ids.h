/* SPDX-License-Identifier: Apache-2.0 */
/* ids: lists of token ids on the command line. */
#ifndef BENCH_IDS_H
#define BENCH_IDS_H

#include <stdint.h>

#include "data/status.h"

/* "1,2,3" to numbers. *out is allocated, also to be freed after an error. */
enum status ids_parse(const char *text, int32_t **out, int *n, struct error *e);

#endif
