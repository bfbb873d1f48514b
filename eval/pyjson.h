/* SPDX-License-Identifier: Apache-2.0 */
/* pyjson: JSON and numbers as Python writes them. lm-eval's hashes are of json.dumps' bytes, and its samples
 * hold str() of everything, so equality with its files begins here. */
#ifndef EVAL_PYJSON_H
#define EVAL_PYJSON_H

#include <jansson.h>

#include "data/buffer.h"

enum { PY_FLOAT_SIZE = 48 };

/* repr(x): the fewest digits that read back as x, "1.0", "1e-05", "nan", "inf". */
void py_float(double x, char out[PY_FLOAT_SIZE]);

/* Appends json.dumps(value, indent=indent, ensure_ascii=False); indent 0 is None: one line. */
void py_dumps(const json_t *value, int indent, struct buffer *out);

/* Appends str(value) of a leaf: a text as it is, True, None, numbers as repr. Lists and objects as json.dumps
 * writes them. */
void py_str(const json_t *value, struct buffer *out);

/* A new value in which every leaf of the nested arrays is its str(); lm-eval's sanitize_list. NULL: no
 * memory.
 */
json_t *py_sanitize(const json_t *value);

/* A text of any bytes as a JSON string: what is no UTF-8 becomes U+FFFD, as in a decoder with
 * errors="replace" (and in Rust's from_utf8_lossy, which tokenizers use). */
json_t *py_text(const char *text, size_t n);

#endif
