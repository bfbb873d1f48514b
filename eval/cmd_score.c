/* SPDX-License-Identifier: Apache-2.0 */
/* lfm2 score: somebody's samples, scored again row by row. */
#include <stdio.h>
#include <string.h>

#include "bench/cmd.h"
#include "eval/rescore.h"

static const char usage[] =
    "usage: lfm2 score SAMPLES.jsonl [SAMPLES.jsonl ...] [options]\n\n"
    "Scores the answers in samples_TASK_DATE.jsonl files, written by lm-evaluation-harness or by lfm2 eval,\n"
    "again: what the filters make of them and all metrics must be what the file says, row by row. With "
    "--data\n"
    "the documents and prompts are built from the original files too, and their hashes compared; then the\n"
    "options that shape prompts must be those of the run. A chat's prompt is put together by the model's\n"
    "template: -m names the model, whose weights are not read; nothing else needs one. Exit code 1 when a "
    "row\n"
    "differs.";

static enum status add(const char *path, const struct rescore_options *o, int *differ, struct error *e) {
    struct rescore r;
    TRY(rescore_file(path, o, &r, stdout, e));
    printf("%s: %d rows; different: %d filtered_resps, %d metrics", path, r.rows, r.filtered, r.metrics);
    if (o->data) printf(", %d prompts, %d documents, %d targets", r.prompts, r.docs, r.targets);
    if (r.unchecked) printf("; %d chat prompts not checked (-m MODEL has their template)", r.unchecked);
    if (r.failed_rows) printf("; %d rows have no answer", r.failed_rows);
    printf("\n");
    if (r.filtered || r.metrics || r.prompts || r.docs || r.targets || r.rows == 0) *differ = 1;
    return OK;
}

int cmd_score(int argc, char **argv) {
    struct rescore_options o = {.options = {.num_fewshot = -1, .fewshot_seed = 1234}, .shown = 20};
    const char *paths[1024];
    int n = 0, differ = 0, single_turn = 0;
    const struct option_spec specs[] = {
        {"--task", OPTION_TEXT, &o.task, "NAME", "the files' task, when their names do not say it"},
        {"--data", OPTION_TEXT, &o.data, "DIR", "folder with the benchmarks' original files"},
        {"--num_fewshot", OPTION_INT, &o.options.num_fewshot, "K", "with --data: of the run"},
        {"--fewshot_seed", OPTION_INT, &o.options.fewshot_seed, "N",
         "with --data: of the run (default: 1234)"},
        {"--system_instruction", OPTION_TEXT, &o.options.system_instruction, "TEXT",
         "with --data: of the run"},
        {"--apply_chat_template", OPTION_FLAG, &o.options.apply_chat_template, NULL,
         "with --data: of the run"},
        {"--no_fewshot_as_multiturn", OPTION_FLAG, &single_turn, NULL, "with --data: of the run"},
        {"-m,--model", OPTION_TEXT, &o.model, "FILE", "with --data: of the run, for its chat template"},
        {"--chat-template", OPTION_TEXT, &o.chat_template, "NAME", "when the file has none"},
        {"--show", OPTION_INT, &o.shown, "N", "differences printed per file (default: 20)"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, usage, specs, paths, 1024, &n, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    if (n == 0) {
        fail(&e, ERR_ARG, "score: no samples file; see lfm2 score --help");
        return cmd_fail(&e);
    }
    o.options.fewshot_as_multiturn = o.options.apply_chat_template && !single_turn;
    for (int i = 0; i < n; i++)
        if (add(paths[i], &o, &differ, &e) != OK) return cmd_fail(&e);
    return differ;
}
