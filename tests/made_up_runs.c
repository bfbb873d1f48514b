/* SPDX-License-Identifier: Apache-2.0 */
/* made_up_runs: runs whose every figure is known. */
#include "tests/made_up_runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/parity_rows.h"

struct record *made_up_run(const char *kind) {
    struct record *r = record_new(kind);
    record_text(r, "time", "2025-01-02T03:04:05Z");
    record_text(r, "commit", "0123456789abcdef");
    record_text(r, "cpu", "Made-up CPU | 9000");
    record_integer(r, "cores", 2);
    return r;
}

const struct model_row made_up_models[2] = {
    {.name = "LFM2-8B-A1B",
     .file = "a.gguf",
     .arch = "lfm2moe",
     .recipe = "Q4_0",
     .synthetic = 1,
     .bytes = 4732817152,
     .params = 8340000000,
     .bytes_per_token = 0.9e9,
     .macs_per_token = 1.42e9,
     .head_macs = 0.13e9},
    {.name = "Qwen3-1.7B",
     .file = "b.gguf",
     .arch = "qwen3",
     .recipe = "Q4_0",
     .synthetic = 1,
     .bytes = 1051569696,
     .params = 1700000000,
     .bytes_per_token = 1.0e9,
     .macs_per_token = 1.4e9,
     .head_macs = 0.31e9,
     .kv_bytes_per_position = 125e3},
};

struct throughput_row made_up_speed(int model, int peer, int prompt, int gen, int depth, double ts) {
    struct throughput_row r = {
        .n_prompt = prompt, .n_gen = gen, .n_depth = depth, .threads = 2, .repetitions = 5};
    snprintf(r.engine, sizeof r.engine, "%s", peer ? "llama.cpp b1" : "optimized");
    snprintf(r.model, sizeof r.model, "%s", made_up_models[model].name);
    if (depth)
        snprintf(r.test, sizeof r.test, "%s%d @ d%d", gen ? "tg" : "pp", gen ? gen : prompt, depth);
    else
        snprintf(r.test, sizeof r.test, "%s%d", gen ? "tg" : "pp", gen ? gen : prompt);
    r.median_ts = peer ? ts / 2 : ts;
    r.ci_lo = r.median_ts * 0.9;
    r.ci_hi = r.median_ts * 1.1;
    r.limit_ts = peer ? 0 : 2 * ts;
    r.share_of_limit = peer ? 0 : 0.5;
    snprintf(r.limited_by, sizeof r.limited_by, "%s", gen ? "read" : "int8");
    r.output_same = 1;
    if (peer) r.ratio = 2.0, r.ratio_lo = 1.9, r.ratio_hi = 2.1;
    return r;
}

struct record *made_up_bench(double lfm2_pp1024) {
    struct rows rows = {0};
    struct record *r = made_up_run("bench");
    for (int model = 0; model < 2; model++)
        for (int peer = 0; peer < 2; peer++) {
            double base = model ? 80 : lfm2_pp1024;
            for (int n = 32; n <= 4096; n *= 2) {
                struct throughput_row row =
                    made_up_speed(model, peer, n, 0, 0, n == 1024 ? base : base - n / 100.0);
                rows_add(&rows, &throughput_table, &row);
            }
            static const int depths[] = {0, 512, 1024, 4096};
            for (int d = 0; d < 4; d++) {
                struct throughput_row row =
                    made_up_speed(model, peer, 0, 100, depths[d], (model ? 12 : 15) - d);
                rows_add(&rows, &throughput_table, &row);
            }
        }
    record_rows(r, &models_table, made_up_models, 2);
    record_rows(r, &throughput_table, rows.data, rows.n);
    struct limits_row limit = {.name = "read",
                               .isa = "avx512",
                               .unit = "GB/s",
                               .threads = 2,
                               .bytes = 3000000000,
                               .median = 27.25,
                               .lowest = 26,
                               .highest = 28,
                               .best = 1};
    record_rows(r, &limits_table, &limit, 1);
    free(rows.data);
    return r;
}

struct record *made_up_parity(int holds, const char *optimized) {
    struct parity_layer_row layers[4] = {0};
    struct parity_logits_row logits[3] = {{.phase = "prefill",
                                           .view = "all",
                                           .positions = 64,
                                           .same_top1 = 63,
                                           .nmse = 1.25e-3,
                                           .nmse_worst = 2e-3,
                                           .kl_mean = 3e-4,
                                           .kl_max = 4e-3},
                                          {.phase = "prefill",
                                           .view = "unflipped",
                                           .nmse = NAN,
                                           .kl_mean = NAN,
                                           .nmse_worst = NAN,
                                           .max_abs = NAN,
                                           .kl_max = NAN},
                                          {.phase = "prefill",
                                           .view = "routed",
                                           .positions = 64,
                                           .same_top1 = 62,
                                           .nmse = 1.5e-3,
                                           .nmse_worst = 2e-3,
                                           .kl_mean = 5e-4,
                                           .kl_max = 6e-3}};
    struct parity_bound_row bound = {.name = "logits NMSE",
                                     .why = "because it is made up",
                                     .found = 1.25e-3,
                                     .limit = 1e-2,
                                     .holds = holds};
    for (int l = 0; l < 4; l++) {
        layers[l] = (struct parity_layer_row){.phase = "prefill",
                                              .mixer = "conv",
                                              .ffn = "moe",
                                              .layer = l,
                                              .positions = 64,
                                              .unflipped = 60 - l,
                                              .router_decisions = 64,
                                              .router_flips = l,
                                              .router_first_flips = l,
                                              .router_near_ties = l};
        layers[l].residual_nmse = 1e-4 * (l + 1);
    }
    struct parity_rows rows = {layers, logits, &bound, 4, 3, 1};
    struct record *r = made_up_run("parity");
    record_integer(r, "n_prefill", 64);
    record_integer(r, "n_decode", 8);
    record_integer(r, "passed", holds);
    if (optimized) record_text(r, "optimized", "%s", optimized);
    record_rows(r, &models_table, made_up_models, 1);
    parity_rows_store(r, &rows);
    return r;
}
