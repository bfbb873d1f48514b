/* SPDX-License-Identifier: Apache-2.0 */
/* test_eval_tasks: prompts and scores against lm-evaluation-harness itself: fixtures/lmeval/own.jsonl on
 * documents written for this, real.jsonl on the published data where LFM2_EVAL_DATA says they lie (both made
 * by oracle/make_lmeval_golden.py). Every document's prompt must be lm-eval's, byte for byte, and every
 * answer must be filtered and valued as lm-eval does it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/rows.h"
#include "data/sha256.h"
#include "eval/pystr.h"
#include "eval/task.h"

#define FOLDER "tests/fixtures/lmeval"

/* What the oracle hashes: the prompt (for chat: role NUL content NUL ...), then each continuation after a
 * NUL. hash: of the prompt alone, lm-eval's prompt_hash. */
static void prompt_text(const struct item *item, struct buffer *out, char hash[SHA256_HEX]) {
    size_t i;
    json_t *message;
    json_array_foreach(item->messages, i, message) {
        const json_t *content = json_object_get(message, "content");
        buffer_text(out, json_string_value(json_object_get(message, "role")));
        buffer_add(out, "", 1);
        buffer_add(out, json_string_value(content), json_string_length(content));
        buffer_add(out, "", 1);
    }
    if (!item->messages) pystr_put(out, pystr_in(&item->context));
    sha256_hex(out->data ? out->data : "", out->n, hash);
    for (int k = 0; k < item->n_continuations; k++) {
        buffer_add(out, "", 1);
        pystr_put(out, pystr_in(&item->continuations[k]));
    }
}

static json_t *templates; /* answers.json */

/* {G} {W} {g} {C}: the right answer, a wrong one, the right one in lower case, the text of the right choice.
 */
static void fill_in(struct pystr pattern, const struct pystr fill[4], struct buffer *out) {
    static const char *const marks[] = {"{G}", "{W}", "{g}", "{C}"};
    struct buffer now = {0};
    pystr_put(&now, pattern);
    for (int m = 0; m < 4; m++) {
        struct buffer next = {0};
        struct pystr rest = pystr_in(&now);
        for (size_t at; (at = pystr_find(rest, pystr_of(marks[m]))) < rest.n;
             rest = pystr_from(rest, at + 3)) {
            pystr_put(&next, pystr_slice(rest, 0, at));
            pystr_put(&next, fill[m]);
        }
        pystr_put(&next, rest);
        buffer_free(&now);
        now = next;
    }
    *out = now;
}

struct gold {
    struct buffer right, wrong, lower;
    struct pystr choice;
    const char *kind;
};

static void find_gold(const struct task *t, const struct item *item, struct gold *g) {
    struct pystr target = pystr_of(item->target);
    const json_t *answer = json_object_get(item->doc, "answer");
    g->choice = pystr_of("");
    if (strstr(t->name, "gsm") == t->name || strstr(t->name, "mgsm") == t->name) {
        size_t at = pystr_rfind(target, pystr_of("####"));
        pystr_put(&g->right, pystr_strip(at < target.n ? pystr_from(target, at + 4) : target));
        g->kind = "number";
    } else if (strstr(t->name, "hendrycks")) {
        buffer_add(&g->right, json_string_value(answer), json_string_length(answer));
        g->kind = "math";
    } else {
        pystr_put(&g->right, pystr_strip_of(target, "()"));
        const json_t *choices = json_object_get(item->doc, "choices");
        if (!choices) choices = json_object_get(item->doc, "options");
        const json_t *choice = json_array_get(choices, (size_t)(g->right.data[0] - 'A'));
        if (choice) g->choice = (struct pystr){json_string_value(choice), json_string_length(choice)};
        g->kind = "letter";
    }
    pystr_put(&g->wrong, pystr_in(&g->right));
    if (strcmp(g->kind, "letter") == 0)
        g->wrong.data[0] = (char)('A' + (g->wrong.data[0] - 'A' + 1) % 4);
    else
        buffer_text(&g->wrong, "1");
    pystr_lower(&g->lower, pystr_in(&g->right));
}

enum { MAX_METRICS = 2 };
struct scores {
    struct buffer filtered[TASK_MAX_FILTERS];            /* each answer's, 0x1f after it */
    struct buffer digits[TASK_MAX_FILTERS][MAX_METRICS]; /* one per answer */
};

static void add_score(const struct task *t, const struct score *s, int f, struct pystr answer,
                      struct scores *out) {
    if (s->filtered) {
        const json_t *text = json_array_get(s->filtered, 0);
        buffer_add(&out->filtered[f], json_string_value(text), json_string_length(text));
    } else {
        pystr_put(&out->filtered[f], answer);
    }
    buffer_text(&out->filtered[f], "\x1f");
    for (int m = 0; m < task_metrics(t); m++)
        buffer_format(&out->digits[f][m], "%d",
                      (int)json_number_value(json_object_get(s->metrics, t->metrics[m].name)));
}

/* Scores the document's answers; their number, times filters. */
static size_t score_document(const struct task *t, const struct item *item, struct scores *out) {
    struct gold g = {0};
    int by_likelihood = t->kind == ITEM_CHOICES;
    if (!by_likelihood) find_gold(t, item, &g);
    const json_t *rows = json_object_get(templates, by_likelihood ? "lls" : g.kind);
    const struct pystr fill[] = {pystr_in(&g.right), pystr_in(&g.wrong), pystr_in(&g.lower), g.choice};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct buffer answer = {0};
        struct response r[4] = {0};
        struct score scored[TASK_MAX_FILTERS] = {0};
        int n = by_likelihood ? 4 : 1;
        for (int k = 0; by_likelihood && k < n; k++)
            r[k].loglikelihood = json_number_value(json_array_get(row, (size_t)k));
        if (!by_likelihood)
            fill_in((struct pystr){json_string_value(row), json_string_length(row)}, fill, &answer);
        r[0].text = by_likelihood ? NULL : answer.data ? answer.data : "";
        r[0].n = answer.n;
        struct error e = {0};
        enum status status = t->suite->score(t, item->doc, item->target, r, n, scored, &e);
        cr_assert_eq(status, OK, "%s, answer %zu: %s", t->name, i, e.text);
        for (int f = 0; f < task_filters(t); f++) {
            add_score(t, &scored[f], f, by_likelihood ? pystr_of("") : pystr_in(&answer), out);
            json_decref(scored[f].filtered);
            json_decref(scored[f].metrics);
        }
        buffer_free(&answer);
    }
    buffer_free(&g.right);
    buffer_free(&g.wrong);
    buffer_free(&g.lower);
    return json_array_size(rows) * (size_t)task_filters(t);
}

static void digest_scores(const struct task *t, struct scores *s, char out[SHA256_HEX]) {
    struct buffer all = {0};
    for (int f = 0; f < task_filters(t); f++) {
        pystr_put(&all, pystr_in(&s->filtered[f]));
        for (int m = 0; m < task_metrics(t); m++) {
            buffer_format(&all, m ? ", \"%s\": \"" : "{\"%s\": \"", t->metrics[m].name);
            pystr_put(&all, pystr_in(&s->digits[f][m]));
            buffer_text(&all, "\"");
        }
        buffer_text(&all, "}\x1e");
    }
    sha256_hex(all.data ? all.data : "", all.n, out);
    buffer_free(&all);
}

/* The first documents' scores are there in full: says which answer differs. */
static void compare_rows(const struct task *t, const json_t *row, const struct scores *s, int doc) {
    const json_t *filtered = json_object_get(row, "filtered"), *metrics = json_object_get(row, "metrics");
    for (int f = 0; row && f < task_filters(t); f++) {
        struct pystr ours = pystr_in(&s->filtered[f]);
        const json_t *texts = json_array_get(filtered, (size_t)f);
        for (size_t i = 0; i < json_array_size(texts); i++) {
            const json_t *want = json_array_get(texts, i);
            size_t at = pystr_find(ours, pystr_of("\x1f"));
            /* An answer may hold the mark itself; then only its metric is compared here. */
            struct pystr expected = {json_string_value(want), json_string_length(want)};
            if (pystr_find(expected, pystr_of("\x1f")) < expected.n) break;
            cr_assert(pystr_equal(pystr_slice(ours, 0, at), expected),
                      "%s doc %d, %s, answer %zu: \"%.*s\", lm-eval has \"%s\"", t->name, doc, t->filters[f],
                      i, (int)at, ours.s, expected.s);
            ours = pystr_from(ours, at + 1);
        }
        for (int m = 0; m < task_metrics(t); m++) {
            const char *want =
                json_string_value(json_object_get(json_array_get(metrics, (size_t)f), t->metrics[m].name));
            for (size_t i = 0; i < strlen(want); i++)
                cr_assert_eq(s->digits[f][m].data[i], want[i],
                             "%s doc %d, %s, answer %zu: %s is %c, lm-eval has %c", t->name, doc,
                             t->filters[f], i, t->metrics[m].name, s->digits[f][m].data[i], want[i]);
        }
    }
}

static void free_scores(struct scores *s) {
    for (int f = 0; f < TASK_MAX_FILTERS; f++) {
        buffer_free(&s->filtered[f]);
        for (int m = 0; m < MAX_METRICS; m++) buffer_free(&s->digits[f][m]);
    }
}

/* What was compared, per kind of task: the table that `make oracle` shows. */
struct totals {
    char name[64];
    size_t documents, prompts, scores;
};
enum { MAX_KINDS = 32 };

/* "mgsm_direct_de" is of kind "mgsm_direct", "mmlu_anatomy" of "mmlu". */
static struct totals *totals_of(struct totals *all, const struct task *t) {
    char name[64];
    snprintf(name, sizeof name, "%s", strstr(t->suite->name, "mmlu") ? t->suite->name : t->name);
    if (strncmp(name, "mgsm", 4) == 0) *strrchr(name, '_') = 0;
    int i = 0;
    while (all[i].name[0] && strcmp(all[i].name, name) != 0) i++;
    cr_assert_lt(i, MAX_KINDS);
    strcpy(all[i].name, name);
    return &all[i];
}

static void print_totals(const char *which, const struct totals *all) {
    fprintf(stderr, "table: %s documents\ntable: %-32s %9s %9s %9s\n", which, "task", "documents", "prompts",
            "rows");
    struct totals sum = {.name = "all"};
    for (int i = 0; all[i].name[0]; i++) {
        fprintf(stderr, "table: %-32s %9zu %9zu %9zu\n", all[i].name, all[i].documents, all[i].prompts,
                all[i].scores);
        sum.documents += all[i].documents;
        sum.prompts += all[i].prompts;
        sum.scores += all[i].scores;
    }
    fprintf(stderr, "table: %-32s %9zu %9zu %9zu, all equal to lm-eval's\n", sum.name, sum.documents,
            sum.prompts, sum.scores);
}

static void check_document(const struct task *t, const json_t *line, const struct item *item, int doc,
                           struct totals *totals, struct sha256_ctx *hashes) {
    char hex[SHA256_HEX];
    struct buffer text = {0};
    prompt_text(item, &text, hex);
    sha256_update(hashes, 64, (const uint8_t *)hex);
    sha256_hex(text.data ? text.data : "", text.n, hex);
    const char *prompts = json_string_value(json_object_get(line, "prompts"));
    cr_assert_eq(strncmp(hex, prompts + 12 * doc, 12), 0,
                 "%s doc %d, %s, %d shots: another prompt than lm-eval's:\n%.*s", t->name, doc,
                 json_string_value(json_object_get(line, "way")),
                 (int)json_integer_value(json_object_get(line, "shots")), (int)text.n, text.data);
    sha256_hex(item->target, strlen(item->target), hex);
    const char *targets = json_string_value(json_object_get(line, "targets"));
    cr_assert_eq(strncmp(hex, targets + 4 * doc, 4), 0, "%s doc %d: another target than lm-eval's: %s",
                 t->name, doc, item->target);
    buffer_free(&text);
    totals->prompts++;
    const char *kwargs = json_string_value(json_object_get(line, "kwargs"));
    if (kwargs) {
        char *ours = json_dumps(item->gen_kwargs, 0);
        cr_assert_str_eq(ours, kwargs, "%s", t->name);
        free(ours);
    }
    const char *digests = json_string_value(json_object_get(line, "scores"));
    if (!digests) return;
    struct scores s = {0};
    totals->documents++;
    totals->scores += score_document(t, item, &s);
    compare_rows(t, json_array_get(json_object_get(line, "rows"), (size_t)doc), &s, doc);
    digest_scores(t, &s, hex);
    cr_assert_eq(strncmp(hex, digests + 8 * doc, 8), 0, "%s doc %d: other scores than lm-eval's", t->name,
                 doc);
    free_scores(&s);
}

static void check_task(const json_t *line, const char *dir, struct totals *all) {
    const char *name = json_string_value(json_object_get(line, "task"));
    const char *way = json_string_value(json_object_get(line, "way"));
    struct task t;
    cr_assert(task_named(name, &t), "no task %s", name);
    cr_assert_str_eq(t.version, json_string_value(json_object_get(line, "version")), "%s", name);
    const json_t *filters = json_object_get(line, "filters");
    for (size_t i = 0; i < json_array_size(filters); i++)
        cr_assert_str_eq(t.filters[i], json_string_value(json_array_get(filters, i)));
    struct task_options o = {.num_fewshot = (int)json_integer_value(json_object_get(line, "shots")),
                             .apply_chat_template = strcmp(way, "plain") != 0,
                             .fewshot_as_multiturn = strcmp(way, "chat") == 0,
                             .system_instruction = strcmp(way, "single") == 0 ? "Answer with care." : NULL,
                             .fewshot_seed = 1234};
    struct error e = {0};
    struct task_data *d;
    cr_assert_eq(t.suite->load(&d, &t, dir, &o, &e), OK, "%s: %s", name, e.text);
    int n = (int)strlen(json_string_value(json_object_get(line, "prompts"))) / 12;
    cr_assert_leq(n, t.suite->count(d), "%s: %d documents, lm-eval has %d", name, t.suite->count(d), n);
    struct totals *totals = totals_of(all, &t);
    struct sha256_ctx hashes;
    char hex[SHA256_HEX];
    sha256_init(&hashes);
    for (int i = 0; i < n; i++) {
        struct item item = {0};
        cr_assert_eq(t.suite->build(d, i, &item, &e), OK, "%s doc %d: %s", name, i, e.text);
        check_document(&t, line, &item, i, totals, &hashes);
        item_free(&item);
    }
    sha256_end_hex(&hashes, hex);
    const char *logged = json_string_value(json_object_get(line, "prompt_hashes"));
    cr_assert_str_eq(hex, logged ? logged : "", "%s, %s: other prompt_hashes than lm-eval's", name, way);
    t.suite->unload(d);
}

static void check_all(const char *which, const char *file, const char *dir) {
    struct rows lines = {0};
    struct error e = {0};
    static struct totals totals[MAX_KINDS + 1];
    templates = json_load_file(FOLDER "/answers.json", JSON_ALLOW_NUL, NULL);
    cr_assert(templates != NULL, "answers.json cannot be read");
    cr_assert_eq(rows_read(&lines, file, &e), OK, "%s", e.text);
    for (size_t i = 0; i < lines.n; i++) check_task(lines.row[i].value, dir, totals);
    for (int i = 0; totals[i].name[0]; i++)
        cr_expect_geq(totals[i].documents, 100, "%s: too few documents to say anything", totals[i].name);
    cr_assert_gt(totals[0].scores, 0);
    print_totals(which, totals);
    rows_free(&lines);
    json_decref(templates);
}

Test(eval_tasks, own_documents) {
    check_all("own", FOLDER "/own.jsonl", FOLDER "/own");
}

Test(eval_tasks, published_documents, .timeout = 300) {
    const char *dir = getenv("LFM2_EVAL_DATA");
    if (!dir || !*dir) {
        fprintf(stderr,
                "skipped: published_documents: LFM2_EVAL_DATA does not say where the data sets are\n");
        cr_skip_test("LFM2_EVAL_DATA does not say where the data sets are");
    }
    check_all("published", FOLDER "/real.jsonl", dir);
}
