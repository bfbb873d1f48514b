/* unfinished: a few fixed places, because a signal handler may not allocate. */
#include "data/unfinished.h"

#include <stdatomic.h>
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
    for (int i = 0; i < PLACES; i++)
        if (atomic_load(&places[i].state) == USED) unlink(places[i].path);
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
