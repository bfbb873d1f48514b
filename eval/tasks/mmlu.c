/* SPDX-License-Identifier: Apache-2.0 */
/* mmlu: 57 subjects of multiple choice, by likelihood of the letters and by what the model writes. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct mmlu_subject mmlu_subjects[MMLU_SUBJECTS] = {
    {"abstract_algebra", "stem"},
    {"anatomy", "stem"},
    {"astronomy", "stem"},
    {"business_ethics", "other"},
    {"clinical_knowledge", "other"},
    {"college_biology", "stem"},
    {"college_chemistry", "stem"},
    {"college_computer_science", "stem"},
    {"college_mathematics", "stem"},
    {"college_medicine", "other"},
    {"college_physics", "stem"},
    {"computer_security", "stem"},
    {"conceptual_physics", "stem"},
    {"econometrics", "social_sciences"},
    {"electrical_engineering", "stem"},
    {"elementary_mathematics", "stem"},
    {"formal_logic", "humanities"},
    {"global_facts", "other"},
    {"high_school_biology", "stem"},
    {"high_school_chemistry", "stem"},
    {"high_school_computer_science", "stem"},
    {"high_school_european_history", "humanities"},
    {"high_school_geography", "social_sciences"},
    {"high_school_government_and_politics", "social_sciences"},
    {"high_school_macroeconomics", "social_sciences"},
    {"high_school_mathematics", "stem"},
    {"high_school_microeconomics", "social_sciences"},
    {"high_school_physics", "stem"},
    {"high_school_psychology", "social_sciences"},
    {"high_school_statistics", "stem"},
    {"high_school_us_history", "humanities"},
    {"high_school_world_history", "humanities"},
    {"human_aging", "other"},
    {"human_sexuality", "social_sciences"},
    {"international_law", "humanities"},
    {"jurisprudence", "humanities"},
    {"logical_fallacies", "humanities"},
    {"machine_learning", "stem"},
    {"management", "other"},
    {"marketing", "other"},
    {"medical_genetics", "other"},
    {"miscellaneous", "other"},
    {"moral_disputes", "humanities"},
    {"moral_scenarios", "humanities"},
    {"nutrition", "other"},
    {"philosophy", "humanities"},
    {"prehistory", "humanities"},
    {"professional_accounting", "other"},
    {"professional_law", "humanities"},
    {"professional_medicine", "other"},
    {"professional_psychology", "social_sciences"},
    {"public_relations", "social_sciences"},
    {"security_studies", "social_sciences"},
    {"sociology", "social_sciences"},
    {"us_foreign_policy", "social_sciences"},
    {"virology", "other"},
    {"world_religions", "humanities"},
};
/* The tiny trained model's; their variants follow MMLU's. */
static const struct mmlu_subject mini_subjects[] = {
    {"arithmetic", ""}, {"number_comparison", ""}, {"word_groups", ""}, {"world_facts", ""}};
enum { MINI_SUBJECTS = sizeof mini_subjects / sizeof *mini_subjects };

static const struct mmlu_subject *subject_of(const struct task *t) {
    return t->variant < MMLU_SUBJECTS ? &mmlu_subjects[t->variant]
                                      : &mini_subjects[t->variant - MMLU_SUBJECTS];
}

const char *const letters_abcd[] = {"A", "B", "C", "D", NULL};

/* "answer": 0 to 3, or a letter. */
static int gold_index(const json_t *answer) {
    if (json_is_integer(answer)) return (int)json_integer_value(answer);
    const char *text = json_is_string(answer) ? json_string_value(answer) : "";
    if (text[0] >= 'A' && text[0] <= 'D' && !text[1]) return text[0] - 'A';
    if (text[0] >= '0' && text[0] <= '3' && !text[1]) return text[0] - '0';
    return -1;
}

/* {"question", "subject", "choices", "answer"} of a CSV row or of an object of that kind. */
static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    const char *subject = arg;
    json_t *question, *choices, *answer;
    if (json_is_array(raw)) {
        if (json_array_size(raw) != 6) {
            *fault = "expected 6 fields: question, four choices, answer";
            return NULL;
        }
        question = json_array_get(raw, 0);
        if (strcmp(json_string_value(question), "question") == 0 &&
            strcmp(json_string_value(json_array_get(raw, 5)), "answer") == 0)
            return NULL; /* a header */
        choices = json_array();
        for (size_t i = 1; i < 5; i++) json_array_append(choices, json_array_get(raw, i));
        answer = json_array_get(raw, 5);
    } else {
        const char *of = json_string_value(json_object_get(raw, "subject"));
        if (of && strcmp(of, subject) != 0) return NULL;
        question = json_object_get(raw, "question");
        choices = json_incref(json_object_get(raw, "choices"));
        answer = json_object_get(raw, "answer");
    }
    int gold = gold_index(answer), texts = json_is_string(question) && json_array_size(choices) == 4;
    for (size_t i = 0; texts && i < 4; i++) texts = json_is_string(json_array_get(choices, i));
    if (!texts)
        *fault = "expected a question and four choices";
    else if (gold < 0)
        *fault = "expected an answer A to D, or 0 to 3";
    json_t *doc = *fault ? NULL
                         : json_pack("{s:O, s:s, s:O, s:i}", "question", question, "subject", subject,
                                     "choices", choices, "answer", gold);
    json_decref(choices);
    return doc;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    const char *const folders[] = {t->variant < MMLU_SUBJECTS ? "mmlu" : "mini_mmlu", NULL};
    const char *subject = subject_of(t)->name, *split = shots ? "dev" : "test";
    static const char *const layouts[] = {"%s/%s_%s.csv", "data/%s/%s_%s.csv", "data.tar:%s/%s_%s.csv",
                                          "mmlu_dev_test.tar:%s/%s_%s.csv"};
    char paths[5][128];
    const char *names[6] = {0};
    for (int i = 0; i < 4; i++) {
        snprintf(paths[i], sizeof paths[i], layouts[i], split, subject, split);
        names[i] = paths[i];
    }
    snprintf(paths[4], sizeof paths[4], "%s.jsonl", split);
    names[4] = paths[4];
    return qa_read(out, dir, folders, names, convert, (void *)subject, e);
}

static void describe(const struct task *t, struct buffer *out) {
    buffer_text(out, "The following are multiple choice questions (with answers) about ");
    for (const char *c = subject_of(t)->name; *c; c++) buffer_add(out, *c == '_' ? " " : c, 1);
    buffer_text(out, ".\n\n");
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, pystr_strip(doc_text(doc, "question")));
    for (int i = 0; i < 4; i++) {
        const json_t *choice = json_array_get(json_object_get(doc, "choices"), (size_t)i);
        buffer_format(out, "\n%s. ", letters_abcd[i]);
        pystr_put(out, (struct pystr){json_string_value(choice), json_string_length(choice)});
    }
    buffer_text(out, "\nAnswer:");
}

static int gold(const json_t *doc) {
    return gold_index(json_object_get(doc, "answer"));
}

static void target_index(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_format(out, "%d", gold(doc));
}

static void target_letter(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    buffer_text(out, letters_abcd[gold(doc) & 3]);
}

static const struct filter first_line[] = {
    {"get_response",
     {{STEP_REGEX, "^(.*?)(?=\\n|$)", 0}, {STEP_STRIP, NULL, 0}, {STEP_REGEX, "^(.*?)[" PY_SPACE "]*$", 0}}},
};

#define MMLU                                                                                                 \
    .describe = describe, .read = read_rows, .sampler = SAMPLER_FIRST_N, .card_shots = 5, .text = text,      \
    .answer = target_letter
static const struct qa by_likelihood = {MMLU, .target = target_index, .choices = letters_abcd, .gold = gold};
static const struct qa by_answer = {MMLU, .target = target_letter, .filters = first_line,
                                    .match = {.ignore_case = 1, .ignore_punctuation = 1},
                                    .gen_kwargs = "{\"until\": [\"</s>\", \"\\n\"]}"};

static const struct qa *table(const struct task *t) {
    return t->kind == ITEM_CHOICES ? &by_likelihood : &by_answer;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    const struct mmlu_subject *s = &mmlu_subjects[index];
    snprintf(out->name, sizeof out->name, "mmlu_%s", s->name);
    snprintf(out->alias, sizeof out->alias, "%s", s->name);
    snprintf(out->group, sizeof out->group, "mmlu_%s", s->field);
    out->variant = index;
    out->version = "1.0";
    out->kind = ITEM_CHOICES;
    out->filters[0] = "none";
    out->metrics[0].name = "acc";
}

static void task_generative(int index, struct task *out) {
    const struct mmlu_subject *s = &mmlu_subjects[index];
    snprintf(out->name, sizeof out->name, "mmlu_%s_generative", s->name);
    snprintf(out->alias, sizeof out->alias, "%s", s->name);
    snprintf(out->group, sizeof out->group, "%s",
             strcmp(s->field, "social_sciences") == 0 ? "social sciences" : s->field);
    out->variant = index;
    out->version = "3.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "get_response";
    out->metrics[0].name = "exact_match";
}

static const struct task_group groups[] = {
    {.name = "mmlu", .version = "2", .metrics = {"acc"}},
    {.name = "mmlu_stem", .alias = "stem", .parent = "mmlu", .version = "2", .metrics = {"acc"}},
    {.name = "mmlu_other", .alias = "other", .parent = "mmlu", .version = "2", .metrics = {"acc"}},
    {.name = "mmlu_social_sciences",
     .alias = "social sciences",
     .parent = "mmlu",
     .version = "2",
     .metrics = {"acc"}},
    {.name = "mmlu_humanities", .alias = "humanities", .parent = "mmlu", .version = "2", .metrics = {"acc"}},
    {0},
};
static const struct task_group groups_generative[] = {
    {.name = "mmlu_generative", .alias = "mmlu (generative)", .version = "3", .metrics = {"exact_match"}},
    {.name = "stem", .parent = "mmlu_generative", .metrics = {"exact_match"}},
    {.name = "other", .parent = "mmlu_generative", .metrics = {"exact_match"}},
    {.name = "social sciences", .parent = "mmlu_generative", .metrics = {"exact_match"}},
    {.name = "humanities", .parent = "mmlu_generative", .metrics = {"exact_match"}},
    {0},
};

#define DATA_MMLU                                                                                            \
    "test/SUBJECT_test.csv and dev/SUBJECT_dev.csv, or the published data.tar that holds them: question, "   \
    "four\n"                                                                                                 \
    "choices, answer (A to D, or 0 to 3 under a header), as in github.com/hendrycks/test; or test.jsonl "    \
    "and\n"                                                                                                  \
    "dev.jsonl: lines {\"question\", \"subject\", \"choices\", \"answer\"}"

const struct suite suite_mmlu = {
    .name = "mmlu",
    .card = "MMLU",
    .state = STATE_EXACT,
    .note = "how likely the letters are after \"Answer:\". lm-eval's default is no examples; --num_fewshot 5 "
            "is what is\n"
            "usually quoted, and what the card protocol takes.",
    .data = DATA_MMLU,
    .n_tasks = MMLU_SUBJECTS,
    .task = task,
    .groups = groups,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};

const struct suite suite_mmlu_generative = {
    .name = "mmlu_generative",
    .state = STATE_EXACT,
    .note = "the same questions; the model writes the letter.",
    .data = "as mmlu, in the folder mmlu",
    .n_tasks = MMLU_SUBJECTS,
    .task = task_generative,
    .groups = groups_generative,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};

static void mini_task(int index, struct task *out) {
    task(0, out);
    snprintf(out->name, sizeof out->name, "mini_mmlu_%s", mini_subjects[index].name);
    snprintf(out->alias, sizeof out->alias, "%s", mini_subjects[index].name);
    snprintf(out->group, sizeof out->group, "mini_mmlu");
    out->variant = MMLU_SUBJECTS + index;
}

static const struct task_group mini_groups[] = {{.name = "mini_mmlu", .version = "1", .metrics = {"acc"}},
                                                {0}};

const struct suite suite_mini_mmlu = {
    .name = "mini_mmlu",
    .state = STATE_EXACT,
    .note = "mmlu's protocol on questions that a tiny model has been trained for.",
    .data = "test/SUBJECT_test.csv and dev/SUBJECT_dev.csv: in data/tiny (--data data/tiny)",
    .n_tasks = MINI_SUBJECTS,
    .task = mini_task,
    .groups = mini_groups,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
