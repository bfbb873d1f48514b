/* SPDX-License-Identifier: Apache-2.0 */
/* The committed inputs of the fuzzers, in this build: tests/fuzz/NAME/ holds few and small ones that together
 * reach what long fuzzing reached, and every input that was once a finding. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/buffer.h"
#include "tests/fuzz.h"

enum { LARGEST = 1 << 20 };

static int replay(const struct fuzzer *f) {
    char folder[64], path[400];
    int n = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/%s", f->name);
    DIR *d = opendir(folder);
    for (struct dirent *file; d && (file = readdir(d));) {
        if (file->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        FILE *in = fopen(path, "rb");
        static uint8_t bytes[LARGEST];
        size_t size = in ? fread(bytes, 1, sizeof bytes, in) : 0;
        cr_assert(in && fclose(in) == 0, "%s", path);
        /* A block of its own, so that a sanitizer sees the end. */
        uint8_t *own = malloc(size + !size);
        cr_assert_not_null(own);
        for (size_t i = 0; i < size; i++) own[i] = bytes[i];
        f->run(own, size);
        free(own);
        n++;
    }
    if (d) closedir(d);
    return n;
}

/* Each in a process of its own, so that a crash is told of its fuzzer. */
ParameterizedTestParameters(fuzz, replays_what_was_found) {
    static int index[32];
    size_t n = 0;
    for (; fuzzers[n].name; n++) index[n] = (int)n;
    return cr_make_param_array(int, index, n);
}
ParameterizedTest(int *index, fuzz, replays_what_was_found) {
    const struct fuzzer *f = &fuzzers[*index];
    cr_assert_gt(replay(f), 0, "no inputs for %s in tests/fuzz/", f->name);
}
