/* SPDX-License-Identifier: Apache-2.0 */
/* scheme: what int8 or bf16 tiles would compute that do not keep a scale per 32 values (enum scheme). A
 * matrix stays in the file; its rows and what they are multiplied with are rounded in float32 when they are
 * used. Apart from the order of sums in float32 the products are those of the tiles. For accuracy only. */
#ifndef OPTIMIZED_SCHEME_H
#define OPTIMIZED_SCHEME_H

#include "optimized/pack.h"

enum { FOLD = 256 }; /* values that share a scale */

/* Makes a described matrix one of that scheme, when it is of a type that the scheme changes. */
void scheme_apply(enum scheme scheme, struct matrix *m);

/* Rounds a row, of weights or of activations. */
void scheme_round(enum scheme scheme, float *x, int n);

#endif
