/* SPDX-License-Identifier: Apache-2.0 */
/* options: one table of options gives parsing and --help. Accepts "-p 5", "--prompt 5", "--prompt=5";
 * single-dash names may be long ("-pg"), as in llama.cpp. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "data/status.h"

enum option_kind { OPTION_FLAG, OPTION_INT, OPTION_THREADS, OPTION_FLOAT, OPTION_TEXT, OPTION_LIST };

enum { OPTION_MAX_THREADS = 1024 }; /* OPTION_THREADS: an integer from 1 to this */

/* What OPTION_LIST collects: each use of the option adds one text. */
struct option_list {
    const char *at[16];
    int n;
};

struct option_spec {
    const char *names; /* "-m,--model": separated by commas */
    enum option_kind kind;
    void *value;      /* int *, int *, int *, double *, const char **, struct option_list * */
    const char *arg;  /* "FILE" in the help; NULL for flags */
    const char *help; /* one sentence, with the default; may hold newlines */
};

/* Parses argv[1..]. Options end with a spec whose names is NULL. Up to max_free words that are not options go
 * to free_words. Returns 0; 1 after printing --help to stdout (exit 0); -1 with *e filled ("unknown option
 * ...", "needs a value", "not a number"; the text names the nearest way out: `lfm2 NAME --help`). Repeated
 * OPTION_TEXT values are joined with ','. */
int options_parse(int argc, char **argv, const char *usage, const struct option_spec *specs,
                  const char **free_words, int max_free, int *n_free, struct error *e);

#endif
