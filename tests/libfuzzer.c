/* SPDX-License-Identifier: Apache-2.0 */
/* libfuzzer: gives libFuzzer the fuzzer that the program is named after: build-fuzz/fuzz_NAME, links to one
 * binary. Bounds the processor time of an input, not its time: a machine may be held or busy. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tests/libfuzzer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t max, unsigned seed);
const char *__asan_default_options(void);

enum { CPU_SECONDS = 10 }; /* with sanitizers; an input of a few kilobytes takes a millisecond at most */

static const struct fuzzer *fuzzer;
static mutate *mutator;

static const struct {
    const char *name;
    mutate *mutate;
} mutators[] = {
    {"gguf", mutate_gguf},        {"imatrix", mutate_gguf},  {"safetensors", mutate_header},
    {"vocabulary", mutate_parts}, {"folder", mutate_folder}, {"chat", mutate_tail},
    {"lora", mutate_folder},
};

/* An allocation that fails is an answer of its own; one out of proportion is libFuzzer's -malloc_limit_mb. */
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:quarantine_size_mb=32";
}

/* The fuzzer's own limit, before what the command line says. */
static int add_max_len(int *argc, char ***argv) {
    static char limit[40];
    char **longer = calloc((size_t)*argc + 2, sizeof *longer);
    if (!longer) return 1;
    snprintf(limit, sizeof limit, "-max_len=%zu", fuzzer->max_bytes);
    longer[0] = (*argv)[0], longer[1] = limit;
    memcpy(longer + 2, *argv + 1, (size_t)(*argc - 1) * sizeof *longer);
    *argv = longer, ++*argc;
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = *argc > 0 ? strstr((*argv)[0], "/fuzz_") : NULL;
    for (const char *more; name && (more = strstr(name + 1, "/fuzz_"));) name = more;
    for (const struct fuzzer *f = fuzzers; name && f->name; f++)
        if (strcmp(f->name, name + 6) == 0) fuzzer = f;
    for (size_t i = 0; fuzzer && i < sizeof mutators / sizeof *mutators; i++)
        if (strcmp(mutators[i].name, fuzzer->name) == 0) mutator = mutators[i].mutate;
    if (fuzzer) return add_max_len(argc, argv);
    fprintf(stderr, "no such fuzzer: %s\n", *argc > 0 ? (*argv)[0] : "");
    exit(2);
}

static void too_slow(int signal_number) {
    (void)signal_number;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    struct itimerval limit = {.it_value.tv_sec = CPU_SECONDS}, none = {0};
    static int armed;
    if (!armed++) signal(SIGVTALRM, too_slow);
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    fuzzer->run(bytes, n < fuzzer->max_bytes ? n : fuzzer->max_bytes);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t max, unsigned seed) {
    if (max > fuzzer->max_bytes) max = fuzzer->max_bytes;
    if (n > max) n = max;
    size_t left = mutator && seed % 4 ? mutator(bytes, n, max, seed / 4) : 0;
    return left ? left : LLVMFuzzerMutate(bytes, n, max);
}
