/* SPDX-License-Identifier: Apache-2.0 */
/* shared: tables that several suites have in common. */
#ifndef EVAL_TASKS_SHARED_H
#define EVAL_TASKS_SHARED_H

#include "eval/qa.h"

/* The last number of an answer. */
#define FILTER_FLEXIBLE                                                                                      \
    {                                                                                                        \
        "flexible-extract", {                                                                                \
            { STEP_REGEX, "(-?[$0-9.,]{2,})|(-?[0-9]+)", -1 }                                                \
        }                                                                                                    \
    }
/* What GSM8K and its relatives do not look at: thousands, dollars, the working before "#### ", a full stop.
 */
#define MATCH_GSM                                                                                            \
    { {",", "\\$", "(?s).*#### ", "\\.$"}, 1, 0 }

extern const struct filter gsm_filters[]; /* eval/tasks/gsm8k.c: "#### N", and FILTER_FLEXIBLE */

/* "Question: ...\nAnswer:" of the field "question"; the field itself. */
void gsm_text(const struct task *t, const json_t *doc, struct buffer *out);

/* The field "prompt" as it is; "0", which is lm-eval's target where there is none; nothing. */
void prompt_text(const struct task *t, const json_t *doc, struct buffer *out);
void zero_target(const struct task *t, const json_t *doc, struct buffer *out);
void no_target(const struct task *t, const json_t *doc, struct buffer *out);

/* A model's answer as JSON; NULL: it is not UTF-8. */
json_t *answer_text(const struct response *r);

/* MATH's rows {"problem", "solution"}: a new document with "answer", taken from the solution; NULL and the
 * fault. */
json_t *math_document(const json_t *raw, const char **fault);
void math_document_target(const struct task *t, const json_t *doc, struct buffer *out);
/* The solution's answer, of documents from anybody's hand. */
enum status math_gold(const struct task *t, const json_t *doc, struct pystr *out, struct error *e);

/* The 57 subjects of MMLU, in alphabetical order (eval/tasks/mmlu.c). */
enum { MMLU_SUBJECTS = 57 };
struct mmlu_subject {
    const char *name;  /* "abstract_algebra" */
    const char *field; /* "stem" "other" "social_sciences" "humanities" */
};
extern const struct mmlu_subject mmlu_subjects[MMLU_SUBJECTS];
extern const char *const letters_abcd[]; /* "A" to "D", NULL */

#endif
