/* SPDX-License-Identifier: Apache-2.0 */
/* cmd: what the subcommands share. */
#include "bench/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/unfinished.h"
#include "optimized/kernels.h"

int cmd_fail(const struct error *e) {
    fprintf(stderr, "lfm2: %s\n", e->text);
    return 2;
}

enum status cmd_output_file(const char *cmd, const char *path, int force, struct error *e) {
    if (strcmp(path, "-") == 0)
        return fail(e, ERR_ARG, "%s: cannot write to standard output (found '-', expected a file's name)",
                    cmd);
    if (!force && access(path, F_OK) == 0)
        return fail(e, ERR_ARG, "%s: exists already; --force replaces it", path);
    return OK;
}

enum status cmd_output_apart(const char *path, const char *const *inputs, int n, struct error *e) {
    for (int i = 0; i < n; i++) TRY(output_check(path, inputs[i], e));
    return OK;
}

const char *cmd_temporary_folder(void) {
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

int cmd_isa_mask(unsigned *mask, struct error *e) {
    const char *name = getenv("LFM2_ISA");
    *mask = 0;
    if (!name || !*name) return 0;
    char runs[128];
    if (cpu_mask_by_name(name, mask))
        fail(e, ERR_ARG, "LFM2_ISA=%s: unknown instruction set (expected one of: %s)", name, cpu_isa_names);
    else if (!cpu_runs(name, runs, sizeof runs))
        fail(e, ERR_ARG, "LFM2_ISA=%s: this CPU has no such instructions (expected one of: %s)", name, runs);
    else
        return 0;
    return -1;
}

enum status cmd_kv_type(enum kv_type *out, const struct cache_types *given, const struct engine *engine,
                        struct error *e) {
    const char *names[] = {given->keys, given->values}, *name = names[0] ? names[0] : names[1];
    *out = KV_F16;
    if (!name) return OK;
    if (engine == &engine_reference)
        return fail(e, ERR_ARG, "-ctk %s: the reference engine caches float32 (expected --engine optimized)",
                    name);
    if (names[0] && names[1] && strcmp(names[0], names[1]) != 0)
        return fail(e, ERR_ARG, "-ctk %s -ctv %s: keys and values must have one type", names[0], names[1]);
    if (strcmp(name, "f16") != 0 && strcmp(name, "q8_0") != 0)
        return fail(e, ERR_ARG, "-ctk %s: unknown cache type (expected f16 or q8_0)", name);
    if (strcmp(name, "q8_0") == 0) *out = KV_Q8;
    return OK;
}
