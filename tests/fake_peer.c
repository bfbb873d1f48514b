/* SPDX-License-Identifier: Apache-2.0 */
/* fake_peer: the script. */
#include "tests/fake_peer.h"

#include <stdio.h>
#include <sys/stat.h>

#include "tests/directory.h"

const char *fake_peer_make(const char *help, const char *body) {
    FILE *f = fopen(in_directory("llama-bench"), "w");
    if (!f) return NULL;
    fprintf(f, "#!/bin/sh\nif [ \"$1\" = --help ]; then echo '%s'; exit 0; fi\n", help);
    fprintf(f, "echo \"$@\" >> '%s'\n%s\n", in_directory("args"), body);
    if (fclose(f) || chmod(in_directory("llama-bench"), 0755)) return NULL;
    return in_directory("llama-bench");
}

const char *fake_peer_args(void) {
    static char text[2048];
    FILE *f = fopen(in_directory("args"), "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
    return text;
}
