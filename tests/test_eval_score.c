/* SPDX-License-Identifier: Apache-2.0 */
/* lfm2 score on samples that lm-evaluation-harness itself wrote (oracle/make_lmeval_samples.py): every answer
 * is filtered and valued as it did, and every document, target and prompt, those of chats through the model's
 * template too, has the hash that it logged. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cmd.h"
#include "tests/folder.h"
#include "tests/run_command.h"

TestSuite(eval_score, .init = folder_begin, .fini = folder_end, .timeout = 120);

#define LMEVAL "tests/fixtures/lmeval/"
enum { MAX_WORDS = 16 };

static const struct {
    const char *task, *shots, *way;
    int rows;
} runs[] = {
    {"gsm8k_cot_llama", "2", "chat", 16},
    {"gsm8k_cot", "2", "single", 12},
    {"gsm_plus_mini", "1", "plain", 60},
    {"mgsm_native_cot_te", "1", "chat", 16},
    {"mmlu_abstract_algebra", "2", "chat", 8},
    {"mmlu_abstract_algebra_generative", "1", "single", 8},
    {"mmlu_high_school_us_history", "2", "plain", 8},
    {"mmmlu_ja_jp_virology", "0", "chat", 6},
    {"mmlu_pro_math", "1", "chat", 6},
    {"gpqa_diamond_cot_n_shot", "1", "chat", 16},
    {"hendrycks_math500", "0", "plain", 40},
};

/* The exit code; what was printed is in text. */
static int score(size_t i, const char *path, int with_model, const char *more, struct buffer *text) {
    const char *words[MAX_WORDS] = {path, "--data", LMEVAL "own", "--num_fewshot", runs[i].shots};
    int n = 5;
    if (strcmp(runs[i].way, "plain") != 0) words[n++] = "--apply_chat_template";
    if (strcmp(runs[i].way, "single") == 0) {
        words[n++] = "--no_fewshot_as_multiturn";
        words[n++] = "--system_instruction";
        words[n++] = "Answer with care.";
    }
    if (with_model) {
        words[n++] = "-m";
        words[n++] = "data/tiny";
    }
    if (more) words[n++] = more;
    int code = run_command(cmd_score, "score", words, "/dev/null", in("out"), in("err"));
    cr_assert(read_text(in(code == 2 ? "err" : "out"), text));
    return code;
}

static const char *samples(size_t i) {
    static char path[256];
    snprintf(path, sizeof path, LMEVAL "samples/samples_%s_2026-01-31T00-00-00.000000.jsonl", runs[i].task);
    return path;
}

Test(eval_score, lm_evals_own_samples_are_scored_alike_with_equal_hashes) {
    struct buffer text = {0};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        char says[256];
        snprintf(says, sizeof says,
                 "%d rows; different: 0 filtered_resps, 0 metrics, 0 prompts, 0 documents, 0 targets\n",
                 runs[i].rows);
        cr_expect_eq(score(i, samples(i), 1, NULL, &text), 0, "%s", text.data);
        cr_expect(strstr(text.data, says), "%s", text.data);
    }
    buffer_free(&text);
}

Test(eval_score, another_chat_is_another_prompt) {
    struct buffer text = {0};
    cr_expect_eq(score(0, samples(0), 1, "--no_fewshot_as_multiturn", &text), 1);
    cr_expect(strstr(text.data, ", 16 prompts, 0 documents, 0 targets\n"), "%s", text.data);
    cr_expect_eq(score(0, samples(0), 1, "--chat-template=qwen3", &text), 1, "%s", text.data);
    cr_expect(strstr(text.data, ", 16 prompts, 0 documents, 0 targets\n"), "%s", text.data);
    buffer_free(&text);
}

/* Without a model a chat's prompt cannot be put together: that is said, and is no difference. */
Test(eval_score, chats_without_a_template_are_counted_as_not_checked) {
    struct buffer text = {0};
    cr_expect_eq(score(0, samples(0), 0, NULL, &text), 0, "%s", text.data);
    cr_expect(strstr(text.data, "16 chat prompts not checked"), "%s", text.data);
    buffer_free(&text);
}

Test(eval_score, one_altered_letter_of_a_chats_prompt_hash_is_found) {
    struct buffer whole = {0}, text = {0};
    cr_assert(read_text(samples(0), &whole));
    char *hash = strstr(whole.data, "\"prompt_hash\": \"");
    cr_assert(hash);
    hash[16] = hash[16] == '0' ? '1' : '0';
    const char *path = in("samples_gsm8k_cot_llama_x.jsonl");
    cr_assert(write_file(path, whole.data, whole.n));
    cr_expect_eq(score(0, path, 1, NULL, &text), 1);
    cr_expect(strstr(text.data, "0 metrics, 1 prompts, 0 documents"), "%s", text.data);
    buffer_free(&whole);
    buffer_free(&text);
}

/* From a pipe as well, as of `zcat`; a device may have one line without end. */
Test(eval_score, samples_come_from_files_and_pipes) {
    struct buffer whole = {0}, text = {0};
    const char *pipe = in("samples_gsm_plus_mini_x.jsonl"), *device = in("samples_gsm_plus_mini_y.jsonl");
    cr_assert(read_text(samples(2), &whole));
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    pid_t writer = fork();
    if (writer == 0) _exit(!write_file(pipe, whole.data, whole.n));
    cr_expect_eq(score(2, pipe, 0, NULL, &text), 0, "%s", text.data);
    cr_expect(strstr(text.data, "60 rows"), "%s", text.data);
    waitpid(writer, NULL, 0);
    cr_assert_eq(symlink("/dev/zero", device), 0);
    cr_expect_eq(score(2, device, 0, NULL, &text), 2);
    cr_expect(strstr(text.data, "not a regular file"), "%s", text.data);
    buffer_free(&whole);
    buffer_free(&text);
}
