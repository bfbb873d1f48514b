/* SPDX-License-Identifier: Apache-2.0 */
/* The corpus of bad files, through the real command: each is answered with exit code 2 and one line on stderr
 * that says what is wrong, within a bounded time and, except under AddressSanitizer, with little memory;
 * nothing is left of the output that was asked for. Odd files that are right must work. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/command.h"
#include "tests/corpus.h"
#include "tests/tiny.h"

enum {
    SECONDS = 60,              /* wall clock; a run takes some 20 ms */
    CPU_SECONDS = 20,          /* the same of processor time; sanitizers are slow */
    MEMORY = 1536 * (1 << 20), /* address space: what the libraries and their threads reserve, and a little */
};

static char directory[200];

/* What the command may have written under the name it was given, or beside it. */
static int output_left(const char *folder) {
    DIR *d = opendir(folder);
    int left = 0;
    for (struct dirent *f; d && (f = readdir(d));)
        if (strstr(f->d_name, "out.") || strstr(f->d_name, ".tmp")) left = 1;
    if (d) closedir(d);
    return left;
}

static void expect_answer(const struct corpus_case *c, const char *folder, const char *template) {
    char line[1024] = "";
    const char *mark = strchr(template, '%');
    snprintf(line, sizeof line, "%.*s%s%s", mark ? (int)(mark - template) : (int)strlen(template), template,
             mark ? "model.gguf" : "", mark ? mark + 1 : "");
    static struct command run;
    run = (struct command){.folder = folder, .line = line, .seconds = SECONDS, .memory = MEMORY};
    cr_assert_eq(command_run(&run), 0);
    const char *id = c->id;
    int n = c->number;
    cr_expect_eq(run.code, c->code, "case %d %s: lfm2 %s: exit %d, expected %d\n%s", n, id, line, run.code,
                 c->code, run.err);
    cr_expect(run.cpu_seconds < CPU_SECONDS, "case %d %s: lfm2 %s: took %.1f s", n, id, line,
              run.cpu_seconds);
    if (c->code == 0) return;
    cr_expect(command_one_line(&run), "case %d %s: lfm2 %s: not one line:\n%s", n, id, line, run.err);
    cr_expect(strstr(run.err, c->mention), "case %d %s: lfm2 %s: does not mention '%s':\n%s", n, id, line,
              c->mention, run.err);
    for (const char *p = run.err; *p && p[1]; p++)
        cr_expect((unsigned char)*p >= ' ', "case %d %s: control character in: %s", n, id, run.err);
    cr_expect(!output_left(folder), "case %d %s: lfm2 %s: left some output", n, id, line);
}

static void run_cases(const struct corpus_case *list) {
    struct gguf *base;
    struct error e = {0};
    char path[400], folder[300];
    cr_assert_eq(tiny_directory(directory, sizeof directory), 0);
    snprintf(path, sizeof path, "%s/base.gguf", directory);
    cr_assert_eq(corpus_base(path, &e), OK, "%s", e.text);
    cr_assert_eq(gguf_open(&base, path, &e), OK, "%s", e.text);
    int ran = 0;
    const char *kept = getenv("CORPUS");
    for (const struct corpus_case *c = list; c->number; c++, ran++) {
        /* CORPUS: a folder in which the files are kept, for other programs to try. */
        snprintf(folder, sizeof folder, "%s/%03d-%s", kept ? kept : directory, c->number, c->id);
        cr_assert_eq(mkdir(folder, 0777), 0, "%s", folder);
        cr_assert_eq(corpus_make(c, base, folder), 0, "case %d %s cannot be made", c->number, c->id);
        if (!c->command) expect_answer(c, folder, "info %");
        expect_answer(c, folder, c->command ? c->command : "logits -m % --ids 1,2 -o out.h5");
        if (kept) continue;
        snprintf(path, sizeof path, "%s/model.gguf", folder);
        rmdir(path); /* where a case made a directory of that name */
        tiny_directory_remove(folder);
    }
    cr_assert_gt(ran, 0);
    const char *figures = getenv("TRUST_FIGURES");
    FILE *f = figures ? fopen(figures, "a") : NULL;
    if (f) fprintf(f, "corpus cases,%d\n", ran), fclose(f);
    gguf_close(base);
    tiny_directory_remove(directory);
}

Test(corpus, gguf, .timeout = 900) {
    run_cases(corpus_gguf);
}
Test(corpus, vocabularies_and_texts, .timeout = 900) {
    run_cases(corpus_text);
}
Test(corpus, safetensors, .timeout = 900) {
    run_cases(corpus_folders);
}
Test(corpus, hdf5_options_and_things, .timeout = 900) {
    run_cases(corpus_others);
}
