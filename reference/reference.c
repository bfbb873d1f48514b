/* reference: placeholder engine until it is written. */
#include "reference/engine.h"

static enum status open_(struct session **out, const struct model *m, const struct engine_options *o,
                         struct error *e) {
    (void)m, (void)o;
    *out = NULL;
    return fail(e, ERR_UNSUPPORTED, "reference engine: not written yet");
}

const struct engine engine_reference = {.name = "reference", .open = open_};
