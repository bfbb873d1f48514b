/* SPDX-License-Identifier: Apache-2.0 */
/* quant_weighted: quantisers that know how much each column matters. */
#ifndef DATA_QUANT_WEIGHTED_H
#define DATA_QUANT_WEIGHTED_H

#include "data/quant.h"

/* quantize_row with the mean squared input of each column, weights [n] >= 0 (data/imatrix.h): scales, and for
 * Q4_1 offsets, are searched for the least weighted error. The bytes are ggml's for Q4_0 and Q4_1; other
 * types have no weighted form here and get quantize_row's. weights NULL: quantize_row. */
int quantize_row_weighted(enum tensor_type type, const float *src, const float *weights, void *out,
                          int64_t n);

#endif
