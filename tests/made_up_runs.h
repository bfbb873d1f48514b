/* SPDX-License-Identifier: Apache-2.0 */
/* made_up_runs: runs for tests of the report. The caller frees them (record_free). */
#ifndef TESTS_MADE_UP_RUNS_H
#define TESTS_MADE_UP_RUNS_H

#include "bench/records.h"

/* LFM2-8B-A1B and Qwen3-1.7B, both synthetic. */
extern const struct model_row made_up_models[2];

/* A run with a machine and a time, and no tables. */
struct record *made_up_run(const char *kind);

/* A row of `models` with ts tok/s, half its limit; peer: llama.cpp, half as fast, with its ratio. */
struct throughput_row made_up_speed(int model, int peer, int prompt, int gen, int depth, double ts);

/* Both models and the peer over lengths 32 .. 4096 and depths 0 .. 4096, and a read limit. */
struct record *made_up_bench(double lfm2_pp1024);

/* Four layers of LFM2-8B-A1B and one bound. optimized: what the run says of the engine; NULL: nothing. */
struct record *made_up_parity(int holds, const char *optimized);

#endif
