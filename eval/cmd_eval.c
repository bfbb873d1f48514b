/* SPDX-License-Identifier: Apache-2.0 */
/* lfm2 eval: how well does a model answer? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/cmd.h"
#include "eval/compare.h"
#include "eval/eval_options.h"
#include "eval/record.h"

static const char usage[] =
    "usage: lfm2 eval -m FILE --tasks NAME[,NAME] --data DIR [--output_path DIR] [options]\n"
    "       lfm2 eval --list [--verbose]\n"
    "       lfm2 eval --compare A B [C ...] [--record FILE]\n\n"
    "Scores a model with the tasks, prompts and metrics of lm-evaluation-harness, and writes its files:\n"
    "results_DATE.json and, with --log_samples, samples_TASK_DATE.jsonl, in a folder of the model's name.\n"
    "DIR of --data holds the benchmarks' original files, a folder each; --list --verbose says which.\n\n"
    "  lfm2 eval -m LFM2-8B-A1B-Q4_0.gguf --tasks gsm8k,mmlu --num_fewshot 5 --data sets --output_path "
    "out\n\n"
    "Every finished item is kept in DIR/journal.jsonl at once: after a crash, a kill or a power cut the "
    "same\n"
    "command goes on where it was and ends with the same files. Another model or other options are refused.\n"
    "Several machines: mpirun -n 8 lfm2 eval ... shares the items; so does a job array with --shard I/N, "
    "all\n"
    "with the same --output_path, after which the same command without --shard writes the results.\n"
    "--compare takes output folders, or samples files, of the same questions: the first is compared with "
    "each "
    "other.";

enum { MAX_COMPARED = 256 };

struct arguments {
    struct run_options run;
    const char *tasks, *protocol, *gen_kwargs, *shard, *record;
    struct cache_types cache;
    int list, verbose, compare, chat, multiturn, single_turn, log_samples;
    const char *words[MAX_COMPARED];
    int n_words;
};

static enum status check(struct arguments *a, struct error *e) {
    struct run_options *o = &a->run;
    if (!o->lm.model) return fail(e, ERR_ARG, "eval: -m FILE is missing; see lfm2 eval --help");
    if (!a->tasks) return fail(e, ERR_ARG, "eval: --tasks is missing; lfm2 eval --list shows what there is");
    if (!o->data)
        return fail(e, ERR_ARG,
                    "eval: --data DIR is missing: no benchmark comes with this program; "
                    "lfm2 eval --list --verbose says where they are published");
    if (o->limit < 0 || o->lm.context < 0 || o->lm.batch < 0)
        return fail(e, ERR_ARG, "eval: --limit, -c and --batch_size may not be negative");
    if (o->task.num_fewshot < -1) return fail(e, ERR_ARG, "eval: --num_fewshot may not be negative");
    if (a->multiturn && (a->single_turn || !a->chat))
        return fail(e, ERR_ARG,
                    "eval: --fewshot_as_multiturn needs --apply_chat_template, and no "
                    "--no_fewshot_as_multiturn");
    if (strcmp(a->protocol, "card") == 0)
        o->task.protocol = PROTOCOL_CARD;
    else if (strcmp(a->protocol, "lm-eval") != 0)
        return fail(e, ERR_ARG, "eval: unknown protocol '%s' (expected lm-eval or card)", a->protocol);
    if (a->log_samples && !o->output_path)
        return fail(e, ERR_ARG, "eval: --log_samples needs --output_path DIR");
    if (a->shard && !o->output_path)
        return fail(e, ERR_ARG, "eval: --shard needs --output_path DIR, where the parts meet");
    if (o->task.protocol == PROTOCOL_CARD) a->chat = 1;
    o->lm.chat = o->task.apply_chat_template = a->chat;
    o->task.fewshot_as_multiturn = a->chat && !a->single_turn;
    if (a->shard) TRY(eval_shard(a->shard, &o->shard, &o->shards, e));
    if (a->gen_kwargs) TRY(eval_gen_kwargs(a->gen_kwargs, &o->gen_kwargs, e));
    TRY(cmd_kv_type(&o->lm.kv_type, &a->cache, engine_by_name(o->lm.engine), e));
    if (cmd_isa_mask(&o->lm.cpu_mask, e)) return e->code;
    if (o->lm.cpu_mask) o->lm.isa = getenv("LFM2_ISA");
    return a->record ? records_check(a->record, e) : OK;
}

static void say(const struct run *r) {
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): run_open() was OK */
    fprintf(stderr, "eval: %d items of %d task%s", r->n_items, r->n_tasks, r->n_tasks == 1 ? "" : "s");
    if (r->n_before) fprintf(stderr, ", %d of them done before", r->n_before);
    fprintf(stderr, "\n");
}

static void say_speed(const struct run *r, double seconds) {
    int fresh = r->n_done - r->n_before;
    const struct lm *lm = r->lm;
    if (fresh < 1) return;
    fprintf(stderr, "eval: %d items in %.1f s, %.2f items/s", fresh, seconds, fresh / seconds);
    if (r->share->size == 1) /* other processes keep their counts to themselves */
        fprintf(stderr, "; %ld tokens computed, %.1f per item; %ld more were shared", lm->fed,
                (double)lm->fed / fresh, lm->reused);
    fprintf(stderr, "\n");
}

static enum status finish(struct arguments *a, struct run *r, double seconds, int *failed, struct error *e) {
    struct results results;
    char path[4400];
    enum status status = results_make(&results, r, a->log_samples, e);
    if (status == OK) results_print(&results, stdout);
    if (status == OK && *results.folder) {
        status = results_write(&results, path, sizeof path, e);
        if (status == OK) fprintf(stderr, "eval: results are in %s\n", path);
    }
    if (status == OK && a->record) status = record_evaluation(a->record, &results, a->tasks, seconds, e);
    *failed = r->n_failed > 0;
    results_free(&results);
    return status;
}

static enum status evaluate(struct arguments *a, struct share *share, int *failed, struct error *e) {
    struct task *tasks = NULL;
    struct run *r = NULL;
    int n = 0;
    enum status status = check(a, e);
    if (status == OK) status = eval_tasks(a->tasks, &tasks, &n, e);
    if (status == OK) status = run_open(&r, &a->run, tasks, n, share, e);
    status = share_agree(share, status, e);
    if (status == OK && share->rank == 0) say(r);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (status == OK) status = run_compute(r, e);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (status == OK && share->rank == 0) {
        double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        say_speed(r, seconds);
        if (r->n_done == r->n_items)
            status = finish(a, r, seconds, failed, e);
        else
            fprintf(stderr, "eval: this shard is done; %d of %d items are in all journals there are\n",
                    r->n_done, r->n_items);
    }
    run_close(r);
    free(tasks);
    json_decref(a->run.gen_kwargs);
    return status;
}

static int evaluate_shared(struct arguments *a) {
    struct share share;
    struct error e = {0};
    int failed = 0;
    enum status status = share_open(&share, &e);
    if (status != OK) return cmd_fail(&e);
    status = evaluate(a, &share, &failed, &e);
    /* The first rank speaks for all, while all are there: mpirun ends the others when one has failed. */
    if (status != OK) failed = share.rank == 0 ? cmd_fail(&e) : 2;
    share_close(&share);
    return failed;
}

/* The first run beside each other one. */
static enum status compare(const struct arguments *a, struct error *e) {
    struct rows pairs = {0};
    enum status status = a->record ? records_check(a->record, e) : OK;
    for (int i = 1; i < a->n_words && status == OK; i++)
        status = compare_runs(a->words[0], a->words[i], stdout, &pairs, e);
    if (status == OK && a->record) status = record_comparison(a->record, &pairs, e);
    free(pairs.data);
    return status;
}

int cmd_eval(int argc, char **argv) {
    struct arguments a = {
        .run = {.lm = {.engine = "optimized"}, .task = {.num_fewshot = -1, .fewshot_seed = 1234}},
        .protocol = "lm-eval"};
    struct lm_options *lm = &a.run.lm;
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &lm->model, "FILE", "the model: a GGUF file or a Hugging Face folder"},
        {"--tasks", OPTION_TEXT, &a.tasks, "NAMES", "tasks, groups or suites, separated by commas"},
        {"--data", OPTION_TEXT, &a.run.data, "DIR", "folder with the benchmarks' original files"},
        {"--output_path", OPTION_TEXT, &a.run.output_path, "DIR",
         "results, samples and the journal; without it only a table is printed"},
        {"--log_samples", OPTION_FLAG, &a.log_samples, NULL,
         "write prompts, answers and scores of every item"},
        {"--limit", OPTION_INT, &a.run.limit, "N", "the first N documents of each task (default: all)"},
        {"--num_fewshot", OPTION_INT, &a.run.task.num_fewshot, "K",
         "examples in the prompt (default: the task's; mmlu's is 0)"},
        {"--apply_chat_template", OPTION_FLAG, &a.chat, NULL, "ask as in a chat"},
        {"--fewshot_as_multiturn", OPTION_FLAG, &a.multiturn, NULL,
         "examples are turns of their own (the default in a chat)"},
        {"--no_fewshot_as_multiturn", OPTION_FLAG, &a.single_turn, NULL,
         "examples and question are one turn"},
        {"--system_instruction", OPTION_TEXT, &a.run.task.system_instruction, "TEXT",
         "put before everything"},
        {"--protocol", OPTION_TEXT, &a.protocol, "NAME",
         "lm-eval (default), or card: chat, shots and answer lengths as for the\nmodel card's figures; the "
         "two are "
         "different measurements"},
        {"--gen_kwargs", OPTION_TEXT, &a.gen_kwargs, "K=V,...",
         "replace settings of generation: max_gen_toks, do_sample, temperature,\ntop_k, top_p, min_p, "
         "repetition_penalty, until"},
        {"--seed", OPTION_INT, &lm->seed, "N", "of sampled answers (default: 0)"},
        {"--fewshot_seed", OPTION_INT, &a.run.task.fewshot_seed, "N", "of drawn examples (default: 1234)"},
        {"--engine", OPTION_TEXT, &lm->engine, "NAME", "reference or optimized (default)"},
        {"--batch_size", OPTION_INT, &lm->batch, "N",
         "items computed at once (default: 8); changes the speed, not the results"},
        {"-t,--threads", OPTION_THREADS, &lm->threads, "N", "threads (default: one per available CPU)"},
        {"-c,--ctx-size,--max_length", OPTION_INT, &lm->context, "N",
         "tokens of prompt and answer together (default: 8192, or the model's\nown); longer prompts lose "
         "their "
         "beginning, and are counted"},
        {"--chat-template", OPTION_TEXT, &lm->chat_template, "NAME", "when the file has none"},
        {"--lora", OPTION_TEXT, &lm->lora, "F[:S]", "add a PEFT adapter, S times (default 1)"},
        {"--packed", OPTION_TEXT, &lm->packed, "FILE", "the model's packed file (lfm2 pack)"},
        {"--no-prefix-cache", OPTION_FLAG, &lm->no_prefix, NULL,
         "compute the examples anew for every item, to see what sharing saves"},
        {"--shard", OPTION_TEXT, &a.shard, "I/N", "compute this part only, for job arrays"},
        {"--record", OPTION_TEXT, &a.record, "FILE", "add scores and speed to this HDF5 record"},
        {"--list", OPTION_FLAG, &a.list, NULL, "show the tasks"},
        {"--verbose", OPTION_FLAG, &a.verbose, NULL, "with --list: notes, data, every name"},
        CACHE_OPTIONS(a.cache),
        {"--compare", OPTION_FLAG, &a.compare, NULL, "compare runs question by question"},
        {0},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, usage, specs, a.words, MAX_COMPARED, &a.n_words, &e);
    if (parsed != 0) return parsed > 0 ? 0 : cmd_fail(&e);
    if (a.list) return eval_list(stdout, a.verbose), 0;
    if (a.compare || a.n_words) {
        if (a.n_words < 2 || !a.compare) {
            fail(&e, ERR_ARG,
                 "eval: --compare takes two folders or files or more, and nothing else does; see --help");
            return cmd_fail(&e);
        }
        return compare(&a, &e) == OK ? 0 : cmd_fail(&e);
    }
    return evaluate_shared(&a);
}
