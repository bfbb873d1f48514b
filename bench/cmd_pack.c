/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_pack: `lfm2 pack` writes a model's weights in the optimized engine's layout, so that it starts at once.
 */
#include <stdio.h>

#include "bench/cmd.h"
#include "bench/progress.h"
#include "data/model.h"
#include "reference/engine.h"

static const char usage[] =
    "usage: lfm2 pack -m MODEL -o FILE.h5 [options]\n\n"
    "Writes the weights in the layout of the optimized engine (HDF5, one aligned "
    "dataset that is mapped). Pass the\n"
    "file with --packed to bench, run, chat, logits or perplexity, together with the "
    "same -m MODEL: the\n"
    "model then starts without packing. The file is a cache of yours; do not take one from strangers.";

static void show(void *arg, double done) {
    progress_show(arg, done, "pack: %.0f %%", 100 * done);
}

int cmd_pack(int argc, char **argv) {
    const char *model = NULL, *out = NULL;
    int threads = 0;
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &model, "FILE", "the model"},
        {"-o,--output", OPTION_TEXT, &out, "FILE", "the packed file to write"},
        {"-t,--threads", OPTION_THREADS, &threads, "N", "threads (default: one per CPU)"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, usage, specs, NULL, 0, NULL, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (!model || !out)
        fail(&e, ERR_ARG, "pack: -m MODEL and -o FILE are needed; see lfm2 pack --help");
    else
        cmd_output_file("pack", out, 1, &e);
    if (e.code) return cmd_fail(&e);
    struct model *m;
    if (model_open(&m, model, &e)) return cmd_fail(&e);
    struct progress p = {0};
    enum status code = engine_optimized.pack(m, out, threads, show, &p, &e);
    progress_end(&p);
    model_close(m);
    if (code) return cmd_fail(&e);
    printf("%s: packed for the optimized engine; use it with -m %s --packed %s\n", out, model, out);
    return 0;
}
