/* SPDX-License-Identifier: Apache-2.0 */
/* journal: what a run has finished, on disk before it is counted, so that a killed run goes on where it was.
 * A text file: one line that says which run it is, then one per finished item, each with a checksum before
 * it. Lines are only ever appended, with one write and one fdatasync; a line that a crash cut in half is
 * removed when the file is opened again. Knows nothing of what the lines mean. */
#ifndef EVAL_JOURNAL_H
#define EVAL_JOURNAL_H

#include <jansson.h>

#include "data/buffer.h"
#include "data/status.h"

struct journal {
    int fd; /* -1: closed */
    char path[4096];
    struct buffer pending; /* lines that are not on disk yet */
};

/* Gets each line's object, the first excepted; `number` is the line's, from 1. The object is not the
 * callee's.
 */
typedef enum status journal_line_fn(void *arg, const json_t *line, int number, struct error *e);

/* Opens or begins the file and locks it: ERR_IO while another process writes to it. header says which run
 * this is: when the file has another one, differs(header, found) explains (ERR_ARG). *header is replaced by
 * the file's own. Every line is given to line(). Close with journal_close. */
enum status journal_open(struct journal *j, const char *path, json_t **header,
                         enum status (*differs)(const char *path, const json_t *ours, const json_t *found,
                                                struct error *e),
                         journal_line_fn *line, void *arg, struct error *e);

/* The same for a file that is only read, perhaps while its owner writes: a torn last line is passed over. */
enum status journal_read(const char *path, json_t **header,
                         enum status (*differs)(const char *path, const json_t *ours, const json_t *found,
                                                struct error *e),
                         journal_line_fn *line, void *arg, struct error *e);

/* Adds a line; it is safe after journal_sync. */
enum status journal_add(struct journal *j, const json_t *line, struct error *e);
enum status journal_sync(struct journal *j, struct error *e);

/* Syncs nothing. Zeroed or closed is fine. */
void journal_close(struct journal *j);

#endif
