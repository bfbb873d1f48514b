/* SPDX-License-Identifier: Apache-2.0 */
/* peer: command lines for, and JSON from, a foreign llama-bench. */
#include "bench/peer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/child.h"

/* Whether what argv prints is a llama-bench's help. */
static enum status ask(struct peer *p, char *const argv[], int *known, struct error *e) {
    struct child c;
    TRY(child_run(&c, argv, e));
    *known = strstr(c.out, "--n-prompt") && strstr(c.out, "--repetitions");
    p->has_depth = strstr(c.out, "--n-depth") != NULL;
    p->has_gp = strstr(c.out, "-gp <") != NULL;
    p->is_lfm2 = strstr(c.out, "usage: lfm2 bench") != NULL;
    p->can_skip = strstr(c.out, "--no-warmup") != NULL;
    free(c.out);
    return OK;
}

enum status peer_open(struct peer *p, const char *path, struct error *e) {
    int known;
    memset(p, 0, sizeof *p);
    if (strlen(path) >= sizeof p->path) return fail(e, ERR_ARG, "%.200s...: the name is too long", path);
    snprintf(p->path, sizeof p->path, "%s", path);
    TRY(ask(p, (char *[]){p->path, (char *)"--help", NULL}, &known, e));
    if (!known) TRY(ask(p, (char *[]){p->path, (char *)"bench", (char *)"--help", NULL}, &known, e));
    if (!known) return fail(e, ERR_UNSUPPORTED, "%s: not a llama-bench (its --help lacks --n-prompt)", path);
    if (p->is_lfm2)
        snprintf(p->name, sizeof p->name, "lfm2 (other build)");
    else
        snprintf(p->name, sizeof p->name, "%s (llama-bench)", p->has_gp ? "ik_llama.cpp" : "llama.cpp");
    return OK;
}

enum status peer_parse(struct peer *p, const char *json, int64_t *ns, struct error *e) {
    json_error_t why;
    json_t *all = json_loads(json, 0, &why);
    if (!all) return fail(e, ERR_FORMAT, "%s: its output is not JSON: %s", p->path, why.text);
    json_t *test = json_array_get(all, 0), *list = json_object_get(test, "samples_ns");
    const char *commit = json_string_value(json_object_get(test, "build_commit"));
    json_int_t number = json_integer_value(json_object_get(test, "build_number"));
    json_t *value = json_array_get(list, 0);
    enum status st = OK;
    if (json_array_size(all) != 1 || json_array_size(list) != 1 || !json_is_number(value) ||
        json_number_value(value) < 1 || json_number_value(value) > 1e18)
        st = fail(e, ERR_FORMAT,
                  "%s: found %zu tests with %zu samples_ns in its output (expected one of each)", p->path,
                  json_array_size(all), json_array_size(list));
    else {
        *ns = (int64_t)json_number_value(value);
        if (p->is_lfm2 && commit)
            snprintf(p->name, sizeof p->name, "lfm2 %.12s (other build)", commit);
        else if (commit && strcmp(commit, "unknown") != 0)
            snprintf(p->name, sizeof p->name, "%s b%lld %.12s (llama-bench)",
                     p->has_gp ? "ik_llama.cpp" : "llama.cpp", (long long)number, commit);
    }
    json_decref(all);
    return st;
}

enum status peer_run(struct peer *p, const char *model, const struct bench_test *t, int threads, int batch,
                     int64_t *ns, struct error *e) {
    char n_threads[16], n_batch[16], prompt[16], gen[16], pair[32], depth[16];
    struct child c;
    const char *argv[32] = {p->path}, *const fixed[] = {"-m",    model, "-t", n_threads, "-b",
                                                        n_batch, "-r",  "1",  "-o",      "json"};
    int k = 1, gp = t->n_depth && !p->has_depth;
    if (gp && !(p->has_gp && t->n_prompt == 0))
        return fail(e, ERR_UNSUPPORTED, "%s: has no test of %s after a prefix", p->name,
                    t->n_prompt ? "prefill" : "decode");
    snprintf(n_threads, sizeof n_threads, "%d", threads);
    snprintf(n_batch, sizeof n_batch, "%d", batch);
    int both = gp || (t->n_prompt && t->n_gen);
    snprintf(prompt, sizeof prompt, "%d", both ? 0 : t->n_prompt);
    snprintf(gen, sizeof gen, "%d", both ? 0 : t->n_gen);
    snprintf(pair, sizeof pair, "%d,%d", gp ? t->n_depth : t->n_prompt, t->n_gen);
    snprintf(depth, sizeof depth, "%d", t->n_depth);
    const char *const sizes[] = {"-p", prompt, "-n", gen};
    if (p->is_lfm2) argv[k++] = "bench", argv[k++] = "--no-limits";
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) argv[k++] = fixed[i];
    for (size_t i = 0; i < 4; i++) argv[k++] = sizes[i];
    if (both) argv[k++] = gp ? "-gp" : "-pg", argv[k++] = pair;
    if (t->n_depth && !gp) argv[k++] = "-d", argv[k++] = depth;
    if (p->no_warmup && p->can_skip) argv[k++] = "--no-warmup";
    enum status st = child_run(&c, (char **)argv, e);
    if (st == OK)
        st = c.exit_code
                 ? fail(e, ERR_IO, "%s: exit code %d on %s: %s", p->path, c.exit_code, model, c.last_line)
                 : peer_parse(p, c.out, ns, e);
    free(c.out);
    if (st == OK)
        p->successes++;
    else
        p->failures++;
    return st;
}
