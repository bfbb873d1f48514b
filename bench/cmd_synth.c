/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_synth: `lfm2 synth`, a model file with real shapes and seeded random weights. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <time.h>

#include "bench/cmd.h"
#include "data/cpus.h"
#include "data/synth.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct progress {
    double start, shown;
};

static void show_progress(void *arg, uint64_t done, uint64_t total) {
    struct progress *p = arg;
    double t = now();
    if (done < total && t - p->shown < 0.2) return;
    p->shown = t;
    double rate = (double)done / (t - p->start + 1e-9);
    fprintf(stderr, "\r%.2f of %.2f GB, %.0f MB/s, %.0f s left \033[K", (double)done * 1e-9,
            (double)total * 1e-9, rate * 1e-6, (double)(total - done) / rate);
    if (done == total) fprintf(stderr, "\r\033[K");
}

static int list(struct error *e) {
    printf("%-14s %-8s %7s %6s %8s %9s   %s\n", "name", "arch", "layers", "width", "experts", "weights",
           "GB as q4_0");
    for (const struct synth_shape *s = synth_shapes; s->name; s++) {
        uint64_t weights, bytes;
        if (synth_size(s, "q4_0", &weights, &bytes, e)) return cmd_fail(e);
        printf("%-14s %-8s %7d %6d %8d %8.4gM %12.3f\n", s->name, s->arch, s->layers, s->width, s->experts,
               (double)weights * 1e-6, (double)bytes * 1e-9);
    }
    return 0;
}

static int make(struct synth_options *o, struct error *e) {
    struct progress p = {now(), 0};
    if (isatty(STDERR_FILENO)) {
        o->progress = show_progress;
        o->progress_arg = &p;
    }
    if (synth_write(o, e)) return cmd_fail(e);
    uint64_t weights, bytes;
    if (synth_size(o->shape, o->recipe, &weights, &bytes, e)) return cmd_fail(e);
    printf("%s: %s, %.4g million weights, %.3f GB, %.1f s\n", o->path, o->shape->title,
           (double)weights * 1e-6, (double)bytes * 1e-9, now() - p.start);
    return 0;
}

int cmd_synth(int argc, char **argv) {
    const char *arch = NULL, *type = "q4_0", *out = NULL;
    int seed = 1, threads = usable_cpus(), force = 0, only_list = 0;
    const struct option_spec specs[] = {
        {"--arch", OPTION_TEXT, &arch, "NAME", "which shape; --list shows them"},
        {"--type", OPTION_TEXT, &type, "TYPE", "q4_0 (default), q4_k_m, q8_0, bf16, f16 or f32"},
        {"--seed", OPTION_INT, &seed, "N", "the weights are a function of it (default 1)"},
        {"-t,--threads", OPTION_THREADS, &threads, "N", "threads that make weights (default: all CPUs)"},
        {"--force", OPTION_FLAG, &force, NULL, "replace the file when it exists"},
        {"-o,--output", OPTION_TEXT, &out, "FILE", "the file to write"},
        {"--list", OPTION_FLAG, &only_list, NULL, "list the shapes and stop"},
        {0},
    };
    struct error e = {0};
    int parsed =
        options_parse(argc, argv,
                      "usage: lfm2 synth --arch NAME [--type TYPE] -o FILE\n\n"
                      "Writes a model with real shapes and seeded random weights as an ordinary GGUF file.",
                      specs, NULL, 0, NULL, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (only_list) return list(&e);
    if (!arch || !out)
        fail(&e, ERR_ARG, "synth: %s is missing; see lfm2 synth --help", arch ? "-o FILE" : "--arch NAME");
    else if (!synth_shape_by_name(arch))
        fail(&e, ERR_ARG, "synth: unknown shape '%s'; lfm2 synth --list shows the known ones", arch);
    else if (!synth_recipe_known(type))
        fail(&e, ERR_ARG, "synth: unknown type '%s' (expected one of: %s)", type, synth_recipe_names);
    else
        cmd_output_file("synth", out, force, &e);
    if (e.code) return cmd_fail(&e);
    struct synth_options o = {
        .shape = synth_shape_by_name(arch), .recipe = type, .threads = threads, .path = out};
    o.seed = (uint64_t)seed;
    return make(&o, &e);
}
