/* SPDX-License-Identifier: Apache-2.0 */
/* mapped: open, check, map, close the descriptor. */
#include "data/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What mapped_path knows. */
enum { NAMED = 64, FREE = 0, CHANGING, USED };
static struct {
    atomic_int state;
    uintptr_t begin, end;
    char path[512]; /* the end of a longer one */
} named[NAMED];

void mapped_name(const void *data, uint64_t size, const char *path) {
    size_t n = strlen(path);
    for (int i = 0; i < NAMED; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&named[i].state, &expected, CHANGING)) continue;
        named[i].begin = (uintptr_t)data, named[i].end = (uintptr_t)data + size;
        snprintf(named[i].path, sizeof named[i].path, "%s",
                 n < sizeof named[i].path ? path : path + n - sizeof named[i].path + 1);
        text_clean(named[i].path);
        atomic_store(&named[i].state, USED);
        return;
    }
}

void mapped_forget(const void *data) {
    for (int i = 0; i < NAMED; i++)
        if (atomic_load(&named[i].state) == USED && named[i].begin == (uintptr_t)data) {
            atomic_store(&named[i].state, FREE);
            return;
        }
}

const char *mapped_path(const void *at) {
    for (int i = 0; i < NAMED; i++)
        if (atomic_load(&named[i].state) == USED && (uintptr_t)at >= named[i].begin &&
            (uintptr_t)at < named[i].end)
            return named[i].path;
    return NULL;
}

_Static_assert(sizeof(off_t) == 8, "sizes of files are 64-bit");

static enum status check_kind(const struct stat *st, const char *path, struct error *e) {
    if (S_ISREG(st->st_mode)) return OK;
    return fail(e, ERR_IO, "%s: not a regular file (found a %s)", path,
                S_ISDIR(st->st_mode) ? "directory" : "device, pipe or socket");
}

enum status regular_file(const char *path, struct error *e) {
    struct stat st;
    if (stat(path, &st)) return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    TRY(check_kind(&st, path, e));
    return access(path, R_OK) ? fail(e, ERR_IO, "%s: %s", path, strerror(errno)) : OK;
}

static enum status map(struct mapped *out, int fd, const char *path, const char *format, struct error *e) {
    struct stat st;
    if (fstat(fd, &st)) return fail(e, ERR_IO, "%s: cannot stat: %s", path, strerror(errno));
    TRY(check_kind(&st, path, e));
    if (st.st_size == 0) return fail(e, ERR_FORMAT, "%s: empty file (expected %s)", path, format);
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return fail(e, errno == ENOMEM ? ERR_MEMORY : ERR_IO, "%s: cannot map %lld bytes: %s", path,
                    (long long)st.st_size, strerror(errno));
    *out = (struct mapped){data, (uint64_t)st.st_size};
    mapped_name(out->data, out->size, path);
    return OK;
}

enum status mapped_open(struct mapped *out, const char *path, const char *format, struct error *e) {
    *out = (struct mapped){0};
    /* Without O_NONBLOCK a FIFO would wait for a writer before fstat could refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    enum status status = map(out, fd, path, format, e);
    close(fd);
    return status;
}

void mapped_close(struct mapped *m) {
    if (m->data) mapped_forget(m->data), munmap((void *)m->data, m->size);
    *m = (struct mapped){0};
}

int mapped_holds(const struct mapped *m, const void *data, uint64_t bytes) {
    uintptr_t at = (uintptr_t)data, begin = (uintptr_t)m->data;
    return m->data && at >= begin && at - begin <= m->size && bytes <= m->size - (at - begin);
}
