/* SPDX-License-Identifier: Apache-2.0 */
/* pack: weight matrices in the layout the kernels stream (panels of 16 rows; see kernels.h), and the way
 * back. */
#ifndef OPTIMIZED_PACK_H
#define OPTIMIZED_PACK_H

#include <stddef.h>

#include "data/model.h"
#include "optimized/kernels.h"
#include "reference/engine.h"

enum matrix_kind {
    MATRIX_Q4,    /* Q4_0, packed */
    MATRIX_Q8,    /* Q8_0, packed */
    MATRIX_Q6,    /* Q6_K, packed */
    MATRIX_FLOAT, /* any other type: stays in the mapped file, a panel at a time is dequantised when used */
};

struct matrix {
    enum matrix_kind kind;
    int rows, cols;
    int panels;         /* rows / 16, rounded up; missing rows are zero */
    size_t panel_bytes; /* 0 for MATRIX_FLOAT */
    const unsigned char *data;
    struct tensor source;
    enum scheme scheme; /* with MATRIX_FLOAT: how rows are rounded when used (scheme.h) */
};

enum matrix_kind matrix_kind(enum tensor_type type);

/* Describes t; data is NULL until the caller has packed it somewhere. */
struct matrix matrix_describe(const struct tensor *t);

/* Bytes of all panels, 0 for MATRIX_FLOAT. */
size_t matrix_bytes(const struct matrix *m);

/* Writes panels [begin, end) of m to dst, the place of panel 0. Panels can be packed by different threads. */
void matrix_pack(const struct matrix *m, void *dst, int begin, int end);

/* out[k][r] = weight (16*panel + r, k) as float, for any kind; missing rows are 0. row: scratch of cols
 * floats. */
void matrix_unpack(const struct matrix *m, int panel, float *out, float *row);

#endif
