/* SPDX-License-Identifier: Apache-2.0 */
/* rows: lines, comma-separated fields and tar members into JSON values. Every limit is checked here, since
 * these files come from anywhere; a row's meaning is the caller's business. */
#include "data/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "data/buffer.h"
#include "data/json.h"

static const size_t MAX_BYTES = (size_t)2 << 30;

void rows_free(struct rows *r) {
    for (size_t i = 0; i < r->n; i++) {
        json_decref(r->row[i].value);
        free(r->row[i].fault);
    }
    free(r->row);
    *r = (struct rows){0};
}

enum status rows_append(struct rows *r, json_t *value, const char *path, size_t number, const char *fault,
                        struct error *e) {
    char *why = NULL;
    if (!value && asprintf(&why, "%s line %zu: malformed row: %s", path, number, fault) < 0) why = NULL;
    if (r->n == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        struct row *grown = realloc(r->row, capacity * sizeof *grown);
        if (grown) r->row = grown, r->capacity = capacity;
    }
    if (r->n == r->capacity || (!value && !why)) {
        json_decref(value);
        free(why);
        return fail(e, ERR_MEMORY, "%s: out of memory", path);
    }
    if (why) text_clean(why);
    r->row[r->n++] = (struct row){value, why, number};
    return OK;
}

enum status rows_convert(struct rows *r, const char *path, size_t first,
                         json_t *(*convert)(const json_t *raw, void *arg, const char **fault), void *arg,
                         struct error *e) {
    size_t kept = first;
    for (size_t i = first; i < r->n; i++) {
        struct row row = r->row[i];
        r->row[i] = (struct row){0};
        if (row.value) {
            const char *fault = NULL;
            json_t *made = convert(row.value, arg, &fault);
            json_decref(row.value);
            row.value = made;
            if (!made && !fault) continue;
            if (!made && asprintf(&row.fault, "%s line %zu: malformed row: %s", path, row.number, fault) < 0)
                return fail(e, ERR_MEMORY, "%s: out of memory", path);
            if (!made) text_clean(row.fault);
        }
        r->row[kept++] = row;
    }
    r->n = kept;
    return OK;
}

/* 1: name ends in suffix, whatever the case, once a ".gz" is taken off. */
static int named(const char *name, const char *suffix) {
    size_t n = strlen(name), k = strlen(suffix);
    if (n > 3 && strcasecmp(name + n - 3, ".gz") == 0) n -= 3;
    return n >= k && strncasecmp(name + n - k, suffix, k) == 0;
}

static int blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return 0;
    return 1;
}

static enum status parse_lines(struct rows *r, const char *path, const char *text, size_t n,
                               struct error *e) {
    size_t line = 0;
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at;
        line++;
        if (!blank(text + at, length)) {
            json_error_t problem;
            json_t *value = json_loadb(text + at, length, JSON_ALLOW_NUL, &problem);
            if (value && !json_is_object(value)) {
                json_decref(value);
                value = NULL;
                snprintf(problem.text, sizeof problem.text, "no JSON object");
            }
            TRY(rows_append(r, value, path, line, problem.text, e));
        }
        at += length + 1;
    }
    return OK;
}

/* One JSON array of objects. */
static enum status parse_array(struct rows *r, const char *path, const char *text, size_t n,
                               struct error *e) {
    json_error_t problem;
    json_t *all = json_loadb(text, n, JSON_ALLOW_NUL, &problem);
    if (!all) return fail(e, ERR_FORMAT, "%s line %d: no JSON: %s", path, problem.line, problem.text);
    enum status status = OK;
    size_t i;
    json_t *value;
    json_array_foreach(all, i, value) {
        json_t *kept = json_is_object(value) ? json_incref(value) : NULL;
        status = rows_append(r, kept, path, i + 1, "no JSON object", e);
        if (status != OK) break;
    }
    json_decref(all);
    return status;
}

/* What reading one separated row needs. */
struct fields {
    const char *text;
    size_t n, at, line;
    char separator;
    int quotes;
    struct buffer field;
};

/* One field, without its quotes; sets *last at the end of a row. NULL or the fault. */
static const char *read_field(struct fields *f, int *last) {
    buffer_free(&f->field);
    f->field = (struct buffer){0};
    int quoted = f->quotes && f->at < f->n && f->text[f->at] == '"';
    if (quoted) f->at++;
    for (; f->at < f->n; f->at++) {
        char c = f->text[f->at];
        if (quoted && c == '"') {
            if (f->at + 1 < f->n && f->text[f->at + 1] == '"')
                f->at++;
            else {
                quoted = 0;
                continue;
            }
        } else if (!quoted && (c == f->separator || c == '\n')) {
            break;
        } else if (!quoted && c == '\r' && f->at + 1 < f->n && f->text[f->at + 1] == '\n') {
            continue;
        }
        f->line += c == '\n';
        buffer_add(&f->field, &c, 1);
    }
    *last = f->at >= f->n || f->text[f->at] == '\n';
    if (*last) f->line++;
    f->at++;
    return quoted ? "a quoted field does not end" : f->field.failed ? "out of memory" : NULL;
}

static enum status parse_separated(struct rows *r, const char *path, const char *text, size_t n,
                                   char separator, struct error *e) {
    struct fields f = {.text = text, .n = n, .line = 1, .separator = separator, .quotes = separator == ','};
    enum status status = OK;
    while (status == OK && f.at < n) {
        size_t first = f.line;
        const char *end = memchr(text + f.at, '\n', n - f.at);
        if (blank(text + f.at, end ? (size_t)(end - text) - f.at : n - f.at)) {
            f.at += (end ? (size_t)(end - text) - f.at : n - f.at) + 1;
            f.line++;
            continue;
        }
        json_t *row = json_array();
        const char *fault = NULL;
        for (int last = 0; !last;) {
            const char *problem = read_field(&f, &last);
            json_t *field = problem ? NULL : json_stringn(f.field.data ? f.field.data : "", f.field.n);
            if (!field && !fault) fault = problem ? problem : "a field is not UTF-8";
            if (field) json_array_append_new(row, field);
        }
        if (fault) json_decref(row), row = NULL;
        status = rows_append(r, row, path, first, fault ? fault : "", e);
    }
    buffer_free(&f.field);
    return status;
}

enum status rows_parse(struct rows *r, const char *path, const char *text, size_t n, struct error *e) {
    size_t before = r->n;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, n -= 3;
    size_t start = 0;
    while (start < n && strchr(" \t\r\n", text[start]) && text[start]) start++;
    enum status status;
    json_quota_begin(n);
    if (named(path, ".csv"))
        status = parse_separated(r, path, text, n, ',', e);
    else if (named(path, ".tsv"))
        status = parse_separated(r, path, text, n, '\t', e);
    else if (start < n && text[start] == '[')
        status = parse_array(r, path, text, n, e);
    else
        status = parse_lines(r, path, text, n, e);
    if (json_quota_end())
        return fail(e, ERR_UNSUPPORTED, "%s: its values would take too much memory (found %zu bytes of text)",
                    path, n);
    TRY(status);
    if (r->n == before) return fail(e, ERR_FORMAT, "%s: no rows (found an empty file)", path);
    return OK;
}

/* The bytes of a member of a tar archive (ustar or older), by its whole name or what follows a '/'. NULL:
 * none. */
static const char *tar_member(const struct buffer *tar, const char *member, size_t *n) {
    size_t wanted = strlen(member);
    for (size_t at = 0; at + 512 <= tar->n;) {
        const char *header = tar->data + at;
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): n bytes are there */
        if (!header[0]) break;
        char name[256 + 1] = "", digits[13] = "";
        if (memcmp(header + 257, "ustar", 5) == 0 && header[345])
            snprintf(name, sizeof name, "%.155s/%.100s", header + 345, header);
        else
            snprintf(name, sizeof name, "%.100s", header);
        memcpy(digits, header + 124, 12);
        char *rest;
        unsigned long long size = strtoull(digits, &rest, 8);
        if (rest == digits || size > tar->n - at - 512) break;
        size_t length = strlen(name);
        if ((header[156] == '0' || !header[156]) && length >= wanted &&
            strcmp(name + length - wanted, member) == 0 &&
            (length == wanted || name[length - wanted - 1] == '/')) {
            *n = (size_t)size;
            return header + 512;
        }
        at += 512 + ((size_t)size + 511) / 512 * 512;
    }
    return NULL;
}

/* Splits "A.tar[.gz]:MEMBER" into a copy of the archive's path and the member; NULL: no archive. */
static char *archive_of(const char *path, const char **member) {
    const char *colon = strrchr(path, ':');
    if (!colon) return NULL;
    char *archive = strndup(path, (size_t)(colon - path));
    if (archive && !named(archive, ".tar")) free(archive), archive = NULL;
    *member = colon + 1;
    return archive;
}

enum status rows_read(struct rows *r, const char *path, struct error *e) {
    struct buffer bytes = {0};
    const char *member = NULL;
    char *archive = archive_of(path, &member);
    enum status status = buffer_read(&bytes, archive ? archive : path, MAX_BYTES, e);
    const char *text = bytes.data ? bytes.data : "";
    size_t n = bytes.n;
    if (status == OK && archive && !(text = tar_member(&bytes, member, &n)))
        status = fail(e, ERR_FORMAT, "%s: has no member %s", archive, member);
    if (status == OK) status = rows_parse(r, path, text, n, e);
    buffer_free(&bytes);
    free(archive);
    return status;
}

static int there(const char *path) {
    const char *member;
    char *archive = archive_of(path, &member);
    int found = access(archive ? archive : path, F_OK) == 0;
    free(archive);
    return found;
}

/* dir[/folder]/name, or with .gz, when it is there; to be freed. */
static char *try_path(const char *dir, const char *folder, const char *name) {
    const char *colon = strchr(name, ':');
    int stem = colon ? (int)(colon - name) : (int)strlen(name);
    for (int gz = 0; gz < 2; gz++) {
        char *path = NULL;
        if (asprintf(&path, "%s%s%s/%.*s%s%s", dir, *folder ? "/" : "", folder, stem, name, gz ? ".gz" : "",
                     colon ? colon : "") < 0)
            return NULL;
        if (there(path)) return path;
        free(path);
    }
    return NULL;
}

char *rows_find(const char *dir, const char *const *folders, const char *const *names, struct error *e) {
    for (const char *const *name = names; *name; name++) {
        for (const char *const *folder = folders; *folder; folder++) {
            char *path = try_path(dir, *folder, *name);
            if (path) return path;
        }
        char *path = try_path(dir, "", *name);
        if (path) return path;
    }
    struct buffer list = {0};
    for (const char *const *name = names; *name; name++)
        buffer_format(&list, "%s%s", name == names ? "" : name[1] ? ", " : " or ", *name);
    fail(e, ERR_IO, "%s: data missing (expected %s/%s there, or without the folder, or with .gz)", dir,
         folders[0], list.data ? list.data : "");
    buffer_free(&list);
    return NULL;
}
