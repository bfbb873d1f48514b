/* SPDX-License-Identifier: Apache-2.0 */
/* golden: named arrays in an HDF5 file (see golden.h). */
#include "data/golden.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hdf5_quiet.h"
#include "data/mapped.h"
#include "data/unfinished.h"

struct golden {
    hid_t file;
    char path[4096];
    char temporary[4112]; /* "" when reading */
};

static enum status begin(struct golden **out, const char *path, struct error *e) {
    *out = NULL;
    struct golden *g = calloc(1, sizeof *g);
    if (!g) return fail(e, ERR_MEMORY, "%s: out of memory", path);
    if ((size_t)snprintf(g->path, sizeof g->path, "%s", path) >= sizeof g->path) {
        free(g);
        return fail(e, ERR_ARG, "file name of %zu bytes is too long", strlen(path));
    }
    g->file = -1;
    /* HDF5 prints its error stack to stderr unless told not to; callers get one sentence instead. */
    hdf5_quiet();
    *out = g;
    return OK;
}

enum status golden_create(struct golden **out, const char *path, struct error *e) {
    TRY(begin(out, path, e));
    struct golden *g = *out;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        free(g);
        *out = NULL;
        return fail(e, ERR_IO, "%s: exists and is not a regular file", path);
    }
    snprintf(g->temporary, sizeof g->temporary, "%s.%ld.tmp", g->path, (long)getpid());
    g->file = H5Fcreate(g->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (g->file < 0) {
        unlink(g->temporary); /* made, and then not written */
        free(g);
        *out = NULL;
        return fail(e, ERR_IO, "%s: cannot be created", path);
    }
    unfinished_add(g->temporary);
    return OK;
}

static enum status write_array(struct golden *g, const char *name, int rank, const int64_t *shape,
                               hid_t memory_type, hid_t file_type, const void *x, struct error *e) {
    hsize_t dims[GOLDEN_MAX_RANK];
    if (rank < 1 || rank > GOLDEN_MAX_RANK)
        return fail(e, ERR_ARG, "%s: array %s of rank %d (expected 1 to %d)", g->path, name, rank,
                    GOLDEN_MAX_RANK);
    for (int i = 0; i < rank; i++) dims[i] = (hsize_t)shape[i];
    hid_t space = H5Screate_simple(rank, dims, NULL), options = H5Pcreate(H5P_DATASET_CREATE), set = -1;
    herr_t written = -1;
    if (space >= 0 && options >= 0) {
        H5Pset_obj_track_times(options, 0); /* the same arrays give the same bytes */
        set = H5Dcreate2(g->file, name, file_type, space, H5P_DEFAULT, options, H5P_DEFAULT);
    }
    if (set >= 0) {
        written = H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
        H5Dclose(set);
    }
    if (options >= 0) H5Pclose(options);
    if (space >= 0) H5Sclose(space);
    return written < 0 ? fail(e, ERR_IO, "%s: array %s cannot be written", g->path, name) : OK;
}

enum status golden_write_f32(struct golden *g, const char *name, int rank, const int64_t *shape,
                             const float *x, struct error *e) {
    return write_array(g, name, rank, shape, H5T_NATIVE_FLOAT, H5T_IEEE_F32LE, x, e);
}

enum status golden_write_i32(struct golden *g, const char *name, int rank, const int64_t *shape,
                             const int32_t *x, struct error *e) {
    return write_array(g, name, rank, shape, H5T_NATIVE_INT32, H5T_STD_I32LE, x, e);
}

enum status golden_write_text(struct golden *g, const char *name, const char *text, struct error *e) {
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), attribute = -1;
    herr_t written = -1;
    if (type >= 0 && space >= 0 && H5Tset_size(type, strlen(text) + 1) >= 0)
        attribute = H5Acreate2(g->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0) {
        written = H5Awrite(attribute, type, text);
        H5Aclose(attribute);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return written < 0 ? fail(e, ERR_IO, "%s: attribute %s cannot be written", g->path, name) : OK;
}

enum status golden_commit(struct golden *g, struct error *e) {
    enum status status = OK;
    int flushed = H5Fflush(g->file, H5F_SCOPE_LOCAL) >= 0, closed = H5Fclose(g->file) >= 0;
    g->file = -1;
    if (!flushed || !closed)
        status = fail(e, ERR_IO, "%s: cannot be written whole", g->path);
    else
        status = put_in_place(g->temporary, g->path, e);
    if (status == OK) g->temporary[0] = 0;
    golden_close(g);
    return status;
}

enum status golden_open(struct golden **out, const char *path, struct error *e) {
    *out = NULL;
    TRY(regular_file(path, e));
    TRY(begin(out, path, e));
    (*out)->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if ((*out)->file >= 0) return OK;
    free(*out);
    *out = NULL;
    return fail(e, ERR_FORMAT, "%s: cannot be opened as an HDF5 file", path);
}

/* Sizes as text, "[3, 65536]", for the error; any unknown length as "n". */
static void shape_text(char *text, size_t size, int rank, const hsize_t *dims, const int64_t *shape) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < rank && used < size; i++) {
        const char *before = i ? ", " : "[";
        long long length = dims ? (long long)dims[i] : (long long)shape[i];
        int n = length < 0 ? snprintf(text + used, size - used, "%sn", before)
                           : snprintf(text + used, size - used, "%s%lld", before, length);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used + 1 < size) strcpy(text + used, rank ? "]" : "[]");
}

/* The lengths of an open set, checked against shape. */
static enum status match_shape(const struct golden *g, const char *name, hid_t set, int rank, int64_t *shape,
                               size_t *count, struct error *e) {
    hsize_t dims[GOLDEN_MAX_RANK] = {0};
    hid_t space = H5Dget_space(set);
    int found = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    int readable =
        found >= 0 && found <= GOLDEN_MAX_RANK && H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    if (space >= 0) H5Sclose(space);
    if (!readable)
        return fail(e, ERR_SHAPE, "%s: array %s has no simple shape of at most %d dimensions", g->path, name,
                    GOLDEN_MAX_RANK);
    int same = found == rank;
    *count = sizeof(float);
    for (int i = 0; i < rank && same; i++) {
        same = shape[i] < 0 || (hsize_t)shape[i] == dims[i];
        if (dims[i] > INT64_MAX || __builtin_mul_overflow(*count, (size_t)dims[i], count)) same = 0;
    }
    if (!same) {
        char has[96], wants[96];
        shape_text(has, sizeof has, found, dims, NULL);
        shape_text(wants, sizeof wants, rank, NULL, shape);
        return fail(e, ERR_SHAPE, "%s: array %s has the wrong shape (found %s, expected %s)", g->path, name,
                    has, wants);
    }
    for (int i = 0; i < rank; i++) shape[i] = (int64_t)dims[i];
    return OK;
}

static enum status read_array(struct golden *g, const char *name, int rank, int64_t *shape, H5T_class_t class,
                              hid_t memory_type, void **x, struct error *e) {
    *x = NULL;
    hid_t set = H5Dopen2(g->file, name, H5P_DEFAULT);
    if (set < 0) return fail(e, ERR_FORMAT, "%s: has no array %s", g->path, name);
    hid_t type = H5Dget_type(set);
    size_t bytes = 0;
    enum status status = OK;
    if (type < 0 || H5Tget_class(type) != class || H5Tget_size(type) != 4)
        status = fail(e, ERR_SHAPE, "%s: array %s is not of 32-bit %s", g->path, name,
                      class == H5T_FLOAT ? "floats" : "integers");
    if (type >= 0) H5Tclose(type);
    if (status == OK) status = match_shape(g, name, set, rank, shape, &bytes, e);
    if (status == OK && !(*x = malloc(bytes ? bytes : 1)))
        status = fail(e, ERR_MEMORY, "%s: no memory for array %s of %zu bytes", g->path, name, bytes);
    if (status == OK && H5Dread(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *x) < 0) {
        free(*x);
        *x = NULL;
        status = fail(e, ERR_IO, "%s: array %s cannot be read", g->path, name);
    }
    H5Dclose(set);
    return status;
}

enum status golden_read_f32(struct golden *g, const char *name, int rank, int64_t *shape, float **x,
                            struct error *e) {
    void *p;
    enum status status = read_array(g, name, rank, shape, H5T_FLOAT, H5T_NATIVE_FLOAT, &p, e);
    *x = p;
    return status;
}

enum status golden_read_i32(struct golden *g, const char *name, int rank, int64_t *shape, int32_t **x,
                            struct error *e) {
    void *p;
    enum status status = read_array(g, name, rank, shape, H5T_INTEGER, H5T_NATIVE_INT32, &p, e);
    *x = p;
    return status;
}

void golden_close(struct golden *g) {
    if (!g) return;
    if (g->file >= 0) H5Fclose(g->file);
    if (g->temporary[0]) unlink(g->temporary), unfinished_done(g->temporary);
    free(g);
}
