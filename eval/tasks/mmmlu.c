/* SPDX-License-Identifier: Apache-2.0 */
/* mmmlu: MMLU translated into 14 languages by people. */
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *slug, *file, *name;
} locales[] = {
    {"ar_xy", "AR-XY", "Arabic"},
    {"bn_bd", "BN-BD", "Bengali"},
    {"de_de", "DE-DE", "German"},
    {"es_la", "ES-LA", "Spanish"},
    {"fr_fr", "FR-FR", "French"},
    {"hi_in", "HI-IN", "Hindi"},
    {"id_id", "ID-ID", "Indonesian"},
    {"it_it", "IT-IT", "Italian"},
    {"ja_jp", "JA-JP", "Japanese"},
    {"ko_kr", "KO-KR", "Korean"},
    {"pt_br", "PT-BR", "Brazilian Portuguese"},
    {"sw_ke", "SW-KE", "Swahili"},
    {"yo_ng", "YO-NG", "Yoruba"},
    {"zh_cn", "ZH-CN", "Simplified Chinese"},
};
enum { LOCALES = sizeof locales / sizeof *locales };

/* The Subject of some rows is a file's name: what stands before "_test.csv" counts. */
static int of_subject(const char *found, const char *subject) {
    const char *end = strstr(found, "_test.csv");
    if (!end) end = strstr(found, "_test-");
    size_t n = end ? (size_t)(end - found) : strlen(found);
    return strlen(subject) == n && strncmp(found, subject, n) == 0;
}

/* A CSV row (a number, then the seven fields) or an object with these keys. */
static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    static const char *const keys[] = {"Question", "A", "B", "C", "D", "Answer", "Subject", NULL};
    json_t *doc = json_object();
    if (json_is_array(raw)) {
        size_t extra = json_array_size(raw) == 8;
        if (json_array_size(raw) - extra != 7) {
            json_decref(doc);
            *fault = "expected Question, A, B, C, D, Answer, Subject, after a number or not";
            return NULL;
        }
        if (extra)
            json_object_set_new(doc, "Unnamed: 0",
                                json_integer(atol(json_string_value(json_array_get(raw, 0)))));
        for (size_t i = 0; keys[i]; i++) json_object_set(doc, keys[i], json_array_get(raw, i + extra));
    } else {
        json_object_update(doc, (json_t *)raw);
    }
    if (!doc_has_texts(doc, keys))
        *fault = "expected the texts Question, A, B, C, D, Answer, Subject";
    else if (!of_subject(json_string_value(json_object_get(doc, "Subject")), arg))
        json_decref(doc), doc = NULL;
    if (*fault) json_decref(doc), doc = NULL;
    return doc;
}

static int locale_of(const struct task *t) {
    return t->variant / MMLU_SUBJECTS;
}
static const struct mmlu_subject *subject_of(const struct task *t) {
    return &mmlu_subjects[t->variant % MMLU_SUBJECTS];
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)shots;
    static const char *const folders[] = {"mmmlu", "mmmlu/test", NULL};
    char csv[64], jsonl[64];
    snprintf(csv, sizeof csv, "mmlu_%s.csv", locales[locale_of(t)].file);
    snprintf(jsonl, sizeof jsonl, "mmlu_%s.jsonl", locales[locale_of(t)].file);
    const char *const names[] = {csv, jsonl, NULL};
    return qa_read(out, dir, folders, names, convert, (void *)subject_of(t)->name, e);
}

static void describe(const struct task *t, struct buffer *out) {
    buffer_text(out, "The following are multiple choice questions (with answers) about ");
    for (const char *c = subject_of(t)->name; *c; c++) buffer_add(out, *c == '_' ? " " : c, 1);
    buffer_format(out, " (%s).\n\n", locales[locale_of(t)].name);
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, pystr_strip(doc_text(doc, "Question")));
    for (int i = 0; i < 4; i++) {
        buffer_format(out, "\n%s. ", letters_abcd[i]);
        pystr_put(out, doc_text(doc, letters_abcd[i]));
    }
    buffer_text(out, "\nAnswer:");
}

static void target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "Answer"));
}

static int gold(const json_t *doc) {
    for (int i = 0; i < 4; i++)
        if (pystr_is(doc_text(doc, "Answer"), letters_abcd[i])) return i;
    return -1;
}

static const struct qa qa = {
    .describe = describe,
    .read = read_rows,
    .shared_pool = 1,
    .removes_doc = 1,
    .sampler = SAMPLER_FIRST_N,
    .card_shots = 5,
    .text = text,
    .target = target,
    .choices = letters_abcd,
    .gold = gold,
};
static const struct qa *table(const struct task *t) {
    return (void)t, &qa;
}
QA_FUNCTIONS(table)

static void task(int index, struct task *out) {
    out->variant = index;
    const char *slug = locales[locale_of(out)].slug;
    const struct mmlu_subject *s = subject_of(out);
    snprintf(out->name, sizeof out->name, "mmmlu_%s_%s", slug, s->name);
    snprintf(out->alias, sizeof out->alias, "%s (%s)", s->name, locales[locale_of(out)].name);
    for (char *c = out->alias; *c; c++) *c = *c == '_' ? ' ' : *c;
    snprintf(out->group, sizeof out->group, "mmmlu_%s_%s", slug, s->field);
    out->version = "1.0";
    out->kind = ITEM_CHOICES;
    out->filters[0] = "none";
    out->metrics[0].name = "acc";
    out->metrics[1].name = "acc_norm";
}

#define FIELD(slug, language, field, label)                                                                  \
    {                                                                                                        \
        .name = "mmmlu_" slug "_" field, .alias = language " " label, .parent = "mmmlu_" slug,               \
        .version = "1", .metrics = {                                                                         \
            "acc"                                                                                            \
        }                                                                                                    \
    }
#define LOCALE(slug, language)                                                                               \
    {.name = "mmmlu_" slug,                                                                                  \
     .alias = language,                                                                                      \
     .parent = "mmmlu",                                                                                      \
     .version = "1",                                                                                         \
     .metrics = {"acc", "acc_norm"}},                                                                        \
        FIELD(slug, language, "stem", "stem"), FIELD(slug, language, "other", "other"),                      \
        FIELD(slug, language, "social_sciences", "social sciences"),                                         \
        FIELD(slug, language, "humanities", "humanities")
static const struct task_group groups[] = {
    {.name = "mmmlu", .alias = "MMMLU", .version = "1", .metrics = {"acc", "acc_norm"}},
    LOCALE("ar_xy", "Arabic"),
    LOCALE("bn_bd", "Bengali"),
    LOCALE("de_de", "German"),
    LOCALE("es_la", "Spanish"),
    LOCALE("fr_fr", "French"),
    LOCALE("hi_in", "Hindi"),
    LOCALE("id_id", "Indonesian"),
    LOCALE("it_it", "Italian"),
    LOCALE("ja_jp", "Japanese"),
    LOCALE("ko_kr", "Korean"),
    LOCALE("pt_br", "Brazilian Portuguese"),
    LOCALE("sw_ke", "Swahili"),
    LOCALE("yo_ng", "Yoruba"),
    LOCALE("zh_cn", "Simplified Chinese"),
    {0},
};

const struct suite suite_mmmlu = {
    .name = "mmmlu",
    .card = "MMMLU",
    .state = STATE_EXACT,
    .note = "names are lm-eval's: mmmlu_de_de_anatomy, mmmlu_de_de, mmmlu. Examples (--num_fewshot) are the "
            "first of\n"
            "the test rows. The card's average is believed to be over ar fr de es ja ko zh.",
    .data = "mmlu_DE-DE.csv and so on: \"\",Question,A,B,C,D,Answer,Subject, as in "
            "huggingface.co/datasets/openai/MMMLU;\n"
            "or the same fields in mmlu_DE-DE.jsonl",
    .n_tasks = LOCALES * MMLU_SUBJECTS,
    .task = task,
    .groups = groups,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
};
