/* SPDX-License-Identifier: Apache-2.0 */
/* What README promises of repeated runs: the same bytes in files and on standard output, run after run and
 * for any number of threads, also many more than there are CPUs. Engines fed in pieces and beside others are
 * in engine_cases.c and engine_parts.c. Suites are named for tests/run.sh, which runs `logits*` once per
 * instruction set. */
#include <criterion/criterion.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/synth.h"
#include "tests/command.h"
#include "tests/folder.h"
#include "tests/tiny.h"

static const int threads[] = {1, 1, 2, 4, 64};
enum { RUNS = sizeof threads / sizeof *threads };

/* Run in a folder of its own beside m.gguf (Q4_0), f.gguf (F32), m.h5 (m.gguf packed) and text.txt; TINY
 * stands for the trained model, # for the number of threads. */
struct repeated {
    const char *line;
    const char *files[3]; /* what must be the same; "-": standard output; NULL: no more */
};

#define IDS "--ids 1,5,9,200,7,7,31,500,2,17,255,3 --all -o out.h5"

static const struct repeated of_logits[] = {
    {"logits -m ../m.gguf -t # " IDS, {"out.h5"}},
    {"logits -m ../m.gguf -ctk q8_0 -t # " IDS, {"out.h5"}},
    {"logits -m ../m.gguf --packed ../m.h5 -t # " IDS, {"out.h5"}},
    {"logits -m ../f.gguf -t # " IDS, {"out.h5"}},
    {"logits -m ../f.gguf --engine reference -t # " IDS, {"out.h5"}},
    {"logits -m ../m.gguf --engine reference -t # " IDS, {"out.h5"}},
    {NULL, {NULL}},
};

static const struct repeated of_files[] = {
    {"pack -m ../m.gguf -o out.h5 -t #", {"out.h5"}},
    {"quantize ../f.gguf out.gguf Q4_K_M #", {"out.gguf"}},
    {"convert TINY -o out.gguf --type q4_0 -t #", {"out.gguf"}},
    {"synth --arch tiny-lfm2 --type q8_0 -o out.gguf -t #", {"out.gguf"}},
    {"imatrix -m TINY -f ../text.txt -c 32 -o out.gguf -t #", {"out.gguf"}},
    {NULL, {NULL}},
};

static const struct repeated of_answers[] = {
    {"perplexity -m TINY -f ../text.txt -c 32 --kl-divergence-base out.base -t #", {"out.base"}},
    {"run -m TINY -p Tom -n 12 --temp 0 -t #", {"-"}},
    {"run -m TINY -p Tom -n 12 --seed 5 --lookup -t #", {"-"}},
    {"eval -m TINY --tasks gsm8k --data TINY/mini_gsm8k --limit 2 --num_fewshot 1 --log_samples "
     "--gen_kwargs max_gen_toks=4 --output_path out -t #",
     {"out/journal.jsonl", "out/tiny/results_2023-11-14T22-13-20.json",
      "out/tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl"}},
    {"eval -m TINY --engine reference --tasks gsm8k --data TINY/mini_gsm8k --limit 1 --num_fewshot 0 "
     "--log_samples --gen_kwargs max_gen_toks=2 --output_path out -t #",
     {"out/journal.jsonl", "out/tiny/results_2023-11-14T22-13-20.json",
      "out/tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl"}},
    {NULL, {NULL}},
};

/* These only have to end well: what they print is what they measured. */
static const struct repeated of_measures[] = {
    {"bench -m ../m.gguf -p 8 -n 2 -np 1,3 -r 1 --no-limits -t #", {NULL}},
    {"parity -m ../m.gguf -p 4 -n 1 -t #", {NULL}},
    {NULL, {NULL}},
};

/* ---- running ---- */

static char trained[PATH_MAX];
static struct command run;

static void begin(void) {
    struct error e = {0};
    struct tiny_spec s = tiny_default("lfm2moe");
    s.d = 32; /* caches of int8 want blocks */
    folder_begin();
    cr_assert(realpath("data/tiny", trained));
    cr_assert_eq(tiny_write(in("f.gguf"), &s, &e), OK, "%s", e.text);
    s.type = TYPE_Q4_0, s.embedding = TYPE_Q8_0;
    cr_assert_eq(tiny_write(in("m.gguf"), &s, &e), OK, "%s", e.text);
    static const char text[] =
        "Tom has 3 apples and Ann has 4 pears. How many pieces of fruit do they have? ";
    struct buffer all = {0};
    for (int i = 0; i < 8; i++) buffer_add(&all, text, sizeof text - 1);
    cr_assert(write_file(in("text.txt"), all.data, all.n));
    buffer_free(&all);
    run = (struct command){.folder = folder, .line = "pack -m m.gguf -o m.h5 -t 1"};
    cr_assert(command_run(&run) == 0 && run.code == 0, "%s", run.err);
}

static void put_words(char *line, size_t size, const char *pattern, const char *count) {
    size_t n = 0;
    for (const char *p = pattern; *p && n + 1 < size; p++) {
        const char *word = *p == '#' ? count : strncmp(p, "TINY", 4) == 0 ? trained : NULL;
        if (word)
            n += (size_t)snprintf(line + n, size - n, "%s", word), p += *p == '#' ? 0 : 3;
        else
            line[n++] = *p;
    }
    cr_assert_lt(n, size);
    line[n] = 0;
}

/* Run number i of command number c; its folder's name goes to out. */
static void run_once(const struct repeated *r, int c, int i, char *out, size_t size) {
    char line[4 * PATH_MAX], count[16], name[32];
    snprintf(name, sizeof name, "%d-%d", c, i);
    snprintf(out, size, "%s", in(name));
    cr_assert_eq(mkdir(out, 0700), 0);
    snprintf(count, sizeof count, "%d", threads[i]);
    put_words(line, sizeof line, r->line, count);
    run = (struct command){.folder = out, .line = line, .seconds = 300};
    cr_assert_eq(command_run(&run), 0);
    cr_assert_not(run.timed_out, "lfm2 %s: does not end", line);
    cr_assert_eq(run.code, 0, "lfm2 %s: exit %d\n%s", line, run.code, run.err);
}

static void expect_same(const struct repeated *list) {
    static char first_output[sizeof run.out];
    for (int c = 0; list[c].line; c++) {
        char first[200], other[200], a[400], b[400];
        for (int i = 0; i < RUNS; i++) {
            run_once(&list[c], c, i, i ? other : first, sizeof first);
            if (i == 0) memcpy(first_output, run.out, sizeof run.out);
            for (int f = 0; i && f < 3 && list[c].files[f]; f++) {
                const char *file = list[c].files[f];
                snprintf(a, sizeof a, "%s/%s", first, file);
                snprintf(b, sizeof b, "%s/%s", other, file);
                int same = strcmp(file, "-") ? same_file(a, b) : strcmp(first_output, run.out) == 0;
                cr_expect(same, "lfm2 %s: %s differs with %d threads", list[c].line, file, threads[i]);
            }
        }
    }
}

TestSuite(logits_repeat, .init = begin, .fini = folder_end, .timeout = 1800);
TestSuite(repeat, .init = begin, .fini = folder_end, .timeout = 1800);

Test(logits_repeat, any_threads_the_same_bits) {
    expect_same(of_logits);
}
Test(repeat, any_threads_the_same_files) {
    expect_same(of_files);
}
Test(repeat, any_threads_the_same_answers) {
    expect_same(of_answers);
}
Test(repeat, more_threads_than_cpus_end) {
    expect_same(of_measures);
}

/* ---- threads that nobody can have ---- */

Test(repeat, absurd_threads_are_refused) {
    static const char *const lines[] = {
        "logits -m m.gguf --ids 1 -o out.h5 -t #",
        "logits -m m.gguf --engine reference --ids 1 -o out.h5 -t #",
        "run -m m.gguf -p a -n 1 -t #",
        "chat -m m.gguf -p a -n 1 -t #",
        "bench -m m.gguf -p 8 -n 1 -r 1 --no-limits -t #",
        "parity -m m.gguf -p 4 -n 1 -t #",
        "perplexity -m TINY -f text.txt -c 32 -t #",
        "imatrix -m TINY -f text.txt -c 32 -o out.gguf -t #",
        "quality -m TINY -f text.txt -c 32 -t #",
        "eval -m TINY --tasks gsm8k --data TINY/mini_gsm8k --limit 1 -t #",
        "pack -m m.gguf -o out.h5 -t #",
        "quantize f.gguf out.gguf q8_0 #",
        "quantize f.gguf out.gguf q8_0 -t #",
        "convert f.gguf -o out.gguf --type q8_0 -t #",
        "synth --arch tiny-lfm2 -o out.gguf -t #",
        "limits --quick -t #",
        "kernels --bench --op rmsnorm -t #",
    };
    static const char *const counts[] = {"0", "-1", "1000000", "99999999999999999999", "two"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            char line[4 * PATH_MAX];
            put_words(line, sizeof line, lines[i], counts[k]);
            run = (struct command){.folder = folder, .line = line};
            cr_assert_eq(command_run(&run), 0);
            cr_expect_eq(run.code, 2, "lfm2 %s: exit %d\n%s", line, run.code, run.err);
            cr_expect(command_one_line(&run) && strstr(run.err, counts[k]), "lfm2 %s:\n%s", line, run.err);
        }
}
