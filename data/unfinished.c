/* SPDX-License-Identifier: Apache-2.0 */
/* unfinished: a few fixed places, because a signal handler may not allocate. */
#include "data/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACES = 8, FREE = 0, CHANGING, USED };

static struct {
    atomic_int state;
    char path[4224];
} places[PLACES];

void unfinished_add(const char *path) {
    if (strlen(path) >= sizeof places->path) return;
    for (int i = 0; i < PLACES; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&places[i].state, &expected, CHANGING)) continue;
        strcpy(places[i].path, path);
        atomic_store(&places[i].state, USED);
        return;
    }
}

void unfinished_done(const char *path) {
    for (int i = 0; i < PLACES; i++) {
        if (atomic_load(&places[i].state) != USED || strcmp(places[i].path, path) != 0) continue;
        atomic_store(&places[i].state, FREE);
        return;
    }
}

void unfinished_remove(void) {
    /* A folder was added before what is in it. */
    for (int i = PLACES - 1; i >= 0; i--)
        if (atomic_load(&places[i].state) == USED && unlink(places[i].path)) rmdir(places[i].path);
}

/* The folder a file is in, so that its new name is on the disk, too. What is not known to be kept there is in
 * place all the same, so that errors are none. */
static void sync_folder(const char *path) {
    char folder[4352];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path + 1) : 1;
    if (n >= sizeof folder) return;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

enum status put_in_place(const char *temporary, const char *path, struct error *e) {
    int fd = open(temporary, O_RDONLY | O_CLOEXEC), bad = fd < 0 || fsync(fd), why = errno;
    if (fd >= 0) close(fd);
    if (bad) return fail(e, ERR_IO, "%s: cannot write: %s", path, strerror(why));
    if (rename(temporary, path))
        return fail(e, ERR_IO, "%s: cannot be put in place: %s", path, strerror(errno));
    unfinished_done(temporary);
    sync_folder(path);
    return OK;
}

enum status output_check(const char *path, const char *input, struct error *e) {
    struct stat out, in;
    if (stat(path, &out)) return OK; /* whether it can be created shows when it is */
    if (!S_ISREG(out.st_mode))
        return fail(e, ERR_ARG, "%s: cannot be replaced (found a %s, expected a file or nothing)", path,
                    S_ISDIR(out.st_mode) ? "directory" : "device, pipe or socket");
    if (input && stat(input, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
        return fail(e, ERR_ARG, "%s: is the file to read; give the output another name", path);
    return OK;
}
