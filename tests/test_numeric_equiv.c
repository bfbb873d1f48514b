/* SPDX-License-Identifier: Apache-2.0 */
/* test_numeric_equiv: pairs of answers that name the same value, and pairs that do not. */
#include <criterion/criterion.h>

#include "eval/tasks/numeric_equiv.h"

static const struct {
    const char *a, *b;
    int same;
} pairs[] = {
    {"1/2", "0.5", 1},
    {"\\frac{1}{2}", ".5", 1},
    {"\\dfrac34", "0.75", 1},
    {"2\\sqrt{3}", "\\sqrt{12}", 1},
    {"\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}", 1},
    {"3\\frac{1}{2}", "3.5", 1},
    {"1,234,567", "1234567", 1},
    {"10^{-3}", "0.001", 1},
    {"-2^2", "-4", 1},
    {"2\\pi", "\\pi \\cdot 2", 1},
    {"\\sqrt[3]{27}", "3", 1},
    {"\\sqrt[3]{-27}", "-3", 1},
    {"$90^\\circ$", "90", 1},
    {"25\\%", "25", 1},
    {"x = 5", "5", 1},
    {"12\\text{ cm}", "12", 1},
    {"\\left(1, \\frac{2}{4}\\right)", "(1,0.5)", 1},
    {"[2, 5)", "[2,5)", 1},
    {"1, 2, \\sqrt{4}", "1,2,2", 1},
    {"\\text{even}", "even", 1},
    {"\\text{(A)}", "\\text{(A)}", 1},
    {"x^2+1", "x^2+1", 1},
    {"5.", "5", 1},
    {"(3)(4)", "12", 1},
    {"1/3", "0.333333", 0},
    {"1/3", "0.3333333333333333333", 1},
    {"[2,5)", "(2,5)", 0},
    {"(1,2)", "(2,1)", 0},
    {"(1,2)", "(1,2,3)", 0},
    {"\\frac{1}{0}", "\\frac{2}{0}", 0},
    {"\\sqrt{-1}", "\\sqrt{-2}", 0},
    {"x+1", "1", 0},
    {"5x", "5", 0},
    {"", "0", 0},
    {"\\text{odd}", "\\text{even}", 0},
    {"7", "8", 0},
    {"-3", "3", 0},
    {"1e400", "1e500", 0},
    {"(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1", "1", 0},
};

Test(numeric_equiv, decides_pairs) {
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        cr_expect_eq(numeric_equiv(pystr_of(pairs[i].a), pystr_of(pairs[i].b)), pairs[i].same, "%s and %s",
                     pairs[i].a, pairs[i].b);
        cr_expect_eq(numeric_equiv(pystr_of(pairs[i].b), pystr_of(pairs[i].a)), pairs[i].same, "%s and %s",
                     pairs[i].b, pairs[i].a);
    }
}

Test(numeric_equiv, finds_the_answer) {
    static const char *const texts[][2] = {
        {"So it is.\nFinal Answer: The final answer is $[2,5)$. I hope it is correct.", "[2,5)"},
        {"We get $\\boxed{\\frac{1}{2}}$ as claimed for $x$.", "\\frac{1}{2}"},
        {"first $1$ then $2$", "2"},
        {"thinking\n 42 \n", "42"},
        {"", ""},
        {"$", "$"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct pystr got = pystr_strip(numeric_answer(pystr_of(texts[i][0])));
        cr_expect(pystr_is(got, texts[i][1]), "%s: %.*s", texts[i][0], (int)got.n, got.s);
    }
}
