/* suites: the one table of suites, in the order of `lfm2 eval --list`. */
#include "eval/task.h"

#define SUITES(_) /* _(name), one line each, as suite_NAME is added in eval/tasks/NAME.c */

#define DECLARE(name) extern const struct suite suite_##name;
SUITES(DECLARE)
#undef DECLARE

#define ROW(name) &suite_##name,
const struct suite *const suites[] = {SUITES(ROW) NULL};
#undef ROW
