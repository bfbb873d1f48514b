/* SPDX-License-Identifier: Apache-2.0 */
/* test_rows: records of data sets: the layouts that are read, and one clear sentence for what is malformed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/rows.h"

static struct rows parse(const char *name, const char *text, size_t n) {
    struct rows r = {0};
    struct error e = {0};
    cr_assert_eq(rows_parse(&r, name, text, n, &e), OK, "%s", e.text);
    return r;
}

Test(rows, reads_lines_and_keeps_the_place_of_malformed_ones) {
    static const char text[] =
        "\xef\xbb\xbf{\"a\": 1}\n\n{\"a\": }\r\n[1]\n{\"a\": \"\\u0000\"}\n{\"a\": \"\xff\"}\n{\"a\": 2}";
    struct rows r = parse("f.jsonl", text, sizeof text - 1);
    static const int good[] = {1, 0, 0, 1, 0, 1}, line[] = {1, 3, 4, 5, 6, 7};
    cr_assert_eq(r.n, 6);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(r.row[i].value != NULL, good[i], "row %d", i);
        cr_assert_eq(r.row[i].number, (size_t)line[i], "row %d", i);
        char start[64];
        snprintf(start, sizeof start, "f.jsonl line %d: malformed row: ", line[i]);
        cr_assert(good[i] || strncmp(r.row[i].fault, start, strlen(start)) == 0, "%s", r.row[i].fault);
    }
    cr_assert_eq(json_string_length(json_object_get(r.row[3].value, "a")), 1);
    rows_free(&r);
}

Test(rows, reads_an_array) {
    static const char text[] = " [{\"a\": 1}, 2, {\"a\": 3}]\n";
    struct rows r = parse("f.json", text, sizeof text - 1);
    cr_assert_eq(r.n, 3);
    cr_assert_str_eq(r.row[1].fault, "f.json line 2: malformed row: no JSON object");
    rows_free(&r);
}

static void expect_fields(const struct row *row, int n, const char *const *want) {
    cr_assert_eq(json_array_size(row->value), (size_t)n);
    for (int i = 0; i < n; i++)
        cr_assert_str_eq(json_string_value(json_array_get(row->value, (size_t)i)), want[i]);
}

Test(rows, reads_csv_with_quotes_and_line_breaks) {
    static const char text[] = "a,\"b, \"\"c\"\"\",\"two\nlines\"\r\n\n,\"\",x\"y\n\"z\"w,\xc3\xa9,3";
    struct rows r = parse("f.csv", text, sizeof text - 1);
    cr_assert_eq(r.n, 3);
    expect_fields(&r.row[0], 3, (const char *[]){"a", "b, \"c\"", "two\nlines"});
    expect_fields(&r.row[1], 3, (const char *[]){"", "", "x\"y"});
    expect_fields(&r.row[2], 3, (const char *[]){"zw", "\xc3\xa9", "3"});
    cr_assert_eq(r.row[2].number, 5);
    rows_free(&r);
}

Test(rows, says_what_is_wrong_with_csv) {
    static const char text[] = "good,1\nb\xff"
                               "ad,2\n\"open,3\nnext,4\n";
    struct rows r = parse("f.csv", text, sizeof text - 1);
    cr_assert_eq(r.n, 3);
    cr_assert_str_eq(r.row[1].fault, "f.csv line 2: malformed row: a field is not UTF-8");
    cr_assert_str_eq(r.row[2].fault, "f.csv line 3: malformed row: a quoted field does not end");
    rows_free(&r);
}

Test(rows, takes_quotes_in_tsv_as_they_are) {
    static const char text[] = "\"a\tb\"\n";
    struct rows r = parse("f.tsv", text, sizeof text - 1);
    expect_fields(&r.row[0], 2, (const char *[]){"\"a", "b\""});
    rows_free(&r);
}

Test(rows, refuses_empty_files) {
    struct rows r = {0};
    struct error e = {0};
    cr_assert_eq(rows_parse(&r, "f.jsonl", " \n\n", 3, &e), ERR_FORMAT);
    cr_assert_str_eq(e.text, "f.jsonl: no rows (found an empty file)");
}

Test(rows, reads_a_row_of_ten_megabytes) {
    size_t n = 10000000;
    char *text = malloc(n + 16);
    memcpy(text, "{\"q\":\"", 6);
    memset(text + 6, 'x', n);
    memcpy(text + 6 + n, "\"}", 3);
    struct rows r = parse("f.jsonl", text, n + 8);
    cr_assert_eq(json_string_length(json_object_get(r.row[0].value, "q")), n);
    rows_free(&r);
    free(text);
}

/* Small values take eighty times their text in memory; a file of nothing else is no data set. */
Test(rows, refuses_what_would_take_memory_out_of_proportion) {
    enum { N = 3 * 1000000 };
    static const char *const names[] = {"f.json", "f.jsonl", "f.csv"}, *const pieces[] = {"{},", "{}\n",
                                                                                          ",,,"};
    char *text = malloc(N);
    for (int k = 0; k < 3; k++) {
        struct rows r = {0};
        struct error e = {0};
        for (size_t i = 0; i < N; i++) text[i] = pieces[k][i % 3];
        if (k == 0) text[0] = '[', text[1] = text[2] = ' ', memcpy(text + N - 3, "{}]", 3);
        cr_expect_eq(rows_parse(&r, names[k], text, N, &e), ERR_UNSUPPORTED, "%s", names[k]);
        cr_expect(strstr(e.text, "too much memory"), "%s", e.text);
        rows_free(&r);
    }
    static const char *const rows[][2] = {
        {"f.csv", "1,2,3\n"}, {"f.tsv", "7*8\t56\n"}, {"f.jsonl", "{\"a\":1}\n"}};
    for (int k = 0; k < 3; k++) {
        size_t row = strlen(rows[k][1]), n = N / row * row;
        for (size_t i = 0; i < n; i++) text[i] = rows[k][1][i % row];
        struct rows r = parse(rows[k][0], text, n);
        cr_expect_eq(r.n, n / row, "the smallest rows that are of use");
        rows_free(&r);
    }
    struct rows small = parse("f.json", "[{},{},{}]", 10);
    cr_expect_eq(small.n, 3, "the quota is that of one file");
    rows_free(&small);
    free(text);
}

/* 10 MB of zeros are 10 kB of gzip. */
Test(rows, refuses_a_gzip_bomb) {
    char path[] = "/tmp/lfm2-rows-XXXXXX", command[128];
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    snprintf(command, sizeof command, "head -c 10000000 /dev/zero | gzip >%s", path);
    cr_assert_eq(system(command), 0);
    struct rows r = {0};
    struct error e = {0};
    cr_expect_eq(rows_read(&r, path, &e), ERR_UNSUPPORTED);
    cr_expect(strstr(e.text, "100 times"), "%s", e.text);
    rows_free(&r);
    unlink(path);
}

/* Finds and reads DIR/set/test.jsonl.gz and DIR/set/a.tar.gz:x/b.csv; any damage is an error, never a crash.
 */
Test(rows, finds_packed_files_and_members_of_archives) {
    char dir[] = "/tmp/lfm2-rows-XXXXXX", path[128], command[512];
    cr_assert(mkdtemp(dir));
    snprintf(command, sizeof command,
             "mkdir -p %s/set/x && cd %s/set && echo '{\"a\": 1}' | gzip >test.jsonl.gz && printf 'q,1\\n' "
             ">x/b.csv && "
             "tar czf a.tar.gz x/b.csv",
             dir, dir);
    cr_assert_eq(system(command), 0);
    static const char *const folders[] = {"other", "set", NULL};
    const char *const names[] = {"none.jsonl", "test.jsonl", NULL}, *const members[] = {"a.tar:b.csv", NULL};
    const char *const missing[] = {"no.csv", "b.tar:b.csv", NULL};
    struct error e = {0};
    char *found = rows_find(dir, folders, names, &e);
    cr_assert_not_null(found, "%s", e.text);
    struct rows r = {0};
    cr_assert_eq(rows_read(&r, found, &e), OK, "%s", e.text);
    free(found);
    found = rows_find(dir, folders, members, &e);
    cr_assert_not_null(found, "%s", e.text);
    cr_assert_eq(rows_read(&r, found, &e), OK, "%s", e.text);
    cr_assert_eq(r.n, 2);
    free(found);
    found = rows_find(dir, folders, (const char *[]){"a.tar:c.csv", NULL}, &e);
    cr_assert_eq(rows_read(&r, found, &e), ERR_FORMAT);
    cr_assert_not_null(strstr(e.text, "a.tar.gz: has no member c.csv"), "%s", e.text);
    free(found);
    rows_free(&r);
    cr_assert_null(rows_find(dir, folders, missing, &e));
    cr_assert_not_null(strstr(e.text, "expected other/no.csv or b.tar:b.csv there"), "%s", e.text);
    snprintf(path, sizeof path, "%s/set/test.jsonl.gz", dir);
    cr_assert_eq(truncate(path, 20), 0);
    cr_assert_neq(rows_read(&r, path, &e), OK);
    rows_free(&r);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(rows, devices_and_pipes_are_refused) {
    struct rows r = {0};
    struct error e = {0};
    cr_assert_eq(rows_read(&r, "/dev/null", &e), ERR_IO);
    cr_assert_not_null(strstr(e.text, "/dev/null: not a regular file"), "%s", e.text);
}
