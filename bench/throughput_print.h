/* SPDX-License-Identifier: Apache-2.0 */
/* throughput_print: a bench run as text, in llama-bench's formats with its field names first and ours after
 * them. */
#ifndef BENCH_THROUGHPUT_PRINT_H
#define BENCH_THROUGHPUT_PRINT_H

#include <stdio.h>

#include "bench/records.h"

/* "md", "csv", "json", "jsonl" or "sql"; text for "md" is aligned to be read as it is. Returns 0, or -1 with
 * *e filled (an unknown format; a failed write). */
enum status throughput_print(FILE *to, const char *format, const struct rows *throughput,
                             const struct rows *models, const struct rows *samples, struct error *e);

/* OK when the format is known. */
enum status throughput_format_check(const char *format, struct error *e);

#endif
