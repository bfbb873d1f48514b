/* SPDX-License-Identifier: Apache-2.0 */
/* records: results as HDF5. A file holds one group per run ("0001-bench", "0002-parity", ...) with attributes
 * (what ran where) and tables: arrays of C structs written as compound datasets through a list of fields.
 * Knows nothing of what the attributes and fields mean; see bench/records.h. Only for files this program
 * wrote: HDF5 is not a format to take from strangers. */
#ifndef DATA_RECORDS_H
#define DATA_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

enum field_kind { FIELD_F64, FIELD_I64, FIELD_TEXT }; /* double, int64_t, char[size] ended by a NUL */

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset, size; /* in the C struct; size of FIELD_TEXT with its NUL */
    int later;           /* 1: added after records were written; reads as 0 where a file does not have it */
};

/* One field of a table's struct, named as its member. */
#define F64(type, member)                                                                                    \
    { #member, FIELD_F64, offsetof(struct type, member), sizeof(double), 0 }
#define F64_LATER(type, member)                                                                              \
    { #member, FIELD_F64, offsetof(struct type, member), sizeof(double), 1 }
#define I64(type, member)                                                                                    \
    { #member, FIELD_I64, offsetof(struct type, member), sizeof(int64_t), 0 }
#define TEXT_FIELD(type, member)                                                                             \
    { #member, FIELD_TEXT, offsetof(struct type, member), sizeof(((struct type *)0)->member), 0 }

struct table {
    const char *name;           /* of the dataset */
    const struct field *fields; /* [n_fields] */
    int n_fields;
    size_t row_bytes; /* sizeof the C struct */
};

/* A run being put together in memory. Attribute and table calls copy their arguments; a failed allocation is
 * remembered and reported by records_append. A name given twice replaces the first. */
struct record;
struct record *record_new(const char *kind); /* "bench", "parity", ...; NULL without memory */
void record_free(struct record *r);          /* NULL is fine */
__attribute__((format(printf, 3, 4))) void record_text(struct record *r, const char *name, const char *fmt,
                                                       ...);
void record_number(struct record *r, const char *name, double value);
void record_integer(struct record *r, const char *name, int64_t value);
void record_rows(struct record *r, const struct table *t, const void *rows, size_t n);

/* Adds the run to a file, creating it when it is not there: the old file is copied to a temporary name beside
 * it, the run is added, the copy is flushed to disk and renamed over the old one. A killed writer leaves the
 * old file as it was; two writers wait for each other. name (64 bytes, may be NULL) gets the run's group. */
enum status records_append(const char *path, struct record *r, char *name, struct error *e);

/* Whether records_append could write there: the folder is there and a file in it is a record file. Asked
 * before a long measurement, not after. */
enum status records_check(const char *path, struct error *e);

/* A file opened for reading; runs in the order they were added. */
struct records {
    char path[4096];
    int n;
    char (*names)[64]; /* [n] "0001-bench" */
    char (*kinds)[32]; /* [n] "bench" */
    int64_t file;      /* private */
};
enum status records_open(struct records *f, const char *path, struct error *e);
void records_close(struct records *f); /* a zeroed struct is fine */

/* The run of this kind that was added last; -1 when there is none. */
int records_last(const struct records *f, const char *kind);

/* One attribute; the errors name file, run and attribute. A text longer than size - 1 is an error. */
enum status records_text(const struct records *f, int run, const char *name, char *out, size_t size,
                         struct error *e);
enum status records_number(const struct records *f, int run, const char *name, double *out, struct error *e);

/* The names of a run's attributes, sorted: calls each(arg, name). */
enum status records_attributes(const struct records *f, int run, void (*each)(void *arg, const char *name),
                               void *arg, struct error *e);

/* 1 when the run has this table. */
int records_has(const struct records *f, int run, const char *table);

/* All rows of a table, allocated (free(*rows)); every field must be there with its kind (but those
 * marked `later`), text no wider than here. */
enum status records_rows(const struct records *f, int run, const struct table *t, void **rows, size_t *n,
                         struct error *e);

#endif
