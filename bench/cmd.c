/* cmd: what the subcommands share. */
#include "bench/cmd.h"

#include <stdio.h>
#include <stdlib.h>

#include "optimized/kernels.h"

int cmd_fail(const struct error *e) {
    fprintf(stderr, "lfm2: %s\n", e->text);
    return 2;
}

int cmd_isa_mask(unsigned *mask, struct error *e) {
    const char *name = getenv("LFM2_ISA");
    *mask = 0;
    if (!name || !*name) return 0;
    if (cpu_mask_by_name(name, mask) == 0) return 0;
    fail(e, ERR_ARG, "LFM2_ISA=%s: unknown instruction set (expected one of: %s)", name, cpu_isa_names);
    return -1;
}
