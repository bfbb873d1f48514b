/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_packed: damaged packed files, which are HDF5. They are opened in a child process, because that library
 * has known faults: one that ends the child beneath a call of the library is counted and said; what our own
 * code makes of a file is a finding. Packed files and records are their user's own, never a stranger's. */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/packed.h"
#include "tests/fuzz.h"

/* Of clang's run-time libraries; absent elsewhere. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*)(void));
__attribute__((weak)) void *__asan_get_report_address(void);
__attribute__((weak)) const char *__asan_locate_address(void *at, char *name, size_t size, void **, size_t *);
extern uint8_t __start___sancov_cntrs[] __attribute__((weak)), __stop___sancov_cntrs[] __attribute__((weak));

enum { MAX_FILE = 1 << 14, MAX_COUNTERS = 1 << 20, INPUTS_PER_CHILD = 500, CPU_SECONDS = 5 };

static const struct packed_id id = {
    .layout = "none", .header_sha256 = "0", .model_bytes = 1, .weights_bytes = 4096, .sample = 7};

/* What both processes see. */
static struct shared {
    uint8_t file[MAX_FILE];
    size_t size;
    uint64_t sum; /* keeps the reads */
    int opened;   /* 1: the library has done its part */
    int finding;  /* 1: a sanitizer spoke, and not of the library */
    uint8_t counters[MAX_COUNTERS];
} * shared;

/* The good file that inputs are differences from: two bytes of place and one of value, for each. */
static uint8_t good[MAX_FILE];
static size_t good_size;

static void make_good_file(void) {
    char path[] = "/tmp/lfm2-fuzz-packed-XXXXXX";
    struct packed_writer *w;
    struct error e;
    static char zeros[4096];
    int fd = mkstemp(path);
    if (fd < 0 || packed_create(&w, path, &id, &e) != OK || packed_add(w, zeros, sizeof zeros, &e) != OK ||
        packed_commit(w, &e) != OK)
        abort();
    close(fd);
    FILE *f = fopen(path, "rb");
    good_size = f ? fread(good, 1, sizeof good, f) : 0;
    if (!f || good_size == 0 || good_size == sizeof good) abort();
    fclose(f);
    unlink(path);
}

static size_t counters(void) {
    size_t n = __start___sancov_cntrs ? (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs) : 0;
    return n < MAX_COUNTERS ? n : MAX_COUNTERS;
}

/* A sanitizer ends the child. The library is not instrumented, so an address on the stack or of a variable is
 * one of ours even beneath the library. */
static void died(void) {
    void *frames[64], *at, *address = __asan_get_report_address ? __asan_get_report_address() : NULL;
    char name[64];
    size_t size;
    int n = backtrace(frames, 64), library = 0;
    char **text = backtrace_symbols(frames, n);
    for (int i = 0; text && i < n; i++) library |= strstr(text[i], "hdf5") != NULL;
    const char *where =
        address && __asan_locate_address ? __asan_locate_address(address, name, sizeof name, &at, &size) : "";
    if (!library || strcmp(where, "stack") == 0 || strcmp(where, "global") == 0) shared->finding = 1;
}

static void open_it(void) {
    char path[FUZZ_PATH];
    struct packed p;
    struct error e;
    struct itimerval limit = {.it_value.tv_sec = CPU_SECONDS};
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    int fd = fuzz_file(path, shared->file, shared->size);
    if (packed_open(&p, path, &id, &e) == OK) {
        shared->opened = 1;
        for (size_t i = 0; i < id.weights_bytes; i++) shared->sum += p.weights[i];
        packed_close(&p);
    }
    close(fd);
}

/* Opens one file for every byte that comes, and answers with a byte. */
static void serve(int in, int out) {
    char byte;
    for (int signal_number = 1; signal_number < 32; signal_number++) signal(signal_number, SIG_DFL);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(died);
    while (read(in, &byte, 1) == 1) {
        size_t n = counters(); /* 0 without libFuzzer's instrumentation */
        if (n) memset(__start___sancov_cntrs, 0, n);
        open_it();
        if (n) memcpy(shared->counters, __start___sancov_cntrs, n);
        if (write(out, &byte, 1) != 1) break;
    }
    _exit(0);
}

static struct child {
    pid_t pid;
    int to, from, inputs;
} child;

static int end_child(void) {
    int status = 0;
    close(child.to), close(child.from);
    if (waitpid(child.pid, &status, 0) != child.pid) abort();
    child.pid = 0;
    return status;
}

static void start_child(void) {
    int to[2], from[2];
    if (pipe(to) || pipe(from)) abort();
    child.pid = fork();
    if (child.pid < 0) abort();
    if (child.pid == 0) close(to[1]), close(from[0]), serve(to[0], from[1]);
    close(to[0]), close(from[1]);
    child.to = to[1], child.from = from[0], child.inputs = 0;
}

static void open_in_child(void) {
    char byte = 0;
    if (child.pid && child.inputs++ == INPUTS_PER_CHILD) end_child();
    if (!child.pid) start_child();
    shared->opened = shared->finding = 0;
    if (write(child.to, &byte, 1) == 1 && read(child.from, &byte, 1) == 1) {
        for (size_t i = 0; i < counters(); i++) __start___sancov_cntrs[i] |= shared->counters[i];
        return;
    }
    int status = end_child();
    if (shared->opened || shared->finding) abort();
    fprintf(stderr, "a damaged HDF5 file ended its library (status %d)\n", status);
}

void fuzz_packed(const uint8_t *bytes, size_t n) {
    if (!shared) {
        make_good_file();
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) abort();
        signal(SIGPIPE, SIG_IGN);
    }
    memcpy(shared->file, good, shared->size = good_size);
    for (size_t i = 0; i + 3 <= n; i += 3)
        shared->file[((size_t)bytes[i] << 8 | bytes[i + 1]) % good_size] = bytes[i + 2];
    open_in_child();
}
