/* SPDX-License-Identifier: Apache-2.0 */
/* peer: somebody else's llama-bench, or another build of lfm2, run on the same file with the same test, one
 * repetition per child process, so that it can be interleaved with ours. Knows llama.cpp's (-d for depth) and
 * ik_llama.cpp's
 * (-gp), and `lfm2 bench`. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdint.h>

#include "bench/plan.h"
#include "data/status.h"

struct peer {
    char path[1024];
    char name[64]; /* "llama.cpp b6123 (llama-bench)"; the build is known after the first run */
    int has_depth; /* understands -d */
    int has_gp;    /* understands -gp: decode after a prefix */
    int is_lfm2;   /* its llama-bench is `PATH bench` */
    int can_skip;  /* understands --no-warmup */
    int no_warmup; /* the caller's wish: without the untimed run of the whole prompt before, where it can */
    int successes, failures; /* of peer_run; a test that it does not have is neither */
};

/* Asks the binary for its --help. */
enum status peer_open(struct peer *p, const char *path, struct error *e);

/* Runs one repetition of the test and returns its time. Fails with ERR_UNSUPPORTED when the peer has no such
 * test. */
enum status peer_run(struct peer *p, const char *model, const struct bench_test *t, int threads, int batch,
                     int64_t *ns, struct error *e);

/* The time in llama-bench's JSON text, and its build in p->name. */
enum status peer_parse(struct peer *p, const char *json, int64_t *ns, struct error *e);

#endif
