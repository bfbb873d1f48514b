/* SPDX-License-Identifier: Apache-2.0 */
/* test_records: runs written and read back, the sentences of failed reads, and what a killed writer leaves.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/parity_rows.h"
#include "bench/records.h"

static char folder[256], path[300];

static void make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/lfm2-records-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/r.h5", folder);
}

static void remove_folder(void) {
    char cmd[320];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", folder);
    cr_assert(system(cmd) == 0);
}

TestSuite(records, .init = make_folder, .fini = remove_folder);

struct row {
    double x;
    char name[8];
    int64_t n;
};
static const struct field row_fields[] = {F64(row, x), TEXT_FIELD(row, name), I64(row, n)};
static const struct table row_table = {"rows", row_fields, 3, sizeof(struct row)};

static struct record *sample_run(const char *kind) {
    static const struct row rows[] = {{0.1, "a", -3}, {1e300, "1234567", INT64_MAX}};
    struct record *r = record_new(kind);
    record_text(r, "cpu", "Some %s", "CPU");
    record_number(r, "load", 0.25);
    record_integer(r, "threads", 2);
    record_rows(r, &row_table, rows, 2);
    return r;
}

static void append(const char *kind) {
    struct error e = {0};
    struct record *r = sample_run(kind);
    cr_assert_eq(records_append(path, r, NULL, &e), OK, "%s", e.text);
    record_free(r);
}

Test(records, round_trip) {
    struct error e = {0};
    struct records f;
    append("bench");
    append("parity");
    append("bench");
    cr_assert_eq(records_open(&f, path, &e), OK, "%s", e.text);
    cr_assert_eq(f.n, 3);
    cr_assert_str_eq(f.names[1], "0002-parity");
    cr_assert_eq(records_last(&f, "bench"), 2);
    cr_assert_eq(records_last(&f, "eval"), -1);
    char text[64];
    double number;
    cr_assert_eq(records_text(&f, 0, "cpu", text, sizeof text, &e), OK);
    cr_assert_str_eq(text, "Some CPU");
    cr_assert_eq(records_number(&f, 0, "load", &number, &e), OK);
    cr_assert_eq(number, 0.25);
    cr_assert_eq(records_number(&f, 0, "threads", &number, &e), OK);
    cr_assert_eq(number, 2);
    void *rows;
    size_t n;
    cr_assert(records_has(&f, 2, "rows"));
    cr_assert(!records_has(&f, 2, "other"));
    cr_assert_eq(records_rows(&f, 2, &row_table, &rows, &n, &e), OK, "%s", e.text);
    cr_assert_eq(n, 2);
    struct row *got = rows;
    cr_assert_eq(got[0].x, 0.1);
    cr_assert_eq(got[0].n, -3);
    cr_assert_str_eq(got[1].name, "1234567");
    cr_assert_eq(got[1].n, INT64_MAX);
    free(rows);
    records_close(&f);
}

static void collect(void *arg, const char *name) {
    char *all = arg;
    snprintf(all + strlen(all), 256 - strlen(all), "%s ", name);
}

Test(records, attributes_are_listed) {
    struct error e = {0};
    struct records f;
    char all[256] = "";
    append("bench");
    cr_assert_eq(records_open(&f, path, &e), OK);
    cr_assert_eq(records_attributes(&f, 0, collect, all, &e), OK);
    cr_assert_str_eq(all, "cpu kind load threads ");
    records_close(&f);
}

Test(records, empty_table_and_name_given_twice) {
    struct error e = {0};
    struct records f;
    struct record *r = sample_run("bench");
    char text[8];
    void *rows;
    size_t n;
    record_rows(r, &row_table, NULL, 0);
    record_text(r, "cpu", "new");
    cr_assert_eq(records_append(path, r, NULL, &e), OK, "%s", e.text);
    record_free(r);
    cr_assert_eq(records_open(&f, path, &e), OK);
    cr_assert_eq(records_rows(&f, 0, &row_table, &rows, &n, &e), OK, "%s", e.text);
    cr_assert_eq(n, 0);
    cr_assert_eq(records_text(&f, 0, "cpu", text, sizeof text, &e), OK);
    cr_assert_str_eq(text, "new");
    free(rows);
    records_close(&f);
}

Test(records, a_later_field_is_zero_in_an_older_file) {
    struct wide {
        double x, later;
        int64_t n;
    };
    static const struct field fields[] = {F64(wide, x), F64_LATER(wide, later), I64(wide, n)};
    static const struct table table = {"rows", fields, 3, sizeof(struct wide)};
    struct error e = {0};
    struct records f;
    void *rows;
    size_t n;
    append("bench");
    cr_assert_eq(records_open(&f, path, &e), OK);
    cr_assert_eq(records_rows(&f, 0, &table, &rows, &n, &e), OK, "%s", e.text);
    const struct wide *w = rows;
    cr_assert_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(w[i].later, 0);
        cr_assert(w[i].x != 0 || w[i].n != 0);
    }
    free(rows);
    records_close(&f);
}

Test(records, a_failed_read_says_what) {
    static const struct field missing[] = {F64(row, x), {"y", FIELD_F64, 0, 8, 0}};
    static const struct field other_kind[] = {{"n", FIELD_F64, 0, 8, 0}};
    static const struct field narrow[] = {{"name", FIELD_TEXT, 0, 4, 0}};
    static const struct {
        struct table table;
        const char *says;
    } cases[] = {
        {{"rows", missing, 2, 24}, "0001-bench/rows: field y: found nothing, expected float"},
        {{"rows", other_kind, 1, 24}, "0001-bench/rows: field n: found integer, expected float"},
        {{"rows", narrow, 1, 24}, "0001-bench/rows: field name: found 8 bytes of text, expected at most 4"},
        {{"none", missing, 2, 24}, "run 0001-bench: no table none"},
    };
    struct error e = {0};
    struct records f;
    append("bench");
    cr_assert_eq(records_open(&f, path, &e), OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *rows;
        size_t n;
        cr_assert_eq(records_rows(&f, 0, &cases[i].table, &rows, &n, &e), ERR_FORMAT);
        cr_assert(strstr(e.text, cases[i].says), "%s", e.text);
        cr_assert(strstr(e.text, path), "%s", e.text);
    }
    char text[64];
    double number;
    cr_assert_eq(records_text(&f, 0, "load", text, sizeof text, &e), ERR_FORMAT);
    cr_assert(strstr(e.text, "attribute load: found float, expected text"), "%s", e.text);
    cr_assert_eq(records_text(&f, 0, "cpu", text, 4, &e), ERR_FORMAT);
    cr_assert(strstr(e.text, "found 8 characters, expected at most 3"), "%s", e.text);
    cr_assert_eq(records_number(&f, 0, "cpu", &number, &e), ERR_FORMAT);
    cr_assert_eq(records_number(&f, 0, "none", &number, &e), ERR_FORMAT);
    cr_assert_eq(records_number(&f, 7, "load", &number, &e), ERR_ARG);
    records_close(&f);
}

Test(records, not_a_record_file) {
    struct error e = {0};
    struct records f;
    cr_assert_eq(records_open(&f, path, &e), ERR_IO);
    FILE *t = fopen(path, "w");
    fputs("plain text\n", t);
    fclose(t);
    cr_assert_eq(records_open(&f, path, &e), ERR_FORMAT);
    struct record *r = sample_run("bench");
    cr_assert_eq(records_append(path, r, NULL, &e), ERR_FORMAT);
    record_free(r);
    t = fopen(path, "r");
    char text[32];
    cr_assert(fgets(text, sizeof text, t));
    cr_assert_str_eq(text, "plain text\n");
    fclose(t);
}

static char *file_bytes(size_t *n) {
    struct stat s;
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &s) == 0);
    char *bytes = malloc((size_t)s.st_size);
    cr_assert_eq(read(fd, bytes, (size_t)s.st_size), s.st_size);
    close(fd);
    *n = (size_t)s.st_size;
    return bytes;
}

Test(records, same_run_same_bytes) {
    size_t n1, n2;
    append("bench");
    char *first = file_bytes(&n1);
    unlink(path);
    sleep(1); /* a stored time would differ */
    append("bench");
    char *second = file_bytes(&n2);
    cr_assert_eq(n1, n2);
    cr_assert_eq(memcmp(first, second, n1), 0);
    free(first);
    free(second);
}

/* Kills a process that appends without end, at many moments; the file must open and hold whole runs only. */
Test(records, killed_writer_leaves_a_whole_file) {
    struct error e = {0};
    append("bench");
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (;;) {
                struct record *r = sample_run("bench");
                records_append(path, r, NULL, NULL);
                record_free(r);
            }
        }
        usleep(3000 + 1700 * i);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        struct records f;
        cr_assert_eq(records_open(&f, path, &e), OK, "%s", e.text);
        cr_assert(f.n >= 1);
        void *rows;
        size_t n;
        cr_assert_eq(records_rows(&f, f.n - 1, &row_table, &rows, &n, &e), OK, "%s", e.text);
        cr_assert_eq(n, 2);
        free(rows);
        records_close(&f);
    }
}

Test(records, two_writers_lose_nothing) {
    struct error e = {0};
    pid_t pid[3];
    for (int w = 0; w < 3; w++)
        if ((pid[w] = fork()) == 0) {
            for (int i = 0; i < 5; i++) {
                struct record *r = sample_run("bench");
                if (records_append(path, r, NULL, NULL)) _exit(1);
                record_free(r);
            }
            _exit(0);
        }
    for (int w = 0; w < 3; w++) {
        int how;
        waitpid(pid[w], &how, 0);
        cr_assert_eq(how, 0);
    }
    struct records f;
    cr_assert_eq(records_open(&f, path, &e), OK, "%s", e.text);
    cr_assert_eq(f.n, 15);
    records_close(&f);
}

/* The field lists of bench/records.c cover each struct exactly: no byte forgotten, none claimed twice. */
Test(records, field_lists_cover_their_structs) {
    static const struct table *const tables[] = {
        &models_table,        &throughput_table, &parity_layers_table, &parity_logits_table,
        &parity_bounds_table, &kernels_table,    &limits_table,        &samples_table};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct table *t = tables[i];
        unsigned char *seen = calloc(1, t->row_bytes);
        size_t covered = 0;
        for (int f = 0; f < t->n_fields; f++)
            for (size_t b = 0; b < t->fields[f].size; b++) {
                cr_assert(!seen[t->fields[f].offset + b], "%s.%s", t->name, t->fields[f].name);
                seen[t->fields[f].offset + b] = 1;
                covered++;
            }
        /* Between a text and the next 8-byte member there are at most 7 bytes of padding per field. */
        size_t run = 0;
        for (size_t b = 0; b < t->row_bytes; b++) {
            run = seen[b] ? 0 : run + 1;
            cr_assert_lt(run, 8, "%s: bytes before %zu belong to no field", t->name, b);
        }
        cr_assert_gt(covered, 0);
        free(seen);
    }
}

Test(records, machine_attributes_are_there) {
    static const char *const names[] = {"time", "commit", "compiler", "flags",    "cpu",    "caches",
                                        "isa",  "os",     "kernel",   "governor", "loadavg"};
    struct error e = {0};
    struct records f;
    struct record *r = record_new("limits");
    machine_attributes(r, 2);
    cr_assert_eq(records_append(path, r, NULL, &e), OK, "%s", e.text);
    record_free(r);
    cr_assert_eq(records_open(&f, path, &e), OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[1024];
        cr_assert_eq(records_text(&f, 0, names[i], text, sizeof text, &e), OK, "%s", e.text);
        if (strcmp(names[i], "isa") != 0) cr_assert(text[0], "%s is empty", names[i]);
    }
    double threads;
    cr_assert_eq(records_number(&f, 0, "threads", &threads, &e), OK);
    cr_assert_eq(threads, 2);
    records_close(&f);
}
