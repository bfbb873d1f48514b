/* SPDX-License-Identifier: Apache-2.0 */
/* records: writing runs to HDF5 and reading them back. Object times are not tracked, so that the same run
 * gives the same bytes. */
#include "data/records.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hdf5_quiet.h"
#include "data/mapped.h"
#include "data/unfinished.h"

enum { MAX_TEXT = 60000, MAX_ROWS = 50000000, MAX_RUNS = 100000 };

struct attribute {
    char name[64];
    enum field_kind kind;
    char *text;
    double number;
    int64_t integer;
};

struct stored_table {
    struct table table;
    void *rows;
    size_t n;
};

struct record {
    char kind[32];
    struct attribute *attributes;
    struct stored_table *tables;
    int n_attributes, n_tables;
    int failed; /* an allocation failed */
};

/* ---- a run in memory ---- */

struct record *record_new(const char *kind) {
    struct record *r = calloc(1, sizeof *r);
    if (r) snprintf(r->kind, sizeof r->kind, "%s", kind);
    return r;
}

void record_free(struct record *r) {
    if (!r) return;
    for (int i = 0; i < r->n_attributes; i++) free(r->attributes[i].text);
    for (int i = 0; i < r->n_tables; i++) free(r->tables[i].rows);
    free(r->attributes);
    free(r->tables);
    free(r);
}

static struct attribute *attribute(struct record *r, const char *name, enum field_kind kind) {
    struct attribute *a = NULL;
    for (int i = 0; i < r->n_attributes && !a; i++)
        if (strcmp(r->attributes[i].name, name) == 0) a = &r->attributes[i];
    if (!a) {
        struct attribute *more = realloc(r->attributes, (size_t)(r->n_attributes + 1) * sizeof *more);
        if (!more) {
            r->failed = 1;
            return NULL;
        }
        r->attributes = more;
        a = &more[r->n_attributes++];
        memset(a, 0, sizeof *a);
        snprintf(a->name, sizeof a->name, "%s", name);
    }
    free(a->text);
    a->text = NULL;
    a->kind = kind;
    return a;
}

void record_text(struct record *r, const char *name, const char *fmt, ...) {
    struct attribute *a = attribute(r, name, FIELD_TEXT);
    if (!a) return;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&a->text, fmt, ap) < 0) {
        a->text = NULL;
        r->failed = 1;
    }
    va_end(ap);
    if (a->text && strlen(a->text) > MAX_TEXT) a->text[MAX_TEXT] = 0;
}

void record_number(struct record *r, const char *name, double value) {
    struct attribute *a = attribute(r, name, FIELD_F64);
    if (a) a->number = value;
}

void record_integer(struct record *r, const char *name, int64_t value) {
    struct attribute *a = attribute(r, name, FIELD_I64);
    if (a) a->integer = value;
}

void record_rows(struct record *r, const struct table *t, const void *rows, size_t n) {
    struct stored_table *s = NULL;
    for (int i = 0; i < r->n_tables && !s; i++)
        if (strcmp(r->tables[i].table.name, t->name) == 0) s = &r->tables[i];
    if (!s) {
        struct stored_table *more = realloc(r->tables, (size_t)(r->n_tables + 1) * sizeof *more);
        if (!more) {
            r->failed = 1;
            return;
        }
        r->tables = more;
        s = &more[r->n_tables++];
        memset(s, 0, sizeof *s);
    }
    free(s->rows);
    s->table = *t;
    s->n = n;
    s->rows = malloc(n * t->row_bytes + 1);
    if (!s->rows) {
        s->n = 0;
        r->failed = 1;
        return;
    }
    if (n) memcpy(s->rows, rows, n * t->row_bytes);
    /* What stands after a text's NUL would make two equal runs differ. */
    for (size_t i = 0; i < n; i++)
        for (int f = 0; f < t->n_fields; f++) {
            if (t->fields[f].kind != FIELD_TEXT) continue;
            char *text = (char *)s->rows + i * t->row_bytes + t->fields[f].offset;
            size_t len = strnlen(text, t->fields[f].size - 1);
            memset(text + len, 0, t->fields[f].size - len);
        }
}

/* ---- HDF5 types ---- */

static void quiet(void) {
    hdf5_quiet();
}

static hid_t text_type(size_t size) {
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t >= 0 && H5Tset_size(t, size) < 0) {
        H5Tclose(t);
        return -1;
    }
    return t;
}

/* The compound of the C struct; in the file the same fields without padding. */
static hid_t row_type(const struct table *t, int in_file) {
    size_t at = 0, bytes = 0;
    for (int i = 0; i < t->n_fields; i++) bytes += t->fields[i].size;
    hid_t type = H5Tcreate(H5T_COMPOUND, in_file ? bytes : t->row_bytes);
    for (int i = 0; type >= 0 && i < t->n_fields; i++) {
        const struct field *f = &t->fields[i];
        hid_t member = f->kind == FIELD_TEXT  ? text_type(f->size)
                       : f->kind == FIELD_F64 ? H5Tcopy(in_file ? H5T_IEEE_F64LE : H5T_NATIVE_DOUBLE)
                                              : H5Tcopy(in_file ? H5T_STD_I64LE : H5T_NATIVE_INT64);
        int bad = member < 0 || H5Tinsert(type, f->name, in_file ? at : f->offset, member) < 0;
        if (member >= 0) H5Tclose(member);
        if (bad) {
            H5Tclose(type);
            return -1;
        }
        at += f->size;
    }
    return type;
}

/* ---- writing ---- */

static int write_attribute(hid_t group, const struct attribute *a) {
    hid_t type = a->kind == FIELD_TEXT  ? text_type(a->text ? strlen(a->text) + 1 : 1)
                 : a->kind == FIELD_F64 ? H5Tcopy(H5T_IEEE_F64LE)
                                        : H5Tcopy(H5T_STD_I64LE);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t at = H5Acreate2(group, a->name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const void *value = a->kind == FIELD_TEXT  ? (const void *)(a->text ? a->text : "")
                        : a->kind == FIELD_F64 ? (const void *)&a->number
                                               : (const void *)&a->integer;
    hid_t memory = a->kind == FIELD_TEXT ? type : a->kind == FIELD_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;
    int bad = at < 0 || H5Awrite(at, memory, value) < 0;
    if (at >= 0) H5Aclose(at);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return bad ? -1 : 0;
}

static int write_table(hid_t group, const struct stored_table *s) {
    hsize_t n = s->n;
    hid_t file = row_type(&s->table, 1), memory = row_type(&s->table, 0);
    hid_t space = H5Screate_simple(1, &n, NULL), plain = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    int bad = file < 0 || memory < 0 || space < 0 || plain < 0 || H5Pset_obj_track_times(plain, 0) < 0;
    if (!bad) set = H5Dcreate2(group, s->table.name, file, space, H5P_DEFAULT, plain, H5P_DEFAULT);
    bad = bad || set < 0 || (n && H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, s->rows) < 0);
    if (set >= 0) H5Dclose(set);
    if (plain >= 0) H5Pclose(plain);
    if (space >= 0) H5Sclose(space);
    if (memory >= 0) H5Tclose(memory);
    if (file >= 0) H5Tclose(file);
    return bad ? -1 : 0;
}

static enum status write_run(hid_t file, const char *path, const struct record *r, char *name,
                             struct error *e) {
    H5G_info_t info;
    if (H5Gget_info(file, &info) < 0) return fail(e, ERR_FORMAT, "%s: cannot list its runs", path);
    if (info.nlinks >= MAX_RUNS)
        return fail(e, ERR_FORMAT, "%s: holds %d runs already; start a new file", path, MAX_RUNS);
    snprintf(name, 64, "%04d-%s", (int)info.nlinks + 1, r->kind);
    hid_t plain = H5Pcreate(H5P_GROUP_CREATE), group = -1;
    if (plain >= 0 && H5Pset_obj_track_times(plain, 0) >= 0)
        group = H5Gcreate2(file, name, H5P_DEFAULT, plain, H5P_DEFAULT);
    if (plain >= 0) H5Pclose(plain);
    if (group < 0) return fail(e, ERR_IO, "%s: cannot add run %s", path, name);
    enum status st = OK;
    for (int i = 0; i < r->n_attributes && !st; i++)
        if (write_attribute(group, &r->attributes[i]))
            st = fail(e, ERR_IO, "%s: run %s: cannot write attribute %s", path, name, r->attributes[i].name);
    for (int i = 0; i < r->n_tables && !st; i++)
        if (write_table(group, &r->tables[i]))
            st = fail(e, ERR_IO, "%s: run %s: cannot write table %s", path, name, r->tables[i].table.name);
    H5Gclose(group);
    return st;
}

static enum status copy_file(const char *from, int to, const char *to_name, struct error *e) {
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(e, ERR_IO, "%s: %s", from, strerror(errno));
    char buffer[65536];
    enum status st = OK;
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) st = fail(e, ERR_IO, "%s: %s", from, strerror(errno));
        if (n <= 0) break;
        for (ssize_t done = 0; done < n && !st;) {
            ssize_t w = write(to, buffer + done, (size_t)(n - done));
            if (w < 0 && errno != EINTR) st = fail(e, ERR_IO, "%s: %s", to_name, strerror(errno));
            if (w > 0) done += w;
        }
        if (st) break;
    }
    close(fd);
    return st;
}

/* Adds the run to the file at temp (empty: a new one) and brings it to the disk. */
static enum status add_run(const char *temp, int is_new, const char *path, const struct record *r, char *name,
                           struct error *e) {
    hid_t file = is_new ? H5Fcreate(temp, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)
                        : H5Fopen(temp, H5F_ACC_RDWR, H5P_DEFAULT);
    if (file < 0)
        return is_new ? fail(e, ERR_IO, "%s: cannot create it", path)
                      : fail(e, ERR_FORMAT, "%s: not a record file (expected HDF5)", path);
    enum status st = write_run(file, path, r, name, e);
    if (H5Fclose(file) < 0 && !st) st = fail(e, ERR_IO, "%s: cannot write it", path);
    return st;
}

static enum status append_locked(const char *path, const struct record *r, char *name, struct error *e) {
    char temp[4200];
    struct stat old;
    int is_new = stat(path, &old) != 0;
    if (is_new && errno != ENOENT) return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!is_new && !S_ISREG(old.st_mode)) return fail(e, ERR_IO, "%s: not a file", path);
    if (snprintf(temp, sizeof temp, "%s.XXXXXX", path) >= (int)sizeof temp)
        return fail(e, ERR_ARG, "%.200s...: the name is too long", path);
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) return fail(e, ERR_IO, "%s: %s", temp, strerror(errno));
    enum status st = OK;
    unfinished_add(temp);
    if (!is_new) st = copy_file(path, fd, temp, e);
    if (!st) st = add_run(temp, is_new, path, r, name, e);
    if (!st && fchmod(fd, is_new ? 0644 : old.st_mode & 0777) != 0)
        st = fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!st) st = put_in_place(temp, path, e);
    if (st) unlink(temp), unfinished_done(temp);
    close(fd);
    return st;
}

enum status records_append(const char *path, struct record *r, char *name, struct error *e) {
    char group[64], folder[4096];
    if (!r || r->failed) return fail(e, ERR_MEMORY, "%s: out of memory while a run was put together", path);
    if (strlen(path) >= sizeof folder - 16) return fail(e, ERR_ARG, "%.200s...: the name is too long", path);
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return fail(e, ERR_IO, "%s: %s", folder, strerror(errno));
    quiet();
    /* Without the lock the second of two writers would rename a copy that lacks the first one's run. */
    while (flock(dir, LOCK_EX) != 0)
        if (errno != EINTR) {
            close(dir);
            return fail(e, ERR_IO, "%s: cannot lock: %s", folder, strerror(errno));
        }
    record_text(r, "kind", "%s", r->kind);
    enum status st = r->failed ? fail(e, ERR_MEMORY, "%s: out of memory", path)
                               : append_locked(path, r, name ? name : group, e);
    close(dir);
    return st;
}

/* ---- reading ---- */

enum status records_open(struct records *f, const char *path, struct error *e) {
    memset(f, 0, sizeof *f);
    f->file = -1;
    quiet();
    TRY(regular_file(path, e));
    snprintf(f->path, sizeof f->path, "%s", path);
    f->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (f->file < 0) return fail(e, ERR_FORMAT, "%s: not a record file (expected HDF5)", path);
    H5G_info_t info;
    enum status st = OK;
    if (H5Gget_info(f->file, &info) < 0 || info.nlinks > MAX_RUNS)
        st = fail(e, ERR_FORMAT, "%s: cannot list its runs", path);
    size_t n = st ? 0 : (size_t)info.nlinks;
    f->names = calloc(n + 1, sizeof *f->names);
    f->kinds = calloc(n + 1, sizeof *f->kinds);
    if (!st && (!f->names || !f->kinds)) st = fail(e, ERR_MEMORY, "%s: out of memory", path);
    for (size_t i = 0; i < n && !st; i++) {
        if (H5Lget_name_by_idx(f->file, "/", H5_INDEX_NAME, H5_ITER_INC, i, f->names[i], sizeof *f->names,
                               H5P_DEFAULT) < 0)
            st = fail(e, ERR_FORMAT, "%s: cannot name run %zu", path, i);
        f->n = (int)i + 1;
        if (!st) st = records_text(f, (int)i, "kind", f->kinds[i], sizeof *f->kinds, e);
    }
    if (st) records_close(f);
    return st;
}

void records_close(struct records *f) {
    if (f->file > 0) H5Fclose(f->file);
    free(f->names);
    free(f->kinds);
    memset(f, 0, sizeof *f);
}

int records_last(const struct records *f, const char *kind) {
    for (int i = f->n - 1; i >= 0; i--)
        if (strcmp(f->kinds[i], kind) == 0) return i;
    return -1;
}

static hid_t open_attribute(const struct records *f, int run, const char *name, struct error *e) {
    if (run < 0 || run >= f->n) {
        fail(e, ERR_ARG, "%s: no run %d (it holds %d)", f->path, run, f->n);
        return -1;
    }
    hid_t a = H5Aopen_by_name(f->file, f->names[run], name, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0) fail(e, ERR_FORMAT, "%s: run %s: no attribute %s", f->path, f->names[run], name);
    return a;
}

static const char *class_name(hid_t type) {
    if (type < 0) return "nothing";
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        return "integer";
    case H5T_FLOAT:
        return "float";
    case H5T_STRING:
        return H5Tis_variable_str(type) ? "variable-length text" : "text";
    case H5T_COMPOUND:
        return "compound";
    default:
        return "another type";
    }
}

static int is_scalar(hid_t a) {
    hid_t space = H5Aget_space(a);
    int yes = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    if (space >= 0) H5Sclose(space);
    return yes;
}

enum status records_text(const struct records *f, int run, const char *name, char *out, size_t size,
                         struct error *e) {
    hid_t a = open_attribute(f, run, name, e);
    if (a < 0) return e ? e->code : ERR_FORMAT;
    hid_t type = H5Aget_type(a);
    size_t len = type >= 0 ? H5Tget_size(type) : 0;
    enum status st = OK;
    char *text = NULL;
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) || !is_scalar(a))
        st = fail(e, ERR_FORMAT, "%s: run %s: attribute %s: found %s, expected text", f->path, f->names[run],
                  name, class_name(type));
    else if (len > MAX_TEXT + 1 || !(text = calloc(1, len + 1)) || H5Aread(a, type, text) < 0)
        st = fail(e, ERR_FORMAT, "%s: run %s: attribute %s: cannot be read", f->path, f->names[run], name);
    else if (strlen(text) >= size)
        st = fail(e, ERR_FORMAT, "%s: run %s: attribute %s: found %zu characters, expected at most %zu",
                  f->path, f->names[run], name, strlen(text), size - 1);
    else
        snprintf(out, size, "%s", text);
    free(text);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    return st;
}

enum status records_number(const struct records *f, int run, const char *name, double *out, struct error *e) {
    hid_t a = open_attribute(f, run, name, e);
    if (a < 0) return e ? e->code : ERR_FORMAT;
    hid_t type = H5Aget_type(a);
    enum status st = OK;
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    if ((class != H5T_FLOAT && class != H5T_INTEGER) || !is_scalar(a))
        st = fail(e, ERR_FORMAT, "%s: run %s: attribute %s: found %s, expected a number", f->path,
                  f->names[run], name, class_name(type));
    else if (H5Aread(a, H5T_NATIVE_DOUBLE, out) < 0)
        st = fail(e, ERR_FORMAT, "%s: run %s: attribute %s: cannot be read", f->path, f->names[run], name);
    if (type >= 0) H5Tclose(type);
    H5Aclose(a);
    return st;
}

struct each_call {
    void (*each)(void *arg, const char *name);
    void *arg;
};
static herr_t each_attribute(hid_t at, const char *name, const H5A_info_t *info, void *data) {
    (void)at, (void)info;
    struct each_call *call = data;
    call->each(call->arg, name);
    return 0;
}

enum status records_attributes(const struct records *f, int run, void (*each)(void *arg, const char *name),
                               void *arg, struct error *e) {
    struct each_call call = {each, arg};
    if (run < 0 || run >= f->n ||
        H5Aiterate_by_name(f->file, f->names[run], H5_INDEX_NAME, H5_ITER_INC, NULL, each_attribute, &call,
                           H5P_DEFAULT) < 0)
        return fail(e, ERR_FORMAT, "%s: cannot list the attributes of run %d", f->path, run);
    return OK;
}

static void dataset_name(char *out, size_t size, const struct records *f, int run, const char *table) {
    snprintf(out, size, "%s/%s", f->names[run], table);
}

int records_has(const struct records *f, int run, const char *table) {
    char name[160];
    if (run < 0 || run >= f->n) return 0;
    dataset_name(name, sizeof name, f, run, table);
    return H5Lexists(f->file, name, H5P_DEFAULT) > 0;
}

/* Every field there, of its kind, and text no wider than the struct's. */
static enum status check_fields(const struct records *f, const char *where, hid_t type, const struct table *t,
                                struct error *e) {
    static const char *const kinds[] = {"float", "integer", "text"};
    if (H5Tget_class(type) != H5T_COMPOUND)
        return fail(e, ERR_FORMAT, "%s: %s: found %s, expected a table", f->path, where, class_name(type));
    for (int i = 0; i < t->n_fields; i++) {
        const struct field *field = &t->fields[i];
        int at = H5Tget_member_index(type, field->name);
        if (at < 0 && field->later) continue;
        if (at < 0)
            return fail(e, ERR_FORMAT, "%s: %s: field %s: found nothing, expected %s", f->path, where,
                        field->name, kinds[field->kind]);
        hid_t member = H5Tget_member_type(type, (unsigned)at);
        const char *found = class_name(member);
        size_t size = member >= 0 ? H5Tget_size(member) : 0;
        if (member >= 0) H5Tclose(member);
        if (strcmp(found, kinds[field->kind]) != 0)
            return fail(e, ERR_FORMAT, "%s: %s: field %s: found %s, expected %s", f->path, where, field->name,
                        found, kinds[field->kind]);
        if (field->kind == FIELD_TEXT && size > field->size)
            return fail(e, ERR_FORMAT, "%s: %s: field %s: found %zu bytes of text, expected at most %zu",
                        f->path, where, field->name, size, field->size);
    }
    return OK;
}

static enum status read_rows(const struct records *f, const char *where, hid_t set, const struct table *t,
                             void **rows, size_t *n, struct error *e) {
    hid_t type = H5Dget_type(set), space = H5Dget_space(set), memory = -1;
    enum status st = OK;
    hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (type < 0 || count < 0 || count > MAX_ROWS)
        st = fail(e, ERR_FORMAT, "%s: %s: %lld rows (expected 0 to %d)", f->path, where, (long long)count,
                  MAX_ROWS);
    if (!st) st = check_fields(f, where, type, t, e);
    if (!st && !(*rows = calloc((size_t)count + 1, t->row_bytes)))
        st = fail(e, ERR_MEMORY, "%s: %s: no memory for %lld rows", f->path, where, (long long)count);
    if (!st && ((memory = row_type(t, 0)) < 0 ||
                (count && H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, *rows) < 0)))
        st = fail(e, ERR_FORMAT, "%s: %s: its rows cannot be read", f->path, where);
    if (!st) *n = (size_t)count;
    if (memory >= 0) H5Tclose(memory);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return st;
}

enum status records_rows(const struct records *f, int run, const struct table *t, void **rows, size_t *n,
                         struct error *e) {
    char where[160];
    *rows = NULL;
    *n = 0;
    if (run < 0 || run >= f->n) return fail(e, ERR_ARG, "%s: no run %d (it holds %d)", f->path, run, f->n);
    dataset_name(where, sizeof where, f, run, t->name);
    hid_t set = H5Dopen2(f->file, where, H5P_DEFAULT);
    if (set < 0) return fail(e, ERR_FORMAT, "%s: run %s: no table %s", f->path, f->names[run], t->name);
    enum status st = read_rows(f, where, set, t, rows, n, e);
    H5Dclose(set);
    if (st) {
        free(*rows);
        *rows = NULL;
        return st;
    }
    /* A text that fills its field in the file has no NUL of its own. */
    for (size_t i = 0; i < *n; i++)
        for (int k = 0; k < t->n_fields; k++)
            if (t->fields[k].kind == FIELD_TEXT)
                ((char *)*rows)[i * t->row_bytes + t->fields[k].offset + t->fields[k].size - 1] = 0;
    return OK;
}

enum status records_check(const char *path, struct error *e) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (strlen(path) >= sizeof folder - 16) return fail(e, ERR_ARG, "%.200s...: the name is too long", path);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (access(folder, W_OK | X_OK) != 0) return fail(e, ERR_IO, "%s: %s", folder, strerror(errno));
    if (access(path, F_OK) != 0) return OK;
    struct records f;
    TRY(records_open(&f, path, e));
    records_close(&f);
    return OK;
}
