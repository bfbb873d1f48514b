/* SPDX-License-Identifier: Apache-2.0 */
/* compare: reads two sets of samples, pairs them, and prints what differs. */
#include "eval/compare.h"

#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/buffer.h"
#include "data/json.h"
#include "eval/aggregate.h"
#include "eval/samples_read.h"

enum { MAX_RESULTS = 256 << 20 /* bytes */ };

/* One metric of one document under one filter. */
struct point {
    int doc;
    double value;
};

struct series {
    char name[320]; /* task, filter, metric */
    struct point *at;
    size_t n, capacity;
};

struct side {
    const char *path;
    json_t *files;  /* task -> path of the newest samples file */
    json_t *hashes; /* task/doc -> prompt hash and document hash */
    struct series *all;
    int n, capacity;
    const char *task; /* being read */
};

static void side_free(struct side *s) {
    for (int i = 0; i < s->n; i++) free(s->all[i].at);
    free(s->all);
    json_decref(s->files);
    json_decref(s->hashes);
}

/* ---- finding files ---- */

static struct side *finding; /* nftw has no argument */

static int found(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)walk;
    char task[128], date[64], old_task[128], old_date[64];
    /* nftw calls everything a file that is no folder: a FIFO would be waited for. */
    if (type != FTW_F || !S_ISREG(info->st_mode) || !samples_task(path, task, date)) return 0;
    const char *old = json_string_value(json_object_get(finding->files, task));
    if (old && samples_task(old, old_task, old_date) && strcmp(old_date, date) >= 0) return 0;
    return json_object_set_new(finding->files, task, json_string(path)) ? -1 : 0;
}

static enum status find(struct side *s, struct error *e) {
    struct stat info;
    char task[128] = "samples", date[64];
    s->files = json_object();
    s->hashes = json_object();
    if (!s->files || !s->hashes) return fail(e, ERR_MEMORY, "out of memory");
    if (stat(s->path, &info)) return fail(e, ERR_IO, "%s: no such file or folder", s->path);
    if (!S_ISDIR(info.st_mode)) {
        samples_task(s->path, task, date);
        json_object_set_new(s->files, task, json_string(s->path));
        return OK;
    }
    finding = s;
    if (nftw(s->path, found, 16, FTW_PHYS)) return fail(e, ERR_IO, "%s: cannot read the folder", s->path);
    if (json_object_size(s->files) == 0)
        return fail(e, ERR_ARG, "%s: has no samples_*.jsonl; run lfm2 eval with --log_samples", s->path);
    return OK;
}

/* ---- reading ---- */

static struct series *series_named(struct side *s, const char *name) {
    for (int i = s->n; i-- > 0;) /* lines of one series follow each other */
        if (strcmp(s->all[i].name, name) == 0) return &s->all[i];
    if (s->n == s->capacity) {
        int capacity = s->capacity ? 2 * s->capacity : 64;
        struct series *grown = realloc(s->all, (size_t)capacity * sizeof *grown);
        if (!grown) return NULL;
        s->all = grown;
        s->capacity = capacity;
    }
    s->all[s->n] = (struct series){0};
    snprintf(s->all[s->n].name, sizeof s->all[s->n].name, "%s", name);
    return &s->all[s->n++];
}

static int add_point(struct series *s, int doc, double value) {
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 256;
        struct point *grown = realloc(s->at, capacity * sizeof *grown);
        if (!grown) return 0;
        s->at = grown;
        s->capacity = capacity;
    }
    s->at[s->n++] = (struct point){doc, value};
    return 1;
}

static double value_of(const json_t *v) {
    if (json_is_boolean(v)) return json_is_true(v);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static enum status take_line(void *arg, const json_t *line, int number, struct error *e) {
    struct side *s = arg;
    (void)number;
    if (json_object_get(line, "failed")) return OK;
    int doc = (int)json_integer_value(json_object_get(line, "doc_id"));
    const char *filter = json_string_value(json_object_get(line, "filter"));
    const char *prompt = json_string_value(json_object_get(line, "prompt_hash"));
    const char *document = json_string_value(json_object_get(line, "doc_hash"));
    const json_t *metrics = json_object_get(line, "metrics");
    char name[320];
    snprintf(name, sizeof name, "%s/%d", s->task, doc);
    json_object_set_new(s->hashes, name, json_pack("[s,s]", prompt ? prompt : "", document ? document : ""));
    for (size_t i = 0; i < json_array_size(metrics); i++) {
        const char *metric = json_string_value(json_array_get(metrics, i));
        double value = metric ? value_of(json_object_get(line, metric)) : NAN;
        if (isnan(value)) continue; /* a list: the flat metrics of IFEval have no pairs */
        snprintf(name, sizeof name, "%s,%s,%s", s->task, filter ? filter : "none", metric);
        struct series *to = series_named(s, name);
        if (!to || !add_point(to, doc, value)) return fail(e, ERR_MEMORY, "out of memory");
    }
    return OK;
}

static enum status read_side(struct side *s, const json_t *other, struct error *e) {
    json_t *path;
    json_object_foreach(s->files, s->task, path) if (!other || json_object_get(other, s->task))
        TRY(samples_read(json_string_value(path), take_line, s, e));
    return OK;
}

/* ---- comparing ---- */

static int by_doc(const void *a, const void *b) {
    int x = ((const struct point *)a)->doc, y = ((const struct point *)b)->doc;
    return (x > y) - (x < y);
}

/* Where the lines go, and what the two sides are called in a record. */
struct output {
    FILE *to;
    struct rows *pairs;
    char a[96], b[96];
};

struct pairs {
    double *a, *b;
    size_t n, only_a, only_b, gained, lost;
    int binary;
};

static enum status pair(struct series *a, struct series *b, struct pairs *p, struct error *e) {
    *p = (struct pairs){
        .a = malloc((a->n + 1) * sizeof *p->a), .b = malloc((a->n + 1) * sizeof *p->b), .binary = 1};
    if (!p->a || !p->b) return fail(e, ERR_MEMORY, "out of memory");
    qsort(a->at, a->n, sizeof *a->at, by_doc);
    qsort(b->at, b->n, sizeof *b->at, by_doc);
    size_t i = 0, k = 0;
    while (i < a->n && k < b->n) {
        if (a->at[i].doc < b->at[k].doc) {
            i++, p->only_a++;
        } else if (a->at[i].doc > b->at[k].doc) {
            k++, p->only_b++;
        } else {
            double x = a->at[i++].value, y = b->at[k++].value;
            p->a[p->n] = x;
            p->b[p->n++] = y;
            if ((x != 0 && x != 1) || (y != 0 && y != 1)) p->binary = 0;
            p->gained += y > x;
            p->lost += y < x;
        }
    }
    p->only_a += a->n - i;
    p->only_b += b->n - k;
    return OK;
}

/* name: task, filter and metric between commas. */
static enum status put_pairs(struct output *out, const char *name, const struct pairs *p, struct error *e) {
    double a = 0, b = 0;
    struct eval_pair_row row = {.n = (int64_t)p->n,
                                .gained = (int64_t)p->gained,
                                .lost = (int64_t)p->lost,
                                .p = p->binary ? mcnemar_exact(p->gained, p->lost) : NAN};
    for (size_t i = 0; i < p->n; i++) a += p->a[i], b += p->b[i];
    struct interval d = paired_difference(p->b, p->a, p->n, 1);
    row.value_a = a / (double)p->n, row.value_b = b / (double)p->n;
    row.difference = d.mid, row.lo = d.lo, row.hi = d.hi;
    fprintf(out->to, "%-56s %6zu %7.4f %7.4f %+8.4f  [%+.4f, %+.4f]  %5zu %5zu", name, p->n, row.value_a,
            row.value_b, d.mid, d.lo, d.hi, p->gained, p->lost);
    if (p->binary) fprintf(out->to, "  %.4f", row.p);
    fprintf(out->to, "\n");
    if (p->only_a || p->only_b)
        fprintf(out->to, "    left out: %zu documents that only A has, %zu that only B has\n", p->only_a,
                p->only_b);
    snprintf(row.a, sizeof row.a, "%s", out->a);
    snprintf(row.b, sizeof row.b, "%s", out->b);
    sscanf(name, "%63[^,],%31[^,],%47[^,]", row.task, row.filter, row.metric);
    return rows_add(out->pairs, &eval_pairs_table, &row) ? fail(e, ERR_MEMORY, "out of memory") : OK;
}

/* Of all tasks with the same filter and metric together: documents are pairs whatever task they are of. */
static enum status print_pooled(struct side *a, struct side *b, struct output *out, struct error *e) {
    for (int i = 0; i < a->n; i++) {
        const char *kind = strchr(a->all[i].name, ',');
        struct pairs all = {.binary = 1};
        int tasks = 0, seen = 0;
        for (int k = 0; k < i; k++) seen |= strcmp(strchr(a->all[k].name, ','), kind) == 0;
        for (int k = i; k < a->n && !seen; k++) {
            if (strcmp(strchr(a->all[k].name, ','), kind) != 0) continue;
            for (int m = 0; m < b->n; m++) {
                if (strcmp(b->all[m].name, a->all[k].name) != 0) continue;
                struct pairs p;
                enum status status = pair(&a->all[k], &b->all[m], &p, e);
                double *x = realloc(all.a, (all.n + p.n + 1) * sizeof *x), *y;
                if (x) all.a = x;
                y = realloc(all.b, (all.n + p.n + 1) * sizeof *y);
                if (y) all.b = y;
                if (status == OK && (!x || !y)) status = fail(e, ERR_MEMORY, "out of memory");
                if (status == OK) {
                    memcpy(x + all.n, p.a, p.n * sizeof *x);
                    memcpy(y + all.n, p.b, p.n * sizeof *y);
                    all.n += p.n, all.gained += p.gained, all.lost += p.lost;
                    all.binary &= p.binary;
                    tasks++;
                }
                free(p.a);
                free(p.b);
                if (status != OK) {
                    free(all.a);
                    free(all.b);
                    return status;
                }
            }
        }
        char name[400];
        snprintf(name, sizeof name, "all %d tasks%s", tasks, kind);
        enum status status = tasks > 1 && all.n > 0 ? put_pairs(out, name, &all, e) : OK;
        free(all.a);
        free(all.b);
        TRY(status);
    }
    return OK;
}

/* "tiny, reference": what the results file of the same run says; else the name that the user gave. */
static void side_label(const struct side *s, char *out, size_t size) {
    const char *task, *slash = strrchr(s->path, '/');
    json_t *path;
    char file[4400], name[128], date[64], model[64] = "", engine[32] = "";
    snprintf(out, size, "%.*s", (int)size - 1, slash && slash[1] ? slash + 1 : s->path);
    json_object_foreach(s->files, task, path) {
        const char *samples = json_string_value(path), *end = strrchr(samples, '/');
        if (!samples_task(samples, name, date)) continue;
        snprintf(file, sizeof file, "%.*s/results_%s.json", end ? (int)(end - samples) : 1,
                 end ? samples : ".", date);
        json_t *results;
        /* Without it the name has to do. */
        (void)json_read(&results, file, MAX_RESULTS, JSON_REJECT_DUPLICATES, NULL);
        const char *args =
            json_string_value(json_object_get(json_object_get(results, "config"), "model_args"));
        if (args && sscanf(args, "pretrained=%63[^,],engine=%31[^,]", model, engine) >= 1)
            snprintf(out, size, "%s%s%s", model, *engine ? ", " : "", engine);
        json_decref(results);
        return;
    }
}

static enum status same_questions(const struct side *a, const struct side *b, struct error *e) {
    const char *key;
    json_t *value;
    json_object_foreach(a->hashes, key, value) {
        const json_t *other = json_object_get(b->hashes, key);
        if (!other || json_equal(value, (json_t *)other)) continue;
        int prompt = !json_equal(json_array_get(value, 0), json_array_get(other, 0));
        return fail(e, ERR_ARG, "%s and %s: %s has another %s; these runs are not of the same questions",
                    a->path, b->path, key, prompt ? "prompt" : "document");
    }
    return OK;
}

static enum status compare(struct side *a, struct side *b, struct output *out, struct error *e) {
    TRY(find(a, e));
    TRY(find(b, e));
    /* Two files named on the command line are meant for each other whatever their names. */
    int one_each = json_object_size(a->files) == 1 && json_object_size(b->files) == 1;
    TRY(read_side(a, one_each ? NULL : b->files, e));
    TRY(read_side(b, one_each ? NULL : a->files, e));
    TRY(same_questions(a, b, e));
    side_label(a, out->a, sizeof out->a);
    side_label(b, out->b, sizeof out->b);
    int common = 0;
    for (int i = 0; i < a->n; i++)
        for (int k = 0; k < b->n; k++) {
            struct pairs p;
            if (strcmp(a->all[i].name, b->all[k].name) != 0) continue;
            if (common++ == 0)
                fprintf(out->to, "A %s\nB %s\n%-56s %6s %7s %7s %8s  %-18s  %5s %5s  %s\n", a->path, b->path,
                        "task,filter,metric", "n", "A", "B", "B - A", "95 % interval", "up", "down",
                        "McNemar p");
            enum status status = pair(&a->all[i], &b->all[k], &p, e);
            if (status == OK && p.n > 0) status = put_pairs(out, a->all[i].name, &p, e);
            free(p.a);
            free(p.b);
            TRY(status);
        }
    if (!common)
        return fail(e, ERR_ARG, "%s and %s: no task, filter and metric is in both", a->path, b->path);
    return print_pooled(a, b, out, e);
}

enum status compare_runs(const char *path_a, const char *path_b, FILE *to, struct rows *pairs,
                         struct error *e) {
    struct side a = {.path = path_a}, b = {.path = path_b};
    struct output out = {.to = to, .pairs = pairs};
    enum status status = compare(&a, &b, &out, e);
    side_free(&a);
    side_free(&b);
    return status;
}
