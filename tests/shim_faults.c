/* SPDX-License-Identifier: Apache-2.0 */
/* shim_faults: preloaded into lfm2 by tests/test_faults.c. Counts one sort of call that the program makes and
 * at the one whose number is FAULT_AT does what FAULT_KIND says: enospc  a call that changes a file fails as
 * on a full disk, and all later writes too kill, term, int   the process gets the signal before such a call
 *   short   every write writes half; eintr: every second call that changes a file is interrupted
 *   memory  an allocation asked for by the program itself (not by a library) fails
 *   cut     the first file of FAULT_BYTES or more that is mapped is then cut to FAULT_BYTES
 * FAULT_LOG: a file that gets the number of calls counted. Standard streams are left alone. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind = "";
static long at, bytes_kept;
static atomic_long calls, memory_calls;
static uintptr_t program_begin, program_end;
static atomic_int ready;

static int is_kind(const char *k) {
    return strcmp(kind, k) == 0;
}

static int find_program(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            if (!program_begin) program_begin = begin;
            program_end = begin + info->dlpi_phdr[i].p_memsz;
        }
    return 1; /* the first object is the program */
}

__attribute__((constructor)) static void start(void) {
    const char *k = getenv("FAULT_KIND"), *n = getenv("FAULT_AT"), *b = getenv("FAULT_BYTES");
    dl_iterate_phdr(find_program, NULL);
    if (k) kind = k;
    at = n ? atol(n) : 0;
    bytes_kept = b ? atol(b) : 0;
    atomic_store(&ready, 1);
}

__attribute__((destructor)) static void finish(void) {
    const char *log = getenv("FAULT_LOG");
    if (!log) return;
    FILE *f = fopen(log, "w");
    if (f) fprintf(f, "%ld\n", is_kind("memory") ? memory_calls : calls), fclose(f);
}

/* Before a call that changes a file: 0, or -1 with errno when it must fail. */
static int step(void) {
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (is_kind("eintr") && n % 2) return errno = EINTR, -1;
    if (at == 0 || n < at) return 0;
    if (is_kind("enospc")) return errno = ENOSPC, -1;
    if (n > at) return 0;
    if (is_kind("kill")) raise(SIGKILL);
    if (is_kind("term")) raise(SIGTERM);
    if (is_kind("int")) raise(SIGINT);
    return 0;
}

static void *real(const char *name) {
    void *p = dlsym(RTLD_NEXT, name);
    if (!p) _exit(99);
    return p;
}

#define REAL(type, name, ...)                                                                                \
    static type (*call)(__VA_ARGS__);                                                                        \
    if (!call) *(void **)&call = real(#name)

ssize_t write(int fd, const void *p, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (fd > 2 && step()) return -1;
    return call(fd, p, fd > 2 && is_kind("short") && n > 1 ? n / 2 : n);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    if (step()) return -1;
    return call(fd, p, is_kind("short") && n > 1 ? n / 2 : n, offset);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t offset) {
    return pwrite64(fd, p, n, offset);
}

int ftruncate64(int fd, off_t size) {
    REAL(int, ftruncate64, int, off_t);
    return !is_kind("eintr") && step() ? -1 : call(fd, size);
}
int ftruncate(int fd, off_t size) {
    return ftruncate64(fd, size);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    return !is_kind("eintr") && step() ? -1 : call(from, to);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return !is_kind("eintr") && step() ? -1 : call(fd);
}

/* ---- memory ---- */

static int allocation_fails(const void *caller) {
    uintptr_t from = (uintptr_t)caller;
    if (!atomic_load(&ready) || !is_kind("memory") || from < program_begin || from >= program_end) return 0;
    return atomic_fetch_add(&memory_calls, 1) + 1 == at;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

void *malloc(size_t n) {
    return allocation_fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    return allocation_fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    return allocation_fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_realloc(p, n);
}
void *aligned_alloc(size_t alignment, size_t n) {
    return allocation_fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL)
                                                         : __libc_memalign(alignment, n);
}
int posix_memalign(void **out, size_t alignment, size_t n) {
    if (allocation_fails(__builtin_return_address(0))) return ENOMEM;
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}

/* ---- maps ---- */

void *mmap64(void *address, size_t n, int protection, int flags, int fd, off_t offset) {
    REAL(void *, mmap64, void *, size_t, int, int, int, off_t);
    static atomic_int done;
    struct stat st;
    if (fd < 0 && allocation_fails(__builtin_return_address(0))) return errno = ENOMEM, MAP_FAILED;
    void *p = call(address, n, protection, flags, fd, offset);
    if (fd >= 0 && p != MAP_FAILED && is_kind("cut") && fstat(fd, &st) == 0 && st.st_size > bytes_kept &&
        !(protection & PROT_EXEC) && program_begin && !atomic_exchange(&done, 1)) {
        char name[64], path[4096];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t k = readlink(name, path, sizeof path - 1);
        path[k > 0 ? k : 0] = 0;
        if (!strstr(path, "/model") || truncate(path, bytes_kept)) atomic_store(&done, 0);
    }
    return p;
}
void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset) {
    return mmap64(address, n, protection, flags, fd, offset);
}
