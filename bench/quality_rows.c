/* SPDX-License-Identifier: Apache-2.0 */
/* quality_rows: the fields, and the two tables that people read. */
#include "bench/quality_rows.h"

#include <math.h>
#include <string.h>

#include "bench/records.h"
#include "data/gguf.h"

#define S         quality_row
#define F(member) F64(S, member)
#define I(member) I64(S, member)
#define T(member) TEXT_FIELD(S, member)
static const struct field fields[] = {
    T(model),        T(recipe),
    T(engine),       T(text),
    T(base),         I(n_ctx),
    I(windows),      I(positions),
    I(bytes),        F(bits_per_weight),
    F(ppl),          F(ppl_se),
    F(ppl_base),     F(ppl_base_se),
    F(log_ratio),    F(log_ratio_se),
    F(kl_mean),      F(kl_se),
    F(kl_median),    F(kl_p90),
    F(kl_p99),       F(kl_p999),
    F(kl_max),       F(same_top1),
    F(same_top1_se), F(dp_mean),
    F(dp_se),        F(dp_rms),
    F(dp_rms_se),    F(dp_p1),
    F(dp_p99),       F(dp_min),
    F(dp_max),       I(router_decisions),
    I(router_flips),

    F(seconds),      T(kernels),
};
#undef S
#define S kl_pair_row
static const struct field kl_pair_fields[] = {
    T(recipe), T(plain), T(engine), I(windows), F(kl), F(kl_plain), F(difference), F(lo), F(hi),
};
#undef F
#undef I
#undef T
#undef S
const struct table quality_table = {"quality", fields, sizeof fields / sizeof *fields,
                                    sizeof(struct quality_row)};

const struct table kl_pairs_table = {
    "kl_pairs", kl_pair_fields, sizeof kl_pair_fields / sizeof *kl_pair_fields, sizeof(struct kl_pair_row)};

static int64_t tensor_bytes(const struct model *m) {
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < m->index->n_tensors; i++) bytes += m->index->tensors[i].bytes;
    return (int64_t)bytes;
}

int quality_row_make(struct quality_row *out, const struct model *m, const char *engine,
                     const struct perplexity_result *r, const struct windows *w) {
    struct quality_summary s;
    struct model_row model = model_row(m);
    if (quality_summarise(&r->quality, &s)) return -1;
    memset(out, 0, sizeof *out);
    snprintf(out->model, sizeof out->model, "%s", model.name);
    snprintf(out->recipe, sizeof out->recipe, "%s", model.recipe);
    snprintf(out->engine, sizeof out->engine, "%s", engine);
    out->n_ctx = w->size, out->windows = w->n, out->positions = s.positions;
    out->bytes = tensor_bytes(m);
    out->bits_per_weight = m->n_params ? 8.0 * (double)out->bytes / (double)m->n_params : 0;
    out->ppl = s.ppl.value, out->ppl_se = s.ppl.se;
    out->router_decisions = r->decisions, out->router_flips = r->flips;
    out->seconds = r->seconds;
    snprintf(out->kernels, sizeof out->kernels, "%s", r->describe);
    return 0;
}

/* What a comparison with a base adds. */
int quality_row_compare(struct quality_row *out, const struct perplexity_result *r, const char *base) {
    struct quality_summary s;
    if (quality_summarise(&r->quality, &s)) return -1;
    snprintf(out->base, sizeof out->base, "%s", base);
    out->ppl_base = s.ppl_base.value, out->ppl_base_se = s.ppl_base.se;
    out->log_ratio = s.log_ratio.value, out->log_ratio_se = s.log_ratio.se;
    out->kl_mean = s.kl.value, out->kl_se = s.kl.se;
    out->kl_median = s.kl_median, out->kl_p90 = s.kl_p90, out->kl_p99 = s.kl_p99;
    out->kl_p999 = s.kl_p999, out->kl_max = s.kl_max;
    out->same_top1 = s.same_top1.value, out->same_top1_se = s.same_top1.se;
    out->dp_mean = s.dp_mean.value, out->dp_se = s.dp_mean.se;
    out->dp_rms = s.dp_rms.value, out->dp_rms_se = s.dp_rms.se;
    out->dp_p1 = s.dp_p1, out->dp_p99 = s.dp_p99, out->dp_min = s.dp_min, out->dp_max = s.dp_max;
    return 0;
}

/* Rounding can leave a sum of nothing a little below zero; no table shows a negative zero. */
static double unsigned_zero(double x, double unit) {
    return fabs(x) < unit / 2 ? 0 : x;
}

void quality_print_head(FILE *to) {
    fprintf(to,
            "| recipe | engine | bits per weight | perplexity | ln(ratio) | KL mean | KL median | KL 99 %% "
            "| KL max | same top-1 | RMS Δp | router flips ");
}

void quality_print_rule(FILE *to) {
    fprintf(to, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:");
}

void quality_print_cells(FILE *to, const struct quality_row *r) {
    fprintf(to, "| %s | %s | %.2f | %.4f ± %.4f ", r->recipe, r->engine, r->bits_per_weight, r->ppl,
            r->ppl_se);
    if (*r->base)
        fprintf(to, "| %+.5f ± %.5f | %.6f ± %.6f | %.6f | %.5f | %.4f | %.2f ± %.2f %% | %.2f %% ",
                unsigned_zero(r->log_ratio, 1e-5), r->log_ratio_se, unsigned_zero(r->kl_mean, 1e-6), r->kl_se,
                unsigned_zero(r->kl_median, 1e-6), r->kl_p99, r->kl_max, 100 * r->same_top1,
                100 * r->same_top1_se, 100 * r->dp_rms);
    else
        fprintf(to, "| - | - | - | - | - | - | - ");
    if (r->router_decisions)
        fprintf(to, "| %.3f %% ", 100.0 * (double)r->router_flips / (double)r->router_decisions);
    else
        fprintf(to, "| - ");
}

void quality_print_table(FILE *to, const struct quality_row *rows, size_t n) {
    quality_print_head(to);
    fprintf(to, "|\n");
    quality_print_rule(to);
    fprintf(to, "|\n");
    for (size_t i = 0; i < n; i++) {
        quality_print_cells(to, &rows[i]);
        fprintf(to, "|\n");
    }
}

static void line(FILE *to, const char *name, double value, double se, const char *unit) {
    fprintf(to, "| %s | %.6f", name, unsigned_zero(value, 1e-6));
    if (se >= 0) fprintf(to, " ± %.6f", se);
    fprintf(to, "%s |\n", unit);
}

void quality_print_one(FILE *to, const struct quality_row *r) {
    fprintf(to, "| | |\n|---|--:|\n| windows | %lld of %lld ids |\n| scored positions | %lld |\n",
            (long long)r->windows, (long long)r->n_ctx, (long long)r->positions);
    line(to, "perplexity", r->ppl, r->ppl_se, "");
    if (!*r->base) return;
    line(to, "perplexity of the base", r->ppl_base, r->ppl_base_se, "");
    line(to, "ln(perplexity / base)", r->log_ratio, r->log_ratio_se, "");
    line(to, "KL mean", r->kl_mean, r->kl_se, "");
    line(to, "KL median", r->kl_median, -1, "");
    line(to, "KL 90 %", r->kl_p90, -1, "");
    line(to, "KL 99 %", r->kl_p99, -1, "");
    line(to, "KL 99.9 %", r->kl_p999, -1, "");
    line(to, "KL maximum", r->kl_max, -1, "");
    line(to, "same top-1", 100 * r->same_top1, 100 * r->same_top1_se, " %");
    line(to, "Δp mean", 100 * r->dp_mean, 100 * r->dp_se, " %");
    line(to, "Δp RMS", 100 * r->dp_rms, 100 * r->dp_rms_se, " %");
    line(to, "Δp 1 %", 100 * r->dp_p1, -1, " %");
    line(to, "Δp 99 %", 100 * r->dp_p99, -1, " %");
    line(to, "Δp minimum", 100 * r->dp_min, -1, " %");
    line(to, "Δp maximum", 100 * r->dp_max, -1, " %");
}
