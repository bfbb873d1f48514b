/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer: the command lines that other programs' llama-bench gets, and what is read of their answers. */
#include <criterion/criterion.h>

#include <string.h>

#include "bench/peer.h"
#include "tests/directory.h"
#include "tests/fake_peer.h"

TestSuite(peer, .init = make_directory, .fini = remove_directory);

Test(peer, command_lines) {
    struct peer p;
    struct error e = {0};
    int64_t ns;
    const char *script = fake_peer_make(FAKE_LLAMA_HELP, FAKE_ANSWER);
    cr_assert_eq(peer_open(&p, script, &e), OK, "%s", e.text);
    cr_assert_eq(peer_run(&p, "m.gguf", &(struct bench_test){64, 0, 0, 1}, 2, 512, &ns, &e), OK, "%s",
                 e.text);
    cr_assert_eq(ns, 1000000);
    cr_assert_str_eq(p.name, "llama.cpp b12 abc (llama-bench)");
    cr_assert_eq(peer_run(&p, "m.gguf", &(struct bench_test){0, 8, 100, 1}, 2, 512, &ns, &e), OK);
    cr_assert_eq(peer_run(&p, "m.gguf", &(struct bench_test){64, 8, 0, 1}, 2, 512, &ns, &e), OK);
    cr_assert_str_eq(fake_peer_args(), "-m m.gguf -t 2 -b 512 -r 1 -o json -p 64 -n 0\n"
                                       "-m m.gguf -t 2 -b 512 -r 1 -o json -p 0 -n 8 -d 100\n"
                                       "-m m.gguf -t 2 -b 512 -r 1 -o json -p 0 -n 0 -pg 64,8\n");
}

Test(peer, skips_its_warm_up_when_told_and_able) {
    static const char *const help[] = {FAKE_LLAMA_HELP, FAKE_LLAMA_HELP " --no-warmup"};
    for (int able = 0; able < 2; able++)
        for (int told = 0; told < 2; told++) {
            struct peer p;
            struct error e = {0};
            int64_t ns;
            cr_assert_eq(peer_open(&p, fake_peer_make(help[able], FAKE_ANSWER), &e), OK, "%s", e.text);
            p.no_warmup = told;
            cr_assert_eq(peer_run(&p, "m", &(struct bench_test){64, 0, 0, 1}, 2, 512, &ns, &e), OK);
            const char *all = fake_peer_args(), *last = strstr(all, "-n 0");
            for (const char *next = last; next && (next = strstr(next + 1, "-n 0"));) last = next;
            cr_assert_str_eq(last, able && told ? "-n 0 --no-warmup\n" : "-n 0\n", "%s", all);
        }
}

/* Another build of this program answers `PATH bench --help`. */
Test(peer, may_be_another_lfm2) {
    struct peer p;
    struct error e = {0};
    int64_t ns;
    const char *script = fake_peer_make(
        "usage: lfm2 COMMAND",
        "if [ \"$2\" = --help ]; then echo 'usage: lfm2 bench --n-prompt --repetitions --n-depth'; exit "
        "0; fi\n" FAKE_ANSWER);
    cr_assert_eq(peer_open(&p, script, &e), OK, "%s", e.text);
    cr_assert(p.is_lfm2 && p.has_depth);
    cr_assert_eq(peer_run(&p, "m.gguf", &(struct bench_test){64, 0, 9, 1}, 2, 512, &ns, &e), OK, "%s",
                 e.text);
    cr_assert_eq(ns, 1000000);
    cr_assert_str_eq(p.name, "lfm2 abc (other build)");
    cr_assert(
        strstr(fake_peer_args(), "\nbench --no-limits -m m.gguf -t 2 -b 512 -r 1 -o json -p 64 -n 0 -d 9\n"),
        "%s", fake_peer_args());
}

Test(peer, without_depth_a_prefix_is_gp) {
    struct peer p;
    struct error e = {0};
    int64_t ns;
    const char *script = fake_peer_make("--n-prompt --repetitions -gp <pp,tg>", FAKE_ANSWER);
    cr_assert_eq(peer_open(&p, script, &e), OK, "%s", e.text);
    cr_assert_eq(peer_run(&p, "m", &(struct bench_test){0, 8, 100, 1}, 2, 512, &ns, &e), OK);
    cr_assert(strstr(fake_peer_args(), "-p 0 -n 0 -gp 100,8\n"), "%s", fake_peer_args());
    cr_assert(strstr(p.name, "ik_llama.cpp b12 abc"), "%s", p.name);
    cr_assert_eq(peer_run(&p, "m", &(struct bench_test){64, 0, 100, 1}, 2, 512, &ns, &e), ERR_UNSUPPORTED);
}

Test(peer, faults_are_sentences) {
    static const char *const bodies[] = {"echo one >&2; echo because >&2; exit 3", "echo nonsense",
                                         "echo '[]'", "echo '[{\"samples_ns\":[1,2]}]'",
                                         "echo '[{\"samples_ns\":[-5]}]'"};
    static const char *const says[] = {"exit code 3 on m: because", "not JSON", "found 0 tests",
                                       "2 samples_ns", "expected one"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct peer p;
        struct error e = {0};
        int64_t ns;
        const char *script = fake_peer_make(FAKE_LLAMA_HELP, bodies[i]);
        cr_assert_eq(peer_open(&p, script, &e), OK, "%s", e.text);
        cr_assert_neq(peer_run(&p, "m", &(struct bench_test){64, 0, 0, 1}, 2, 512, &ns, &e), OK);
        cr_assert(strstr(e.text, says[i]), "%s", e.text);
    }
    struct peer p;
    struct error e = {0};
    cr_assert_neq(peer_open(&p, "/nonexistent/llama-bench", &e), OK);
    cr_assert_eq(peer_open(&p, "/bin/echo", &e), ERR_UNSUPPORTED, "%s", e.text);
}
