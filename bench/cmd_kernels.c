/* cmd_kernels: `lfm2 kernels`: is every row of the kernel table right, and how fast is it? */
#include <stdio.h>
#include <stdlib.h>

#include "bench/cmd.h"
#include "bench/kernels.h"

enum { MAX_COMPLAINTS = 3 }; /* per row; the rest is counted */

struct talk {
    int seed;
    int complaints[256]; /* by row */
};

static void complain(const struct failure *f, void *user) {
    struct talk *talk = user;
    int row = (int)(f->kernel - kernels);
    if (row >= 256 || talk->complaints[row]++ >= MAX_COMPLAINTS) return;
    printf("FAIL %s_%s %s pad=%d %s, seed %d case %d: %s\n"
           "     replay: lfm2 kernels --op %s --isa %s --seed %d --case %d\n",
           f->kernel->op_name, f->kernel->isa, f->shape_text, f->shape->pad, pattern_names[f->shape->pattern],
           talk->seed, f->index, f->why, f->kernel->op_name, f->kernel->isa, talk->seed, f->index);
}

/* Returns the number of rows that are not right. */
static int print_check(const struct kernel_result *results) {
    int wrong = 0;
    printf("| kernel | cases | values | worst error, %% of bound | verdict |\n|---|--:|--:|--:|---|\n");
    for (int i = 0; i < n_kernels; i++) {
        const struct kernel_result *r = &results[i];
        char missing[120];
        if (!r->selected) continue;
        printf("| %s_%s | ", kernels[i].op_name, kernels[i].isa);
        if (r->state == KERNEL_SKIP) {
            kernel_missing(&kernels[i], missing, sizeof missing);
            printf("| | | SKIP: this CPU lacks %s |\n", missing);
            continue;
        }
        printf("%d | %.0f | %.1f | %s", r->cases, r->values, 100 * r->worst, kernel_state_names[r->state]);
        if (r->failures) printf(" in %d cases", r->failures);
        printf(" |\n");
        wrong += r->state != KERNEL_PASS;
    }
    return wrong;
}

int cmd_kernels(int argc, char **argv) {
    struct error e = {0};
    int check = 0, only = -1;
    struct talk talk = {.seed = 1};
    const char *ops = NULL, *isas = NULL;
    const struct option_spec specs[] = {
        {"--check", OPTION_FLAG, &check, NULL, "compare every row with the float64 oracle (the default)"},
        {"--op", OPTION_TEXT, &ops, "NAME", "only these ops; * and ? match, commas separate"},
        {"--isa", OPTION_TEXT, &isas, "NAME", "only these instruction sets"},
        {"--seed", OPTION_INT, &talk.seed, "N", "seed of the inputs (1)"},
        {"--case", OPTION_INT, &only, "N", "only the N-th case of each op, as a FAIL line names it"},
        {0},
    };
    int parsed = options_parse(argc, argv, "lfm2 kernels [options]", specs, NULL, 0, NULL, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    struct kernel_result *results = calloc((size_t)n_kernels, sizeof *results);
    if (!results) return fail(&e, ERR_MEMORY, "kernels: out of memory"), cmd_fail(&e);
    int status = 2;
    if (kernels_pick(ops, isas, results) == 0) {
        fail(&e, ERR_ARG, "kernels: no row is named %s_%s", ops ? ops : "*", isas ? isas : "*");
        cmd_fail(&e);
    } else if (kernels_check((uint64_t)talk.seed, only, results, complain, &talk) != 0) {
        fail(&e, ERR_MEMORY, "kernels: out of memory");
        cmd_fail(&e);
    } else {
        printf("seed %d\n\n", talk.seed);
        status = print_check(results) ? 1 : 0;
    }
    free(results);
    return status;
}
