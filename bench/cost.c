/* SPDX-License-Identifier: Apache-2.0 */
/* cost: a roofline per test. */
#include "bench/cost.h"

#include <math.h>

/* All experts of all layers, and multiply-accumulates per token and visible position. */
static void layer_sums(const struct model *m, double *expert_bytes, double *attention_macs) {
    *expert_bytes = *attention_macs = 0;
    for (int i = 0; i < m->config.n_layers; i++) {
        const struct layer *l = &m->layers[i];
        if (l->mixer == MIXER_ATTENTION) *attention_macs += 2.0 * m->config.n_heads * m->config.head_dim;
        for (int x = 0; l->ffn == FFN_MOE && x < m->config.n_experts; x++)
            *expert_bytes +=
                (double)(l->experts[x].gate.bytes + l->experts[x].up.bytes + l->experts[x].down.bytes);
    }
}

/* One feed of n tokens to each of `sequences`, after `before` positions of each. */
static struct test_cost feed_cost(const struct model *m, int sequences, int n, double before) {
    struct model_cost per = model_cost(m);
    double expert_bytes, attention_macs, all = per.bytes_per_token;
    layer_sums(m, &expert_bytes, &attention_macs);
    if (m->config.n_experts > 0) {
        double chosen = (double)m->config.n_experts_used / m->config.n_experts;
        all += expert_bytes * (1 - pow(1 - chosen, sequences * n) - chosen);
    }
    double seen = before + (n + 1) / 2.0; /* positions a token looks at, itself included */
    return (struct test_cost){
        .bytes = all + sequences * per.kv_bytes_per_position * (before + n),
        .macs = sequences * (n * (per.macs_per_token + attention_macs * seen) + per.head_macs),
    };
}

/* A decode of n tokens costs n times its middle one, all terms being linear in the position. */
static struct test_cost gen_cost(const struct model *m, const struct bench_test *t) {
    return feed_cost(m, bench_test_sequences(t), 1, t->n_depth + t->n_prompt + (t->n_gen - 1) / 2.0);
}

struct test_cost test_cost(const struct model *m, const struct bench_test *t) {
    struct test_cost sum = {0, 0};
    if (t->n_prompt) sum = feed_cost(m, 1, t->n_prompt, t->n_depth);
    if (t->n_gen) {
        struct test_cost one = gen_cost(m, t);
        sum.bytes += one.bytes * t->n_gen;
        sum.macs += one.macs * t->n_gen;
    }
    return sum;
}

double test_limit(const struct model *m, const struct bench_test *t, double read, double int8,
                  const char **by) {
    struct test_cost part[2] = {{0, 0}, {0, 0}};
    double ns = 0, reading = 0, multiplying = 0;
    *by = "";
    if (read <= 0 || int8 <= 0) return 0;
    if (t->n_prompt) part[0] = feed_cost(m, 1, t->n_prompt, t->n_depth);
    if (t->n_gen) part[1] = gen_cost(m, t);
    for (int i = 0; i < 2; i++) {
        double times = i ? t->n_gen : 1;
        ns += times * fmax(part[i].bytes / read, part[i].macs / int8);
        reading += times * part[i].bytes / read;
        multiplying += times * part[i].macs / int8;
    }
    *by = reading > multiplying ? "read" : "int8";
    return ns > 0 ? bench_test_tokens(t) / ns * 1e9 : 0;
}
