/* SPDX-License-Identifier: Apache-2.0 */
/* directory: one directory under $TMPDIR or /tmp per process. */
#include "tests/directory.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/tiny.h"

static char directory[256];

void make_directory(void) {
    if (tiny_directory(directory, sizeof directory) == 0) return;
    perror(directory);
    abort();
}

void remove_directory(void) {
    tiny_directory_remove(directory);
}

const char *directory_path(void) {
    return directory;
}

const char *in_directory(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}
