/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes with one model: the same logits as one alone, and the file's pages in memory once, whether it
 * is a model whose weights are used where they lie or one that was packed for the engine. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/model.h"
#include "reference/engine.h"
#include "tests/directory.h"
#include "tests/tiny.h"

enum { N = 9, VOCABULARY = 512, PROCESSES = 2 };

/* Of one process, in KiB: pages of the file that it has, its share of them, and those that it alone has. */
struct pages {
    long rss, pss, alone;
};

TestSuite(shared, .init = make_directory, .fini = remove_directory, .timeout = 300);

static struct pages pages_of(pid_t pid, const char *path) {
    char name[64], line[4352];
    struct pages p = {0, 0, 0};
    long kib;
    int within = 0;
    snprintf(name, sizeof name, "/proc/%d/smaps", (int)pid);
    FILE *f = fopen(name, "r");
    cr_assert(f, "%s", name);
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) within = strstr(line, path) != NULL;
        if (!within) continue;
        if (sscanf(line, "Rss: %ld", &kib) == 1) p.rss += kib;
        if (sscanf(line, "Pss: %ld", &kib) == 1) p.pss += kib;
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1) p.alone += kib;
        if (sscanf(line, "Private_Dirty: %ld", &kib) == 1) p.alone += kib;
    }
    fclose(f);
    return p;
}

struct use {
    const struct engine *engine;
    const char *model, *packed;
};

static enum status compute(const struct use *u, struct model **m, struct session **s, float *logits,
                           struct error *e) {
    static const int32_t ids[N] = {1, 5, 9, 200, 7, 7, 31, 500, 2};
    struct engine_options o = {.threads = 2, .max_tokens = N, .packed = u->packed, .no_pin = 1};
    TRY(model_open(m, u->model, e));
    TRY(u->engine->open(s, *m, &o, e));
    return u->engine->feed(*s, ids, N, logits, N, e);
}

/* A process that computes, tells, and keeps everything open until it is told to end. */
static void live(const struct use *u, int tell, int until) {
    static float logits[N * VOCABULARY];
    struct error e = {0};
    struct model *m;
    struct session *s;
    char end;
    if (compute(u, &m, &s, logits, &e) != OK) {
        fprintf(stderr, "%s\n", e.text);
        _exit(1);
    }
    for (size_t done = 0; done < sizeof logits;) {
        ssize_t n = write(tell, (char *)logits + done, sizeof logits - done);
        if (n <= 0) _exit(2);
        done += (size_t)n;
    }
    _exit(read(until, &end, 1) == 0 ? 0 : 3);
}

static void check(const struct use *u, const char *mapped) {
    static float want[N * VOCABULARY], got[N * VOCABULARY];
    int told[PROCESSES][2], until[2];
    pid_t children[PROCESSES];
    struct pages all = {0, 0, 0};
    cr_assert_eq(pipe(until), 0);
    for (int i = 0; i < PROCESSES; i++) {
        cr_assert_eq(pipe(told[i]), 0);
        children[i] = fork();
        cr_assert(children[i] >= 0);
        if (children[i] == 0) {
            close(until[1]);
            live(u, told[i][1], until[0]);
        }
        close(told[i][1]);
    }
    for (int i = 0; i < PROCESSES; i++) {
        float *to = i ? got : want;
        FILE *f = fdopen(told[i][0], "r");
        cr_assert(f && fread(to, sizeof want, 1, f) == 1, "process %d gave no logits", i);
        fclose(f);
    }
    for (int i = 0; i < PROCESSES; i++) {
        struct pages p = pages_of(children[i], mapped);
        all.rss += p.rss, all.pss += p.pss, all.alone += p.alone;
    }
    close(until[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
        cr_expect_eq(status, 0);
    }
    cr_expect(memcmp(want, got, sizeof want) == 0, "two processes: other logits");
    /* Some room: one may have got pages, read ahead, that the other did not touch. */
    cr_expect(all.rss > 2 * 4096 && all.alone * 8 < all.rss && all.pss * 16 < all.rss * 9,
              "%s: %ld KiB in both, %ld KiB once, %ld KiB in one alone", mapped, all.rss, all.pss, all.alone);
    struct error e = {0};
    struct model *m;
    struct session *s;
    cr_assert_eq(compute(u, &m, &s, got, &e), OK, "%s", e.text);
    cr_expect(memcmp(want, got, sizeof want) == 0, "one process alone: other logits");
    u->engine->close(s);
    model_close(m);
}

/* 11 MB. */
static void write_model(const char *path) {
    struct error e = {0};
    struct tiny_spec s = tiny_default("lfm2");
    s.L = 8, s.D = 512, s.H = 8, s.G = 2, s.d = 64, s.F = 1024, s.V = VOCABULARY;
    s.type = s.embedding = TYPE_Q4_0;
    cr_assert_eq(tiny_write(path, &s, &e), OK, "%s", e.text);
}

Test(shared, a_model_is_in_memory_once) {
    struct use u = {&engine_reference, in_directory("m.gguf"), NULL};
    write_model(u.model);
    check(&u, u.model);
}

Test(shared, a_packed_model_is_in_memory_once) {
    struct error e = {0};
    struct model *m;
    struct use u = {&engine_optimized, in_directory("m.gguf"), in_directory("m.packed")};
    write_model(u.model);
    cr_assert_eq(model_open(&m, u.model, &e), OK, "%s", e.text);
    cr_assert_eq(engine_optimized.pack(m, u.packed, 2, NULL, NULL, &e), OK, "%s", e.text);
    model_close(m);
    check(&u, u.packed);
}
