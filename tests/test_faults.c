/* SPDX-License-Identifier: Apache-2.0 */
/* Faults while the program runs, put in by tests/shim_faults.c at chosen calls: a full disk, a kill, a
 * signal, no memory, a file cut short after it was mapped. Whatever happens, the file that stood under the
 * output's name is whole, old or new; and what can be said is said in one line with exit code 2. FAULTS_ALL=1
 * tries every call instead of a sample. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/signals.h"
#include "data/golden.h"
#include "data/mapped.h"
#include "data/model.h"
#include "data/records.h"
#include "data/tokenizer.h"
#include "reference/engine.h"
#include "tests/command.h"
#include "tests/corpus.h"
#include "tests/tiny.h"

static char directory[200], model[300], shim[4096];
static struct command run;

static void setup(void) {
    struct error e = {0};
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(model, sizeof model, "%s/model.gguf", directory);
    cr_assert_eq(corpus_base(model, &e), OK, "%s", e.text);
    command_beside(shim, sizeof shim, "shim_faults.so");
    cr_assert_eq(access(shim, R_OK), 0, "%s is missing: `make test` builds it", shim);
}
static void teardown(void) {
    tiny_directory_remove(directory);
}
TestSuite(faults, .init = setup, .fini = teardown, .timeout = 1800);

/* 1, and a line, when the sanitizers' own allocator and order of libraries leave no room for the shim. */
static int no_shim(void) {
    if (command_has_asan())
        fprintf(stderr, "skipped: fault injection does not go together with AddressSanitizer\n");
    return command_has_asan();
}

/* What writes a file: out, by rename. */
static const struct {
    const char *name, *line, *out;
    int same_bytes; /* 1: gives the same bytes each time */
} writers[] = {
    {"quantize", "quantize --force model.gguf out.gguf q8_0 1 --allow-requantize", "out.gguf", 1},
    {"convert", "convert --force model.gguf -o out.gguf --type f16 -t 1", "out.gguf", 1},
    {"pack", "pack -m model.gguf -o out.h5 -t 1", "out.h5", 1},
    {"logits", "logits -m model.gguf --ids 1,2 --all -o out.h5 -t 1", "out.h5", 1},
    {"record", "parity -m model.gguf -p 4 -n 1 -t 1 --record out.h5", "out.h5", 0},
};
enum { WRITERS = sizeof writers / sizeof *writers };

struct bytes {
    char *at;
    size_t n;
};

static struct bytes read_all(const char *name) {
    char path[600];
    struct stat st;
    struct bytes b = {NULL, 0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    if (!f) return b;
    cr_assert(fstat(fileno(f), &st) == 0);
    b.n = (size_t)st.st_size;
    b.at = malloc(b.n + 1);
    cr_assert(b.at && fread(b.at, 1, b.n, f) == b.n && fclose(f) == 0);
    return b;
}
static int same(struct bytes a, struct bytes b) {
    return a.at && b.at && a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
}
static void write_all(const char *name, struct bytes b) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(b.at, 1, b.n, f) == b.n && fclose(f) == 0);
}

/* Files of the folder beside the model and the output. */
static int left_over(const char *out, int remove_them) {
    DIR *d = opendir(directory);
    int n = 0;
    for (struct dirent *f; (f = readdir(d));)
        if (f->d_name[0] != '.' && strcmp(f->d_name, "model.gguf") && strcmp(f->d_name, out) &&
            strcmp(f->d_name, "calls")) {
            n++;
            if (remove_them) unlinkat(dirfd(d), f->d_name, 0);
        }
    closedir(d);
    return n;
}

/* Runs the line with a fault at this call; calls counted go to *calls, -1 when it was killed. */
static int with_fault(const char *line, const char *kind, long at, long *calls) {
    char text[32], log[600];
    snprintf(text, sizeof text, "%ld", at);
    snprintf(log, sizeof log, "%s/calls", directory);
    unlink(log);
    setenv("FAULT_KIND", kind, 1), setenv("FAULT_AT", text, 1), setenv("FAULT_LOG", log, 1);
    run = (struct command){.folder = directory, .line = line, .preload = shim, .seconds = 120};
    cr_assert_eq(command_run(&run), 0);
    cr_assert_not(run.timed_out, "lfm2 %s: %s at %ld: hangs", line, kind, at);
    FILE *f = fopen(log, "r");
    *calls = -1;
    if (f && fscanf(f, "%ld", calls) != 1) *calls = -1;
    if (f) fclose(f);
    return run.code;
}

/* The call to try after this one: the first, the last, and some between. */
static long after(long n, long total) {
    if (getenv("FAULTS_ALL") || n < 5 || n >= total - 6) return n + 1;
    long step = total / 5;
    return step < 1 ? n + 1 : n + step < total - 6 ? n + step : total - 6;
}

static void count_tried(const char *what, long n) {
    const char *figures = getenv("TRUST_FIGURES");
    FILE *f = figures ? fopen(figures, "a") : NULL;
    if (f) fprintf(f, "%s,%ld\n", what, n), fclose(f);
}

static long prepare(int w, struct bytes *old, struct bytes *good) {
    long total;
    char path[600];
    struct error e = {0};
    cr_assert_eq(with_fault(writers[w].line, "none", 0, &total), 0, "%s: %s", writers[w].name, run.err);
    cr_assert_gt(total, 2, "%s: only %ld calls were seen", writers[w].name, total);
    *good = read_all(writers[w].out);
    *old = *good;
    if (writers[w].same_bytes) {
        static char text[] = "the old file";
        *old = (struct bytes){text, sizeof text};
    } else {
        struct records f;
        snprintf(path, sizeof path, "%s/%s", directory, writers[w].out);
        cr_assert_eq(records_open(&f, path, &e), OK, "%s", e.text);
        records_close(&f);
    }
    return total;
}

static void refuses_full_disk(int w) {
    if (no_shim()) return;
    struct bytes old, good;
    long total = prepare(w, &old, &good), calls, tried = 0;
    for (long at = 1; at <= total; at = after(at, total), tried++) {
        write_all(writers[w].out, old);
        int code = with_fault(writers[w].line, "enospc", at, &calls);
        struct bytes now = read_all(writers[w].out);
        if (code == 0) { /* only what comes after the rename may fail without a word */
            cr_expect(at >= total - 1 && !same(now, old), "%s: call %ld of %ld fails: exit 0",
                      writers[w].name, at, total);
        } else {
            cr_expect_eq(code, 2, "%s: call %ld fails: exit %d\n%s", writers[w].name, at, code, run.err);
            cr_expect(command_one_line(&run), "%s: call %ld fails:\n%s", writers[w].name, at, run.err);
            cr_expect(same(now, old), "%s: call %ld fails: the old file changed", writers[w].name, at);
        }
        cr_expect_eq(left_over(writers[w].out, 1), 0, "%s: call %ld fails: files are left", writers[w].name,
                     at);
        free(now.at);
    }
    cr_assert_gt(tried, 0);
    count_tried("failing calls", tried);
}

/* Files of the folder that have not got their final name. */
static int unfinished_in(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *f; d && (f = readdir(d));) n += strstr(f->d_name, ".unfinished") != NULL;
    if (d) closedir(d);
    return n;
}

/* All answers are kept already, so that the calls are those of the samples and the results. */
Test(faults, evaluation_that_cannot_write_its_results) {
    static const char line[] =
        "eval -m model.gguf --tasks gsm8k --num_fewshot 0 --gen_kwargs max_gen_toks=4 -t 1 "
        "--data . --output_path out --log_samples";
    static const char *const kinds[] = {"enospc", "term"};
    static const int codes[] = {2, 128 + 15};
    static char rows[] = "{\"question\": \"1+1\", \"answer\": \"#### 2\"}\n";
    char folder[400];
    long total, calls, tried = 0;
    if (no_shim()) return;
    write_all("test.jsonl", (struct bytes){rows, sizeof rows - 1});
    snprintf(folder, sizeof folder, "%s/out/model.gguf", directory);
    cr_assert_eq(with_fault(line, "none", 0, &total), 0, "%s", run.err);
    cr_assert_eq(with_fault(line, "none", 0, &total), 0, "%s", run.err);
    for (int k = 0; k < 2; k++)
        for (long at = 1; at <= total; at++) {
            int code = with_fault(line, kinds[k], at, &calls);
            tried += code == codes[k];
            cr_expect(code == 0 || code == codes[k], "%s at %ld: exit %d\n%s", kinds[k], at, code, run.err);
            cr_expect_eq(unfinished_in(folder), 0, "%s at %ld: files are left", kinds[k], at);
        }
    cr_expect_geq(tried, 8, "writing, syncing and renaming each of two files");
}

/* A sweep keeps whole models and probabilities for a while; they are nobody's output. */
Test(faults, a_sweep_that_is_told_to_end) {
    static const char line[] =
        "quality -m model.gguf -f text.txt -c 32 --chunks 1 -t 1 --recipes F32,Q8_0 --engine optimized";
    static char text[1024];
    char folder[400];
    long total, calls, tried = 0;
    if (no_shim()) return;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    write_all("text.txt", (struct bytes){text, sizeof text});
    snprintf(folder, sizeof folder, "%s/temporary", directory);
    cr_assert_eq(mkdir(folder, 0777), 0);
    setenv("TMPDIR", folder, 1);
    cr_assert_eq(with_fault(line, "none", 0, &total), 0, "%s", run.err);
    for (long at = 1; at <= total; at = after(at, total), tried++) {
        cr_expect_eq(with_fault(line, "term", at, &calls), 128 + 15, "at %ld", at);
        cr_expect_eq(rmdir(folder), 0, "told to end at %ld: files are left", at);
        mkdir(folder, 0777);
    }
    cr_assert_gt(tried, 5);
}

/* gnuplot is where a report waits; this one tells it to end. */
Test(faults, a_report_that_is_told_to_end) {
    static char gnuplot[] = "#!/bin/sh\nkill -TERM $PPID\nsleep 1\n";
    char line[512], path[8192];
    write_all("gnuplot", (struct bytes){gnuplot, sizeof gnuplot - 1});
    snprintf(path, sizeof path, "%s/gnuplot", directory);
    cr_assert_eq(chmod(path, 0755), 0);
    snprintf(path, sizeof path, "%s/temporary", directory);
    cr_assert_eq(mkdir(path, 0777), 0);
    setenv("TMPDIR", path, 1);
    snprintf(path, sizeof path, "%s:%s", directory, getenv("PATH"));
    setenv("PATH", path, 1);
    snprintf(line, sizeof line, "report --record bench/records/tiny.h5 --out %s/page", directory);
    run = (struct command){.line = line};
    cr_assert_eq(command_run(&run), 0);
    cr_expect_eq(run.code, 128 + 15, "exit %d: %s", run.code, run.err);
    cr_expect_eq(rmdir(getenv("TMPDIR")), 0, "files are left");
}

static int is_whole(int w, struct bytes now, struct bytes good) {
    char path[600];
    struct records f;
    struct error e = {0};
    if (writers[w].same_bytes) return same(now, good);
    snprintf(path, sizeof path, "%s/%s", directory, writers[w].out);
    if (records_open(&f, path, &e) != OK) return 0;
    int runs = f.n;
    records_close(&f);
    return runs == 2;
}

static void survives_kill(int w) {
    if (no_shim()) return;
    struct bytes old, good;
    long total = prepare(w, &old, &good), calls, tried = 0;
    for (long at = 1; at <= total; at = after(at, total), tried++) {
        write_all(writers[w].out, old);
        int code = with_fault(writers[w].line, "kill", at, &calls);
        struct bytes now = read_all(writers[w].out);
        cr_expect_eq(code, 128 + 9, "%s: killed at %ld: exit %d", writers[w].name, at, code);
        cr_expect(same(now, old) || is_whole(w, now, good),
                  "%s: killed at %ld: the file is neither old nor new", writers[w].name, at);
        free(now.at);
        left_over(writers[w].out, 1);
        if (at % 3) continue;
        write_all(writers[w].out, old);
        code = with_fault(writers[w].line, at % 2 ? "term" : "int", at, &calls);
        now = read_all(writers[w].out);
        cr_expect_eq(code, 128 + (at % 2 ? 15 : 2), "%s: told to end at %ld: exit %d", writers[w].name, at,
                     code);
        cr_expect(same(now, old) || is_whole(w, now, good), "%s: told to end at %ld", writers[w].name, at);
        cr_expect_eq(left_over(writers[w].out, 1), 0, "%s: told to end at %ld: files are left",
                     writers[w].name, at);
        free(now.at), tried++;
    }
    cr_assert_gt(tried, 0);
    count_tried("kill points", tried);
}

Test(faults, full_disk_quantize) {
    refuses_full_disk(0);
}
Test(faults, full_disk_convert) {
    refuses_full_disk(1);
}
Test(faults, full_disk_pack) {
    refuses_full_disk(2);
}
Test(faults, full_disk_logits) {
    refuses_full_disk(3);
}
Test(faults, full_disk_record) {
    refuses_full_disk(4);
}
Test(faults, killed_quantize) {
    survives_kill(0);
}
Test(faults, killed_convert) {
    survives_kill(1);
}
Test(faults, killed_pack) {
    survives_kill(2);
}
Test(faults, killed_logits) {
    survives_kill(3);
}
Test(faults, killed_record) {
    survives_kill(4);
}

/* 99: a write may take less than it was given, or be interrupted, and the file is the same in the end. */
Test(faults, short_and_interrupted_writes) {
    static const char *const kinds[] = {"short", "eintr"};
    long calls;
    for (int w = 0; w < WRITERS && !no_shim(); w++)
        for (int k = 0; k < 2; k++) {
            struct bytes old, good;
            if (!writers[w].same_bytes) continue;
            prepare(w, &old, &good);
            cr_expect_eq(with_fault(writers[w].line, kinds[k], 0, &calls), 0, "%s, %s: %s", writers[w].name,
                         kinds[k], run.err);
            struct bytes now = read_all(writers[w].out);
            cr_expect(same(now, good), "%s, %s writes: other bytes", writers[w].name, kinds[k]);
            free(now.at), free(good.at);
        }
}

/* The limit that a system sets on the size of files, and a full device behind standard output. */
Test(faults, files_of_limited_size) {
    static const char *const lines[] = {
        "quantize --allow-requantize model.gguf out.gguf f16",
        "convert model.gguf -o out.gguf --type f16",
        "synth --arch tiny-qwen3 -o out.gguf",
        "pack -m model.gguf -o out.h5",
        "logits -m model.gguf --ids 1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9 --all -o out.h5",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        run = (struct command){.folder = directory, .line = lines[i], .file = 16384};
        cr_assert_eq(command_run(&run), 0);
        cr_expect_eq(run.code, 2, "%s: exit %d\n%s", lines[i], run.code, run.err);
        cr_expect(command_one_line(&run), "%s:\n%s", lines[i], run.err);
        cr_expect_eq(left_over("", 1), 0, "%s: files are left", lines[i]);
    }
}

Test(faults, standard_output_is_full) {
    static const char *const lines[] = {"info model.gguf", "tokenize -m model.gguf -p a",
                                        "run -m model.gguf -p a -n 3 --temp 0", "--help"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        run = (struct command){.folder = directory, .line = lines[i], .output = "/dev/full"};
        cr_assert_eq(command_run(&run), 0);
        cr_expect_eq(run.code, 2, "%s: exit %d", lines[i], run.code);
        cr_expect(strstr(run.err, "standard output"), "%s: %s", lines[i], run.err);
    }
}

/* 97: every allocation the program makes is the one that fails. */
static const char *const allocating[] = {
    "info model.gguf",
    "logits -m model.gguf --ids 1,2 -t 2 -o out.h5",
    "logits -m model.gguf --ids 1,2 -t 2 -o out.h5 --engine reference",
    "tokenize -m model.gguf -p hello",
    "run -m model.gguf -p a -n 2 -t 1",
    "quantize --force model.gguf out.gguf q8_0 2 --allow-requantize",
    "pack -m model.gguf -o out.h5 -t 1",
    "parity -m model.gguf -p 4 -n 1 -t 1 --record out.h5",
};

Test(faults, no_memory) {
    long calls, tried = 0;
    if (no_shim()) return;
#ifdef COVERAGE
    cr_skip("what counts lines takes memory of its own at exit, and crashes without it");
#endif
    for (size_t i = 0; i < sizeof allocating / sizeof *allocating; i++) {
        long total = 0;
        left_over("", 1); /* what the command before it wrote */
        cr_assert_eq(with_fault(allocating[i], "memory", 0, &total), 0, "%s: %s", allocating[i], run.err);
        cr_assert_gt(total, 5, "%s: %ld allocations", allocating[i], total);
        for (long at = 1; at <= total; at = after(at, total), tried++) {
            int code = with_fault(allocating[i], "memory", at, &calls);
            cr_expect(code == 2 || code == 0, "%s: allocation %ld of %ld fails: exit %d\n%s", allocating[i],
                      at, total, code, run.err);
            cr_expect(code == 0 || command_one_line(&run), "%s: allocation %ld fails:\n%s", allocating[i], at,
                      run.err);
        }
    }
    count_tried("failing allocations", tried);
}

/* Address space that ends somewhere: a library may say so in its own words, but nothing crashes. Far less
 * than this and OpenBLAS, whose threads are started before main, waits for memory for ever. */
Test(faults, little_address_space) {
    static const char line[] = "logits -m model.gguf --ids 1,2 -t 2 -o out.h5";
    for (size_t mb = 640; mb >= 320 && !command_has_asan(); mb -= 64) {
        run = (struct command){.folder = directory, .line = line, .memory = mb << 20};
        cr_assert_eq(command_run(&run), 0);
        cr_expect(run.code <= 2, "%zu MB: exit %d\n%s", mb, run.code, run.err);
    }
}

/* 96: cut after it was mapped; at once, or so that only weights are missing. */
Test(faults, a_mapped_file_is_cut) {
    static const char *const lines[] = {
        "info model.gguf",
        "logits -m model.gguf --ids 1,2 -t 2 -o out.h5",
        "logits -m model.gguf --ids 1,2 --engine reference -o out.h5",
        "run -m model.gguf -p a -n 2",
        "quantize --allow-requantize model.gguf out.gguf q8_0",
        "convert model.gguf -o out.gguf --type f16",
        "pack -m model.gguf -o out.h5",
    };
    static const char *const kept[] = {"4096", "65536", "131072"};
    struct bytes good = read_all("model.gguf");
    long calls;
    int cut = 0;
    for (size_t i = 0; i < sizeof lines / sizeof *lines && !no_shim(); i++)
        for (int k = 0; k < 3; k++) {
            write_all("model.gguf", good);
            setenv("FAULT_BYTES", kept[k], 1);
            int code = with_fault(lines[i], "cut", 0, &calls);
            if (code == 0 && i == 0) continue; /* info looks at the header only */
            cut++;
            cr_expect_eq(code, 2, "%s, %s bytes left: exit %d\n%s", lines[i], kept[k], code, run.err);
            cr_expect(command_one_line(&run) && strstr(run.err, "shorter"), "%s, %s bytes left:\n%s",
                      lines[i], kept[k], run.err);
            cr_expect_eq(left_over("", 1), 0, "%s, %s bytes left: files are left", lines[i], kept[k]);
        }
    cr_expect(cut > 0 || command_has_asan());
    free(good.at);
}

/* 96: another file under the same name, as by rename or a moved link: what is open stays what it was. */
Test(faults, a_mapped_file_is_replaced) {
    static const int32_t ids[] = {1, 2, 3, 4, 5};
    static float before[512], after_it[512];
    struct engine_options o = {.threads = 2, .max_tokens = 5, .no_pin = 1};
    const struct engine *engines[] = {&engine_reference, &engine_optimized};
    struct tiny_spec other = tiny_default("qwen3");
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        struct model *m;
        struct session *s;
        char name[400];
        cr_assert_eq(corpus_base(model, &e), OK, "%s", e.text);
        cr_assert_eq(model_open(&m, model, &e), OK, "%s", e.text);
        cr_assert_eq(engines[i]->open(&s, m, &o, &e), OK, "%s", e.text);
        cr_assert_eq(engines[i]->feed(s, ids, 5, before, 1, &e), OK, "%s", e.text);
        snprintf(name, sizeof name, "%s/other", directory);
        cr_assert_eq(tiny_write(name, &other, &e), OK, "%s", e.text);
        cr_assert_eq(rename(name, model), 0);
        engines[i]->close(s);
        cr_assert_eq(engines[i]->open(&s, m, &o, &e), OK, "%s", e.text);
        cr_assert_eq(engines[i]->feed(s, ids, 5, after_it, 1, &e), OK, "%s", e.text);
        cr_expect(memcmp(before, after_it, sizeof before) == 0, "%s: other logits", engines[i]->name);
        engines[i]->close(s);
        model_close(m);
    }
}

/* What was checked in a header does not change when somebody writes to the file afterwards. */
Test(faults, a_mapped_header_is_overwritten) {
    struct gguf *g;
    struct error e = {0};
    struct tokenizer *t;
    static char garbage[8192];
    memset(garbage, 0xff, sizeof garbage);
    cr_assert_eq(gguf_open(&g, model, &e), OK, "%s", e.text);
    int fd = open(model, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0);
    for (uint64_t at = 0; at < g->data_offset; at += sizeof garbage) {
        size_t n = g->data_offset - at < sizeof garbage ? (size_t)(g->data_offset - at) : sizeof garbage;
        cr_assert_eq(pwrite(fd, garbage, n, (off_t)at), (ssize_t)n);
    }
    close(fd);
    cr_assert_eq(((const uint8_t *)g->map)[0], 0xff, "the map shows the change");
    cr_expect_eq(tokenizer_of_gguf(&t, g, 512, &e), OK, "%s", e.text);
    tokenizer_close(t);
    gguf_close(g);
}

/* More files than the handler knows by name, as a folder of many shards has: an error all the same. */
Test(faults, one_of_many_mapped_files_is_cut_short, .exit_code = 2) {
    enum { FILES = 70 };
    static struct mapped m[FILES];
    struct error e = {0};
    signals_install();
    for (int i = 0; i < FILES; i++) cr_assert_eq(mapped_open(&m[i], model, "GGUF", &e), OK, "%s", e.text);
    cr_assert_eq(truncate(model, 1), 0);
    volatile uint8_t gone = m[FILES - 1].data[m[FILES - 1].size - 1];
    cr_assert_fail("there still is a byte %d", gone);
}
