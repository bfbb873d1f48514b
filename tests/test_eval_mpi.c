/* SPDX-License-Identifier: Apache-2.0 */
/* The same evaluation under mpirun: 2 and 4 processes give the single one's files byte for byte, also when
 * one of them is killed on the way and the same command is given again. Skipped where MPI is not there. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "eval/share.h"
#include "tests/command.h"
#include "tests/folder.h"

TestSuite(eval_mpi, .init = folder_begin, .fini = folder_end, .timeout = 300);

/* Five units of 32, so that four ranks all get some. */
enum { ITEMS = 160 };

static void need_mpi(void) {
    int there = share_has_mpi() && system("mpirun --version >/dev/null 2>&1") == 0;
    if (there) return;
    fprintf(stderr, "skipped: eval_mpi: %s\n",
            share_has_mpi() ? "there is no mpirun" : "built without MPI (libopenmpi-dev, openmpi-bin)");
    cr_skip_test("no MPI");
}

/* Starts an evaluation with that many ranks, 0 for no mpirun; its output goes to the file "said". */
static pid_t start(int ranks, const char *output_path) {
    static char lfm2[4096], n[8];
    command_beside(lfm2, sizeof lfm2, "lfm2");
    snprintf(n, sizeof n, "%d", ranks);
    char *words[] = {"mpirun",
                     "--allow-run-as-root",
                     "--oversubscribe",
                     "--bind-to",
                     "none",
                     "-n",
                     n,
                     lfm2,
                     "eval",
                     "-m",
                     "data/tiny",
                     "--tasks",
                     "gsm8k",
                     "--num_fewshot",
                     "0",
                     "--limit",
                     "160",
                     "--data",
                     "data/tiny/mini_gsm8k",
                     "-t",
                     "1",
                     "--gen_kwargs",
                     "max_gen_toks=8",
                     "--log_samples",
                     "--output_path",
                     (char *)(size_t)output_path,
                     NULL};
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid > 0) return pid;
    int fd = open(in("said"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    /* Between processes of one machine, without what containers forbid. */
    setenv("OMPI_MCA_btl", "self,vader", 1);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* MPI keeps some to the end */
    if (ranks) execvp(words[0], words);
    execv(lfm2, words + 7);
    _exit(127);
}

static int end_of(pid_t pid) {
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_success(pid_t pid) {
    struct buffer said = {0};
    int code = end_of(pid);
    cr_assert(read_text(in("said"), &said));
    cr_assert_eq(code, 0, "exit %d: %s", code, said.data);
    buffer_free(&said);
}

/* The process of this rank that mpirun started; 0: not there. */
static pid_t rank_of(pid_t mpirun, int rank) {
    char wanted[48], path[64], bytes[1 << 16];
    pid_t found = 0;
    DIR *d = opendir("/proc");
    cr_assert(d);
    int n = snprintf(wanted, sizeof wanted, "OMPI_COMM_WORLD_RANK=%d", rank) + 1;
    for (struct dirent *f; !found && (f = readdir(d));) {
        pid_t pid = atoi(f->d_name), parent = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *stat = pid > 0 ? fopen(path, "r") : NULL;
        if (!stat) continue;
        if (fscanf(stat, "%*d (%*[^)]) %*c %d", &parent) != 1) parent = 0;
        fclose(stat);
        if (parent != mpirun) continue;
        snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, bytes, sizeof bytes);
        if (fd >= 0) close(fd);
        if (got > 0 && memmem(bytes, (size_t)got, wanted, (size_t)n)) found = pid;
    }
    closedir(d);
    return found;
}

Test(eval_mpi, two_and_four_ranks_give_the_single_runs_files) {
    need_mpi();
    expect_success(start(0, in("one")));
    expect_success(start(2, in("two")));
    cr_expect(same_results("one", "two"));
    expect_success(start(4, in("four")));
    cr_expect(same_results("one", "four"));
    cr_expect_eq(lines_of(in("four/journal.jsonl")), ITEMS + 1, "each item once, and the header");
}

/* mpirun may end before the last of its processes is gone, which until then holds the journal's lock. */
static void wait_until_free(const char *journal) {
    int fd = open(journal, O_RDWR);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    close(fd);
}

/* Rank 0 keeps the journal, rank 2 only computes. */
static void kill_one(int rank, const char *name) {
    char journal[256];
    snprintf(journal, sizeof journal, "%s/journal.jsonl", in(name));
    pid_t mpirun = start(4, in(name)), victim = 0;
    int before = 0;
    for (int i = 0; i < 60000 && (before = lines_of(journal)) < 10; i++) {
        if (waitpid(mpirun, NULL, WNOHANG)) cr_assert_fail("the run ended before anything was kept");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    victim = rank_of(mpirun, rank);
    cr_assert_gt(victim, 0);
    cr_assert_eq(kill(victim, SIGKILL), 0);
    cr_expect_neq(end_of(mpirun), 0, "rank %d was killed too late", rank);
    wait_until_free(journal);
    int kept = lines_of(journal);
    cr_expect(kept >= before && kept <= ITEMS, "%d lines, %d before the kill", kept, before);
    expect_success(start(4, in(name)));
    cr_expect_eq(lines_of(journal), ITEMS + 1, "each item once, and the header");
    cr_expect(same_results("one", name));
    fprintf(stderr,
            "eval_mpi: rank %d of 4 killed with %d of %d items kept: same files after the same command\n",
            rank, kept - 1, ITEMS);
}

Test(eval_mpi, a_killed_rank_costs_what_it_was_computing_and_nothing_else) {
    need_mpi();
    expect_success(start(0, in("one")));
    kill_one(2, "worker");
    kill_one(0, "keeper");
}

/* What one rank finds wrong ends all of them: the journal is the first one's alone. */
Test(eval_mpi, a_folder_of_another_run_is_refused_at_once) {
    need_mpi();
    struct buffer said = {0};
    char journal[256];
    snprintf(journal, sizeof journal, "%s/journal.jsonl", in("one"));
    expect_success(start(0, in("one")));
    cr_assert_eq(truncate(journal, 0), 0);
    int fd = open(journal, O_WRONLY);
    static const char other[] = "d8a6a1b0 not a journal of this program\n\n";
    cr_assert_eq(write(fd, other, sizeof other - 1), (ssize_t)sizeof other - 1);
    close(fd);
    cr_expect_eq(end_of(start(2, in("one"))), 2);
    cr_assert(read_text(in("said"), &said));
    cr_expect(strstr(said.data, "is damaged"), "%s", said.data);
    buffer_free(&said);
}
