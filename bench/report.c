/* SPDX-License-Identifier: Apache-2.0 */
/* report: the page. Sections in reading order; what a record has nothing for is left out. */
#include "bench/report.h"

#include <math.h>
#include <string.h>

const char *const report_figure_names[FIGURE_COUNT] = {"prefill", "decode",  "share", "threads",
                                                       "parity",  "quality", "eval"};

void md_text(FILE *to, const char *text) {
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (*s == '|' || *s == '<' || *s == '`') fputc('\\', to);
        fputc(*s < 32 || *s == 127 ? ' ' : *s, to);
    }
}

const char *md_rate(char out[32], double x) {
    if (!(x > 0) || isinf(x))
        snprintf(out, 32, "-");
    else
        snprintf(out, 32, x >= 1000 ? "%.0f" : x >= 10 ? "%.1f" : "%.2f", x);
    return out;
}

void report_prefix(char *out, size_t size, const struct report_source *s, int n_sources) {
    const char *dot = strrchr(s->name, '.');
    int stem = (int)(dot ? (size_t)(dot - s->name) : strlen(s->name));
    if (n_sources == 1 || (stem == 5 && !strncmp(s->name, "chart", 5)))
        snprintf(out, size, "%s", "");
    else
        snprintf(out, size, "%.*s-", stem, s->name);
}

int report_thread_counts(const struct report_source *s, size_t i) {
    int n = 0;
    for (size_t j = 0; j < s->n_speeds; j++)
        n += !strcmp(s->speeds[j].model, s->speeds[i].model) &&
             !strcmp(s->speeds[j].engine, s->speeds[i].engine) &&
             !strcmp(s->speeds[j].test, s->speeds[i].test);
    return n;
}

int report_parity_is_main(const struct report_source *s, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (!strcmp(s->parity[j].model.name, s->parity[i].model.name)) return 0;
    return 1;
}

/* About evaluations: what it has of speeds stands with them. */
static int is_of_answers(const struct report_source *s) {
    return s->n_eval_runs > 0 && !s->n_parity && !s->n_kernels;
}

/* About schemes that are not offered: what it has of the exact one stands beside them. */
static int is_of_schemes(const struct report_source *s) {
    return report_has_schemes(s) && !s->n_speeds;
}

/* A curve takes two points: prompts of two lengths, or decoding at two places. */
static int has_curve(const struct report_source *s, enum report_test test, int limited) {
    const struct throughput_row *first = NULL;
    for (size_t i = 0; i < s->n_speeds; i++) {
        const struct throughput_row *r = &s->speeds[i];
        if (report_test_of(r) != test || (limited && !(r->limit_ts > 0))) continue;
        if (test == TEST_PREFILL && r->n_depth) continue;
        if (!first)
            first = r;
        else if (r->n_prompt != first->n_prompt || r->n_depth != first->n_depth || r->n_gen != first->n_gen)
            return 1;
    }
    return 0;
}

int report_has_figure(const struct report_source *s, enum report_figure figure) {
    int found = 0;
    if (figure == FIGURE_PARITY) return s->n_parity > 0 && !is_of_schemes(s);
    if (figure <= FIGURE_THREADS && is_of_answers(s)) return 0;
    if (figure == FIGURE_THREADS) {
        for (size_t i = 0; i < s->n_speeds && !found; i++) found = report_thread_counts(s, i) > 1;
        return found;
    }
    if (figure == FIGURE_QUALITY) return s->n_quality > 0;
    if (figure == FIGURE_EVAL) {
        for (size_t i = 0; i < s->n_evals && !found; i++)
            found = !*s->evals[i].parent && report_eval_counts(s, &s->evals[i]);
        return found;
    }
    if (figure == FIGURE_PREFILL) return has_curve(s, TEST_PREFILL, 0);
    if (figure == FIGURE_DECODE) return has_curve(s, TEST_DECODE, 0);
    return has_curve(s, TEST_PREFILL, 1) || has_curve(s, TEST_DECODE, 1);
}

static void print_figure(FILE *to, const struct report_source *s, enum report_figure figure,
                         const char *prefix, const char *text) {
    if (!report_has_figure(s, figure)) return;
    fprintf(to, "![%s](plots/%s%s.svg)\n\n", text, prefix, report_figure_names[figure]);
}

static int any_synthetic(const struct report_source *s) {
    for (size_t i = 0; i < s->n_models; i++)
        if (s->models[i].synthetic) return 1;
    return 0;
}

static void print_line(FILE *to, const char *name, const char *value) {
    fprintf(to, "| %s | ", name);
    md_text(to, value);
    fprintf(to, " |\n");
}

static void print_machine(FILE *to, const struct report_source *s) {
    const struct report_run *r = s->machine;
    fprintf(to, "## What was measured where\n\n| | |\n|---|---|\n");
    print_line(to, "CPU", r->cpu);
    if (r->cores >= 0) fprintf(to, "| CPUs used | %lld |\n", (long long)r->cores);
    print_line(to, "caches", r->caches);
    print_line(to, "instruction sets used", r->isa);
    if (r->memory_bytes > 0) fprintf(to, "| memory | %.1f GB |\n", 1e-9 * (double)r->memory_bytes);
    print_line(to, "system", r->os);
    print_line(to, "kernel", r->kernel);
    print_line(to, "compiler", r->compiler);
    print_line(to, "flags", r->flags);
    fprintf(to, "\n| run | time (UTC) | commit | remarks |\n|---|---|---|---|\n");
    for (int i = 0; i < s->n_runs; i++) {
        const struct report_run *run = &s->runs[i];
        fprintf(to, "| %s%s%s | ", run->name, run->preset[0] ? ", preset " : "", run->preset);
        md_text(to, run->time);
        fprintf(to, " | %.12s%s | ", run->commit, run->dirty == 1 ? ", modified" : "");
        if (strcmp(run->cpu, r->cpu)) {
            fprintf(to, "on another CPU: ");
            md_text(to, run->cpu);
            fprintf(to, ". ");
        }
        md_text(to, run->warnings);
        if (run->warnings[0] && run->notes[0]) fprintf(to, ". ");
        md_text(to, run->notes);
        fprintf(to, " |\n");
    }
}

static void print_models(FILE *to, const struct report_source *s) {
    fprintf(
        to,
        "\n| model | architecture | recipe | weights | file, GB | read per token, GB | GMAC per token (head "
        "extra) | header SHA-256 |\n|---|---|---|---|--:|--:|--:|---|\n");
    for (size_t i = 0; i < s->n_models; i++) {
        const struct model_row *m = &s->models[i];
        fprintf(to, "| ");
        md_text(to, m->name);
        fprintf(to, " | %s | %s | %.4g M, %s | %.3f | %.3f | %.3f (%.3f) | `%.16s` |\n", m->arch, m->recipe,
                1e-6 * (double)m->params, m->synthetic ? "**synthetic**" : "as in the file",
                1e-9 * (double)m->bytes, 1e-9 * m->bytes_per_token, 1e-9 * m->macs_per_token,
                1e-9 * m->head_macs, m->header_sha256);
    }
    fprintf(to, "\n");
    if (any_synthetic(s))
        fprintf(
            to,
            "**The weights marked synthetic are seeded random numbers in the model's real shapes and types** "
            "(`lfm2 synth`), not trained ones. The same bytes are read and the same products computed as "
            "with "
            "trained weights; but a trained router spreads tokens over the experts in its own way, which can "
            "move the speed of mixture layers, and how far int8 activations move a trained model's answers "
            "is not measured here.\n\n");
}

/* What bends the curves, with the figures that decide it. */
static void print_why(FILE *to, const struct report_source *s, const char *prefix) {
    fprintf(
        to,
        "\n**Why the curves bend.** Prefill: short prompts pay the reading of all weights for few tokens (in "
        "a "
        "mixture, each expert for the few tokens sent to it), so the curve rises until arithmetic is the "
        "limit; "
        "then each token also attends to all before it, so the curve falls, the sooner the more attention a "
        "model has. Decode: every token reads its share of the weights and all keys and values so far, so "
        "the "
        "curve falls with the bytes per token:\n\n| model | weights read per token, GB | keys and values, KB "
        "per position | context at which they are as much as the weights |\n|---|--:|--:|--:|\n");
    for (size_t i = 0; i < s->n_models; i++) {
        const struct model_row *m = &s->models[i];
        if (!(m->kv_bytes_per_position > 0)) continue;
        fprintf(to, "| ");
        md_text(to, m->name);
        fprintf(to, " | %.3f | %.1f | %.0f |\n", 1e-9 * m->bytes_per_token, 1e-3 * m->kv_bytes_per_position,
                m->bytes_per_token / m->kv_bytes_per_position);
    }
    fprintf(to, "\n");
    if (!report_has_figure(s, FIGURE_THREADS)) return;
    print_figure(to, s, FIGURE_THREADS, prefix, "Speed against threads");
    fprintf(
        to,
        "Threads: prefill grows with the CPUs, decode only until memory is busy. More threads than CPUs "
        "(%lld "
        "here) add no arithmetic; they wait asleep instead of spinning, so what is lost is the switching.\n",
        (long long)s->machine->cores);
}

static void print_speed(FILE *to, const struct report_source *s, const char *prefix) {
    if (!s->n_speeds || (*prefix && is_of_answers(s))) return;
    fprintf(to, "## Speed\n\n");
    print_figure(to, s, FIGURE_PREFILL, prefix, "Prefill speed against prompt length");
    print_figure(to, s, FIGURE_DECODE, prefix, "Decode speed against context");
    print_figure(to, s, FIGURE_SHARE, prefix, "Share of the machine's limit");
    fprintf(
        to,
        "`ppN`: tokens per second while reading a prompt of N tokens; `tgN`: while decoding N tokens "
        "one by one; "
        "`@ dM`: after M tokens of context. Medians over repetitions with a 95 %% bootstrap "
        "interval. Limit: what "
        "this machine's own measured read bandwidth or int8 peak allows for the bytes and "
        "multiply-accumulates of a token, whichever is less. Memory that other work shares has another speed "
        "every second, so the limits are measured right before and after each repetition, and the "
        "share is the median of the repetitions' own shares, with its interval; without an "
        "interval: of one repetition, or of limits measured before and after the whole run only, "
        "and above 100 %% memory was slower then than during the test. Resident: the most that the "
        "process had held in memory by then, whatever it ran before. Loading and the first token: "
        "the least and the most of all processes, some of which read the file from disk and some "
        "found it in memory.\n");
    print_why(to, s, prefix);
    report_speeds(to, s);
    fprintf(to, "\n");
    report_batched(to, s);
}

static void print_lookups(FILE *to, const struct report_source *s) {
    if (!s->n_lookups) return;
    fprintf(
        to,
        "## Prompt lookup\n\nApart from plain decoding, because what it gains depends on the text: tokens "
        "are guessed from "
        "what was said before and several are checked in one pass; what is kept is what plain decoding would "
        "have "
        "chosen. Here the text begins with %d random ids, %d times, and goes on with the model's likeliest "
        "tokens. A "
        "trained model goes on with what repeats; random weights seldom do, and then nothing is guessed.\n\n",
        LOOKUP_BLOCK, LOOKUP_BLOCKS);
    lookup_print(to, s->lookups, s->n_lookups);
    fprintf(to, "\n");
}

/* The value of " NAME=value" in an engine's description. */
static void print_word(FILE *to, const char *description, const char *name) {
    const char *at = strstr(description, name);
    if (at) at += strlen(name);
    fprintf(to, "%.*s", at ? (int)strcspn(at, " ") : 1, at ? at : "-");
}

static void print_ways(FILE *to, const struct report_source *s) {
    int others = 0;
    for (size_t i = 0; i < s->n_parity; i++)
        others |= !report_parity_is_main(s, i) && !report_other_scheme(&s->parity[i]);
    if (!others) return;
    fprintf(
        to,
        "### What each way of computing it costs\n\nEvery instruction set sums the same exact integers per "
        "32 "
        "weights and rounds the same floats, in another order at most; an int8 cache rounds keys, values, "
        "queries and attention weights as well.\n\n| model | int4 products | attention | cache | phase | "
        "logits "
        "NMSE | KL mean | KL max | same top-1 | verdict |\n|---|---|---|---|---|--:|--:|--:|--:|---|\n");
    for (size_t i = 0; i < s->n_parity; i++)
        for (size_t j = 0; j < s->parity[i].rows.n_logits; j++) {
            const struct report_parity *p = &s->parity[i];
            const struct parity_logits_row *r = &p->rows.logits[j];
            if (strcmp(r->view, parity_has_router(&p->rows) ? "routed" : "all") || r->positions == 0 ||
                report_other_scheme(p))
                continue;
            fprintf(to, "| ");
            md_text(to, p->model.name);
            fprintf(to, " | ");
            print_word(to, p->optimized, "gemm_q4a8=");
            fprintf(to, " | ");
            print_word(to, p->optimized, strstr(p->optimized, "kv=q8_0") ? " attention8=" : " attention=");
            fprintf(to, " | ");
            print_word(to, p->optimized, " kv=");
            fprintf(to, " | %s | %.2e | %.2e | %.2e | %.1f %% | %s |\n", r->phase, r->nmse, r->kl_mean,
                    r->kl_max, 100.0 * (double)r->same_top1 / (double)r->positions,
                    p->passed ? "pass" : "**FAIL**");
        }
    fprintf(to, "\n");
}

static void print_parity(FILE *to, const struct report_source *s, const char *prefix) {
    if (!s->n_parity || is_of_schemes(s)) return;
    fprintf(
        to,
        "## Agreement with the reference\n\nThe float32 reference and the optimized engine read the same "
        "file and are fed the same ids. NMSE is "
        "the squared error over the squared reference; KL is of the optimized next-token distribution from "
        "the reference's, in nats. A router may choose another expert when two scores are nearly equal, and "
        "with random weights everything behind such a flip differs. So models with routers are run twice: "
        "with their own choices, and with every token sent to the experts that the reference chose. **Only "
        "the second is held to the error limits**; of the first it is asked that all values are finite and "
        "every flip is explained by its scores, and its figures, which are what a user of the model gets, "
        "stand in the rows marked \"own\". The limits were set after measuring, with room (reasons in "
        "the table): they find a broken layer, they do not show that int8 activations cost nothing.\n\n");
    print_figure(to, s, FIGURE_PARITY, prefix, "Error of the residual stream by layer");
    print_ways(to, s);
    for (size_t i = 0; i < s->n_parity; i++) {
        const struct report_parity *p = &s->parity[i];
        if (!report_parity_is_main(s, i)) continue;
        fprintf(to, "### ");
        md_text(to, p->model.name);
        fprintf(to,
                ", %s%s: %s\n\n%lld tokens of prefill, %lld decode steps.\n\n- reference: ", p->model.recipe,
                p->model.synthetic ? ", **synthetic weights**" : "", p->passed ? "pass" : "**FAIL**",
                (long long)p->n_prefill, (long long)p->n_decode);
        md_text(to, p->reference);
        fprintf(to, "\n- optimized: ");
        md_text(to, p->optimized);
        fprintf(to, "\n\n");
        parity_print_bounds(to, &p->rows);
        fprintf(to, "\n");
        parity_print_logits(to, &p->rows);
        fprintf(to, "\n");
        if (parity_has_router(&p->rows)) {
            parity_print_router(to, &p->rows);
            fprintf(to, "\n");
        }
        if (p->chain[0].positions > 0) {
            fprintf(to, "The model it was quantised from, its weights as they dequantise, and the optimized "
                        "engine: each step's price.\n\n");
            chain_print(to, p->chain, CHAIN_LINKS, p->is_text);
            fprintf(to, "\n");
        }
        fprintf(to, "<details><summary>layer by layer, prefill</summary>\n\n");
        parity_print_layers(to, &p->rows, "prefill");
        fprintf(to, "\n</details>\n\n<details><summary>layer by layer, decode</summary>\n\n");
        parity_print_layers(to, &p->rows, "decode");
        fprintf(to, "\n</details>\n\n");
    }
}

static void print_kernels(FILE *to, const struct report_source *s) {
    int64_t passed = 0, cases = 0;
    char a[32], b[32], c[32];
    if (!s->n_kernels) return;
    for (size_t i = 0; i < s->n_kernels; i++) {
        passed += s->kernels[i].pass != 0;
        cases += s->kernels[i].cases;
    }
    fprintf(to,
            "## Kernels\n\n%lld of %zu rows passed, %lld cases compared with the oracle. The rows this "
            "machine's dispatch "
            "takes, "
            "weights cold:\n\n| op | variant | shape | threads | µs | GB/s | GMAC/s | share of the limit | × "
            "scalar | "
            "error, %% of its bound | |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n",
            (long long)passed, s->n_kernels, (long long)cases);
    for (size_t i = 0; i < s->n_kernels; i++) {
        const struct kernel_row *k = &s->kernels[i];
        if (!k->chosen) continue;
        fprintf(to, "| %s | %s | ", k->op, k->isa);
        md_text(to, k->shape);
        fprintf(to, " | %lld | %s | %s | %s | ", (long long)k->threads, md_rate(a, 1e-3 * k->median_ns),
                md_rate(b, k->gb_s), md_rate(c, k->gmac_s));
        if (k->share_of_limit > 0)
            fprintf(to, "%.0f %% of %s", 100 * k->share_of_limit, k->limited_by);
        else
            fprintf(to, "-");
        fprintf(to, " | %s | %.1f | %s%s |\n", md_rate(a, k->times_scalar), 100 * k->error_share,
                k->pass ? "PASS" : "**FAIL**",
                k->fastest || !(k->median_ns > 0) ? "" : ", not the fastest row");
    }
    fprintf(to, "\n");
}

static void print_limits_table(FILE *to, const struct limits_row *limits, size_t n) {
    char a[32], b[32], c[32];
    fprintf(to, "\n\n| what | instructions | threads | set, GB | median | lowest – highest | unit |\n"
                "|---|---|--:|--:|--:|--:|---|\n");
    for (size_t i = 0; i < n; i++) {
        const struct limits_row *l = &limits[i];
        fprintf(to, "| %s | %s | %lld | ", l->name, l->isa, (long long)l->threads);
        if (l->bytes > 0)
            fprintf(to, "%.2f", 1e-9 * (double)l->bytes);
        else
            fprintf(to, "-");
        fprintf(to, " | %s%s%s | %s – %s | %s |\n", l->best ? "**" : "", md_rate(a, l->median),
                l->best ? "**" : "", md_rate(b, l->lowest), md_rate(c, l->highest), l->unit);
    }
    fprintf(to, "\n");
}

static void print_limits(FILE *to, const struct report_source *s) {
    if (!s->n_limits && !s->n_bench_limits) return;
    fprintf(to, "## Limits of the machine\n\nBold: the best of its kind, set size and threads.\n\n");
    if (s->n_limits) {
        fprintf(to, "Measured by themselves:");
        print_limits_table(to, s->limits, s->n_limits);
    }
    if (s->n_bench_limits) {
        fprintf(to, "Measured before and after the speeds above:");
        print_limits_table(to, s->bench_limits, s->n_bench_limits);
    }
}

static void print_quality(FILE *to, const struct report_source *s, const char *prefix) {
    if (!s->n_quality) return;
    fprintf(to, "## What quantisation costs\n\n");
    print_figure(to, s, FIGURE_QUALITY, prefix, "KL divergence against bits per weight");
    report_quality(to, s);
}

static void print_eval(FILE *to, const struct report_source *s, const char *prefix) {
    fprintf(to, "## Answers\n\n");
    print_figure(to, s, FIGURE_EVAL, prefix, "Scores with their intervals");
    report_eval(to, s);
    if (*prefix && is_of_answers(s)) report_batched(to, s);
}

static enum status print_source(FILE *to, const struct report_source *s, int n, const char *published,
                                struct error *e) {
    char prefix[160];
    report_prefix(prefix, sizeof prefix, s, n);
    if (n > 1) fprintf(to, "# Record %s\n\n", s->name);
    print_machine(to, s);
    print_models(to, s);
    print_speed(to, s, prefix);
    print_lookups(to, s);
    if (!*prefix) {
        fprintf(to, "## Beside published figures\n\n");
        TRY(report_published(to, s, published, e));
        fprintf(to, "\n");
    }
    print_parity(to, s, prefix);
    report_schemes(to, s);
    print_quality(to, s, prefix);
    if (s->n_eval_runs || (s->n_eval_pairs && !s->n_quality)) print_eval(to, s, prefix);
    print_kernels(to, s);
    print_limits(to, s);
    return OK;
}

enum status report_page(FILE *to, const struct report_source *sources, int n, const char *published,
                        struct error *e) {
    char prefix[160];
    int synthetic = 0;
    for (int i = 0; i < n; i++) synthetic |= any_synthetic(&sources[i]);
    fprintf(to, "# Results\n\nWritten by `lfm2 report` from");
    for (int i = 0; i < n; i++) fprintf(to, "%s `%s`", i ? "," : "", sources[i].name);
    fprintf(to, "; never edited by hand. `lfm2 report --check` compares.\n\n");
    if (synthetic)
        fprintf(
            to,
            "**Synthetic weights.** Models marked so have real shapes and seeded random weights: speed and "
            "agreement are measured, quality is not.\n\n");
    for (int i = 0; i < n; i++) {
        report_prefix(prefix, sizeof prefix, &sources[i], n);
        if (!*prefix) report_headline(to, &sources[i]);
    }
    for (int i = 0; i < n; i++) TRY(print_source(to, &sources[i], n, published, e));
    report_card(to, sources, n);
    fprintf(to, "## How to reproduce\n\n`make chart` makes the models, checks agreement, measures, and "
                "writes this page "
                "for your machine. `lfm2 report` rewrites this page from the stored records; `lfm2 info "
                "MODEL` and the "
                "header hash above tell whether a model file is the same.\n");
    return OK;
}
