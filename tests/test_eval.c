/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluations as a user runs them, on the trained tiny model: same files whatever the batch, however often
 * the run is killed, however many shards share it; and the mistakes that must be refused. LFM2_KILLS=50 kills
 * more often than the few times of an ordinary test run. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "tests/folder.h"
#include "tests/run_command.h"

TestSuite(eval, .init = folder_begin, .fini = folder_end);

#define GSM8K                                                                                                \
    "-m", "data/tiny", "--tasks", "gsm8k", "--limit", "12", "--data", "data/tiny/mini_gsm8k", "-t", "1",     \
        "--gen_kwargs", "max_gen_toks=24", "--log_samples", "--output_path"

/* One run in a process of its own; the exit code, or -1 when it was killed after ms. */
static int evaluate(const char *const *words, int ms) {
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) _exit(run_command(cmd_eval, "eval", words, "/dev/null", in("out"), in("err")));
    int status;
    if (ms >= 0) {
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
        kill(pid, SIGKILL);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(eval, killed_at_any_time_it_goes_on_and_ends_with_the_same_files) {
    const char *whole[] = {GSM8K, in("whole"), NULL}, *torn[] = {GSM8K, in("torn"), NULL};
    const char *asked = getenv("LFM2_KILLS");
    int kills = asked ? atoi(asked) : 4, landed = 0, whole_runs = 1, limit_ms = 3000;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    cr_assert_eq(evaluate(whole, -1), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    int whole_ms = (int)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
    if (whole_ms < limit_ms) limit_ms = whole_ms + 1;
    srand(12345);
    while (landed < kills) {
        int code = evaluate(torn, rand() % limit_ms);
        cr_assert(code == -1 || code == 0);
        landed += code == -1;
        /* A run that came through leaves nothing to kill: begin anew. */
        if (code == 0) {
            whole_runs++;
            cr_expect(same_results("whole", "torn"));
            cr_assert_eq(remove(in("torn/journal.jsonl")), 0);
        }
    }
    cr_assert_eq(evaluate(torn, -1), 0);
    cr_expect(same_results("whole", "torn"));
    cr_expect_eq(lines_of(in("torn/journal.jsonl")), 13, "each item once, and the header");
    fprintf(stderr, "eval: %d times killed while it ran, %d times through: the same files each time\n",
            landed, whole_runs);
}

/* By the last run, as it says itself. */
static long tokens_computed(void) {
    struct buffer err = {0};
    cr_assert(read_text(in("err"), &err));
    const char *found = strstr(err.data, " items/s; ");
    long n = found ? atol(found + 10) : -1;
    buffer_free(&err);
    cr_assert_gt(n, 0);
    return n;
}

Test(eval, torn_last_line_is_repaired_and_other_damage_refused) {
    const char *words[] = {GSM8K, in("a"), NULL}, *again[] = {GSM8K, in("b"), NULL};
    cr_assert_eq(evaluate(words, -1), 0);
    cr_assert_eq(evaluate(again, -1), 0);
    long whole = tokens_computed();
    struct buffer text = {0};
    cr_assert(read_text(in("b/journal.jsonl"), &text));
    /* Cut inside the last line, at every tenth byte of it. */
    char *last = memrchr(text.data, '\n', text.n - 1);
    for (size_t n = (size_t)(last - text.data) + 2; n < text.n; n += (text.n - n) / 3 + 1) {
        cr_assert_eq(truncate(in("b/journal.jsonl"), (off_t)n), 0);
        cr_assert_eq(evaluate(again, -1), 0);
        cr_expect(same_results("a", "b"));
        struct buffer repaired = {0};
        cr_assert(read_text(in("b/journal.jsonl"), &repaired));
        cr_expect(repaired.n == text.n && memcmp(repaired.data, text.data, text.n) == 0);
        buffer_free(&repaired);
        cr_expect_lt(4 * tokens_computed(), whole, "more than the one item was asked again");
    }
    /* A changed letter in the middle. */
    text.data[text.n / 2] ^= 1;
    FILE *f = fopen(in("b/journal.jsonl"), "w");
    fwrite(text.data, 1, text.n, f);
    fclose(f);
    cr_expect_eq(evaluate(again, -1), 2);
    cr_assert(read_text(in("err"), &text));
    cr_expect(strstr(text.data, "is damaged, and not the last"), "%s", text.data);
    /* A device, which would be read without end. */
    cr_assert_eq(remove(in("b/journal.jsonl")), 0);
    cr_assert_eq(symlink("/dev/zero", in("b/journal.jsonl")), 0);
    cr_expect_eq(evaluate(again, -1), 2);
    cr_assert(read_text(in("err"), &text));
    cr_expect(strstr(text.data, "not a regular file"), "%s", text.data);
    buffer_free(&text);
}

Test(eval, results_do_not_depend_on_batch_or_shards) {
    const char *eight[] = {GSM8K, in("a"), NULL}, *merged[] = {GSM8K, in("b"), NULL},
               *one[] = {GSM8K, in("c"), "--batch_size", "1", NULL};
    cr_assert_eq(evaluate(eight, -1), 0);
    for (int i = 1; i <= 3; i++) {
        char shard[16];
        snprintf(shard, sizeof shard, "%d/3", i);
        const char *part[] = {GSM8K, in("b"), "--shard", shard, NULL};
        cr_assert_eq(evaluate(part, -1), 0);
    }
    cr_assert_eq(evaluate(merged, -1), 0);
    cr_expect(same_results("a", "b"));
    cr_assert_eq(evaluate(one, -1), 0);
    cr_expect(same_file(in("a/tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl"),
                        in("c/tiny/samples_gsm8k_2023-11-14T22-13-20.jsonl")));
}

Test(eval, shared_beginnings_change_nothing) {
#define COT                                                                                                  \
    "-m", "data/tiny", "--tasks", "gsm8k_cot", "--limit", "6", "--num_fewshot", "2", "--data",               \
        "data/tiny/mini_gsm8k", "--gen_kwargs", "max_gen_toks=16", "-t", "1", "--log_samples",               \
        "--output_path"
    const char *shared[] = {COT, in("a"), NULL}, *each[] = {COT, in("b"), "--no-prefix-cache", NULL};
    int code = evaluate(shared, -1);
    struct buffer err = {0};
    cr_assert(read_text(in("err"), &err));
    cr_assert_eq(code, 0, "%s", err.data);
    cr_assert_eq(evaluate(each, -1), 0);
    buffer_free(&err);
    DIR *d = opendir(in("a/tiny"));
    int n = 0;
    cr_assert(d);
    for (struct dirent *f; (f = readdir(d));) {
        char x[512], y[512];
        if (strncmp(f->d_name, "samples_", 8) != 0) continue;
        snprintf(x, sizeof x, "%s/%s", in("a/tiny"), f->d_name);
        snprintf(y, sizeof y, "%s/%s", in("b/tiny"), f->d_name);
        cr_expect(same_file(x, y), "%s", f->d_name);
        n++;
    }
    closedir(d);
    cr_expect_gt(n, 0);
}

/* ---- mistakes ---- */

static const struct {
    const char *words[12];
    const char *says;
} mistakes[] = {
    {{"--tasks", "gsm8k", "--data", "data/tiny"}, "-m FILE is missing"},
    {{"-m", "data/tiny", "--data", "data/tiny"}, "--tasks is missing"},
    {{"-m", "data/tiny", "--tasks", "gsm8k"}, "--data DIR is missing"},
    {{"-m", "data/tiny", "--tasks", "gsm9k", "--data", "data/tiny"}, "unknown task 'gsm9k'"},
    {{"-m", "data/tiny", "--tasks", ",", "--data", "data/tiny"}, "names no task"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--protocol", "x"},
     "unknown protocol 'x'"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--shard", "1/2"}, "needs --output_path"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny/mini_gsm8k", "-c", "999999"},
     "no context of 999999"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--gen_kwargs", "x"}, "NAME=VALUE"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--gen_kwargs", "temprature=1"},
     "no setting 'temprature'"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--gen_kwargs", "temperature=hot"},
     "temperature is not a number"},
#define GEN_KWARGS(text) "-m", "data/tiny", "--tasks", "gsm8k", "--data", "data/tiny", "--gen_kwargs", text
    {{GEN_KWARGS("max_gen_toks=1.5")}, "max_gen_toks is not a whole number"},
    {{GEN_KWARGS("do_sample=maybe")}, "do_sample is not true or false"},
    {{GEN_KWARGS("do_sample=1")}, "do_sample is not true or false"},
    {{GEN_KWARGS("top_k=1.5,temperature=1")}, "top_k is not a whole number"},
    {{GEN_KWARGS("top_k=-5")}, "top_k is not a number from 0"}, /* greedy: it would change nothing */
    {{GEN_KWARGS("top_p=nan")}, "top_p is not a number"},
    {{GEN_KWARGS("min_p=2")}, "min_p is not a number from 0 to 1"},
    {{"--compare", "x"}, "--compare takes two"},
    {{"--compare", "/nonexistent", "/nonexistent"}, "no such file or folder"},
    {{"-m", "data/tiny", "--tasks", "gsm8k", "--data", "/nonexistent"}, "/nonexistent"},
};

Test(eval, mistakes_get_one_line) {
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        int code = run_command(cmd_eval, "eval", mistakes[i].words, "/dev/null", in("out"), in("err"));
        struct buffer text = {0};
        cr_assert(read_text(in("err"), &text));
        cr_expect_eq(code, 2, "%zu", i);
        cr_expect(text.n > 0 && strncmp(text.data, "lfm2: ", 6) == 0 && strstr(text.data, mistakes[i].says),
                  "%zu: %s", i, text.data);
        cr_expect_eq(memchr(text.data, '\n', text.n), text.data + text.n - 1, "%zu: %s", i, text.data);
        buffer_free(&text);
    }
}

Test(eval, another_run_is_not_mixed_in) {
    static const char *const others[][2] = {{"--num_fewshot", "2"},
                                            {"--seed", "7"},
                                            {"--engine", "reference"},
                                            {"--limit", "11"},
                                            {"-c", "1000"}};
    const char *words[] = {GSM8K, in("a"), NULL};
    cr_assert_eq(evaluate(words, -1), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *other[] = {"-m",
                               "data/tiny",
                               "--tasks",
                               "gsm8k",
                               others[i][0],
                               others[i][1],
                               "--data",
                               "data/tiny/mini_gsm8k",
                               "-t",
                               "1",
                               "--gen_kwargs",
                               "max_gen_toks=24",
                               "--output_path",
                               in("a"),
                               strcmp(others[i][0], "--limit") ? "--limit" : NULL,
                               "12",
                               NULL};
        cr_expect_eq(evaluate(other, -1), 2);
        struct buffer text = {0};
        cr_assert(read_text(in("err"), &text));
        cr_expect(text.n > 0 && strstr(text.data, "belongs to a run with another"), "%s", text.data);
        buffer_free(&text);
    }
}

/* Other kernels round otherwise: what was computed with them is not gone on with. */
Test(eval, other_instructions_are_not_mixed_in) {
    const char *words[] = {GSM8K, in("a"), NULL};
    struct buffer text = {0};
    setenv("LFM2_ISA", "scalar", 1);
    cr_assert_eq(evaluate(words, -1), 0);
    unsetenv("LFM2_ISA");
    cr_expect_eq(evaluate(words, -1), 2);
    cr_assert(read_text(in("err"), &text));
    cr_expect(strstr(text.data, "another isa"), "%s", text.data);
    buffer_free(&text);
}
