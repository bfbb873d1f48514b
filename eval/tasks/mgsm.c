/* SPDX-License-Identifier: Apache-2.0 */
/* mgsm: 250 of GSM8K's questions in eleven languages, in lm-eval's three ways of asking. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

enum { DIRECT, NATIVE_COT, EN_COT, WAYS };

struct language {
    const char *code;
    const char *question; /* put before a question of the test set, which has no such word of its own */
    const char *thinking, *direct; /* put behind it */
    size_t prefix; /* characters at the beginning of an example's answer that repeat `thinking` */
    struct filter strict;
};
#define STRICT(expression)                                                                                   \
    {                                                                                                        \
        "strict-match", {                                                                                    \
            { STEP_REGEX, expression, 0 }                                                                    \
        }                                                                                                    \
    }
#define NUMBER "(\\-?[0-9\\.\\,]+)"
static const struct language languages[] = {
    {"bn", "প্রশ্ন:", "ধাপে ধাপে উত্তর:", "Answer:", 17, STRICT("The answer is " NUMBER)},
    {"de", "Frage:", "Schritt-für-Schritt-Antwort:", "Antwort:", 29, STRICT("Die Antwort lautet " NUMBER)},
    {"en", "Question:", "Step-by-Step Answer:", "Answer:", 21, STRICT("The answer is " NUMBER)},
    {"es", "Pregunta:", "Respuesta paso a paso:", "Respuesta:", 23, STRICT("La respuesta es " NUMBER)},
    {"fr", "Question :", "Réponse étape par étape :", "Réponse :", 26, STRICT("La réponse est " NUMBER)},
    {"ja", "問題：", "ステップごとの答え:", "Answer:", 11, STRICT("答えは" NUMBER "です。")},
    {"ru", "Задача:", "Пошаговоерешение:", "Answer:", 18, STRICT("Ответ — " NUMBER)},
    {"sw", "Swali:", "Jibu la Hatua kwa Hatua:", "Answer:", 25, STRICT("Jibu ni " NUMBER)},
    {"te", "ప్రశ్న:", "దశలవారీగా సమాధానం:", "Answer:", 19, STRICT("సమాధానం " NUMBER)},
    {"th", "โจทย์:", "คำตอบทีละขั้นตอน:", "Answer:", 18, STRICT("คำตอบคือ " NUMBER)},
    {"zh", "问题：", "逐步解答:", "Answer:", 6, STRICT("答案是 " NUMBER "。")},
};
enum { LANGUAGES = sizeof languages / sizeof *languages };

static const struct language *language_of(const struct task *t) {
    return &languages[t->variant % LANGUAGES];
}
static int way_of(const struct task *t) {
    return t->variant / LANGUAGES;
}

/* A whole number as the files write it: "18", "1,080". */
static int parse_number(const char *text, json_int_t *out) {
    char digits[32];
    size_t n = 0;
    for (; *text && n < sizeof digits - 1; text++)
        if (*text != ',') digits[n++] = *text;
    digits[n] = 0;
    char *end;
    *out = strtoll(digits, &end, 10);
    return n > 0 && !*text && !*end && n < 19;
}

/* A test row "question<TAB>number", or an object with lm-eval's keys. */
static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    (void)arg;
    if (json_is_object(raw)) {
        json_t *answer = json_object_get(raw, "answer");
        if (json_is_string(json_object_get(raw, "question")) &&
            json_is_integer(json_object_get(raw, "answer_number")) &&
            (!answer || json_is_null(answer) || json_is_string(answer)))
            return json_incref((json_t *)raw);
        *fault = "expected \"question\", \"answer\" (a text or null) and \"answer_number\"";
        return NULL;
    }
    json_int_t number;
    if (json_array_size(raw) != 2 || !parse_number(json_string_value(json_array_get(raw, 1)), &number)) {
        *fault = "expected a question, a tab and a whole number";
        return NULL;
    }
    return json_pack("{s:O, s:n, s:I, s:n}", "question", json_array_get(raw, 0), "answer", "answer_number",
                     number, "equation_solution");
}

/* The last number of an example's answer. */
static json_int_t last_number(const char *answer) {
    const char *end = answer + strlen(answer);
    while (end > answer && !(end[-1] >= '0' && end[-1] <= '9')) end--;
    const char *start = end;
    while (start > answer && ((start[-1] >= '0' && start[-1] <= '9') || start[-1] == ',')) start--;
    char text[32];
    json_int_t number = 0;
    snprintf(text, sizeof text, "%.*s", (int)(end - start < 31 ? end - start : 31), start);
    if (!parse_number(text, &number)) number = 0;
    return number;
}

/* exemplars.json: {"de": {"1": {"q", "a"}, ...}, ...}. */
static enum status read_exemplars(const char *path, const char *code, struct rows *out, struct error *e) {
    json_t *all;
    TRY(json_read(&all, path, 64 << 20, 0, e));
    enum status status = OK;
    const char *key;
    json_t *one;
    json_object_foreach(json_object_get(all, code), key, one) {
        const char *q = json_string_value(json_object_get(one, "q")),
                   *a = json_string_value(json_object_get(one, "a"));
        json_t *number = json_object_get(one, "number_answer");
        json_t *doc =
            q && a ? json_pack("{s:s, s:s, s:I, s:n}", "question", q, "answer", a, "answer_number",
                               number ? json_integer_value(number) : last_number(a), "equation_solution")
                   : NULL;
        status = rows_append(out, doc, path, out->n + 1, "expected the texts \"q\" and \"a\"", e);
        if (status != OK) break;
    }
    json_decref(all);
    if (status == OK && out->n == 0) status = fail(e, ERR_FORMAT, "%s: no examples in %s", path, code);
    return status;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    static const char *const folders[] = {"mgsm", NULL};
    const char *code = language_of(t)->code;
    char tsv[32], jsonl[32];
    snprintf(tsv, sizeof tsv, "mgsm_%s.tsv", code);
    snprintf(jsonl, sizeof jsonl, "mgsm_%s_%s.jsonl", code, shots ? "train" : "test");
    const char *const names[] = {shots ? "exemplars.json" : tsv, jsonl, NULL};
    if (!shots) return qa_read(out, dir, folders, names, convert, NULL, e);
    char *path = rows_find(dir, folders, names, e);
    if (!path) return ERR_IO;
    int lines = strstr(path, jsonl) != NULL;
    free(path);
    if (lines) return qa_read(out, dir, folders, names + 1, convert, NULL, e);
    path = rows_find(dir, folders, names, e);
    enum status status = path ? read_exemplars(path, code, out, e) : ERR_IO;
    free(path);
    return status;
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    const struct language *l = language_of(t);
    if (!json_is_string(json_object_get(doc, "answer"))) buffer_format(out, "%s ", l->question);
    pystr_put(out, doc_text(doc, "question"));
    buffer_format(out, "\n%s",
                  way_of(t) == DIRECT       ? l->direct
                  : way_of(t) == NATIVE_COT ? l->thinking
                                            : "Step-by-Step Answer:");
}

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    if (way_of(t) != DIRECT && json_is_string(json_object_get(doc, "answer")))
        pystr_put(out, pystr_skip(doc_text(doc, "answer"), language_of(t)->prefix));
    else
        buffer_format(out, "%lld", (long long)json_integer_value(json_object_get(doc, "answer_number")));
}

/* One struct qa per task: its stop word and its expression are the language's. */
static struct qa tables[WAYS * LANGUAGES];
static struct filter filters[WAYS * LANGUAGES][2];
static char kwargs[LANGUAGES][160];

__attribute__((constructor)) static void fill_tables(void) {
    static const struct filter flexible = FILTER_FLEXIBLE,
                               strip = {"remove_whitespace", {{STEP_STRIP, NULL, 0}}};
    for (int i = 0; i < WAYS * LANGUAGES; i++) {
        int way = i / LANGUAGES, l = i % LANGUAGES;
        snprintf(kwargs[l], sizeof kwargs[l],
                 "{\"do_sample\": false, \"until\": [\"%s\", \"</s>\", \"<|im_end|>\"]}",
                 languages[l].question);
        filters[i][0] = way == DIRECT ? strip : way == NATIVE_COT ? languages[l].strict : languages[2].strict;
        filters[i][1] = flexible;
        tables[i] = (struct qa){.read = read_rows,
                                .card_shots = 5,
                                .text = text,
                                .target = target,
                                .delimiters = {.target = way == DIRECT ? "" : " "},
                                .filters = filters[i],
                                .match = {.ignore_case = 1, .ignore_punctuation = 1},
                                .gen_kwargs = kwargs[l]};
    }
}

static const struct qa *table(const struct task *t) {
    return &tables[t->variant];
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    static const char *const names[] = {"mgsm_direct", "mgsm_native_cot", "mgsm_en_cot"};
    out->variant = index;
    int way = way_of(out);
    snprintf(out->name, sizeof out->name, "%s_%s", names[way], language_of(out)->code);
    snprintf(out->group, sizeof out->group, "%s", names[way]);
    out->version = way == EN_COT ? "3.0" : "4.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = way == DIRECT ? "remove_whitespace" : "strict-match";
    out->filters[1] = "flexible-extract";
    out->metrics[0].name = "exact_match";
}

/* Lists only: lm-eval has tags here, which aggregate nothing. */
static const struct task_group groups[] = {
    {.name = "mgsm_direct"}, {.name = "mgsm_native_cot"}, {.name = "mgsm_en_cot"}, {0}};

const struct suite suite_mgsm = {
    .name = "mgsm",
    .card = "MGSM",
    .state = STATE_EXACT,
    .note = "lm-eval's default is no examples; --num_fewshot up to 8 takes them in an order drawn per "
            "question. Answers\n"
            "lose \".\" and \"-\" before they are compared: 3.5 equals 35 and -5 equals 5. Card: chat, 5 "
            "examples.",
    .data = "mgsm_bn.tsv and so on: question, tab, number; for examples exemplars.json ({\"de\": {\"1\": "
            "{\"q\", \"a\"}}});\n"
            "as in github.com/google-research/url-nlp; or mgsm_de_test.jsonl and mgsm_de_train.jsonl",
    .n_tasks = WAYS * LANGUAGES,
    .task = task,
    .groups = groups,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
