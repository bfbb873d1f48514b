/* SPDX-License-Identifier: Apache-2.0 */
/* The program as a user meets it: wrong use gives one line on stderr and exit code 2, help gives exit code 0.
 * Runs the `lfm2` that was built beside this test program. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/lfm2-program-XXXXXX";

static const char *write_file(const char *name, const void *bytes, size_t n) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "cannot write %s", path);
    return path;
}

static void make_folder(void) {
    cr_assert_not_null(mkdtemp(folder));
    write_file("text.gguf", "hello\n", 6);
    write_file("empty.gguf", "", 0);
    write_file("cut.gguf", "GGUF\3\0\0\0\1\0\0\0", 12);
    /* A version 3 header that claims 2^60 tensors and one metadata pair. */
    write_file("huge.gguf", "GGUF\3\0\0\0\0\0\0\0\0\0\0\x10\1\0\0\0\0\0\0\0", 24);
}

static void remove_folder(void) {
    static const char *const names[] = {"text.gguf", "empty.gguf", "cut.gguf", "huge.gguf", "out.h5"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* The program beside this one. */
static void program_path(char *out, size_t size) {
    ssize_t n = readlink("/proc/self/exe", out, size - 6);
    cr_assert(n > 0);
    out[n] = 0;
    strcpy(strrchr(out, '/') + 1, "lfm2");
}

/* Runs `lfm2 LINE` in the folder; LINE is split at spaces. Returns the exit code, or 128 + the signal. */
static int run(const char *line, char *out, char *err, size_t size) {
    char program[4096], words[512], *argv[32] = {program};
    int argc = 1, pipes[2][2];
    program_path(program, sizeof program);
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w && argc < 31; w = strtok(NULL, " ")) argv[argc++] = w;
    for (int i = 0; i < 2; i++) cr_assert_eq(pipe(pipes[i]), 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        if (chdir(folder) || dup2(null, 0) < 0 || dup2(pipes[0][1], 1) < 0 || dup2(pipes[1][1], 2) < 0)
            _exit(126);
        execv(program, argv);
        _exit(127);
    }
    char *texts[2] = {out, err};
    for (int i = 0; i < 2; i++) close(pipes[i][1]);
    for (int i = 0; i < 2;
         i++) { /* what is printed here fits a pipe, so reading one after the other is safe */
        size_t n = 0;
        ssize_t got;
        while (n + 1 < size && (got = read(pipes[i][0], texts[i] + n, size - 1 - n)) > 0) n += (size_t)got;
        texts[i][n] = 0;
        close(pipes[i][0]);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char *const commands[] = {"info",   "synth",   "logits",     "run",     "chat",     "tokenize",
                                       "parity", "kernels", "limits",     "bench",   "quantize", "convert",
                                       "pack",   "report",  "perplexity", "imatrix", "quality"};

/* What each command line's one line on stderr has to mention. */
static const struct {
    const char *line, *mention;
} mistakes[] = {
    {"", "--help"},
    {"nonsense", "nonsense"},
    {"info", "info"},
    {"info missing.gguf", "missing.gguf"},
    {"info text.gguf", "text.gguf"},
    {"info empty.gguf", "empty.gguf"},
    {"info cut.gguf", "cut.gguf"},
    {"info huge.gguf", "huge.gguf"},
    {"info .", "."},
    {"info --wrong", "--wrong"},
    {"logits -m missing.gguf --ids 1 -o out.h5", "missing.gguf"},
    {"logits -m text.gguf --ids 1 -o out.h5", "text.gguf"},
    {"logits --wrong", "--wrong"},
    {"logits -m", "-m"},
    {"logits -m text.gguf --ids 1 -o text.gguf", "is the file to read"},
    {"logits -m missing.gguf -f text.gguf -o text.gguf", "is the file to read"},
    {"logits -m missing.gguf -p x -o text.gguf --packed text.gguf", "is the file to read"},
    {"perplexity -m text.gguf -f cut.gguf --kl-divergence-base text.gguf", "is the file to read"},
    {"perplexity -m text.gguf -f cut.gguf --kl-divergence-base cut.gguf", "is the file to read"},
    {"imatrix -m text.gguf -f cut.gguf -o text.gguf --force", "is the file to read"},
    {"parity", "parity"},
    {"parity -m missing.gguf", "missing.gguf"},
    {"parity -m cut.gguf", "cut.gguf"},
    {"parity -m text.gguf -p many", "many"},
    {"parity -m text.gguf --wrong", "--wrong"},
    {"bench", "bench"},
    {"bench -m missing.gguf", "missing.gguf"},
    {"bench -m text.gguf", "text.gguf"},
    {"bench --wrong", "--wrong"},
    {"bench -m text.gguf --delay 1e20", "--delay"},
    {"bench -m text.gguf --delay 0x10", "needs a number"},
    {"bench -m text.gguf --delay inf", "needs a number"},
    {"bench -m text.gguf --delay \t1", "needs a number"},
    {"bench -m text.gguf -r \t1", "needs a whole number"},
    {"bench -m text.gguf --peer=", "--peer names no program"},
    {"convert text.gguf -o -", "found '-'"},
    {"quantize text.gguf - q4_0", "found '-'"},
    {"pack -m text.gguf -o -", "found '-'"},
    {"logits -m text.gguf --ids 1 -o -", "found '-'"},
    {"imatrix -m text.gguf -f text.gguf -o -", "found '-'"},
    {"synth --arch tiny-lfm2 -o -", "found '-'"},
    {"synth", "synth"},
    {"synth --arch nonsense -o out.h5", "nonsense"},
    {"synth --wrong", "--wrong"},
    {"kernels --wrong", "--wrong"},
    {"kernels --op nonsense", "nonsense"},
    {"limits --wrong", "--wrong"},
    {"limits -t x", "x"},
    {"report --wrong", "--wrong"},
    {"report --record=", "--record names no file"},
    {"run --wrong", "--wrong"},
    {"run -m missing.gguf -p x", "missing.gguf"},
    {"run -m text.gguf -p x", "text.gguf"},
    {"chat --wrong", "--wrong"},
    {"chat -m cut.gguf", "cut.gguf"},
    {"tokenize --wrong", "--wrong"},
    {"tokenize -m text.gguf -p x", "text.gguf"},
    {"quantize", "quantize"},
    {"quantize text.gguf out.h5 Q4_0", "text.gguf"},
    {"quantize missing.gguf out.h5 Q9_9", "Q9_9"},
    {"convert --wrong", "--wrong"},
    {"convert missing -o out.h5", "missing"},
    {"pack --wrong", "--wrong"},
    {"quantize", "quantize"},
    {"quantize text.gguf", "OUT.gguf"},
    {"quantize text.gguf out.gguf", "TYPE"},
    {"quantize text.gguf out.gguf q3_k", "q3_k"},
    {"quantize text.gguf out.gguf q4_0 many", "many"},
    {"quantize text.gguf cut.gguf q4_0", "--force"},
    {"quantize missing.gguf out.gguf q4_0", "missing.gguf"},
    {"quantize text.gguf out.gguf q4_0", "text.gguf"},
    {"quantize --wrong", "--wrong"},
    {"convert", "-o"},
    {"convert -o out.gguf", "model"},
    {"convert text.gguf -o out.gguf", "text.gguf"},
    {"convert missing -o out.gguf", "missing"},
    {"convert . -o out.gguf", "config.json"},
    {"convert --merge a:1 -o out.gguf", "--base"},
    {"convert text.gguf --base cut.gguf -o out.gguf", "--merge"},
    {"convert text.gguf --merge a:1 --base cut.gguf -o out.gguf", "--merge"},
    {"convert text.gguf --type q9 -o out.gguf", "q9"},
    {"convert --wrong", "--wrong"},
    {"run", "-m"},
    {"run --wrong", "--wrong"},
    {"run -m missing.gguf -p a", "missing.gguf"},
    {"run -m text.gguf -p a", "text.gguf"},
    {"run -m text.gguf -p a -f b", "-f"},
    {"run -m text.gguf -p a -n -7", "-7"},
    {"chat", "-m"},
    {"chat --wrong", "--wrong"},
    {"chat -m cut.gguf", "cut.gguf"},
    {"logits -m text.gguf --lora missing --ids 1 -o out.h5", "text.gguf"},
    {"tokenize", "--tokenizer"},
    {"tokenize --wrong", "--wrong"},
    {"tokenize -m a --tokenizer b -p x", "--tokenizer"},
    {"tokenize -m missing.gguf -p x", "missing.gguf"},
    {"tokenize -m text.gguf -p x", "text.gguf"},
    {"tokenize --tokenizer . -p x", "tokenizer.json"},
    {"tokenize -m text.gguf -p x -f y", "-f"},
    {"tokenize -m text.gguf --detokenize", "--ids"},
    {"tokenize -m text.gguf --ids 1", "--detokenize"},
    {"quality", "-m"},
    {"quality --wrong", "--wrong"},
    {"quality -m text.gguf -f x", "text.gguf"},
    {"quality -m text.gguf -f x -o xml", "xml"},
    {"parity -m text.gguf --ids 1,2 -f x", "--ids"},
    {"imatrix", "-m"},
    {"imatrix --wrong", "--wrong"},
    {"imatrix -m a -f b -o cut.gguf", "--force"},
    {"imatrix -m text.gguf -f b -o out.gguf", "text.gguf"},
    {"quantize text.gguf out.gguf q4_0 --imatrix missing", "missing"},
    {"quantize text.gguf out.gguf q4_0 --imatrix text.gguf", "text.gguf"},
    {"quantize text.gguf out.gguf q4_0 --router-type q3", "--router-type"},
    {"quantize text.gguf out.gguf q4_0 --tensor-type ffn", "REGEX=TYPE"},
    {"perplexity", "-m"},
    {"perplexity --wrong", "--wrong"},
    {"per\033[2Jplexity", "unknown command 'per?[2Jplexity'"},
    {"score /dev/zero --task gsm8k", "not a regular file"},
    {"perplexity -m text.gguf", "-f"},
    {"perplexity -m text.gguf -f text.gguf", "text.gguf"},
    {"perplexity -m missing.gguf -f text.gguf", "missing.gguf"},
    {"perplexity -m text.gguf --kl-divergence", "--kl-divergence-base"},
    {"perplexity -m text.gguf -f x --engine fast", "fast"},
    {"perplexity -m text.gguf -f x -o xml", "xml"},
    {"perplexity -m text.gguf -f x -c 3", "-c"},
    {"perplexity -m text.gguf -f x --ppl-stride 512", "--ppl-stride"},
    {"perplexity -m text.gguf -f x --whole --kl-divergence-base b", "--whole"},
};

Test(program, mistakes_give_one_line_and_exit_2, .init = make_folder, .fini = remove_folder) {
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        char out[65536], err[65536];
        int code = run(mistakes[i].line, out, err, sizeof out);
        const char *end = strchr(err, '\n');
        cr_expect_eq(code, 2, "lfm2 %s: exit %d\n%s", mistakes[i].line, code, err);
        cr_expect(strncmp(err, "lfm2: ", 6) == 0 && end && end[1] == 0,
                  "lfm2 %s: not one line \"lfm2: ...\":\n%s", mistakes[i].line, err);
        cr_expect(strstr(err, mistakes[i].mention), "lfm2 %s: does not mention '%s':\n%s", mistakes[i].line,
                  mistakes[i].mention, err);
        cr_expect_str_empty(out, "lfm2 %s: printed to stdout", mistakes[i].line);
    }
}

Test(program, a_files_name_does_not_drive_the_terminal, .init = make_folder, .fini = remove_folder) {
    char path[128], out[65536], err[65536];
    cr_assert_eq(run("synth --arch tiny-qwen3 -o out.h5", out, err, sizeof out), 0, "%s", err);
    snprintf(path, sizeof path, "%s/a\033[2Jb", folder);
    cr_assert_eq(symlink("out.h5", path), 0);
    cr_expect_eq(run("info a\033[2Jb", out, err, sizeof out), 0, "%s", err);
    cr_expect(strstr(out, "| a?[2Jb, ") && !strchr(out, '\033'), "%s", out);
    unlink(path);
}

Test(program, published_figures_come_from_a_file, .init = make_folder, .fini = remove_folder) {
    char here[256], line[512], out[65536], err[65536];
    cr_assert_not_null(getcwd(here, sizeof here));
    snprintf(line, sizeof line, "report --record %s/bench/records/tiny.h5 --published /dev/null --check",
             here);
    cr_expect_eq(run(line, out, err, sizeof out), 2, "%s", err);
    cr_expect(strstr(err, "/dev/null: not a regular file"), "%s", err);
}

Test(program, an_unknown_instruction_set_is_an_error, .init = make_folder, .fini = remove_folder) {
    char out[65536], err[65536];
    setenv("LFM2_ISA", "avx9000", 1);
    cr_expect_eq(run("limits", out, err, sizeof out), 2, "%s", err);
    cr_expect(strstr(err, "avx9000"), "%s", err);
}

/* Flags as Linux names them: the program asks the CPU itself. */
static int has_flag(const char *flag) {
    static char text[1 << 16];
    char padded[64];
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return 0;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    snprintf(padded, sizeof padded, " %s ", flag);
    for (char *p = text; *p; p++)
        if (*p == '\n') *p = ' ';
    return strstr(text, padded) != NULL;
}

Test(program, an_instruction_set_that_this_cpu_lacks_is_an_error, .init = make_folder,
     .fini = remove_folder) {
    static const struct {
        const char *name, *flag;
    } sets[] = {{"avx2", "avx2"},
                {"avxvnni", "avx_vnni"},
                {"avx512", "avx512bw"},
                {"avx512vnni", "avx512_vnni"},
                {"amx", "amx_int8"}};
    char out[65536], err[65536], line[512], root[256];
    cr_assert(getcwd(root, sizeof root));
    snprintf(line, sizeof line, "logits -m %s/data/tiny --ids 1 -o out.h5", root);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        setenv("LFM2_ISA", sets[i].name, 1);
        int code = run(line, out, err, sizeof out);
        cr_expect_eq(code, has_flag(sets[i].flag) ? 0 : 2, "%s: exit %d: %s", sets[i].name, code, err);
        if (code == 0) continue;
        cr_expect(strstr(err, sets[i].name) && strstr(err, "expected one of: scalar"), "%s", err);
        const char *end = strchr(err, '\n'), *offered = strstr(err, "scalar");
        cr_expect(end && end[1] == 0, "%s", err);
        cr_expect(!offered || !strstr(offered, sets[i].name) || strcmp(sets[i].name, "avx512") == 0, "%s",
                  err);
    }
}

Test(program, the_reference_engine_refuses_what_only_the_other_has, .init = make_folder,
     .fini = remove_folder) {
    static const char *const lines[] = {
        "logits -m %s --engine reference --ids 1 -o out.h5 --packed p.h5",
        "logits -m %s --engine reference --ids 1 -o out.h5 -ctk q8_0",
        "logits -m %s --engine reference --ids 1 -o out.h5 -ctv f16",
        "run -m %s --engine reference -p a -n 1 --packed p.h5",
        "run -m %s --engine reference -p a -n 1 -ctk q8_0",
        "perplexity -m %s --engine reference -f %s/heldout.txt --packed p.h5",
        "perplexity -m %s --engine reference -f %s/heldout.txt -ctv q8_0",
        "bench -m %s --engine reference --packed p.h5 -p 8 -n 0 -r 1",
        "bench -m %s --engine reference -ctk q8_0 -p 8 -n 0 -r 1",
        "eval -m %s --engine reference --packed p.h5 --tasks mini_gsm8k --limit 1 --data %s",
    };
    char out[65536], err[65536], line[1024], model[300], root[256];
    cr_assert(getcwd(root, sizeof root));
    snprintf(model, sizeof model, "%s/data/tiny", root);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(line, sizeof line, lines[i], model, model);
        int code = run(line, out, err, sizeof out);
        const char *said = strstr(err, "lfm2: "), *end = said ? strchr(said, '\n') : NULL;
        cr_expect(code == 2 && end && end[1] == 0, "lfm2 %s: exit %d\n%s", line, code, err);
        cr_expect(said && strstr(said, "reference engine"), "lfm2 %s: %s", line, err);
    }
}

/* `lfm2 tokenize --tokenizer tests/fixtures/lfm2 LINE` prints this. */
static void expect_tokens(const char *line, int code, const char *printed) {
    char out[65536], err[65536], whole[512], root[256];
    cr_assert(getcwd(root, sizeof root));
    snprintf(whole, sizeof whole, "tokenize --tokenizer %s/tests/fixtures/lfm2 %s", root, line);
    cr_expect_eq(run(whole, out, err, sizeof out), code, "%s: %s", line, err);
    cr_expect_str_eq(out, printed, "%s: %s", line, err);
}

Test(program, tokenize_prints_ids_and_text, .init = make_folder, .fini = remove_folder) {
    expect_tokens("", 0, "1\n"); /* standard input is empty: BOS */
    expect_tokens("--no-bos", 0, "\n");
    expect_tokens("-p <|im_end|> --special", 0, "1 5\n");
    expect_tokens("-p python --no-bos", 0, "715\n");
    expect_tokens("--detokenize --ids 1,715,5", 0, "python");
    expect_tokens("--detokenize --ids 1,715,5 --special", 0, "<|startoftext|>python<|im_end|>");
    expect_tokens("--detokenize --ids 99999", 2, "");
    expect_tokens("--detokenize --ids 1,x", 2, "");
    expect_tokens("-f missing.txt", 2, "");
}

Test(program, help_is_on_stdout_and_exit_0, .init = make_folder, .fini = remove_folder) {
    char out[65536], err[65536], line[64];
    cr_expect_eq(run("--help", out, err, sizeof out), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cr_expect(strstr(out, commands[i]), "lfm2 --help does not list %s", commands[i]);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(line, sizeof line, "%s --help", commands[i]);
        cr_expect_eq(run(line, out, err, sizeof out), 0, "lfm2 %s", line);
        cr_expect(strstr(out, commands[i]) && strstr(out, "--help"), "lfm2 %s:\n%s", line, out);
        cr_expect_str_empty(err, "lfm2 %s: %s", line, err);
    }
}
