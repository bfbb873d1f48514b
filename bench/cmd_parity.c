/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_parity: runs both engines on the same ids, prints how far apart they are, and judges it by the bounds.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chain.h"
#include "bench/cmd.h"
#include "bench/json_rows.h"
#include "bench/machine.h"
#include "bench/parity.h"
#include "bench/parity_rows.h"
#include "bench/progress.h"
#include "bench/records.h"
#include "bench/text_ids.h"

struct arguments {
    const char *models, *original, *lora, *ids, *file, *schemes, *output, *record;
    int n_prefill, n_decode, seed, threads;
    unsigned cpu_mask;
    struct cache_types cache;
    enum kv_type kv_type;
    enum scheme scheme; /* of this pass over the models */
};

/* Each engine has its own rate, so that the second starts its estimate afresh. */
struct watch {
    struct progress progress;
    const char *engine;
};

static void show_progress(void *arg, const char *engine, int done, int total) {
    struct watch *w = arg;
    if (w->engine != engine) w->progress = (struct progress){0};
    w->engine = engine;
    progress_show(&w->progress, (double)done / total, "parity: %s, layer pass %d of %d", engine, done, total);
}

static void show_chain(void *arg, const char *what, int done, int total) {
    struct watch *w = arg;
    progress_show(&w->progress, (double)done / total, "parity: %s, id %d of %d", what, done, total);
}

/* "1,5,7": returns how many, or -1 with *e filled. */
static int parse_ids(const char *text, int32_t **out, struct error *e) {
    size_t room = strlen(text) / 2 + 1;
    int n = 0;
    *out = calloc(room, sizeof **out);
    if (!*out) {
        fail(e, ERR_MEMORY, "parity: out of memory");
        return -1;
    }
    for (const char *s = text;; s++) {
        char *end;
        errno = 0;
        long id = strtol(s, &end, 10);
        if (end == s || errno || id < 0 || id > INT32_MAX || (*end && *end != ',')) {
            fail(e, ERR_ARG, "parity: --ids needs whole numbers separated by commas (found '%.40s')", s);
            return -1;
        }
        (*out)[n++] = (int32_t)id;
        if (!*end) return n;
        s = end;
    }
}

/* The first ids of the text; as many as there are when it is shorter. */
static enum status ids_of_text(const struct arguments *a, const struct model *m, struct parity_options *o,
                               int32_t **ids, struct error *e) {
    struct tokens text = {0};
    int adds_bos, n = a->n_prefill + a->n_decode;
    enum status st = text_ids(m, a->file, 0, &text, &adds_bos, e);
    if (st == OK && (size_t)n > text.n)
        st = fail(e, ERR_ARG, "%s: too short (found %zu ids, expected %d + %d of -p and -n)", a->file, text.n,
                  a->n_prefill, a->n_decode);
    if (st != OK) tokens_free(&text);
    *ids = text.ids;
    o->ids = text.ids;
    o->n_prefill = a->n_prefill;
    o->n_decode = a->n_decode;
    return st;
}

static enum status choose_ids(const struct arguments *a, const struct model *m, struct parity_options *o,
                              int32_t **ids, struct error *e) {
    int n = a->n_prefill + a->n_decode;
    if (a->file) return ids_of_text(a, m, o, ids, e);
    if (a->ids) {
        n = parse_ids(a->ids, ids, e);
        if (n < 0) return e->code;
        if (n <= a->n_decode)
            return fail(e, ERR_ARG,
                        "parity: %d ids leave nothing to prefill before %d decode steps; give more, or -n", n,
                        a->n_decode);
    } else {
        *ids = calloc((size_t)n, sizeof **ids);
        if (!*ids) return fail(e, ERR_MEMORY, "parity: out of memory");
        parity_ids(m, (uint64_t)a->seed, *ids, n);
    }
    o->ids = *ids;
    o->n_prefill = n - a->n_decode;
    o->n_decode = a->n_decode;
    return OK;
}

/* links: [CHAIN_LINKS], NULL without an original. */
static void print_markdown(const struct model_row *m, const struct arguments *a,
                           const struct parity_result *r, const struct parity_rows *rows,
                           const struct chain_row *links) {
    printf("## parity of %s (%s, %s)%s%s\n\n", m->name, m->recipe,
           m->synthetic ? "synthetic weights" : "as in the file", a->scheme ? ", scheme " : "",
           a->scheme ? scheme_names[a->scheme] : "");
    printf("%d tokens of prefill, %d decode steps, %s; same ids for both engines\n\n",
           r->phase[PARITY_PREFILL].tokens, r->phase[PARITY_DECODE].tokens,
           a->ids    ? "ids as given"
           : a->file ? "ids of a text"
                     : "seeded random ids");
    printf("- reference: %s, %.1f s\n- optimized: %s, %.1f s\n", r->want_describe, r->seconds[0],
           r->got_describe, r->seconds[1]);
    for (int p = 0; p < PARITY_PHASES; p++) {
        if (!r->phase[p].tokens) continue;
        printf("\n### %s, by layer\n\n", parity_phase_names[p]);
        parity_print_layers(stdout, rows, parity_phase_names[p]);
    }
    printf("\n### logits\n\n");
    parity_print_logits(stdout, rows);
    if (parity_has_router(rows)) {
        printf("\n### router\n\n");
        parity_print_router(stdout, rows);
    }
    printf("\n### bounds\n\n");
    parity_print_bounds(stdout, rows);
    if (links) {
        printf("\n### prices\n\n");
        chain_print(stdout, links, CHAIN_LINKS, a->file != NULL);
    }
    if (r->bad) printf("\nfirst value that is not finite: %s\n", r->first_bad);
    printf("\n");
}

static json_t *json_result(const struct model_row *m, const struct arguments *a,
                           const struct parity_result *r, const struct parity_rows *rows,
                           const struct chain_row *links) {
    json_t *object = json_object();
    json_object_set_new(object, "model", json_string(m->name));
    json_object_set_new(object, "header_sha256", json_string(m->header_sha256));
    json_object_set_new(object, "synthetic", json_boolean(m->synthetic));
    json_object_set_new(object, "scheme", json_string(scheme_names[a->scheme]));
    json_object_set_new(object, "n_prefill", json_integer(r->phase[PARITY_PREFILL].tokens));
    json_object_set_new(object, "n_decode", json_integer(r->phase[PARITY_DECODE].tokens));
    json_object_set_new(object, "reference", json_string(r->want_describe));
    json_object_set_new(object, "optimized", json_string(r->got_describe));
    json_object_set_new(object, "passed", json_boolean(parity_passes(r)));
    json_object_set_new(object, "layers", json_rows(&parity_layers_table, rows->layers, rows->n_layers));
    json_object_set_new(object, "logits", json_rows(&parity_logits_table, rows->logits, rows->n_logits));
    json_object_set_new(object, "bounds", json_rows(&parity_bounds_table, rows->bounds, rows->n_bounds));
    if (links) json_object_set_new(object, "chain", json_rows(&chain_table, links, CHAIN_LINKS));
    return object;
}

static enum status store(const struct arguments *a, const struct model_row *m, const struct parity_result *r,
                         const struct parity_rows *rows, const struct chain_row *links, struct error *e) {
    struct record *record = record_new("parity");
    if (!record) return fail(e, ERR_MEMORY, "parity: out of memory");
    machine_attributes(record, a->threads);
    record_integer(record, "n_prefill", r->phase[PARITY_PREFILL].tokens);
    record_integer(record, "n_decode", r->phase[PARITY_DECODE].tokens);
    if (!a->ids && !a->file) record_integer(record, "seed", a->seed);
    record_integer(record, "is_text", a->file != NULL);
    record_text(record, "scheme", "%s", scheme_names[a->scheme]);
    record_text(record, "reference", "%s", r->want_describe);
    record_text(record, "optimized", "%s", r->got_describe);
    record_number(record, "reference_seconds", r->seconds[0]);
    record_number(record, "optimized_seconds", r->seconds[1]);
    record_integer(record, "passed", parity_passes(r));
    record_rows(record, &models_table, m, 1);
    parity_rows_store(record, rows);
    if (links) record_rows(record, &chain_table, links, CHAIN_LINKS);
    enum status st = records_append(a->record, record, NULL, e);
    record_free(record);
    return st;
}

static enum status present(const struct arguments *a, const struct model *m, const struct parity_result *r,
                           const struct chain_row *links, json_t *all, struct error *e) {
    struct model_row row = model_row(m);
    struct parity_rows rows;
    TRY(parity_rows_make(&rows, m, r, e));
    if (all)
        json_array_append_new(all, json_result(&row, a, r, &rows, links));
    else
        print_markdown(&row, a, r, &rows, links);
    enum status st = a->record ? store(a, &row, r, &rows, links, e) : OK;
    parity_rows_free(&rows);
    return st;
}

static enum status run_chain(const struct arguments *a, const struct model *m, const struct parity_options *o,
                             struct watch *watch, struct chain_row *links, struct error *e) {
    struct model *original = NULL;
    TRY(model_open(&original, a->original, e));
    struct chain_options c = {.original = original,
                              .quantised = m,
                              .ids = o->ids,
                              .n = o->n_prefill + o->n_decode,
                              .threads = a->threads,
                              .cpu_mask = a->cpu_mask,
                              .scheme = a->scheme,
                              .progress = show_chain,
                              .progress_arg = watch};
    enum status st = chain_run(links, &c, e);
    model_close(original);
    return st;
}

static enum status one_model(const char *path, const struct arguments *a, json_t *all, int *passed,
                             struct error *e) {
    struct watch watch = {0};
    struct parity_options o = {.threads = a->threads,
                               .cpu_mask = a->cpu_mask,
                               .kv_type = a->kv_type,
                               .scheme = a->scheme,
                               .progress = show_progress,
                               .progress_arg = &watch};
    struct parity_result r = {0};
    struct chain_row links[CHAIN_LINKS];
    struct model *m = NULL;
    int32_t *ids = NULL;
    enum status st = model_open_lora(&m, path, a->lora, e);
    if (st == OK) st = choose_ids(a, m, &o, &ids, e);
    if (st == OK && o.n_prefill + o.n_decode > m->config.context_length)
        st = fail(e, ERR_ARG, "%s: more tokens than the model's context (found %d + %d, expected at most %d)",
                  path, o.n_prefill, o.n_decode, m->config.context_length);
    if (st == OK && a->original) st = run_chain(a, m, &o, &watch, links, e);
    if (st == OK) st = parity_run(&r, m, &o, e);
    progress_end(&watch.progress);
    if (st == OK) st = present(a, m, &r, a->original ? links : NULL, all, e);
    if (st == OK && !parity_passes(&r)) *passed = 0;
    parity_free(&r);
    free(ids);
    model_close(m);
    return st;
}

static enum status all_models(const struct arguments *a, json_t *all, int *passed, struct error *e) {
    char path[4096];
    for (const char *s = a->models; *s;) {
        size_t n = strcspn(s, ",");
        if (n >= sizeof path) return fail(e, ERR_ARG, "parity: a path in -m is too long");
        memcpy(path, s, n);
        path[n] = 0;
        TRY(one_model(path, a, all, passed, e));
        s += n + (s[n] == ',');
    }
    return OK;
}

/* The next word of a list of schemes. */
static enum status next_scheme(const char **list, enum scheme *out, struct error *e) {
    size_t n = strcspn(*list, ",");
    for (int i = 0; i < SCHEMES; i++)
        if (strlen(scheme_names[i]) == n && !strncmp(scheme_names[i], *list, n)) {
            *out = (enum scheme)i;
            *list += n + ((*list)[n] == ',');
            return OK;
        }
    return fail(e, ERR_ARG, "parity: unknown scheme '%.*s' (expected exact, folded or bf16)",
                n < 40 ? (int)n : 40, *list);
}

static enum status all_schemes(struct arguments *a, json_t *all, int *passed, struct error *e) {
    for (const char *list = a->schemes; *list;) {
        TRY(next_scheme(&list, &a->scheme, e));
        TRY(all_models(a, all, passed, e));
    }
    return OK;
}

static enum status check_arguments(const struct arguments *a, struct error *e) {
    if (!a->models || !*a->models) return fail(e, ERR_ARG, "parity: no model given; use -m FILE");
    if (a->n_prefill < 1 || a->n_decode < 0 || a->n_prefill > 1 << 20 || a->n_decode > 1 << 20)
        return fail(e, ERR_ARG, "parity: -p must be at least 1 and -n at least 0 (found %d and %d)",
                    a->n_prefill, a->n_decode);
    if (a->ids && a->file) return fail(e, ERR_ARG, "parity: expected one of --ids and -f, not both");
    if (a->original && a->lora)
        return fail(e, ERR_ARG, "parity: --original and --lora exclude each other: merge with lfm2 convert");
    if (strcmp(a->output, "md") && strcmp(a->output, "json"))
        return fail(e, ERR_ARG, "parity: unknown output format '%s' (expected md or json)", a->output);
    enum scheme scheme;
    if (!*a->schemes) return fail(e, ERR_ARG, "parity: --scheme names none (expected exact, folded or bf16)");
    for (const char *list = a->schemes; *list;) TRY(next_scheme(&list, &scheme, e));
    return a->record ? records_check(a->record, e) : OK;
}

int cmd_parity(int argc, char **argv) {
    struct arguments a = {.schemes = "exact", .output = "md", .n_prefill = 64, .n_decode = 8, .seed = 1};
    struct error e = {0};
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &a.models, "FILE[,FILE]", "GGUF files or Hugging Face folders"},
        {"--original", OPTION_TEXT, &a.original, "MODEL",
         "what -m was quantised from: also show the prices of weights and of activations"},
        {"--lora", OPTION_TEXT, &a.lora, "F[:S]", "add a PEFT adapter to each, S times (1); may be repeated"},
        {"-p,--n-prompt", OPTION_INT, &a.n_prefill, "N", "tokens of prefill (64)"},
        {"-n,--n-gen", OPTION_INT, &a.n_decode, "N", "decode steps after it (8)"},
        CACHE_OPTIONS(a.cache),
        {"--scheme", OPTION_TEXT, &a.schemes, "S[,S]",
         "exact (default), folded (Q4_0 and activations as int8 with a scale per 256), bf16:\n"
         "what other tiles would compute, in float32; for accuracy, slow"},
        {"--ids", OPTION_TEXT, &a.ids, "I,I,..",
         "these token ids, used as given, the last -n of them one by one"},
        {"-f,--file", OPTION_TEXT, &a.file, "FILE", "the first -p + -n ids of this text"},
        {"--seed", OPTION_INT, &a.seed, "N", "of the random ids; BOS comes first (1)"},
        {"-t,--threads", OPTION_THREADS, &a.threads, "N", "threads of both engines (one per CPU)"},
        {"-o,--output", OPTION_TEXT, &a.output, "md|json", "how to print (md)"},
        {"--record", OPTION_TEXT, &a.record, "FILE", "add the result to this HDF5 record"},
        {0},
    };
    int parsed = options_parse(
        argc, argv,
        "usage: lfm2 parity -m FILE [options]\n\n"
        "Feeds the same ids to the reference and the optimized engine and compares every layer,\n"
        "the routers' choices and the logits. Exit code 1 when a bound is broken.",
        specs, NULL, 0, NULL, &e);
    if (parsed == 1) return 0;
    if (parsed < 0 || cmd_isa_mask(&a.cpu_mask, &e) || cmd_kv_type(&a.kv_type, &a.cache, NULL, &e) ||
        check_arguments(&a, &e))
        return cmd_fail(&e);
    json_t *all = strcmp(a.output, "json") ? NULL : json_array();
    int passed = 1;
    enum status st = all_schemes(&a, all, &passed, &e);
    if (st == OK && all) {
        json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        printf("\n");
    }
    json_decref(all);
    if (st != OK) return cmd_fail(&e);
    return passed ? 0 : 1;
}
