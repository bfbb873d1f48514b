/* SPDX-License-Identifier: Apache-2.0 */
/* perplexity: feeds a text to an engine in windows and scores what it said about each next token, by itself
 * and against what another model said. Prints nothing. */
#ifndef BENCH_PERPLEXITY_H
#define BENCH_PERPLEXITY_H

#include <stdint.h>

#include "bench/base_file.h"
#include "bench/quality.h"
#include "reference/engine.h"

/* How a text of n ids is cut: windows of `size` ids that begin `step` apart, each computed from an empty
 * state. In a window, ids first+1 .. size-1 are scored, each by the position before it. */
struct windows {
    int size, step, first, n;
};
/* llama-perplexity's: windows of n_ctx one after the other, of each the second half scored, a rest left out.
 */
struct windows windows_chunks(int n_ids, int n_ctx);
/* Windows of n_ctx that move by stride < n_ctx, of each the last stride ids scored. */
struct windows windows_sliding(int n_ids, int n_ctx, int stride);
/* One window of all ids, all scored but the first. */
struct windows windows_whole(int n_ids);

/* Which experts were chosen, everywhere: to count how often another run chooses others. */
struct routes {
    int32_t *experts; /* [n windows * size, L, k], ascending; NULL: none kept yet */
    size_t positions;
};
void routes_free(struct routes *r); /* a zeroed struct is fine */

struct perplexity_options {
    const struct engine *engine;
    struct engine_options engine_options; /* max_tokens, tap are set here */
    const int32_t *ids;
    struct windows windows;
    int bos;                      /* put in the place of each window's first id; -1: none */
    struct base_writer *save;     /* NULL: none. Its rows are those of the windows, in order */
    const struct base_file *base; /* NULL: none. Made from the same ids and windows */
    struct routes *keep;          /* filled with this run's choices; NULL: not kept */
    const struct routes *routes;  /* of another run, to be compared with; NULL: none */
    void (*progress)(void *arg, int64_t done, int64_t total, double mean_nll); /* ids fed; NULL: none */
    void *progress_arg;
};

struct perplexity_result {
    struct quality quality;
    int64_t decisions, flips; /* of routers: compared with options.routes, and chose another set */
    double seconds;
    char describe[512]; /* the session's */
};

/* Fails when a logit is not finite: no average would mean anything. Free with quality_free(&out->quality),
 * also after an error. */
enum status perplexity_run(struct perplexity_result *out, const struct model *m,
                           const struct perplexity_options *o, struct error *e);

#endif
