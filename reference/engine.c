/* SPDX-License-Identifier: Apache-2.0 */
/* engine: the list of engines by name, and what all snapshots share. */
#include "reference/engine.h"

#include <stdlib.h>
#include <string.h>

const char *const scheme_names[SCHEMES] = {"exact", "folded", "bf16"};

const struct engine *engine_by_name(const char *name) {
    static const struct engine *const engines[] = {&engine_reference, &engine_optimized};
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (strcmp(engines[i]->name, name) == 0) return engines[i];
    return NULL;
}

void snapshot_free(struct snapshot *s) {
    free(s->data);
    memset(s, 0, sizeof *s);
}
