/* mapped: open, check, map, close the descriptor. */
#include "data/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status map(struct mapped *out, int fd, const char *path, const char *format, struct error *e) {
    struct stat st;
    if (fstat(fd, &st)) return fail(e, ERR_IO, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(e, ERR_IO, "%s: not a regular file (found a %s)", path,
                    S_ISDIR(st.st_mode) ? "directory" : "device, pipe or socket");
    if (st.st_size == 0) return fail(e, ERR_FORMAT, "%s: empty file (expected %s)", path, format);
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return fail(e, errno == ENOMEM ? ERR_MEMORY : ERR_IO, "%s: cannot map %lld bytes: %s", path,
                    (long long)st.st_size, strerror(errno));
    *out = (struct mapped){data, (uint64_t)st.st_size};
    return OK;
}

enum status mapped_open(struct mapped *out, const char *path, const char *format, struct error *e) {
    *out = (struct mapped){0};
    /* Without O_NONBLOCK a FIFO would wait for a writer before fstat could refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    enum status status = map(out, fd, path, format, e);
    close(fd);
    return status;
}

void mapped_close(struct mapped *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (struct mapped){0};
}

int mapped_holds(const struct mapped *m, const void *data, uint64_t bytes) {
    uintptr_t at = (uintptr_t)data, begin = (uintptr_t)m->data;
    return m->data && at >= begin && at - begin <= m->size && bytes <= m->size - (at - begin);
}
