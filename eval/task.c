/* SPDX-License-Identifier: Apache-2.0 */
/* task: names to tasks, and what all suites share. */
#include "eval/task.h"

#include <stdlib.h>
#include <string.h>

void item_free(struct item *item) {
    json_decref(item->doc);
    json_decref(item->messages);
    json_decref(item->gen_kwargs);
    free(item->target);
    buffer_free(&item->context);
    for (int i = 0; i < item->n_continuations; i++) buffer_free(&item->continuations[i]);
    free(item->continuations);
    *item = (struct item){0};
}

int task_filters(const struct task *t) {
    int n = 0;
    while (n < TASK_MAX_FILTERS && t->filters[n]) n++;
    return n;
}

int task_metrics(const struct task *t) {
    int n = 0;
    while (n < TASK_MAX_METRICS && t->metrics[n].name) n++;
    return n;
}

void suite_task(const struct suite *s, int index, struct task *out) {
    *out = (struct task){0};
    s->task(index, out);
    out->suite = s;
}

int task_named(const char *name, struct task *out) {
    for (const struct suite *const *s = suites; *s; s++)
        for (int i = 0; i < (*s)->n_tasks; i++) {
            suite_task(*s, i, out);
            if (strcmp(out->name, name) == 0) return 1;
        }
    return 0;
}

const struct task_group *group_named(const struct suite *s, const char *name) {
    for (const struct task_group *g = s->groups; g && g->name; g++)
        if (strcmp(g->name, name) == 0) return g;
    return NULL;
}

int task_within(const struct task *t, const char *group) {
    const char *name = t->group;
    /* As many steps as there are groups at most: a table that goes round must not hang. */
    for (const struct task_group *g = t->suite->groups; name && *name && g && g->name; g++) {
        if (strcmp(name, group) == 0) return 1;
        const struct task_group *at = group_named(t->suite, name);
        name = at ? at->parent : NULL;
    }
    return name && *name && strcmp(name, group) == 0;
}

int tasks_named(const char *name, void (*add)(void *arg, const struct task *t), void *arg) {
    int n = 0;
    struct task t;
    if (task_named(name, &t)) {
        add(arg, &t);
        return 1;
    }
    for (const struct suite *const *s = suites; *s && n == 0; s++) {
        int whole = strcmp((*s)->name, name) == 0 && !group_named(*s, name);
        for (int i = 0; i < (*s)->n_tasks; i++) {
            suite_task(*s, i, &t);
            if (!whole && !task_within(&t, name)) continue;
            add(arg, &t);
            n++;
        }
    }
    return n;
}
