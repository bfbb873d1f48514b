/* SPDX-License-Identifier: Apache-2.0 */
/* packed: see the header. */
#include "data/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "data/hdf5_quiet.h"
#include "data/mapped.h"
#include "data/unfinished.h"

/* Weights lie at a multiple of a huge page in the file and in memory, and are written in whole huge pages:
 * then a file system with large folios (ext4 since Linux 6.16) caches them as huge pages, which a mapping can
 * use as they are. With 4 KiB pages a virtual machine loses a quarter of its decode speed to page walks. */
#define HUGE ((size_t)2 << 20)
enum { STAGE = 8 << 20 }; /* bytes written at once */

struct packed_writer {
    char path[4096], temporary[4112];
    hid_t file, data;
    uint64_t bytes, written;
    unsigned char *stage; /* [STAGE], staged bytes of it filled */
    size_t staged;
};

static enum status set_text(hid_t where, const char *name, const char *text) {
    hid_t space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    hid_t a = H5Acreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t code = a < 0 ? -1 : H5Awrite(a, type, text);
    if (a >= 0) H5Aclose(a);
    H5Tclose(type);
    H5Sclose(space);
    return code < 0 ? ERR_IO : OK;
}

static enum status set_number(hid_t where, const char *name, uint64_t value) {
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(where, name, H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t code = a < 0 ? -1 : H5Awrite(a, H5T_NATIVE_UINT64, &value);
    if (a >= 0) H5Aclose(a);
    H5Sclose(space);
    return code < 0 ? ERR_IO : OK;
}

static int get_text(hid_t where, const char *name, char *out, size_t size) {
    int ok = 0;
    hid_t a = H5Aopen(where, name, H5P_DEFAULT);
    hid_t type = a < 0 ? -1 : H5Aget_type(a);
    memset(out, 0, size);
    if (type >= 0 && H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type) &&
        H5Tget_size(type) < size && H5Aget_storage_size(a) < size)
        ok = H5Aread(a, type, out) >= 0;
    if (type >= 0) H5Tclose(type);
    if (a >= 0) H5Aclose(a);
    return ok;
}

static int get_number(hid_t where, const char *name, uint64_t *out) {
    hid_t a = H5Aopen(where, name, H5P_DEFAULT);
    int ok = a >= 0 && H5Aget_storage_size(a) == sizeof *out && H5Aread(a, H5T_NATIVE_UINT64, out) >= 0;
    if (a >= 0) H5Aclose(a);
    return ok;
}

static hid_t create_dataset(hid_t file, uint64_t bytes) {
    hsize_t dims = bytes;
    hid_t space = H5Screate_simple(1, &dims, NULL), plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(plist, H5D_CONTIGUOUS);
    H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(plist, 0);
    hid_t data = H5Dcreate2(file, "weights", H5T_STD_U8LE, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    H5Pclose(plist);
    H5Sclose(space);
    return data;
}

static enum status check_room(const char *path, uint64_t bytes, struct error *e) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *(slash == folder ? slash + 1 : slash) = 0;
    struct statvfs fs;
    if (statvfs(slash ? folder : ".", &fs)) return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room < bytes)
        return fail(e, ERR_IO, "%s: not enough disk space (found %.2f GB, need %.2f GB)", path,
                    1e-9 * (double)room, 1e-9 * (double)bytes);
    return OK;
}

enum status packed_create(struct packed_writer **out, const char *path, const struct packed_id *id,
                          struct error *e) {
    *out = NULL;
    TRY(check_room(path, id->weights_bytes + 2 * HUGE, e));
    struct packed_writer *w = calloc(1, sizeof *w);
    unsigned char *stage = malloc(STAGE);
    if (!w || !stage) {
        free(w);
        free(stage);
        return fail(e, ERR_MEMORY, "%s: out of memory", path);
    }
    w->stage = stage;
    snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->temporary, sizeof w->temporary, "%s.%ld.tmp", w->path, (long)getpid());
    w->bytes = id->weights_bytes;
    w->data = -1;
    unfinished_add(w->temporary);
    hdf5_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_alignment(access, HUGE, HUGE);
    w->file = H5Fcreate(w->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    if (w->file >= 0) w->data = create_dataset(w->file, id->weights_bytes);
    if (w->data < 0 || set_text(w->file, "layout", id->layout) ||
        set_text(w->file, "header_sha256", id->header_sha256) ||
        set_number(w->file, "model_bytes", id->model_bytes) || set_number(w->file, "sample", id->sample)) {
        packed_discard(w);
        return fail(e, ERR_IO, "%s: cannot create", path);
    }
    *out = w;
    return OK;
}

static enum status flush(struct packed_writer *w, struct error *e) {
    hsize_t start = w->written, count = w->staged;
    if (count == 0) return OK;
    hid_t file = H5Dget_space(w->data), memory = H5Screate_simple(1, &count, NULL);
    H5Sselect_hyperslab(file, H5S_SELECT_SET, &start, NULL, &count, NULL);
    herr_t code = H5Dwrite(w->data, H5T_STD_U8LE, memory, file, H5P_DEFAULT, w->stage);
    H5Sclose(memory);
    H5Sclose(file);
    if (code < 0) return fail(e, ERR_IO, "%s: cannot write %zu bytes", w->path, w->staged);
    w->written += w->staged;
    w->staged = 0;
    return OK;
}

enum status packed_add(struct packed_writer *w, const void *data, size_t bytes, struct error *e) {
    const unsigned char *from = data;
    if (bytes > w->bytes - w->written - w->staged)
        return fail(e, ERR_ARG, "%s: more weights than announced", w->path);
    while (bytes > 0) {
        size_t now = bytes < STAGE - w->staged ? bytes : STAGE - w->staged;
        memcpy(w->stage + w->staged, from, now);
        w->staged += now;
        from += now;
        bytes -= now;
        if (w->staged == STAGE) TRY(flush(w, e));
    }
    return OK;
}

enum status packed_commit(struct packed_writer *w, struct error *e) {
    enum status flushed = flush(w, e);
    if (flushed) {
        packed_discard(w);
        return flushed;
    }
    if (w->written != w->bytes) {
        fail(e, ERR_ARG, "%s: %llu of %llu bytes were written", w->path, (unsigned long long)w->written,
             (unsigned long long)w->bytes);
        packed_discard(w);
        return ERR_ARG;
    }
    herr_t code = H5Dclose(w->data);
    w->data = -1;
    if (H5Fclose(w->file) < 0) code = -1;
    w->file = -1;
    enum status status = code < 0 ? fail(e, ERR_IO, "%s: cannot write: %s", w->path, strerror(errno))
                                  : put_in_place(w->temporary, w->path, e);
    packed_discard(w);
    return status;
}

void packed_discard(struct packed_writer *w) {
    if (!w) return;
    if (w->data >= 0) H5Dclose(w->data);
    if (w->file >= 0) H5Fclose(w->file);
    unlink(w->temporary); /* gone already after a commit */
    unfinished_done(w->temporary);
    free(w->stage);
    free(w);
}

/* Where /weights lies in the file, or 0. */
static uint64_t weights_offset(hid_t file, uint64_t bytes) {
    hid_t data = H5Dopen2(file, "weights", H5P_DEFAULT);
    if (data < 0) return 0;
    hid_t space = H5Dget_space(data), type = H5Dget_type(data), plist = H5Dget_create_plist(data);
    hsize_t dims = 0;
    haddr_t at = HADDR_UNDEF;
    if (H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_dims(space, &dims, NULL) == 1 &&
        dims == bytes && H5Tget_size(type) == 1 && H5Pget_layout(plist) == H5D_CONTIGUOUS)
        at = H5Dget_offset(data);
    H5Pclose(plist);
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(data);
    return at == HADDR_UNDEF ? 0 : at;
}

static enum status check_id(hid_t file, const char *path, const struct packed_id *id, struct error *e) {
    char layout[128], sha[128];
    uint64_t bytes = 0, sample = 0;
    if (!get_text(file, "layout", layout, sizeof layout) ||
        !get_text(file, "header_sha256", sha, sizeof sha) || !get_number(file, "model_bytes", &bytes) ||
        !get_number(file, "sample", &sample))
        return fail(e, ERR_FORMAT,
                    "%s: not a packed model (attributes layout, header_sha256, model_bytes, sample expected)",
                    path);
    if (strcmp(layout, id->layout) != 0)
        return fail(e, ERR_SHAPE, "%s: packed in another layout (found %s, expected %s): run lfm2 pack again",
                    path, layout, id->layout);
    if (strcmp(sha, id->header_sha256) != 0 || bytes != id->model_bytes)
        return fail(e, ERR_SHAPE, "%s: packed from another model file (header sha256 %.12s, expected %.12s)",
                    path, sha, id->header_sha256);
    if (sample != id->sample)
        return fail(e, ERR_SHAPE, "%s: packed from a model file with other weights: run lfm2 pack again",
                    path);
    return OK;
}

static enum status map_weights(struct packed *out, const char *path, uint64_t offset, uint64_t bytes,
                               struct error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0) close(fd);
        return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    }
    uint64_t size = (uint64_t)st.st_size, first = offset / HUGE * HUGE;
    if (offset == 0 || offset % 64 || offset > size || bytes > size - offset) {
        close(fd);
        return fail(e, ERR_FORMAT,
                    "%s: /weights is missing, misplaced or cut off (expected %llu contiguous bytes)", path,
                    (unsigned long long)bytes);
    }
    /* Addresses for one huge page more than needed, so that the mapping can begin at a multiple of one. */
    size_t length = (size_t)(offset - first + bytes);
    unsigned char *room =
        mmap(NULL, length + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *map = MAP_FAILED;
    if (room != MAP_FAILED)
        map = mmap(room + (HUGE - (uintptr_t)room % HUGE) % HUGE, length, PROT_READ, MAP_SHARED | MAP_FIXED,
                   fd, (off_t)first);
    int code = errno;
    close(fd);
    if (map == MAP_FAILED) {
        if (room != MAP_FAILED) munmap(room, length + HUGE);
        return fail(e, ERR_IO, "%s: cannot map %zu bytes: %s", path, length, strerror(code));
    }
    madvise(map, length, MADV_HUGEPAGE); /* a hint: not every file system can */
    *out = (struct packed){map + (offset - first), room, length + HUGE};
    mapped_name(out->map, out->map_bytes, path);
    return OK;
}

enum status packed_open(struct packed *out, const char *path, const struct packed_id *id, struct error *e) {
    memset(out, 0, sizeof *out);
    TRY(regular_file(path, e));
    hdf5_quiet();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0) return fail(e, ERR_FORMAT, "%s: not an HDF5 file", path);
    enum status code = check_id(file, path, id, e);
    uint64_t offset = code ? 0 : weights_offset(file, id->weights_bytes);
    H5Fclose(file);
    TRY(code);
    return map_weights(out, path, offset, id->weights_bytes, e);
}

void packed_close(struct packed *p) {
    if (p->map) mapped_forget(p->map), munmap(p->map, p->map_bytes);
    memset(p, 0, sizeof *p);
}
