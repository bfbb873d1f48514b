/* SPDX-License-Identifier: Apache-2.0 */
/* baseline: runs kept under a name to compare later ones with. A baseline is an ordinary record (kinds
 * "bench" and "kernels") with all samples, the attributes `baseline`, `host` and `host_text`, and a table
 * `noise`. Its file is FOLDER/NAME-HOST.h5, HOST being 16 digits of the host's fingerprint: timings of
 * another machine are refused, however the file came here. */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include "bench/compare.h"
#include "bench/machine.h"

/* As given on the command line; NULL: not asked for. */
struct baseline_options {
    const char *save, *compare, *folder;
};
#define BASELINE_OPTIONS(o)                                                                                  \
    {"--save-baseline", OPTION_TEXT, &(o).save, "NAME", "keep the samples to compare later runs with"},      \
        {"--baseline", OPTION_TEXT, &(o).compare, "NAME",                                                    \
         "compare with those kept as NAME on this host; exit code 1 when something is\nworse"},              \
    {                                                                                                        \
        "--baselines", OPTION_TEXT, &(o).folder, "FOLDER", "where they are kept (default: baselines)"        \
    }

/* A baseline that was read. */
struct baseline {
    char title[400]; /* "baseline NAME: commit ..., time" */
    struct timed_list timed;
    void *samples; /* what timed points into */
};

/* "FOLDER/NAME-HOST.h5"; names have letters, digits, '.', '_' and '-'. */
enum status baseline_path(char *path, size_t size, const char *folder, const char *name,
                          const struct host *host, struct error *e);

/* The last run of this kind saved under that name on this host. */
enum status baseline_open(struct baseline *b, const char *folder, const char *name, const char *kind,
                          const struct host *host, struct error *e);
void baseline_close(struct baseline *b); /* a zeroed struct is fine */

/* Adds what makes a run a baseline and appends it to its file; the folder is made when it is not there. */
enum status baseline_save(struct record *r, const struct timed_list *timed, const char *folder,
                          const char *name, const struct host *host, struct error *e);

/* Before a long measurement: whether baseline_save could write. */
enum status baseline_check(const char *folder, const char *name, const struct host *host, struct error *e);

#endif
