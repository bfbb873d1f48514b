/* SPDX-License-Identifier: Apache-2.0 */
/* eval_options: names to tasks, texts to options, and the list of what there is. */
#include "eval/eval_options.h"

#include <stdlib.h>
#include <string.h>

#include "eval/lm.h"

struct task_list {
    struct task *at;
    int n, capacity, failed;
};

static void add(void *arg, const struct task *t) {
    struct task_list *list = arg;
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->at[i].name, t->name) == 0) return;
    if (list->n == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 64;
        struct task *grown = realloc(list->at, (size_t)capacity * sizeof *grown);
        if (!grown) {
            list->failed = 1;
            return;
        }
        list->at = grown;
        list->capacity = capacity;
    }
    list->at[list->n++] = *t;
}

enum status eval_tasks(const char *list, struct task **tasks, int *n, struct error *e) {
    struct task_list all = {0};
    enum status status = OK;
    char name[128];
    for (const char *p = list; *p && status == OK;) {
        size_t len = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", len < sizeof name ? (int)len : (int)sizeof name - 1, p);
        if (len > 0 && (len >= sizeof name || tasks_named(name, add, &all) == 0))
            status = fail(e, ERR_ARG, "eval: unknown task '%s'; lfm2 eval --list shows all", name);
        p += len + (p[len] == ',');
    }
    if (status == OK && all.failed) status = fail(e, ERR_MEMORY, "out of memory");
    if (status == OK && all.n == 0)
        status = fail(e, ERR_ARG, "eval: --tasks names no task; lfm2 eval --list shows all");
    if (status != OK) {
        free(all.at);
        all = (struct task_list){0};
    }
    *tasks = all.at;
    *n = all.n;
    return status;
}

static json_t *python_value(const char *text) {
    if (strcmp(text, "true") == 0 || strcmp(text, "True") == 0) return json_true();
    if (strcmp(text, "false") == 0 || strcmp(text, "False") == 0) return json_false();
    if (strcmp(text, "None") == 0) return json_null();
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_number(number)) return number;
    json_decref(number);
    return json_string(text);
}

/* A misspelt setting would change nothing, and look as if it had. */
static enum status known_settings(json_t *o, struct error *e) {
    static const char known[] = " max_gen_toks max_new_tokens max_tokens max_completion_tokens do_sample "
                                "temperature top_k top_p min_p "
                                "repetition_penalty until ";
    char name[64];
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value) {
        snprintf(name, sizeof name, " %.60s ", key);
        if (!strstr(known, name) || strchr(key, ' '))
            return fail(e, ERR_ARG, "eval: --gen_kwargs has no setting '%s' (expected one of:%.*s)", key,
                        (int)sizeof known - 2, known);
    }
    struct gen_options read;
    struct sampler_options defaults = sampler_greedy();
    enum status status = gen_options_read(&read, o, &defaults, e);
    gen_options_free(&read);
    return status;
}

static enum status read_settings(const char *text, json_t **out, struct error *e) {
    *out = NULL;
    if (text[strspn(text, " ")] == '{') {
        *out = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        return *out ? OK : fail(e, ERR_ARG, "eval: --gen_kwargs is not a JSON object");
    }
    json_t *o = json_object();
    char *copy = strdup(text), *rest = copy;
    enum status status = o && copy ? OK : fail(e, ERR_MEMORY, "out of memory");
    for (char *pair; status == OK && (pair = strsep(&rest, ","));) {
        char *value = strchr(pair, '=');
        if (!*pair) continue;
        if (value) *value++ = 0;
        if (!value || !*pair || json_object_set_new(o, pair, python_value(value)))
            status = fail(e, ERR_ARG, "eval: --gen_kwargs needs NAME=VALUE,... (found '%s')", pair);
    }
    free(copy);
    if (status == OK)
        *out = o;
    else
        json_decref(o);
    return status;
}

enum status eval_gen_kwargs(const char *text, json_t **out, struct error *e) {
    TRY(read_settings(text, out, e));
    enum status status = known_settings(*out, e);
    if (status == OK) return OK;
    json_decref(*out);
    *out = NULL;
    return status;
}

enum status eval_shard(const char *text, int *shard, int *shards, struct error *e) {
    char *end;
    long i = strtol(text, &end, 10), n = *end == '/' ? strtol(end + 1, &end, 10) : 0;
    if (*end || i < 1 || n < i || n > 100000)
        return fail(e, ERR_ARG, "eval: --shard needs I/N, 1/N to N/N (found '%s')", text);
    *shard = (int)i;
    *shards = (int)n;
    return OK;
}

/* ---- the list ---- */

static const char *state_name(enum task_state s) {
    static const char *const names[] = {"exact", "near", "partial", "export"};
    return names[s];
}

static void indented(FILE *to, const char *text) {
    for (const char *p = text; p && *p;) {
        size_t n = strcspn(p, "\n");
        fprintf(to, "      %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void list_tasks(FILE *to, const struct suite *s) {
    for (const struct task_group *g = s->groups; g && g->name; g++) fprintf(to, "      group %s\n", g->name);
    for (int i = 0; i < s->n_tasks; i++) {
        struct task t;
        suite_task(s, i, &t);
        fprintf(to, "      task  %s  (version %s, %d-shot)\n", t.name, t.version, t.num_fewshot);
    }
}

void eval_list(FILE *to, int verbose) {
    fprintf(to, "%-18s %-8s %-26s %s\n", "suite", "state", "of the model card", "tasks");
    for (const struct suite *const *s = suites; *s; s++) {
        struct task first;
        suite_task(*s, 0, &first);
        fprintf(to, "%-18s %-8s %-26s ", (*s)->name, state_name((*s)->state), (*s)->card ? (*s)->card : "-");
        if ((*s)->n_tasks == 1)
            fprintf(to, "%s\n", first.name);
        else
            fprintf(to, "%d: %s ...\n", (*s)->n_tasks, first.name);
        if (!verbose) continue;
        indented(to, (*s)->note);
        fprintf(to, "      data:\n");
        indented(to, (*s)->data);
        list_tasks(to, *s);
    }
    fprintf(
        to,
        "\nexact: prompts and scores are lm-evaluation-harness's byte for byte. near: scores differ on items "
        "that\nthe note names. partial: part of the checkers or languages. export: answers for the "
        "benchmark's own scorer.\n%s",
        verbose ? "" : "lfm2 eval --list --verbose shows every task, and where the data are published.\n");
}
