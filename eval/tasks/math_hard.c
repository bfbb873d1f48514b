/* SPDX-License-Identifier: Apache-2.0 */
/* math_hard: competition mathematics with room to think: lm-eval's prompts of leaderboard_math_hard
 * (Minerva's four examples), valued by numeric_equiv. */
#include "eval/tasks/math_text.h"
#include "eval/tasks/numeric_equiv.h"
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <string.h>

enum { LEVEL5, MATH500, VARIANTS };

static const struct {
    const char *problem, *solution;
} examples[] = {
    {"Find the domain of the expression  $\\frac{\\sqrt{x-2}}{\\sqrt{5-x}}$.}",
     "The expressions inside each square root must be non-negative. Therefore, $x-2 \\ge 0$, so $x\\ge2$, "
     "and $5 - x \\ge 0$, so $x \\le 5$. Also, the denominator cannot be equal to zero, so $5-x>0$, which "
     "gives $x<5$. Therefore, the domain of the expression is $\\boxed{[2,5)}$.\nFinal Answer: The final "
     "answer is $[2,5)$. I hope it is correct."},
    {"If $\\det \\mathbf{A} = 2$ and $\\det \\mathbf{B} = 12,$ then find $\\det (\\mathbf{A} \\mathbf{B}).$",
     "We have that $\\det (\\mathbf{A} \\mathbf{B}) = (\\det \\mathbf{A})(\\det \\mathbf{B}) = (2)(12) = "
     "\\boxed{24}.$\nFinal Answer: The final answer is $24$. I hope it is correct."},
    {"Terrell usually lifts two 20-pound weights 12 times. If he uses two 15-pound weights instead, how many "
     "times must Terrell lift them in order to lift the same total weight?",
     "If Terrell lifts two 20-pound weights 12 times, he lifts a total of $2\\cdot 12\\cdot20=480$ pounds of "
     "weight.  If he lifts two 15-pound weights instead for $n$ times, he will lift a total of "
     "$2\\cdot15\\cdot n=30n$ pounds of weight.  Equating this to 480 pounds, we can solve for "
     "$n$:\n\\begin{align*}\n30n&=480\\\n\\Rightarrow\\qquad n&=480/30=\\boxed{16}\n\\end{align*}\nFinal "
     "Answer: The final answer is $16$. I hope it is correct."},
    {"If the system of equations\n\n\\begin{align*}\n6x-4y&=a,\\\n6y-9x &=b.\n\\end{align*}has a solution "
     "$(x, y)$ where $x$ and $y$ are both nonzero,\nfind $\\frac{a}{b},$ assuming $b$ is nonzero.",
     "If we multiply the first equation by $-\\frac{3}{2}$, we obtain\n\n$$6y-9x=-\\frac{3}{2}a.$$Since we "
     "also know that $6y-9x=b$, we "
     "have\n\n$$-\\frac{3}{2}a=b\\Rightarrow\\frac{a}{b}=\\boxed{-\\frac{2}{3}}.$$\nFinal Answer: The final "
     "answer is $-\\frac{2}{3}$. I hope it is correct."}};

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    const struct task *t = arg;
    static const char *const keys[] = {"level", NULL};
    if (t->variant == LEVEL5 && !doc_has_texts(raw, keys)) {
        *fault = "expected the text \"level\"";
        return NULL;
    }
    /* Of other levels: not malformed, just not asked. */
    if (t->variant == LEVEL5 && !pystr_is(doc_text(raw, "level"), "Level 5")) return NULL;
    return math_document(raw, fault);
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    static const char *const folders[] = {"math", "hendrycks_math500", NULL};
    static const char *const all[] = {"math_test.jsonl", "test.jsonl", NULL};
    static const char *const some[] = {"math500_test.jsonl", "math500_test.json", "test.jsonl", NULL};
    if (!shots) return qa_read(out, dir, folders, t->variant == LEVEL5 ? all : some, convert, (void *)t, e);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        json_t *doc =
            json_pack("{s:s, s:s}", "problem", examples[i].problem, "solution", examples[i].solution);
        TRY(rows_append(out, doc, "examples", i + 1, "out of memory", e));
    }
    return OK;
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_text(out, "Problem:\n");
    pystr_put(out, doc_text(doc, "problem"));
    buffer_text(out, "\n\nSolution:");
}

static void worked(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "solution"));
}

static enum status judge(const struct task *t, const json_t *doc, struct pystr answer, json_t *metrics,
                         struct error *e) {
    struct pystr gold;
    TRY(math_gold(t, doc, &gold, e));
    json_object_set_new(metrics, "numeric_equiv", json_integer(numeric_equiv(numeric_answer(answer), gold)));
    return OK;
}

static const struct qa qa = {
    .read = read_rows,
    .sampler = SAMPLER_FIRST_N,
    .text = text,
    .target = math_document_target,
    .answer = worked,
    .judge = judge,
    .gen_kwargs =
        "{\"until\": [\"Problem:\"], \"do_sample\": false, \"temperature\": 0.0, \"max_gen_toks\": 1024}",
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    snprintf(out->name, sizeof out->name, "%s", index == LEVEL5 ? "math_hard" : "math500");
    out->variant = index;
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->num_fewshot = 4;
    out->filters[0] = "none";
    out->metrics[0].name = "numeric_equiv";
}

const struct suite suite_math_hard = {
    .name = "math_hard",
    .card = "MATH Lvl 5",
    .state = STATE_NEAR,
    .note =
        "prompts are those of lm-eval's leaderboard_math_hard. The metric is our own numeric_equiv, not its\n"
        "math_verify: equal texts, numbers to 12 digits, lists of them. An answer with variables must be "
        "spelled like\n"
        "the solution's. math500 asks the 500 questions of MATH-500 in the same way. Card: chat, no "
        "examples.",
    .data =
        "math_test.jsonl (the 5000 of MATH's test set; Level 5 are taken): lines {\"problem\", \"level\",\n"
        "\"solution\"}, as in github.com/hendrycks/math; math500_test.jsonl for math500",
    .n_tasks = VARIANTS,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
