/* SPDX-License-Identifier: Apache-2.0 */
/* plan: lists, ranges and presets. */
#include "bench/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 1000000, MAX_PARALLEL = 256 };

void bench_test_name(const struct bench_test *t, char *text, size_t size) {
    char depth[32] = "", parallel[32] = "";
    if (t->n_parallel > 1) snprintf(parallel, sizeof parallel, " x%d", t->n_parallel);
    if (t->n_depth) snprintf(depth, sizeof depth, " @ d%d", t->n_depth);
    if (t->n_prompt && t->n_gen)
        snprintf(text, size, "pp%d+tg%d%s", t->n_prompt, t->n_gen, depth);
    else if (t->n_prompt)
        snprintf(text, size, "pp%d%s", t->n_prompt, depth);
    else
        snprintf(text, size, "tg%d%s%s", t->n_gen, parallel, depth);
}

static int read_number(const char **p, long *v) {
    char *end;
    if (**p < '0' || **p > '9') return -1;
    errno = 0;
    *v = strtol(*p, &end, 10);
    *p = end;
    return errno || *v > MAX_TOKENS ? -1 : 0;
}

/* One "first[-last[+step|*step]]". */
static int read_range(const char **p, struct int_list *out) {
    long first, last, step = 1;
    char op = '+';
    if (read_number(p, &first)) return -1;
    last = first;
    if (**p == '-') {
        ++*p;
        if (read_number(p, &last)) return -1;
        if (**p == '+' || **p == '*') {
            op = *(*p)++;
            if (read_number(p, &step)) return -1;
        }
    }
    if (last < first || step < 1 || (op == '*' && (step < 2 || first < 1) && last > first)) return -1;
    for (long v = first; v <= last; v = op == '*' ? v * step : v + step) {
        if (out->n == MAX_LIST) return -1;
        out->v[out->n++] = (int)v;
        if (v == last) break;
    }
    return 0;
}

enum status int_list_parse(struct int_list *out, const char *text, const char *what, struct error *e) {
    for (const char *p = text;;) {
        if (read_range(&p, out) || (*p && *p != ','))
            return fail(
                e, ERR_ARG,
                "bench: %s %s: expected numbers up to %d and ranges like 1-4, 64-512+64 or 32-2048*2, at "
                "most %d of them",
                what, text, MAX_TOKENS, MAX_LIST);
        if (!*p) return OK;
        p++;
    }
}

static enum status add(struct test_list *out, int p, int n, int d, int np, struct error *e) {
    if (p == 0 && n == 0) return OK;
    if (out->n == MAX_LIST) return fail(e, ERR_ARG, "bench: more than %d tests", MAX_LIST);
    out->v[out->n++] = (struct bench_test){p, n, d, np};
    return OK;
}

static int compare_ints(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

enum status test_list_make(struct test_list *out, const struct int_list *p, const struct int_list *n,
                           const struct int_list *pg, const struct int_list *d, const struct int_list *np,
                           struct error *e) {
    /* Ascending, because a deeper prefix is made by feeding on from a shallower one. */
    struct int_list depths = *d;
    if (pg->n % 2) return fail(e, ERR_ARG, "bench: -pg: expected pairs pp,tg (found %d numbers)", pg->n);
    if (depths.n == 0) depths.n = 1, depths.v[0] = 0;
    qsort(depths.v, (size_t)depths.n, sizeof(int), compare_ints);
    for (int i = 0; i < np->n; i++)
        if (np->v[i] < 1 || np->v[i] > MAX_PARALLEL)
            return fail(e, ERR_ARG, "bench: -np %d: expected 1 to %d", np->v[i], MAX_PARALLEL);
    out->n = 0;
    for (int k = 0; k < depths.n; k++) {
        if (k && depths.v[k] == depths.v[k - 1]) continue;
        for (int i = 0; i < p->n; i++) TRY(add(out, p->v[i], 0, depths.v[k], 1, e));
        for (int i = 0; i < n->n; i++)
            for (int j = 0; j < (np->n ? np->n : 1); j++)
                TRY(add(out, 0, n->v[i], depths.v[k], np->n ? np->v[j] : 1, e));
        for (int i = 0; i < pg->n; i += 2) TRY(add(out, pg->v[i], pg->v[i + 1], depths.v[k], 1, e));
    }
    return out->n ? OK : fail(e, ERR_ARG, "bench: no test: every -p, -n and -pg is 0");
}

static const struct preset presets[] = {
    {"report",
     "the LFM2 technical report's protocol: prefill 1K and 4K, decode 100 tokens after 1K and 4K",
     5,
     3,
     0,
     4,
     {{1024, 0, 0, 1}, {4096, 0, 0, 1}, {0, 100, 1024, 1}, {0, 100, 4096, 1}}},
    /* What is likeliest to be dropped comes last. */
    {"chart",
     "prefill at 32 to 4096 tokens and decode at depths 0 to 4096, in about six minutes",
     5,
     3,
     400,
     13,
     {{32, 0, 0, 1},
      {0, 32, 0, 1},
      {64, 0, 0, 1},
      {128, 0, 0, 1},
      {256, 0, 0, 1},
      {512, 0, 0, 1},
      {0, 32, 512, 1},
      {1024, 0, 0, 1},
      {0, 32, 1024, 1},
      {0, 32, 2048, 1},
      {2048, 0, 0, 1},
      {0, 32, 4096, 1},
      {4096, 0, 0, 1}}},
    {"smoke",
     "a few tokens: does it run at all",
     3,
     3,
     0,
     4,
     {{16, 0, 0, 1}, {0, 4, 0, 1}, {32, 0, 16, 1}, {0, 4, 16, 1}}},
};
const char *const preset_names = "report, chart, smoke";

const struct preset *preset_by_name(const char *name) {
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}
