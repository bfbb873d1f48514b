/* cmd_parity: placeholder until the command is written. */
#include "bench/cmd.h"

int cmd_parity(int argc, char **argv) {
    struct error e = {0};
    (void)argc;
    fail(&e, ERR_UNSUPPORTED, "%s: not written yet", argv[0]);
    return cmd_fail(&e);
}
