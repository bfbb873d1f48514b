/* SPDX-License-Identifier: Apache-2.0 */
/* parity_rows: a parity result as rows: made, stored, read back, printed. */
#include "bench/parity_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define S parity_layer_row
static const struct field layer_fields[] = {
    TEXT_FIELD(S, phase),
    I64(S, layer),
    TEXT_FIELD(S, mixer),
    TEXT_FIELD(S, ffn),
    I64(S, positions),
    I64(S, unflipped),
    F64(S, mixer_nmse),
    F64(S, ffn_nmse),
    F64(S, residual_nmse),
    F64(S, mixer_max),
    F64(S, ffn_max),
    F64(S, residual_max),
    F64(S, mixer_nmse_unflipped),
    F64(S, ffn_nmse_unflipped),
    F64(S, residual_nmse_unflipped),
    F64(S, mixer_nmse_routed),
    F64(S, ffn_nmse_routed),
    F64(S, residual_nmse_routed),
    F64(S, residual_max_routed),
    I64(S, router_decisions),
    I64(S, router_flips),
    I64(S, router_first_flips),
    I64(S, router_near_ties),
    I64(S, router_unexplained),
    F64(S, router_max_margin),
    I64(S, routed_flips),
    I64(S, routed_near_ties),
    I64(S, routed_unexplained),
    F64(S, routed_max_margin),
};
#undef S
#define S parity_logits_row
static const struct field logits_fields[] = {
    TEXT_FIELD(S, phase), TEXT_FIELD(S, view), I64(S, positions), I64(S, same_top1), F64(S, nmse),
    F64(S, nmse_worst),   F64(S, max_abs),     F64(S, kl_mean),   F64(S, kl_max),
};
#undef S
#define S parity_bound_row
static const struct field bound_fields[] = {
    TEXT_FIELD(S, name), TEXT_FIELD(S, unit), TEXT_FIELD(S, why), F64(S, found),
    F64(S, limit),       I64(S, at_least),    I64(S, holds),
};
#undef S

#define TABLE(name, fields, row)                                                                             \
    { name, fields, sizeof fields / sizeof *fields, sizeof(struct row) }
const struct table parity_layers_table = TABLE("parity_layers", layer_fields, parity_layer_row);
const struct table parity_logits_table = TABLE("parity_logits", logits_fields, parity_logits_row);
const struct table parity_bounds_table = TABLE("parity_bounds", bound_fields, parity_bound_row);

static void fill_router(struct parity_layer_row *row, const struct parity_layer *l) {
    row->router_decisions = l->router.decisions;
    row->router_flips = l->router.flips;
    row->router_first_flips = l->router.first;
    row->router_near_ties = l->router.near_ties;
    row->router_unexplained = l->router.unexplained;
    row->router_max_margin = l->router.max_margin;
    row->routed_flips = l->routed.flips;
    row->routed_near_ties = l->routed.near_ties;
    row->routed_unexplained = l->routed.unexplained;
    row->routed_max_margin = l->routed.max_margin;
}

static void fill_layer(struct parity_layer_row *row, const struct layer *kind, const struct parity_layer *l) {
    const struct difference *all = l->at[PARITY_ALL], *unflipped = l->at[PARITY_UNFLIPPED],
                            *routed = l->at[PARITY_ROUTED];
    int some = l->positions[PARITY_UNFLIPPED] > 0, forced = l->positions[PARITY_ROUTED] > 0;
    snprintf(row->mixer, sizeof row->mixer, "%s", kind->mixer == MIXER_CONV ? "conv" : "attention");
    snprintf(row->ffn, sizeof row->ffn, "%s", kind->ffn == FFN_MOE ? "moe" : "dense");
    row->positions = l->positions[PARITY_ALL];
    row->unflipped = l->positions[PARITY_UNFLIPPED];
    row->mixer_nmse = difference_nmse(&all[PARITY_MIXER]);
    row->ffn_nmse = difference_nmse(&all[PARITY_FFN]);
    row->residual_nmse = difference_nmse(&all[PARITY_RESIDUAL]);
    row->mixer_max = all[PARITY_MIXER].max_abs;
    row->ffn_max = all[PARITY_FFN].max_abs;
    row->residual_max = all[PARITY_RESIDUAL].max_abs;
    row->mixer_nmse_unflipped = some ? difference_nmse(&unflipped[PARITY_MIXER]) : NAN;
    row->ffn_nmse_unflipped = some ? difference_nmse(&unflipped[PARITY_FFN]) : NAN;
    row->residual_nmse_unflipped = some ? difference_nmse(&unflipped[PARITY_RESIDUAL]) : NAN;
    row->mixer_nmse_routed = forced ? difference_nmse(&routed[PARITY_MIXER]) : NAN;
    row->ffn_nmse_routed = forced ? difference_nmse(&routed[PARITY_FFN]) : NAN;
    row->residual_nmse_routed = forced ? difference_nmse(&routed[PARITY_RESIDUAL]) : NAN;
    row->residual_max_routed = forced ? routed[PARITY_RESIDUAL].max_abs : NAN;
    fill_router(row, l);
}

static void fill_logits(struct parity_logits_row *row, int view, const struct parity_logits *l) {
    snprintf(row->view, sizeof row->view, "%s", parity_view_names[view]);
    row->positions = l->positions;
    row->same_top1 = l->same_top1;
    row->nmse = l->positions ? difference_nmse(&l->difference) : NAN;
    row->nmse_worst = l->positions ? l->worst_nmse : NAN;
    row->max_abs = l->positions ? l->difference.max_abs : NAN;
    row->kl_mean = l->positions ? l->kl_sum / (double)l->positions : NAN;
    row->kl_max = l->positions ? l->kl_max : NAN;
}

enum status parity_rows_make(struct parity_rows *out, const struct model *m, const struct parity_result *r,
                             struct error *e) {
    memset(out, 0, sizeof *out);
    out->layers = calloc((size_t)r->n_layers * PARITY_PHASES, sizeof *out->layers);
    out->logits = calloc((size_t)PARITY_VIEWS * PARITY_PHASES, sizeof *out->logits);
    out->bounds = calloc((size_t)n_parity_bounds, sizeof *out->bounds);
    if (!out->layers || !out->logits || !out->bounds) {
        parity_rows_free(out);
        return fail(e, ERR_MEMORY, "parity: out of memory");
    }
    for (int p = 0; p < PARITY_PHASES; p++) {
        if (!r->phase[p].tokens) continue;
        for (int l = 0; l < r->n_layers; l++) {
            struct parity_layer_row *row = &out->layers[out->n_layers++];
            snprintf(row->phase, sizeof row->phase, "%s", parity_phase_names[p]);
            row->layer = l;
            fill_layer(row, &m->layers[l], &r->phase[p].layers[l]);
        }
        for (int view = 0; view < PARITY_VIEWS; view++) {
            struct parity_logits_row *row = &out->logits[out->n_logits++];
            snprintf(row->phase, sizeof row->phase, "%s", parity_phase_names[p]);
            fill_logits(row, view, &r->phase[p].logits[view]);
        }
    }
    for (int i = 0; i < n_parity_bounds; i++) {
        const struct parity_bound *b = &parity_bounds[i];
        struct parity_bound_row *row = &out->bounds[out->n_bounds++];
        snprintf(row->name, sizeof row->name, "%s", b->name);
        snprintf(row->unit, sizeof row->unit, "%s", b->unit);
        snprintf(row->why, sizeof row->why, "%s", b->why);
        row->found = b->found(r);
        row->limit = b->limit;
        row->at_least = b->at_least;
        row->holds = parity_bound_holds(b, r);
    }
    return OK;
}

void parity_rows_store(struct record *to, const struct parity_rows *rows) {
    record_rows(to, &parity_layers_table, rows->layers, rows->n_layers);
    record_rows(to, &parity_logits_table, rows->logits, rows->n_logits);
    record_rows(to, &parity_bounds_table, rows->bounds, rows->n_bounds);
}

enum status parity_rows_read(struct parity_rows *out, const struct records *f, int run, struct error *e) {
    memset(out, 0, sizeof *out);
    enum status st = records_rows(f, run, &parity_layers_table, (void **)&out->layers, &out->n_layers, e);
    if (st == OK) st = records_rows(f, run, &parity_logits_table, (void **)&out->logits, &out->n_logits, e);
    if (st == OK) st = records_rows(f, run, &parity_bounds_table, (void **)&out->bounds, &out->n_bounds, e);
    if (st != OK) parity_rows_free(out);
    return st;
}

void parity_rows_free(struct parity_rows *rows) {
    free(rows->layers);
    free(rows->logits);
    free(rows->bounds);
    memset(rows, 0, sizeof *rows);
}

/* "-" for NaN: there was nothing to measure. */
static const char *figure(char text[32], const char *format, double x) {
    if (isnan(x))
        snprintf(text, 32, "-");
    else if (!strcmp(format, "e"))
        snprintf(text, 32, x == 0 ? "0" : "%.2e", x);
    else if (!strcmp(format, "1"))
        snprintf(text, 32, "%.1f", x);
    else
        snprintf(text, 32, "%.4g", x);
    return text;
}

int parity_has_router(const struct parity_rows *rows) {
    for (size_t i = 0; i < rows->n_layers; i++)
        if (rows->layers[i].router_decisions) return 1;
    return 0;
}

/* What the rows of a view are, as a column of the tables. */
static const char *view_text(const char *view) {
    if (!strcmp(view, "unflipped")) return "own, equal ones only";
    return strcmp(view, "routed") ? "own" : "reference's";
}

void parity_print_logits(FILE *to, const struct parity_rows *rows) {
    char a[32], b[32], c[32], d[32], f[32], g[32];
    int routers = parity_has_router(rows);
    fprintf(to,
            "| phase | router sets | positions | logits NMSE | worst position | max abs | KL mean | KL max | "
            "same top-1 |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < rows->n_logits; i++) {
        const struct parity_logits_row *r = &rows->logits[i];
        double same = r->positions ? 100.0 * (double)r->same_top1 / (double)r->positions : NAN;
        if (!routers && strcmp(r->view, "all")) continue;
        fprintf(to, "| %s | %s | %lld | %s | %s | %s | %s | %s | %s%s |\n", r->phase,
                routers ? view_text(r->view) : "none", (long long)r->positions, figure(a, "e", r->nmse),
                figure(b, "e", r->nmse_worst), figure(c, "g", r->max_abs), figure(d, "e", r->kl_mean),
                figure(f, "e", r->kl_max), figure(g, "1", same), isnan(same) ? "" : " %");
    }
}

static void print_router(FILE *to, const char *phase, const char *view, const struct parity_router *r) {
    fprintf(to, "| %s | %s | %lld | %.2f %% | %lld | %lld | %lld | %.4f | ", phase, view_text(view),
            (long long)r->decisions, 100.0 * (double)(r->decisions - r->flips) / (double)r->decisions,
            (long long)r->flips, (long long)r->near_ties, (long long)r->unexplained, r->max_margin);
    if (strcmp(view, "all"))
        fprintf(to, "- |\n");
    else
        fprintf(to, "%lld |\n", (long long)r->first);
}

void parity_print_router(FILE *to, const struct parity_rows *rows) {
    fprintf(
        to,
        "| phase | experts used | decisions | sets agree | flips | near-ties (margin < %g) | unexplained | "
        "largest margin | tokens with a flip |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
        PARITY_NEAR_TIE);
    for (size_t i = 0; i < rows->n_layers;) {
        const char *phase = rows->layers[i].phase;
        struct parity_router own = {0}, routed = {0};
        for (; i < rows->n_layers && !strcmp(rows->layers[i].phase, phase); i++) {
            const struct parity_layer_row *r = &rows->layers[i];
            own.decisions += r->router_decisions;
            own.flips += r->router_flips;
            own.first += r->router_first_flips;
            own.near_ties += r->router_near_ties;
            own.unexplained += r->router_unexplained;
            own.max_margin = fmax(own.max_margin, r->router_max_margin);
            routed.flips += r->routed_flips;
            routed.near_ties += r->routed_near_ties;
            routed.unexplained += r->routed_unexplained;
            routed.max_margin = fmax(routed.max_margin, r->routed_max_margin);
        }
        routed.decisions = own.decisions;
        if (!own.decisions) continue;
        print_router(to, phase, "all", &own);
        print_router(to, phase, "routed", &routed);
    }
}

void parity_print_bounds(FILE *to, const struct parity_rows *rows) {
    fprintf(to, "| bound | found | limit | verdict | why this limit |\n|---|--:|--:|---|---|\n");
    for (size_t i = 0; i < rows->n_bounds; i++) {
        const struct parity_bound_row *r = &rows->bounds[i];
        char found[32];
        fprintf(to, "| %s%s%s | %s | %s %g | %s | %s |\n", r->name, *r->unit ? ", " : "", r->unit,
                figure(found, "g", r->found), r->at_least ? "at least" : "at most", r->limit,
                isnan(r->found) ? "nothing to judge"
                : r->holds      ? "PASS"
                                : "**FAIL**",
                r->why);
    }
}

void parity_print_layers(FILE *to, const struct parity_rows *rows, const char *phase) {
    char a[32], b[32], c[32], d[32], f[32];
    int routers = parity_has_router(rows);
    fprintf(to,
            "| layer | mixer | ffn | mixer NMSE | ffn NMSE | residual NMSE | residual max abs |%s\n"
            "|--:|---|---|--:|--:|--:|--:|%s\n",
            routers ? " own experts: residual NMSE | equal sets so far: residual NMSE | positions | flips | "
                      "near-ties |"
                    : "",
            routers ? "--:|--:|--:|--:|--:|" : "");
    for (size_t i = 0; i < rows->n_layers; i++) {
        const struct parity_layer_row *r = &rows->layers[i];
        if (strcmp(r->phase, phase)) continue;
        fprintf(to, "| %lld | %s | %s | %s | %s | %s | %s |", (long long)r->layer, r->mixer, r->ffn,
                figure(a, "e", routers ? r->mixer_nmse_routed : r->mixer_nmse),
                figure(b, "e", routers ? r->ffn_nmse_routed : r->ffn_nmse),
                figure(c, "e", routers ? r->residual_nmse_routed : r->residual_nmse),
                figure(d, "g", routers ? r->residual_max_routed : r->residual_max));
        if (routers)
            fprintf(to, " %s | %s | %lld of %lld | %lld | %lld |", figure(a, "e", r->residual_nmse),
                    figure(f, "e", r->residual_nmse_unflipped), (long long)r->unflipped,
                    (long long)r->positions, (long long)r->router_flips, (long long)r->router_near_ties);
        fprintf(to, "\n");
    }
    if (routers)
        fprintf(to, "\nThe first four figures: every token sent to the experts that the reference chose.\n");
}
