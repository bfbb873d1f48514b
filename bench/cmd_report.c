/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_report: RESULTS.md and the figures from stored records, or a check that they are what the records say.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "bench/report.h"
#include "data/unfinished.h"

enum { MAX_RECORDS = 32 };

struct arguments {
    const char *records, *folder, *out, *published;
    int check, no_plots;
};

static enum status open_sources(struct report_source *sources, int *n, const struct arguments *a,
                                struct error *e) {
    glob_t found = {0};
    enum status st = OK;
    char path[4096];
    *n = 0;
    if (a->records) {
        for (const char *s = a->records; *s && st == OK;) {
            size_t len = strcspn(s, ",");
            if (len >= sizeof path || *n == MAX_RECORDS)
                return fail(e, ERR_ARG, "report: too many or too long records");
            snprintf(path, sizeof path, "%.*s", (int)len, s);
            st = report_source_open(&sources[*n], path, e);
            *n += st == OK;
            s += len + (s[len] == ',');
        }
        if (*n == 0 && st == OK) st = fail(e, ERR_ARG, "report: --record names no file");
        return st;
    }
    if (snprintf(path, sizeof path, "%s/*.h5", a->folder) >= (int)sizeof path ||
        glob(path, 0, NULL, &found) != 0)
        st = fail(e, ERR_IO,
                  "%s/*.h5: no records; run in the repository's root folder, or name one with --record",
                  a->folder);
    for (size_t i = 0; st == OK && i < found.gl_pathc; i++) {
        if (*n == MAX_RECORDS) st = fail(e, ERR_ARG, "report: more than %d records", MAX_RECORDS);
        if (st == OK) st = report_source_open(&sources[*n], found.gl_pathv[i], e);
        *n += st == OK;
    }
    globfree(&found);
    return st;
}

static enum status page_text(char **out, const struct report_source *sources, int n, const char *published,
                             struct error *e) {
    size_t size;
    FILE *f = open_memstream(out, &size);
    if (!f) return fail(e, ERR_MEMORY, "report: out of memory");
    enum status st = report_page(f, sources, n, published, e);
    if (fclose(f) != 0 && st == OK) st = fail(e, ERR_MEMORY, "report: out of memory");
    return st;
}

static enum status write_file(const char *path, const char *text, struct error *e) {
    char temporary[4400];
    snprintf(temporary, sizeof temporary, "%s.%d.tmp", path, (int)getpid());
    FILE *f = fopen(temporary, "we");
    if (!f) return fail(e, ERR_IO, "%s: cannot be written: %s", temporary, strerror(errno));
    unfinished_add(temporary);
    int bad = fputs(text, f) < 0;
    bad |= fclose(f) != 0;
    enum status st = bad ? fail(e, ERR_IO, "%s: cannot be written: %s", path, strerror(errno))
                         : put_in_place(temporary, path, e);
    if (st) unlink(temporary), unfinished_done(temporary);
    return st;
}

static enum status make_folder(const char *path, struct error *e) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return OK;
    return fail(e, ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
}

/* Names the first line that differs on stderr. Returns 1 when any does, 0 when none, -1 with *e filled. */
static int check_page(const char *path, const char *want, struct error *e) {
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    int number = 0, differs = 0;
    if (!f) {
        fail(e, ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
        return -1;
    }
    while (!differs) {
        ssize_t got = getline(&line, &capacity, f);
        size_t n = strcspn(want, "\n"), with_newline = n + (want[n] == '\n');
        number++;
        if (got <= 0 && !*want) break;
        differs = got < 0 || (size_t)got != with_newline || memcmp(line, want, with_newline) != 0;
        if (differs) {
            int found = got > 0 ? (int)strcspn(line, "\n") : 0;
            fprintf(stderr, "lfm2: %s: line %d is not what the records say (found '%.*s', expected '%.*s')\n",
                    path, number, found < 200 ? found : 200, got > 0 ? line : "", (int)(n < 200 ? n : 200),
                    want);
        }
        want += with_newline;
    }
    free(line);
    fclose(f);
    return differs;
}

static enum status write_all(const struct arguments *a, const char *path, const char *text,
                             const struct report_source *sources, int n, struct error *e) {
    char plots[4200], prefix[160];
    snprintf(plots, sizeof plots, "%s/plots", a->out);
    TRY(make_folder(a->out, e));
    TRY(write_file(path, text, e));
    printf("%s\n", path);
    if (a->no_plots) return OK;
    TRY(make_folder(plots, e));
    for (int i = 0; i < n; i++) {
        report_prefix(prefix, sizeof prefix, &sources[i], n);
        TRY(report_plots(&sources[i], prefix, plots, "plots", e));
        for (int figure = 0; figure < FIGURE_COUNT; figure++)
            if (report_has_figure(&sources[i], figure))
                printf("%s/%s%s.svg and .png\n", plots, prefix, report_figure_names[figure]);
    }
    return OK;
}

int cmd_report(int argc, char **argv) {
    struct arguments a = {.out = ".", .published = "bench/published.csv", .folder = "bench/records"};
    struct error e = {0};
    const struct option_spec specs[] = {
        {"--record", OPTION_TEXT, &a.records, "FILE", "a record; may be repeated"},
        {"--records", OPTION_TEXT, &a.folder, "DIR", "all records *.h5 of a folder (bench/records)"},
        {"-o,--out", OPTION_TEXT, &a.out, "DIR", "where RESULTS.md and plots/ are written (.)"},
        {"--published", OPTION_TEXT, &a.published, "FILE", "others' figures (bench/published.csv)"},
        {"--no-plots", OPTION_FLAG, &a.no_plots, NULL, "write RESULTS.md only"},
        {"--check", OPTION_FLAG, &a.check, NULL,
         "write nothing; exit code 1 when RESULTS.md is not what the records say"},
        {0},
    };
    int parsed = options_parse(
        argc, argv,
        "usage: lfm2 report [options]\n\n"
        "Writes RESULTS.md and plots/ from stored records; the same records give the same page.",
        specs, NULL, 0, NULL, &e);
    if (parsed == 1) return 0;
    if (parsed < 0) return cmd_fail(&e);
    struct report_source sources[MAX_RECORDS];
    char path[4200], *text = NULL;
    int n = 0, differs = 0;
    snprintf(path, sizeof path, "%s/RESULTS.md", strlen(a.out) < 4096 ? a.out : ".");
    enum status st = open_sources(sources, &n, &a, &e);
    if (st == OK) st = page_text(&text, sources, n, a.published, &e);
    if (st == OK && a.check) {
        differs = check_page(path, text, &e);
        if (differs < 0) st = e.code;
    } else if (st == OK) {
        st = write_all(&a, path, text, sources, n, &e);
    }
    for (int i = 0; i < n; i++) report_source_close(&sources[i]);
    free(text);
    if (st != OK) return cmd_fail(&e);
    return differs;
}
