/* SPDX-License-Identifier: Apache-2.0 */
/* samples_read: samples_*.jsonl files, ours and lm-eval's, line by line. */
#ifndef EVAL_SAMPLES_READ_H
#define EVAL_SAMPLES_READ_H

#include <jansson.h>

#include "data/status.h"

/* Calls line with each object; number counts from 1. ERR_FORMAT names the file and line that is no object. */
enum status samples_read(const char *path,
                         enum status (*line)(void *arg, const json_t *object, int number, struct error *e),
                         void *arg, struct error *e);

/* "mmlu_anatomy" of ".../samples_mmlu_anatomy_2026-01-02T03-04-05.678.jsonl"; 0 when the name is of another
 * form. date gets what follows. */
int samples_task(const char *path, char task[128], char date[64]);

#endif
