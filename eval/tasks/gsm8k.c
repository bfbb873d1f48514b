/* SPDX-License-Identifier: Apache-2.0 */
/* gsm8k: grade-school arithmetic in lm-eval's four ways of asking. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <string.h>

enum { PLAIN, COT, COT_ZEROSHOT, COT_LLAMA, VARIANTS };

const struct filter gsm_filters[] = {
    {"strict-match", {{STEP_REGEX, "#### (\\-?[0-9\\.\\,]+)", 0}}},
    FILTER_FLEXIBLE,
};
static const struct filter cot_filters[] = {
    {"strict-match", {{STEP_REGEX, "The answer is (\\-?[0-9\\.\\,]+).", 0}}},
    FILTER_FLEXIBLE,
};
static const struct filter llama_filters[] = {
    {"strict-match", {{STEP_REGEX, "The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", -1}}},
    FILTER_FLEXIBLE,
};

/* The eight examples of Wei et al. 2022, as lm-eval has them; the answer's last sentence is "The answer is
 * N." or "The final answer is N". */
static const struct {
    const char *question, *working, *number;
} examples[] = {
    {"There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are "
     "done, there "
     "will be 21 trees. How many trees did the grove workers plant today?",
     "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must "
     "have been "
     "21 - 15 = 6.",
     "6"},
    {"If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?",
     "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5.", "5"},
    {"Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in "
     "total?",
     "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating "
     "35, they "
     "had 74 - 35 = 39.",
     "39"},
    {"Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops "
     "did Jason "
     "give to Denny?",
     "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = "
     "8.",
     "8"},
    {"Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he "
     "have now?",
     "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 "
     "= 9.",
     "9"},
    {"There were nine computers in the server room. Five more computers were installed each day, from monday "
     "to "
     "thursday. How many computers are now in the server room?",
     "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 "
     "computers "
     "were added. 9 + 20 is 29.",
     "29"},
    {"Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many "
     "golf balls "
     "did he have at the end of wednesday?",
     "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 "
     "more, he "
     "had 35 - 2 = 33 golf balls.",
     "33"},
    {"Olivia has $23. She bought five bagels for $3 each. How much money does she have left?",
     "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 "
     "dollars left. "
     "23 - 15 is 8.",
     "8"},
};

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    static const char *const keys[] = {"question", "answer", NULL};
    if (doc_has_texts(raw, keys)) return json_incref((json_t *)raw);
    *fault = "expected the texts \"question\" and \"answer\"";
    return NULL;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    const char *const folders[] = {t->suite->name, NULL};
    static const char *const test[] = {"test.jsonl", "gsm8k_test.jsonl", NULL};
    static const char *const train[] = {"train.jsonl", "gsm8k_train.jsonl", NULL};
    if (!shots || t->variant == PLAIN)
        return qa_read(out, dir, folders, shots ? train : test, convert, NULL, e);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        char target[512];
        snprintf(target, sizeof target,
                 t->variant == COT ? "%s The answer is %s." : "%s The final answer is %s",
                 examples[i].working, examples[i].number);
        json_t *doc = json_pack("{s:s, s:s}", "question", examples[i].question, "target", target);
        TRY(rows_append(out, doc, "examples", i + 1, "out of memory", e));
    }
    return OK;
}

void gsm_text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_text(out, "Question: ");
    pystr_put(out, doc_text(doc, "question"));
    buffer_text(out, "\nAnswer:");
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    if (t->variant == PLAIN) {
        gsm_text(t, doc, out);
        return;
    }
    int llama = t->variant == COT_LLAMA;
    buffer_text(
        out, llama ? "Given the following problem, reason and give a final answer to the problem.\nProblem: "
                   : "Q: ");
    pystr_put(out, doc_text(doc, "question"));
    buffer_text(
        out, llama ? "\nYour response should end with \"The final answer is [answer]\" where [answer] is the "
                     "response to the problem.\n"
             : t->variant == COT ? "\nA:"
                                 : "\nA: Let's think step by step.");
}

/* Plain: the whole answer. The others: what follows its last "####", or an example's target. */
static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    struct pystr answer = doc_text(doc, "answer");
    if (t->variant == COT || t->variant == COT_LLAMA) {
        if (!json_object_get(doc, "answer"))
            answer = doc_text(doc, "target");
        else {
            size_t at = pystr_rfind(answer, pystr_of("####"));
            answer = pystr_strip(at < answer.n ? pystr_from(answer, at + 4) : answer);
        }
    }
    pystr_put(out, answer);
}

#define GSM8K(NAMED_FILTERS)                                                                                 \
    .read = read_rows, .text = text, .target = target, .filters = NAMED_FILTERS, .match = MATCH_GSM
static const struct qa tables[VARIANTS] = {
    [PLAIN] = {GSM8K(gsm_filters),
               .gen_kwargs = "{\"until\": [\"Question:\", \"</s>\", \"<|im_end|>\"], \"do_sample\": false, "
                             "\"temperature\": 0.0}"},
    [COT] = {GSM8K(cot_filters), .sampler = SAMPLER_FIRST_N,
             .gen_kwargs = "{\"do_sample\": false, \"until\": [\"Q:\", \"</s>\", \"<|im_end|>\"]}"},
    [COT_ZEROSHOT] = {GSM8K(cot_filters), .fixed_shots = 1,
                      .gen_kwargs = "{\"until\": [\"Q:\", \"</s>\", \"<|im_end|>\"], \"do_sample\": false}"},
    [COT_LLAMA] = {GSM8K(llama_filters), .sampler = SAMPLER_FIRST_N, .delimiters = {.target = ""},
                   .gen_kwargs =
                       "{\"do_sample\": false, \"until\": [\"<|eot_id|>\", "
                       "\"<|start_header_id|>user<|end_header_id|>\", \"Q:\", \"</s>\", \"<|im_end|>\"]}"},
};

static const struct qa *table(const struct task *t) {
    return &tables[t->variant];
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    static const char *const names[] = {"gsm8k", "gsm8k_cot", "gsm8k_cot_zeroshot", "gsm8k_cot_llama"};
    static const int shots[] = {5, 8, 0, 8};
    snprintf(out->name, sizeof out->name, "%s", names[index]);
    out->variant = index;
    out->version = index == COT_LLAMA ? "4.0" : "3.0";
    out->kind = ITEM_GENERATE;
    out->num_fewshot = shots[index];
    out->filters[0] = "strict-match";
    out->filters[1] = "flexible-extract";
    out->metrics[0].name = "exact_match";
}

const struct suite suite_gsm8k = {
    .name = "gsm8k",
    .card = "GSM8K",
    .state = STATE_EXACT,
    .note =
        "four prompts; both filters are reported. Answers end at 256 tokens and at \"Question:\" or \"Q:\", "
        "which\n"
        "cuts a chat model's answers: scores are lower than what publishers quote. Card: chat, no examples.",
    .data = "test.jsonl and, for the examples of gsm8k, train.jsonl: lines {\"question\", \"answer\"} as in\n"
            "github.com/openai/grade-school-math",
    .n_tasks = VARIANTS,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};

static void mini_task(int index, struct task *out) {
    task(index, out);
    snprintf(out->name, sizeof out->name, "mini_gsm8k");
    out->version = "1.0";
}

/* The same questions and rules for the tiny trained model, whose texts data/tiny/generate.py makes. */
const struct suite suite_mini_gsm8k = {
    .name = "mini_gsm8k",
    .state = STATE_EXACT,
    .note = "gsm8k's protocol on questions that a tiny model has been trained for.",
    .data = "test.jsonl and train.jsonl: in data/tiny (--data data/tiny)",
    .n_tasks = 1,
    .task = mini_task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
