/* SPDX-License-Identifier: Apache-2.0 */
/* suites: the one table of suites, in the order of `lfm2 eval --list`. */
#include "eval/task.h"

/* It never agrees with itself about this list. */
/* clang-format off */
#define SUITES(_) /* _(name), as suite_NAME is defined in eval/tasks */ \
    _(mmlu) _(mmlu_generative) _(mmlu_pro) _(mmmlu) _(gpqa) _(gsm8k) \
    _(gsm_plus) _(math500) _(math_hard) _(mgsm) _(ifeval) _(ifbench) _(multi_if) \
    _(humaneval) _(humaneval_plus) _(livecodebench) _(creative) _(mini_gsm8k) _(mini_mmlu)
/* clang-format on */

#define DECLARE(name) extern const struct suite suite_##name;
SUITES(DECLARE)
#undef DECLARE

#define ROW(name) &suite_##name,
const struct suite *const suites[] = {SUITES(ROW) NULL};
#undef ROW
