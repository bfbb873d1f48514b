/* SPDX-License-Identifier: Apache-2.0 */
/* multi_if: IFEval's instructions, one more in each of three turns of a conversation. English only: other
 * languages count words and sentences in ways that are not here. */
#include "eval/tasks/ifeval_checks.h"
#include "eval/tasks/shared.h"

#include <stdio.h>
#include <string.h>

#include "data/json.h"

enum { TURNS = 3, PER_TURN = 4 };

/* Where the first row, which names the columns, has what. */
enum { KEY, LANGUAGE, PROMPT, IDS = PROMPT + TURNS, KWARGS = IDS + TURNS, COLUMNS = KWARGS + TURNS };
struct columns {
    int known;
    size_t n; /* of the first row */
    size_t at[COLUMNS];
};

static const char *const names[COLUMNS] = {"key",
                                           "language",
                                           "turn_1_prompt",
                                           "turn_2_prompt",
                                           "turn_3_prompt",
                                           "turn_1_instruction_id_list",
                                           "turn_2_instruction_id_list",
                                           "turn_3_instruction_id_list",
                                           "turn_1_kwargs",
                                           "turn_2_kwargs",
                                           "turn_3_kwargs"};

static void read_names(const json_t *row, struct columns *c, const char **fault) {
    c->known = 1;
    c->n = json_array_size(row);
    for (int i = 0; i < COLUMNS; i++) {
        size_t k = 0;
        while (k < json_array_size(row) && strcmp(json_string_value(json_array_get(row, k)), names[i]) != 0)
            k++;
        if (k == json_array_size(row))
            *fault = "not the names of Multi-IF's columns (key, language, turn_1_prompt, ...)";
        c->at[i] = k;
    }
}

/* A cell's JSON; NULL when it is none. */
static json_t *cell(const json_t *row, size_t at, size_t flags) {
    const json_t *text = json_array_get(row, at);
    json_error_t ignored;
    return json_parse(json_string_length(text) ? json_string_value(text) : "", json_string_length(text),
                      flags | JSON_ALLOW_NUL, &ignored);
}

/* {"prompt", "instruction_id_list", "kwargs"}; NULL: the turn is malformed. */
static json_t *read_turn(const json_t *row, const struct columns *c, int turn) {
    json_t *message = cell(row, c->at[PROMPT + turn], 0), *ids = cell(row, c->at[IDS + turn], 0);
    json_t *packed = cell(row, c->at[KWARGS + turn], 0), *kwargs = json_array(), *out = NULL, *one;
    size_t i;
    json_array_foreach(packed, i, one) {
        const char *text = json_string_value(one);
        json_error_t ignored;
        json_array_append_new(kwargs, text ? json_parse(text, strlen(text), JSON_ALLOW_NUL, &ignored) : NULL);
    }
    json_t *prompt = json_object_get(message, "content");
    if (json_is_string(prompt) && !ifeval_list_fault(ids, kwargs))
        out = json_pack("{s:O,s:O,s:O}", "prompt", prompt, "instruction_id_list", ids, "kwargs", kwargs);
    json_decref(message);
    json_decref(ids);
    json_decref(packed);
    json_decref(kwargs);
    return out;
}

/* Conversations may end early: the benchmark skips turns whose prompt is "None" or empty, or whose list of
 * instructions cannot be read. */
static int has_turn(const json_t *row, const struct columns *c, int turn) {
    const char *text = json_string_value(json_array_get(row, c->at[PROMPT + turn]));
    return text && *text && strcmp(text, "None") != 0;
}

static json_t *convert(const json_t *raw, void *arg, const char **fault) {
    struct columns *c = arg;
    if (!c->known) {
        read_names(raw, c, fault);
        return NULL;
    }
    if (json_array_size(raw) != c->n) {
        *fault = "another number of cells than the first row has names";
        return NULL;
    }
    const char *language = json_string_value(json_array_get(raw, c->at[LANGUAGE]));
    if (language && strcmp(language, "English") != 0) return NULL;
    json_t *turns = json_array();
    for (int i = 0; i < TURNS && has_turn(raw, c, i); i++)
        if (json_array_append_new(turns, read_turn(raw, c, i)))
            *fault = "a turn's prompt, instructions or arguments are malformed";
    if (json_array_size(turns) == 0 && !*fault) *fault = "no turn has a prompt";
    json_t *doc =
        *fault ? NULL : json_pack("{s:O,s:O}", "key", json_array_get(raw, c->at[KEY]), "turns", turns);
    json_decref(turns);
    return doc;
}

static enum status read_rows(const struct task *t, const char *dir, int shots, struct rows *out,
                             struct error *e) {
    (void)t;
    (void)shots;
    static const char *const folders[] = {"multi_if", "multi-if", NULL};
    static const char *const files[] = {"multiIF_20241018.csv", "multiIF_20241018_english.csv", NULL};
    struct columns c = {0};
    return qa_read(out, dir, folders, files, convert, &c, e);
}

static const json_t *turn_of(const json_t *doc, int turn) {
    return json_array_get(json_object_get(doc, "turns"), (size_t)turn);
}

static void text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(turn_of(doc, 0), "prompt"));
}

static const struct qa qa = {
    .read = read_rows,
    .shared_pool = 1,
    .fixed_shots = 1,
    .text = text,
    .target = zero_target,
    .gen_kwargs =
        "{\"until\": [], \"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.9, \"max_gen_toks\": 1024}",
};

static enum status load(struct task_data **out, const struct task *t, const char *dir,
                        const struct task_options *o, struct error *e) {
    *out = NULL;
    if (!o->apply_chat_template)
        return fail(e, ERR_ARG,
                    "%s: its turns are a conversation, which takes --apply_chat_template or --protocol card",
                    t->name);
    return qa_load(out, t, &qa, dir, o, e);
}

static enum status next(struct task_data *d, int doc_id, struct item *item, int turn,
                        const struct response *r, int *more, struct error *e) {
    (void)d;
    (void)doc_id;
    const json_t *follows = turn_of(item->doc, turn + 1);
    *more = follows != NULL;
    if (!follows) return OK;
    json_t *said = json_pack("{s:s,s:o}", "role", "assistant", "content", answer_text(r));
    json_t *asked = json_pack("{s:s,s:O}", "role", "user", "content", json_object_get(follows, "prompt"));
    /* Both are stolen, also when they are NULL, which fails. */
    int bad = json_array_append_new(item->messages, said) | json_array_append_new(item->messages, asked);
    return bad ? fail(e, ERR_FORMAT, "an answer is not UTF-8, or memory ran out") : OK;
}

/* Each turn with all instructions so far; turns that a conversation does not have are not scored. */
static const char *const metric_names[TURNS][PER_TURN] = {
#define TURN(n)                                                                                              \
    {                                                                                                        \
        "turn_" n "_prompt_level_strict_acc", "turn_" n "_inst_level_strict_acc",                            \
            "turn_" n "_prompt_level_loose_acc", "turn_" n "_inst_level_loose_acc"                           \
    }
    TURN("1"), TURN("2"), TURN("3")};

static enum status score(const struct task *t, const json_t *doc, const char *unused,
                         const struct response *r, int n, struct score *out, struct error *e) {
    (void)unused;
    int turns = (int)json_array_size(json_object_get(doc, "turns"));
    if (turns < 1 || turns > TURNS) return fail(e, ERR_FORMAT, "%s: the document has no turns", t->name);
    if (n != turns)
        return fail(e, ERR_ARG, "%s: %d responses (expected %d, one per turn)", t->name, n, turns);
    json_t *answers = json_array();
    out->metrics = json_object();
    for (int i = 0; i < turns; i++) {
        enum status status = r[i].text ? ifeval_verdicts(turn_of(doc, i), (struct pystr){r[i].text, r[i].n},
                                                         metric_names[i], out->metrics, e)
                                       : fail(e, ERR_FORMAT, "the document: no answer");
        if (status != OK) return json_decref(answers), status;
        json_array_append_new(answers, answer_text(&r[i]));
    }
    out->filtered = answers; /* all turns; a response of its own would be the first */
    return OK;
}

static void task(int index, struct task *out) {
    (void)index;
    snprintf(out->name, sizeof out->name, "multi_if_en");
    out->version = "1.0";
    out->kind = ITEM_GENERATE;
    out->filters[0] = "none";
    for (int i = 0; i < TURNS * PER_TURN; i++)
        out->metrics[i] = (struct metric){.name = metric_names[i / PER_TURN][i % PER_TURN],
                                          .aggregation = i % 2 ? AGGREGATE_FLAT : AGGREGATE_MEAN};
}

const struct suite suite_multi_if = {
    .name = "multi_if",
    .card = "Multi-IF",
    .state = STATE_PARTIAL,
    .note =
        "the 909 English conversations of 4501; other languages are left out. Not in lm-eval: a turn's score "
        "is the\n"
        "mean of its four metrics, and a model's the mean over turns. Checkers are IFEval's, near where "
        "those are "
        "near;\n"
        "an answer of nothing but white space follows nothing, which the benchmark's strict scores see "
        "otherwise.\n"
        "Needs --apply_chat_template; temperature 0.6, top-p 0.9, 1024 tokens as in the benchmark's program.",
    .data =
        "multiIF_20241018.csv (or _english.csv, .gz or not), as in huggingface.co/datasets/facebook/Multi-IF",
    .n_tasks = 1,
    .task = task,
    .load = load,
    .unload = qa_unload,
    .count = qa_count,
    .shots = qa_shots,
    .build = qa_build,
    .score = score,
    .next = next,
};
