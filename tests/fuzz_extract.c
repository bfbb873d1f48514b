/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_extract: answers of a model to be scored, by the expressions that the tasks use, or by one that the
 * input brings, as IFEval's rows do. What is extracted must be the same twice. */
#include <stdlib.h>
#include <string.h>

#include "eval/extract.h"
#include "tests/fuzz.h"

static const struct filter filters[] = {
    {"strict", {{STEP_REGEX, "#### (\\-?[0-9\\.\\,]+)", 0}}},
    {"flexible", {{STEP_REGEX, "(-?[$0-9.,]{2,})|(-?[0-9]+)", -1}}},
    {"choice", {{STEP_REGEX, "answer is \\(?([ABCDEFGHIJ])\\)?", 0}, {STEP_STRIP, NULL, 0}}},
    {"multi", {{STEP_MULTI_CHOICE, "(\\([A-Z]\\))", 0}}},
};
enum { FILTERS = sizeof filters / sizeof *filters };
static const struct exact_match rules = {.ignore = {",", "\\$", "(?s).*#### ", "\\.$"}, .ignore_case = 1};

static void score(const struct filter *f, struct pystr answer) {
    struct buffer out[2] = {{0}, {0}};
    struct error e;
    int equal = 0;
    json_t *choices = json_pack("[sss]", "one", "two (2)", "");
    for (int i = 0; i < 2; i++) filter_apply(f, answer, choices, &out[i], &e);
    if (out[0].n != out[1].n || (out[0].n && memcmp(out[0].data, out[1].data, out[0].n))) abort();
    exact_match(&rules, answer, pystr_in(&out[0]), &equal, &e);
    buffer_free(&out[0]), buffer_free(&out[1]);
    json_decref(choices);
}

/* Every match lies in the text. */
static void find(const char *expression, unsigned flags, struct pystr text) {
    struct error e;
    struct pattern *p = pattern_open(expression, flags, &e);
    struct matches m = {.text = text};
    struct buffer out = {0};
    while (p && pattern_next(p, &m)) {
        if (m.whole.s < text.s || m.whole.n > text.n - (size_t)(m.whole.s - text.s)) abort();
        for (int i = 0; i < m.n_groups; i++)
            if (m.group[i].n > text.n) abort();
    }
    if (p) pattern_replace(p, text, "<$0$1>", &out);
    pattern_close(p), buffer_free(&out);
}

/* The first byte: one of the filters; or flags, and the expression ends at the first NUL. */
void fuzz_extract(const uint8_t *bytes, size_t n) {
    if (n == 0) return;
    const char *text = (const char *)bytes + 1, *end = memchr(text, 0, n - 1);
    if (bytes[0] < 128 || !end)
        score(&filters[bytes[0] % FILTERS], (struct pystr){text, n - 1});
    else
        find(text, bytes[0] & 7, (struct pystr){end + 1, n - 2 - (size_t)(end - text)});
}
