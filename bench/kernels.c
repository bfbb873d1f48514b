/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: walks the kernel table. An op's cases are prepared once and given to all of its rows. */
#include "bench/kernels.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

const char *const kernel_state_names[] = {"PASS", "FAIL", "SKIP", "MISTRUSTED"};

static const struct {
    unsigned bit;
    const char *name;
} features[] = {
    {CPU_AVX2, "AVX2"},
    {CPU_AVXVNNI, "AVX-VNNI"},
    {CPU_AVX512, "AVX-512"},
    {CPU_AVX512VNNI, "AVX-512-VNNI"},
    {CPU_AVX512BF16, "AVX-512-BF16"},
    {CPU_AMX, "AMX-INT8"},
};

void kernel_missing(const struct kernel *k, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (k->needs & ~cpu_features() & features[i].bit && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", features[i].name);
}

static int matches(const char *patterns, const char *name) {
    char copy[256], *rest = copy;
    if (!patterns) return 1;
    snprintf(copy, sizeof copy, "%s", patterns);
    for (char *one; (one = strsep(&rest, ","));)
        if (fnmatch(one, name, 0) == 0) return 1;
    return 0;
}

int kernels_pick(const char *ops, const char *isas, struct kernel_result *results) {
    int selected = 0;
    for (int i = 0; i < n_kernels; i++) {
        results[i] = (struct kernel_result){0};
        results[i].selected = matches(ops, kernels[i].op_name) && matches(isas, kernels[i].isa);
        if (kernels[i].needs & ~cpu_features()) results[i].state = KERNEL_SKIP;
        selected += results[i].selected;
    }
    return selected;
}

void kernel_result_add(struct kernel_result *r, const struct verdict *v) {
    r->cases++;
    r->failures += v->why[0] != 0;
    r->values += (double)v->values;
    r->zeros += (double)v->zeros;
    if (v->worst > r->worst) r->worst = v->worst;
}

void kernel_result_close(struct kernel_result *r) {
    if (r->failures > 0)
        r->state = KERNEL_FAIL;
    else
        r->state =
            r->values == 0 || (r->cases > 1 && r->zeros > r->values / 2) ? KERNEL_MISTRUSTED : KERNEL_PASS;
}

enum { MAX_ROWS = 16 };

static int check_op(enum kernel_op op, uint64_t seed, int only, struct kernel_result *results,
                    failure_fn *on_failure, void *user) {
    const struct kernel_case *c = kernel_case(op);
    const struct kernel *scalar = NULL, *rows[MAX_ROWS];
    int n_rows = 0;
    struct shape s;
    for (int i = 0; i < n_kernels; i++) {
        if (kernels[i].op != op) continue;
        if (!scalar) scalar = &kernels[i]; /* the weakest row comes first */
        if (results[i].selected && results[i].state != KERNEL_SKIP && n_rows < MAX_ROWS)
            rows[n_rows++] = &kernels[i];
    }
    if (n_rows == 0) return 0;
    for (int i = only >= 0 ? only : 0; c && c->shape(i, &s) && (only < 0 || i == only); i++) {
        struct verdict v[MAX_ROWS];
        char text[80];
        if (check_case(c, &s, rng_key(seed, op, (uint64_t)i), scalar, rows, n_rows, v) != 0) return -1;
        c->describe(&s, text, sizeof text);
        for (int j = 0; j < n_rows; j++) {
            kernel_result_add(&results[rows[j] - kernels], &v[j]);
            if (v[j].why[0]) on_failure(&(struct failure){rows[j], i, &s, text, v[j].why}, user);
        }
    }
    for (int j = 0; j < n_rows; j++) {
        struct kernel_result *r = &results[rows[j] - kernels];
        if (only >= 0 && r->cases == 0) r->selected = 0; /* this op has fewer cases */
        kernel_result_close(r);
    }
    return 0;
}

int kernels_check(uint64_t seed, int only, struct kernel_result *results, failure_fn *on_failure,
                  void *user) {
    for (int op = 0; op < OP_COUNT; op++)
        if (check_op((enum kernel_op)op, seed, only, results, on_failure, user) != 0) return -1;
    return 0;
}

struct kernel_row kernel_row_of(int k, uint64_t seed, unsigned cpu_mask, const struct kernel_result *r) {
    struct kernel_row row = {.seed = (int64_t)seed, .cases = r->cases, .error_share = r->worst};
    struct kernel_set set;
    kernels_select(&set, cpu_mask);
    snprintf(row.op, sizeof row.op, "%s", kernels[k].op_name);
    snprintf(row.isa, sizeof row.isa, "%s", kernels[k].isa);
    row.chosen = set.chosen[kernels[k].op] == &kernels[k];
    row.pass = r->state == KERNEL_PASS;
    return row;
}

enum status kernels_checked_rows(uint64_t seed, unsigned cpu_mask, const struct kernel_result *results,
                                 struct rows *rows, struct error *e) {
    for (int k = 0; k < n_kernels; k++) {
        if (!results[k].selected || results[k].state == KERNEL_SKIP) continue;
        struct kernel_row row = kernel_row_of(k, seed, cpu_mask, &results[k]);
        if (rows_add(rows, &kernels_table, &row) != 0) return fail(e, ERR_MEMORY, "kernels: out of memory");
    }
    return OK;
}
