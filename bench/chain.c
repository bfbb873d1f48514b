/* SPDX-License-Identifier: Apache-2.0 */
/* chain: three runs kept whole, three comparisons. */
#include "bench/chain.h"

#include <stdlib.h>
#include <string.h>

#include "bench/metrics.h"

#define S chain_row
static const struct field fields[] = {
    TEXT_FIELD(S, link),
    TEXT_FIELD(S, from),
    TEXT_FIELD(S, to),
    I64(S, positions),
    F64(S, nmse),
    F64(S, kl_mean),
    F64(S, kl_se),
    F64(S, kl_median),
    F64(S, kl_p99),
    F64(S, kl_max),
    F64(S, same_top1),
    F64(S, same_top1_se),
    F64(S, ppl_from),
    F64(S, ppl_to),
    F64(S, log_ratio),
    F64(S, log_ratio_se),
    I64(S, router_decisions),
    I64(S, router_flips),
};
#undef S
const struct table chain_table = {"parity_chain", fields, sizeof fields / sizeof *fields,
                                  sizeof(struct chain_row)};

enum { RUNS = 3, PIECE = 64 };
static const char *const run_names[RUNS] = {"original, reference", "dequantised, reference",
                                            "quantised, optimized"};
static const struct {
    const char *name;
    int from, to;
} links[CHAIN_LINKS] = {{"weights", 0, 1}, {"activations and kernels", 1, 2}, {"both", 0, 2}};

/* What one run said. */
struct said {
    float *logits;    /* [n, V] */
    int32_t *experts; /* [n, L, k] */
    int n, n_layers, k;
};

static void see(void *arg, const struct tap_event *ev) {
    struct said *s = arg;
    if (ev->point != TAP_ROUTER || ev->k != s->k) return;
    for (int t = 0; t < ev->n && ev->position + t < s->n; t++)
        memcpy(s->experts +
                   ((size_t)(ev->position + t) * (size_t)s->n_layers + (size_t)ev->layer) * (size_t)s->k,
               ev->experts + (size_t)t * (size_t)s->k, (size_t)s->k * sizeof *s->experts);
}

static enum status run(struct said *s, int number, const struct model *m, const struct chain_options *o,
                       struct error *e) {
    const struct engine *engine = number == 2 ? &engine_optimized : &engine_reference;
    const struct config *c = &m->config;
    size_t n = (size_t)o->n, V = (size_t)c->n_vocab;
    struct engine_options eo = {.threads = o->threads,
                                .cpu_mask = o->cpu_mask,
                                .scheme = o->scheme,
                                .max_tokens = o->n,
                                .tap = see,
                                .tap_arg = s};
    struct session *session = NULL;
    *s = (struct said){.n = o->n, .n_layers = c->n_layers, .k = c->n_experts_used};
    s->logits = calloc(n, V * sizeof *s->logits);
    s->experts = calloc(n * (size_t)c->n_layers + 1, ((size_t)s->k + 1) * sizeof *s->experts);
    if (!s->logits || !s->experts)
        return fail(e, ERR_MEMORY, "parity: out of memory for the logits of %d positions", o->n);
    enum status st = engine->open(&session, m, &eo, e);
    for (int done = 0, now; done < o->n && st == OK; done += now) {
        now = o->n - done < PIECE ? o->n - done : PIECE;
        st = engine->feed(session, o->ids + done, now, s->logits + (size_t)done * V, now, e);
        if (o->progress)
            o->progress(o->progress_arg, run_names[number], number * o->n + done + now, RUNS * o->n);
    }
    engine->close(session);
    return st;
}

static void count_flips(struct chain_row *row, const struct said *a, const struct said *b,
                        const struct model *m) {
    size_t k = (size_t)a->k;
    for (size_t i = 0; i < (size_t)a->n * (size_t)a->n_layers; i++) {
        if (m->layers[i % (size_t)a->n_layers].ffn != FFN_MOE) continue;
        row->router_decisions++;
        row->router_flips += memcmp(a->experts + i * k, b->experts + i * k, k * sizeof *a->experts) != 0;
    }
}

static int fill(struct chain_row *row, const struct quality *q) {
    struct quality_summary s;
    if (quality_summarise(q, &s)) return -1;
    row->kl_mean = s.kl.value, row->kl_se = s.kl.se;
    row->kl_median = s.kl_median, row->kl_p99 = s.kl_p99, row->kl_max = s.kl_max;
    row->same_top1 = s.same_top1.value, row->same_top1_se = s.same_top1.se;
    row->ppl_from = s.ppl_base.value, row->ppl_to = s.ppl.value;
    row->log_ratio = s.log_ratio.value, row->log_ratio_se = s.log_ratio.se;
    row->positions = s.positions;
    return 0;
}

/* The last id is followed by none, so that it is fed and not judged. */
static enum status compare(struct chain_row *row, int link, const struct said *said,
                           const struct chain_options *o, struct error *e) {
    const struct said *a = &said[links[link].from], *b = &said[links[link].to];
    size_t V = (size_t)o->original->config.n_vocab;
    struct quality q = {0};
    struct difference d = {0};
    float *log_p = malloc(V * sizeof *log_p);
    int failed = !log_p;
    memset(row, 0, sizeof *row);
    snprintf(row->link, sizeof row->link, "%s", links[link].name);
    snprintf(row->from, sizeof row->from, "%s", run_names[links[link].from]);
    snprintf(row->to, sizeof row->to, "%s", run_names[links[link].to]);
    for (int t = 0; t + 1 < o->n && !failed; t++) {
        const float *want = a->logits + (size_t)t * V, *got = b->logits + (size_t)t * V;
        difference_add(&d, got, want, (int64_t)V);
        quality_log_p(want, (int)V, log_p);
        failed = quality_add(&q, quality_point(got, log_p, (int)V, o->ids[t + 1]));
    }
    row->nmse = difference_nmse(&d);
    count_flips(row, a, b, o->original);
    failed = failed || fill(row, &q);
    quality_free(&q);
    free(log_p);
    return failed ? fail(e, ERR_MEMORY, "parity: out of memory") : OK;
}

static enum status check(const struct chain_options *o, struct error *e) {
    const struct config *a = &o->original->config, *b = &o->quantised->config;
    if (strcmp(a->arch, b->arch) || a->n_layers != b->n_layers || a->n_embd != b->n_embd ||
        a->n_vocab != b->n_vocab || a->n_experts != b->n_experts || a->n_experts_used != b->n_experts_used)
        return fail(e, ERR_SHAPE, "%s: not the same architecture and sizes as %s", o->original->path,
                    o->quantised->path);
    if (o->n < 2) return fail(e, ERR_ARG, "parity: %d ids (expected at least 2 with --original)", o->n);
    return OK;
}

enum status chain_run(struct chain_row out[CHAIN_LINKS], const struct chain_options *o, struct error *e) {
    struct said said[RUNS] = {0};
    enum status st = check(o, e);
    for (int i = 0; i < RUNS && st == OK; i++)
        st = run(&said[i], i, i == 0 ? o->original : o->quantised, o, e);
    for (int i = 0; i < CHAIN_LINKS && st == OK; i++) st = compare(&out[i], i, said, o, e);
    for (int i = 0; i < RUNS; i++) free(said[i].logits), free(said[i].experts);
    return st;
}

void chain_print(FILE *to, const struct chain_row *rows, size_t n, int is_text) {
    fprintf(to,
            "| price of | from → to | positions | logits NMSE | KL mean | KL median | KL max | same top-1 | "
            "router flips |%s\n|---|---|--:|--:|--:|--:|--:|--:|--:|%s\n",
            is_text ? " perplexity |" : "", is_text ? "--:|" : "");
    for (size_t i = 0; i < n; i++) {
        const struct chain_row *r = &rows[i];
        fprintf(to, "| %s | %s → %s | %lld | %.2e | %.6f ± %.6f | %.6f | %.4f | %.2f ± %.2f %% | ", r->link,
                r->from, r->to, (long long)r->positions, r->nmse, r->kl_mean, r->kl_se, r->kl_median,
                r->kl_max, 100 * r->same_top1, 100 * r->same_top1_se);
        if (r->router_decisions)
            fprintf(to, "%.2f %% |", 100.0 * (double)r->router_flips / (double)r->router_decisions);
        else
            fprintf(to, "- |");
        if (is_text) fprintf(to, " %.4f → %.4f |", r->ppl_from, r->ppl_to);
        fprintf(to, "\n");
    }
}
