/* unfinished: a few fixed places, because a signal handler may not allocate. */
#include "data/unfinished.h"

#include <stdatomic.h>
#include <string.h>
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
