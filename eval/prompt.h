/* SPDX-License-Identifier: Apache-2.0 */
/* prompt: an item's prompt as lm-eval's fewshot_context puts it together, as one text or as chat messages.
 * Call begin, then shot for each example, then ask. */
#ifndef EVAL_PROMPT_H
#define EVAL_PROMPT_H

#include "eval/pystr.h"
#include "eval/task.h"

struct delimiters {
    const char *target, *shot; /* lm-eval's defaults: " " before an answer, "\n\n" after an example */
};

enum status prompt_begin(struct item *item, const struct task_options *o, const char *description,
                         struct error *e);
enum status prompt_shot(struct item *item, const struct task_options *o, const struct delimiters *d,
                        struct pystr question, struct pystr answer, struct error *e);
enum status prompt_ask(struct item *item, const struct task_options *o, struct pystr question,
                       struct error *e);

#endif
