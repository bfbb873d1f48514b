/* fuzz_extract: answers of a model to be scored. The first byte chooses one of the expressions that the tasks
 * use, and how the answer is compared; what is extracted must be the same twice. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eval/extract.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct filter filters[] = {
    {"strict", {{STEP_REGEX, "#### (\\-?[0-9\\.\\,]+)", 0}}},
    {"flexible", {{STEP_REGEX, "(-?[$0-9.,]{2,})|(-?[0-9]+)", -1}}},
    {"choice", {{STEP_REGEX, "answer is \\(?([ABCDEFGHIJ])\\)?", 0}, {STEP_STRIP, NULL, 0}}},
    {"multi", {{STEP_MULTI_CHOICE, "(\\([A-Z]\\))", 0}}},
};
static const struct exact_match rules = {.ignore = {",", "\\$", "(?s).*#### ", "\\.$"}, .ignore_case = 1};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static json_t *choices;
    struct buffer out[2] = {{0}, {0}};
    struct error e;
    int equal = 0;
    if (n == 0) return 0;
    if (!choices) choices = json_pack("[sss]", "one", "two (2)", "");
    struct pystr answer = {(const char *)bytes + 1, n - 1};
    for (int i = 0; i < 2; i++) filter_apply(&filters[bytes[0] % 4], answer, choices, &out[i], &e);
    if (out[0].n != out[1].n || (out[0].n && memcmp(out[0].data, out[1].data, out[0].n))) abort();
    exact_match(&rules, answer, answer, &equal, &e);
    buffer_free(&out[0]), buffer_free(&out[1]);
    return 0;
}
