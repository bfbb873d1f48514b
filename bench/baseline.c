/* SPDX-License-Identifier: Apache-2.0 */
/* baseline: names, hosts and the way through the records. */
#include "bench/baseline.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum status baseline_path(char *path, size_t size, const char *folder, const char *name,
                          const struct host *host, struct error *e) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (!name[0] || strlen(name) > 64 || name[0] == '.' || name[strspn(name, letters)])
        return fail(e, ERR_ARG, "baseline %.80s: expected a name of 1 to 64 letters, digits, '.', '_' or '-'",
                    name);
    if ((size_t)snprintf(path, size, "%s/%s-%s.h5", folder, name, host->id) >= size)
        return fail(e, ERR_ARG, "baseline %s: the name of its file is too long", name);
    return OK;
}

/* ---- reading ---- */

/* The sentence for a baseline that is not there: perhaps another host has one of that name. */
static enum status not_there(const char *folder, const char *name, const char *kind, const struct host *host,
                             struct error *e) {
    char pattern[4200], other[512] = "";
    glob_t found = {0};
    struct records f = {0};
    snprintf(pattern, sizeof pattern, "%.4000s/%.64s-????????????????.h5", folder, name);
    if (glob(pattern, 0, NULL, &found) == 0 && records_open(&f, found.gl_pathv[0], NULL) == OK && f.n > 0 &&
        records_text(&f, f.n - 1, "host_text", other, sizeof other, NULL) != OK)
        other[0] = 0;
    records_close(&f);
    globfree(&found);
    if (other[0])
        return fail(e, ERR_ARG, "baseline %s: of another host (found '%s', expected '%s')", name, other,
                    host->text);
    return fail(e, ERR_ARG, "baseline %s: not in %s (make it with lfm2 %s --save-baseline %s)", name, folder,
                strcmp(kind, "bench") == 0 ? "bench" : "kernels --bench", name);
}

static enum status check_host(const struct records *f, int run, const struct host *host, struct error *e) {
    char id[sizeof host->id], text[512];
    TRY(records_text(f, run, "host", id, sizeof id, e));
    TRY(records_text(f, run, "host_text", text, sizeof text, e));
    if (strcmp(id, host->id) != 0)
        return fail(e, ERR_ARG, "%s: of another host (found '%s', expected '%s')", f->path, text, host->text);
    return OK;
}

/* The stored noise is what counts: a later version may measure it otherwise. */
static enum status read_noise(struct baseline *b, const struct records *f, int run, struct error *e) {
    void *data;
    size_t n;
    TRY(records_number(f, run, "noise", &b->timed.noise, e));
    TRY(records_rows(f, run, &noise_table, &data, &n, e));
    const struct noise_row *r = data;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < b->timed.n; k++)
            if (strcmp(r[i].name, b->timed.v[k].name) == 0) b->timed.v[k].noise = r[i].noise;
    free(data);
    return OK;
}

static enum status read_rows(struct rows *rows, const struct records *f, int run, const struct table *t,
                             struct error *e) {
    return records_rows(f, run, t, &rows->data, &rows->n, e);
}

static enum status read_run(struct baseline *b, const struct records *f, int run, const char *name,
                            const struct host *host, struct error *e) {
    struct rows rows = {0}, models = {0}, samples = {0};
    char commit[64], when[64];
    int bench = strcmp(f->kinds[run], "bench") == 0;
    TRY(check_host(f, run, host, e));
    TRY(records_text(f, run, "commit", commit, sizeof commit, e));
    TRY(records_text(f, run, "time", when, sizeof when, e));
    TRY(read_rows(&samples, f, run, &samples_table, e));
    b->samples = samples.data;
    enum status st = read_rows(&rows, f, run, bench ? &throughput_table : &kernels_table, e);
    if (!st && bench) st = read_rows(&models, f, run, &models_table, e);
    if (!st)
        st = bench ? timed_throughput(&b->timed, &rows, &models, &samples, e)
                   : timed_kernels(&b->timed, &rows, &samples, e);
    free(rows.data);
    free(models.data);
    if (!st) st = read_noise(b, f, run, e);
    snprintf(b->title, sizeof b->title, "baseline %s: commit %.12s, %s, A/A noise %.1f %%", name, commit,
             when, 100 * b->timed.noise);
    return st;
}

enum status baseline_open(struct baseline *b, const char *folder, const char *name, const char *kind,
                          const struct host *host, struct error *e) {
    char path[4096];
    struct records f = {0};
    *b = (struct baseline){0};
    TRY(baseline_path(path, sizeof path, folder, name, host, e));
    if (access(path, F_OK) != 0) return not_there(folder, name, kind, host, e);
    TRY(records_open(&f, path, e));
    int run = records_last(&f, kind);
    enum status st = run < 0
                         ? fail(e, ERR_ARG, "%s: has no %s run (make it with lfm2 %s --save-baseline %s)",
                                path, kind, strcmp(kind, "bench") == 0 ? "bench" : "kernels --bench", name)
                         : read_run(b, &f, run, name, host, e);
    records_close(&f);
    if (st) baseline_close(b);
    return st;
}

void baseline_close(struct baseline *b) {
    timed_free(&b->timed);
    free(b->samples);
    *b = (struct baseline){0};
}

/* ---- writing ---- */

enum status baseline_check(const char *folder, const char *name, const struct host *host, struct error *e) {
    char path[4096];
    TRY(baseline_path(path, sizeof path, folder, name, host, e));
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail(e, ERR_IO, "%s: cannot make the folder: %s", folder, strerror(errno));
    return records_check(path, e);
}

enum status baseline_save(struct record *r, const struct timed_list *timed, const char *folder,
                          const char *name, const struct host *host, struct error *e) {
    char path[4096];
    struct rows noise = {0};
    TRY(baseline_check(folder, name, host, e));
    TRY(baseline_path(path, sizeof path, folder, name, host, e));
    for (int i = 0; i < timed->n; i++) {
        struct noise_row row = {.samples = timed->v[i].n, .noise = timed->v[i].noise};
        memcpy(row.name, timed->v[i].name, sizeof row.name);
        if (rows_add(&noise, &noise_table, &row)) {
            free(noise.data);
            return fail(e, ERR_MEMORY, "%s: out of memory", path);
        }
    }
    record_text(r, "baseline", "%s", name);
    record_text(r, "host", "%s", host->id);
    record_text(r, "host_text", "%s", host->text);
    record_number(r, "noise", timed->noise);
    record_rows(r, &noise_table, noise.data, noise.n);
    free(noise.data);
    return records_append(path, r, NULL, e);
}
