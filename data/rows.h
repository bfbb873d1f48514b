/* SPDX-License-Identifier: Apache-2.0 */
/* rows: the records of a data set's file, one JSON value each: JSON lines (or one JSON array), CSV as RFC
 * 4180 and spreadsheets write it, tab-separated values; gzip or not. Which of them a file is follows from its
 * name
 * (.jsonl .json .csv .tsv, with or without .gz); a member of a tar archive goes by its own name.
 *
 * A malformed row does not spoil the others: it keeps its place, so that row numbers stay what they are, and
 * says what is wrong with it. */
#ifndef DATA_ROWS_H
#define DATA_ROWS_H

#include <jansson.h>
#include <stddef.h>

#include "data/status.h"

struct row {
    json_t *value; /* an object; from CSV or TSV an array of texts. NULL: malformed */
    char *fault;   /* malformed: "FILE line N: what is wrong" */
    size_t number; /* of the line it begins on, as an editor counts; of the element in an array */
};

/* Start with {0}; free with rows_free. */
struct rows {
    struct row *row;
    size_t n, capacity;
};
void rows_free(struct rows *r);

/* Appends the rows of a file. path may be ARCHIVE.tar[.gz]:MEMBER. Blank lines are no rows. ERR_FORMAT: not
 * one row is there, or the file as a whole is not what its name says. */
enum status rows_read(struct rows *r, const char *path, struct error *e);

/* The same for bytes in memory; path is for messages and for the format. */
enum status rows_parse(struct rows *r, const char *path, const char *text, size_t n, struct error *e);

/* Appends an already parsed row; value is stolen. NULL: malformed, because of fault. */
enum status rows_append(struct rows *r, json_t *value, const char *path, size_t number, const char *fault,
                        struct error *e);

/* Makes of each value what convert makes of it: a new reference, or NULL and the fault. NULL without a fault:
 * the row is left out (it belongs to another task), which never happens to malformed ones). From row `first`
 * on. */
enum status rows_convert(struct rows *r, const char *path, size_t first,
                         json_t *(*convert)(const json_t *raw, void *arg, const char **fault), void *arg,
                         struct error *e);

/* Looks for the first of names that exists: dir/folder/name for every folder, then dir/name, each also with
 * .gz. For a name "A.tar:MEMBER" the archive must exist; whether it has the member is seen when it is read.
 * folders and names end with NULL. Returns the path for rows_read, to be freed; NULL and an error that names
 * what was expected. */
char *rows_find(const char *dir, const char *const *folders, const char *const *names, struct error *e);

#endif
