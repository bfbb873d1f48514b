/* SPDX-License-Identifier: Apache-2.0 */
/* machine: reads /proc, /sys, git and the compiler's macros. What cannot be read is "unknown". */
#include "bench/machine.h"

#include <gnu/libc-version.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "data/cpus.h"
#include "data/sha256.h"
#include "bench/child.h"
#include "bench/records.h"
#include "optimized/kernels.h"

#ifndef BUILD_FLAGS
#define BUILD_FLAGS "unknown"
#endif

static void cut_line(char *text) {
    text[strcspn(text, "\n")] = 0;
}

/* The first line of a file; "" and -1 when it cannot be read. */
static int read_line(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    int got = f && fgets(out, (int)size, f);
    if (f) fclose(f);
    if (!got) out[0] = 0;
    cut_line(out);
    return got ? 0 : -1;
}

static void read_or_unknown(const char *path, char *out, size_t size) {
    if (read_line(path, out, size)) snprintf(out, size, "unknown");
}

/* The value of "KEY : VALUE" or "KEY=VALUE" in a file. */
static int find_value(const char *path, const char *key, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    char line[4096];
    int found = 0;
    while (f && !found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *v = line + strlen(key);
        v += strspn(v, " \t:=\"");
        cut_line(v);
        v[strcspn(v, "\"")] = 0;
        snprintf(out, size, "%s", v);
        found = 1;
    }
    if (f) fclose(f);
    if (!found) snprintf(out, size, "unknown");
    return found ? 0 : -1;
}

void machine_pin(int index) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0) return;
    int want = index % CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && want-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one);
            return;
        }
}

void machine_cpu_name(char *text, size_t size) {
    find_value("/proc/cpuinfo", "model name", text, size);
}

/* `git -C FOLDER ...`, where FOLDER holds the running program; NULL when it fails. */
static char *git(const char *const *words) {
    char folder[4096];
    char *argv[16] = {(char *)"git", (char *)"-C", folder};
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    struct error e;
    struct child c;
    int k = 3;
    if (n <= 0) return NULL;
    folder[n] = 0;
    *strrchr(folder, '/') = 0;
    while (*words && k < 15) argv[k++] = (char *)*words++;
    if (child_run(&c, argv, &e) == OK && c.exit_code == 0) return c.out;
    free(c.out);
    return NULL;
}

void machine_commit(char *commit, size_t size, int *dirty) {
    /* Results are written into the tree; storing one must not make the next one look modified. */
    static const char *const state[] = {"status", "--porcelain",   "--untracked-files=no", "--",
                                        ":/",     ":!/RESULTS.md", ":!/bench/records",     ":!/plots",
                                        NULL};
    static const char *const head[] = {"rev-parse", "HEAD", NULL};
    char *id = git(head), *changes = id ? git(state) : NULL;
    if (id) cut_line(id);
    snprintf(commit, size, "%s", id ? id : "unknown");
    *dirty = changes && *changes;
    free(id);
    free(changes);
}

/* "L1d 32K, L2 1024K, L3 32768K" of CPU 0. */
static void caches(char *text, size_t size) {
    size_t n = 0;
    text[0] = 0;
    for (int i = 0; i < 8 && n < size; i++) {
        char path[128], level[16], kind[32], bytes[32];
        const char *base = "/sys/devices/system/cpu/cpu0/cache/index";
        snprintf(path, sizeof path, "%s%d/level", base, i);
        if (read_line(path, level, sizeof level)) break;
        snprintf(path, sizeof path, "%s%d/type", base, i);
        read_line(path, kind, sizeof kind);
        snprintf(path, sizeof path, "%s%d/size", base, i);
        read_line(path, bytes, sizeof bytes);
        n += (size_t)snprintf(text + n, size - n, "%sL%s%s %s", n ? ", " : "", level,
                              kind[0] == 'D'   ? "d"
                              : kind[0] == 'I' ? "i"
                                               : "",
                              bytes);
    }
    if (!n) snprintf(text, size, "unknown");
}

static const char governor_file[] = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";

int machine_warnings(char *text, size_t size, int threads) {
    char line[128];
    double load = 0;
    int cpus = usable_cpus(), n = 0;
    size_t at = 0;
    text[0] = 0;
#define WARN(...)                                                                                            \
    do {                                                                                                     \
        if (at < size) at += (size_t)snprintf(text + at, size - at, "%s", n++ ? "\n" : "");                  \
        if (at < size) at += (size_t)snprintf(text + at, size - at, __VA_ARGS__);                            \
    } while (0)
    if (getloadavg(&load, 1) == 1 && load > 0.5)
        WARN("other work is running: load average %.2f (expected at most 0.5)", load);
    if (read_line(governor_file, line, sizeof line) == 0 && strcmp(line, "performance") != 0)
        WARN("CPU frequency governor is '%s' (expected 'performance')", line);
    if (threads > cpus) WARN("%d threads on %d CPUs", threads, cpus);
#undef WARN
    return n;
}

static void build_attributes(struct record *r) {
    char commit[64];
    int dirty;
    machine_commit(commit, sizeof commit, &dirty);
    record_text(r, "commit", "%s", commit);
    record_integer(r, "dirty", dirty);
#ifdef __clang__
    record_text(r, "compiler", "clang %s", __clang_version__);
#else
    record_text(r, "compiler", "gcc %s", __VERSION__);
#endif
    record_text(r, "flags", "%s", BUILD_FLAGS);
    record_text(r, "libc", "glibc %s", gnu_get_libc_version());
}

/* "avx2 avx512": the features kernels ask for that this CPU has. */
static void features_text(char *text, size_t size) {
    static const struct {
        unsigned bit;
        const char *name;
    } features[] = {{CPU_AVX2, "avx2"},
                    {CPU_AVXVNNI, "avxvnni"},
                    {CPU_AVX512, "avx512"},
                    {CPU_AVX512VNNI, "avx512vnni"},
                    {CPU_AVX512BF16, "avx512bf16"},
                    {CPU_AMX, "amx"}};
    text[0] = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (cpu_features() & features[i].bit)
            snprintf(text + strlen(text), size - strlen(text), "%s%s", text[0] ? " " : "", features[i].name);
}

void machine_host_of(struct host *host, const char *text) {
    char hex[SHA256_HEX];
    snprintf(host->text, sizeof host->text, "%s", text);
    sha256_hex(host->text, strlen(host->text), hex);
    snprintf(host->id, sizeof host->id, "%.16s", hex);
}

void machine_host(struct host *host) {
    char cpu[128], cache[192], isa[128], text[512];
    machine_cpu_name(cpu, sizeof cpu);
    caches(cache, sizeof cache);
    features_text(isa, sizeof isa);
    snprintf(text, sizeof text, "%s; %d CPUs; %s; %s", cpu, usable_cpus(), cache, isa);
    machine_host_of(host, text);
}

static void cpu_attributes(struct record *r) {
    char text[256];
    machine_cpu_name(text, sizeof text);
    record_text(r, "cpu", "%s", text);
    record_integer(r, "cores", usable_cpus());
    caches(text, sizeof text);
    record_text(r, "caches", "%s", text);
    features_text(text, sizeof text);
    record_text(r, "isa", "%s", text);
    read_or_unknown(governor_file, text, sizeof text);
    record_text(r, "governor", "%s", text);
    read_or_unknown("/sys/devices/system/cpu/cpufreq/boost", text, sizeof text);
    record_text(r, "boost", "%s", text);
    read_or_unknown("/sys/devices/system/cpu/smt/active", text, sizeof text);
    record_text(r, "smt", "%s", text);
    char flags[4096];
    find_value("/proc/cpuinfo", "flags", flags, sizeof flags);
    record_integer(r, "virtual", strstr(flags, " hypervisor") != NULL);
}

static void system_attributes(struct record *r) {
    char text[256];
    struct utsname u;
    find_value("/etc/os-release", "PRETTY_NAME", text, sizeof text);
    record_text(r, "os", "%s", text);
    if (uname(&u) == 0) record_text(r, "kernel", "%s %s %s", u.sysname, u.release, u.machine);
    record_integer(r, "memory_bytes", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    read_or_unknown("/proc/loadavg", text, sizeof text);
    record_text(r, "loadavg", "%s", text);
    read_or_unknown("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
    record_text(r, "thp", "%s", text);
}

void machine_attributes(struct record *r, int threads) {
    char text[1024];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    record_integer(r, "schema", RECORD_SCHEMA);
    record_text(r, "time", "%s", text);
    record_integer(r, "threads", threads > 0 ? threads : usable_cpus());
    build_attributes(r);
    cpu_attributes(r);
    system_attributes(r);
    machine_warnings(text, sizeof text, threads);
    record_text(r, "warnings", "%s", text);
}
