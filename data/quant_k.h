/* SPDX-License-Identifier: Apache-2.0 */
/* quant_k: the K-quants, whose blocks of 256 weights carry scales that are quantised themselves. Private to
 * quant; everyone else calls dequantize_row and quantize_row. n is a multiple of 256. */
#ifndef DATA_QUANT_K_H
#define DATA_QUANT_K_H

#include <stdint.h>

void dequantize_q4_k(const uint8_t *src, float *out, int64_t n);
void dequantize_q5_k(const uint8_t *src, float *out, int64_t n);
void dequantize_q6_k(const uint8_t *src, float *out, int64_t n);
void quantize_q4_k(const float *src, uint8_t *out, int64_t n);
void quantize_q5_k(const float *src, uint8_t *out, int64_t n);
void quantize_q6_k(const float *src, uint8_t *out, int64_t n);

#endif
