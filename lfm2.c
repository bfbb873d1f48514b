/* SPDX-License-Identifier: Apache-2.0 */
/* lfm2: the command. A table of subcommands, nothing else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/cmd.h"
#include "bench/signals.h"
#include "data/status.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"info", cmd_info, "hyper-parameters, tensors, bytes and MACs per token, kernels this CPU will run"},
    {"synth", cmd_synth, "write a seeded model with real shapes as an ordinary GGUF file"},
    {"logits", cmd_logits, "run either engine on given ids and store the logits"},
    {"run", cmd_run, "continue a text"},
    {"chat", cmd_chat, "talk to a model, one turn per line"},
    {"tokenize", cmd_tokenize, "text to token ids and back"},
    {"parity", cmd_parity, "does the optimized engine compute what the reference computes?"},
    {"perplexity", cmd_perplexity,
     "how well a model predicts a text, alone or against another (KL divergence)"},
    {"kernels", cmd_kernels, "check and time every row of the kernel table"},
    {"limits", cmd_limits, "measure this machine: read bandwidth, int8, bf16 and fp32 peaks"},
    {"bench", cmd_bench, "prefill and decode throughput, with llama-bench's flags and test names"},
    {"quantize", cmd_quantize, "write a model in another type, with llama-quantize's arguments and recipes"},
    {"quality", cmd_quality, "what each recipe and engine costs: perplexity, KL divergence, router flips"},
    {"imatrix", cmd_imatrix, "measure which columns of a model's matrices matter for a text, for quantize"},
    {"convert", cmd_convert, "write a Hugging Face folder as GGUF; merge adapters and checkpoints"},
    {"pack", cmd_pack, "write the weights in the optimized engine's layout, to start at once"},
    {"eval", cmd_eval, "accuracy, with the tasks, prompts and files of lm-evaluation-harness"},
    {"score", cmd_score, "score lm-eval's samples again, row by row"},
    {"report", cmd_report, "draw RESULTS.md and the plots from the stored records"},
};

static void usage(FILE *to) {
    fprintf(to, "usage: lfm2 COMMAND [options]      (lfm2 COMMAND --help explains one)\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\nExit codes: 0 done, 1 a check failed, 2 bad usage or bad input.\n");
}

/* Output that did not arrive is no success: a full disk behind `lfm2 info > file`. */
static int end(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    if (code == 0 && errno != EPIPE) fprintf(stderr, "lfm2: standard output: %s\n", strerror(errno));
    return code || errno == EPIPE ? code : 2;
}

int main(int argc, char **argv) {
    signals_install();
    if (argc < 2) {
        fprintf(stderr, "lfm2: no command given; `lfm2 --help` lists them\n");
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return end(0);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return end(commands[i].run(argc - 1, argv + 1));
    text_clean(argv[1]);
    fprintf(stderr, "lfm2: unknown command '%s'; `lfm2 --help` lists them\n", argv[1]);
    return 2;
}
