/* SPDX-License-Identifier: Apache-2.0 */
/* journal: checksummed lines, appended and synced. */
#include "eval/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include "data/mapped.h"
#include "eval/pyjson.h"

enum { SUM = 8 }; /* hexadecimal digits of a line's CRC-32, then a space */

typedef enum status differs_fn(const char *path, const json_t *ours, const json_t *found, struct error *e);

static enum status io_error(const char *path, const char *what, struct error *e) {
    return fail(e, ERR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

static enum status read_all(int fd, const char *path, struct buffer *out, struct error *e) {
    char piece[65536];
    for (off_t at = 0;;) {
        ssize_t n = pread(fd, piece, sizeof piece, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(path, "read", e);
        if (n == 0) return buffer_check(out, e);
        buffer_add(out, piece, (size_t)n);
        at += n;
    }
}

/* The object of a line without its newline; NULL when it is damaged. */
static json_t *parse(const char *line, size_t n) {
    char sum[SUM + 1];
    if (n < SUM + 3 || line[SUM] != ' ') return NULL;
    const char *text = line + SUM + 1;
    n -= SUM + 1;
    snprintf(sum, sizeof sum, "%08lx", crc32(0, (const Bytef *)text, (uInt)n));
    if (memcmp(sum, line, SUM) != 0) return NULL;
    return json_loadb(text, n, JSON_ALLOW_NUL, NULL);
}

static enum status take_line(const char *path, json_t *object, int number, json_t **header,
                             differs_fn *differs, journal_line_fn *line, void *arg, struct error *e) {
    if (number > 1) return line(arg, object, number, e);
    if (!json_equal(object, *header)) TRY(differs(path, *header, object, e));
    json_decref(*header);
    *header = json_incref(object);
    return OK;
}

/* *good: bytes of whole lines. Only the last may be damaged: a crash cannot do more. */
static enum status take(const char *path, const struct buffer *all, size_t *good, json_t **header,
                        differs_fn *differs, journal_line_fn *line, void *arg, struct error *e) {
    *good = 0;
    for (int number = 1; *good < all->n; number++) {
        const char *from = all->data + *good, *end = memchr(from, '\n', all->n - *good);
        size_t n = end ? (size_t)(end - from) : 0;
        json_t *object = end && n < UINT32_MAX ? parse(from, n) : NULL;
        if (!object && (!end || *good + n + 1 == all->n)) return OK;
        if (!object)
            return fail(e, ERR_FORMAT,
                        "%s: line %d is damaged, and not the last; delete the file to begin anew", path,
                        number);
        enum status status = take_line(path, object, number, header, differs, line, arg, e);
        json_decref(object);
        TRY(status);
        *good += n + 1;
    }
    return OK;
}

/* The file's name is safe only when its folder is. */
static void sync_folder(const char *path) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static enum status begin(struct journal *j, json_t **header, differs_fn *differs, journal_line_fn *line,
                         void *arg, struct error *e) {
    struct buffer all = {0};
    size_t good = 0;
    enum status status = read_all(j->fd, j->path, &all, e);
    if (status == OK) status = take(j->path, &all, &good, header, differs, line, arg, e);
    size_t n = all.n;
    buffer_free(&all);
    TRY(status);
    if (good < n && (ftruncate(j->fd, (off_t)good) || fdatasync(j->fd)))
        return io_error(j->path, "remove the unfinished last line", e);
    if (lseek(j->fd, 0, SEEK_END) < 0) return io_error(j->path, "append", e);
    if (good > 0) return OK;
    TRY(journal_add(j, *header, e));
    TRY(journal_sync(j, e));
    sync_folder(j->path);
    return OK;
}

enum status journal_open(struct journal *j, const char *path, json_t **header, differs_fn *differs,
                         journal_line_fn *line, void *arg, struct error *e) {
    *j = (struct journal){.fd = -1};
    if ((size_t)snprintf(j->path, sizeof j->path, "%s", path) >= sizeof j->path)
        return fail(e, ERR_ARG, "%.80s...: the path is too long", path);
    j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (j->fd < 0) return io_error(path, "open", e);
    enum status status = regular_file(path, e); /* a device would be read without end */
    if (status == OK && flock(j->fd, LOCK_EX | LOCK_NB))
        status = errno == EWOULDBLOCK ? fail(e, ERR_IO, "%s: another run is writing to it", path)
                                      : io_error(path, "lock", e);
    if (status == OK) status = begin(j, header, differs, line, arg, e);
    if (status != OK) journal_close(j);
    return status;
}

enum status journal_read(const char *path, json_t **header, differs_fn *differs, journal_line_fn *line,
                         void *arg, struct error *e) {
    TRY(regular_file(path, e));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(path, "open", e);
    struct buffer all = {0};
    size_t good;
    enum status status = read_all(fd, path, &all, e);
    if (status == OK) status = take(path, &all, &good, header, differs, line, arg, e);
    buffer_free(&all);
    close(fd);
    return status;
}

enum status journal_add(struct journal *j, const json_t *line, struct error *e) {
    struct buffer text = {0};
    py_dumps(line, 0, &text);
    TRY(buffer_check(&text, e));
    if (text.n >= UINT32_MAX) return fail(e, ERR_UNSUPPORTED, "%s: a line of %zu bytes", j->path, text.n);
    buffer_format(&j->pending, "%08lx ", crc32(0, (const Bytef *)text.data, (uInt)text.n));
    buffer_add(&j->pending, text.data, text.n);
    buffer_add(&j->pending, "\n", 1);
    buffer_free(&text);
    return buffer_check(&j->pending, e);
}

enum status journal_sync(struct journal *j, struct error *e) {
    if (j->pending.n == 0) return OK;
    for (size_t done = 0; done < j->pending.n;) {
        ssize_t n = write(j->fd, j->pending.data + done, j->pending.n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return io_error(j->path, "write", e);
        done += (size_t)n;
    }
    if (fdatasync(j->fd)) return io_error(j->path, "write", e);
    j->pending.n = 0;
    return OK;
}

void journal_close(struct journal *j) {
    if (j->fd > 0) close(j->fd);
    j->fd = -1;
    buffer_free(&j->pending);
}
