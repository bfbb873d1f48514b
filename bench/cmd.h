/* SPDX-License-Identifier: Apache-2.0 */
/* cmd: the subcommands of lfm2, one per file bench/cmd_NAME.c (evaluation ones: eval/cmd_NAME.c), and the few
 * things they share. Each gets argv with argv[0] = its own name and returns the process's exit code:
 * 0 done, 1 a check failed, 2 bad usage or bad input. */
#ifndef BENCH_CMD_H
#define BENCH_CMD_H

#include "bench/options.h"
#include "data/status.h"
#include "reference/engine.h"

#define CMD(name) int cmd_##name(int argc, char **argv);
CMD(info)
CMD(synth)
CMD(logits)
CMD(parity)
CMD(kernels)
CMD(limits)
CMD(bench)
CMD(report)
CMD(quantize)
CMD(convert)
CMD(pack)
CMD(tokenize)
CMD(run)
CMD(chat)
CMD(eval)
CMD(score)
CMD(perplexity)
CMD(imatrix)
CMD(quality)
#undef CMD

/* Prints "lfm2: TEXT" as one line on stderr and returns 2. */
int cmd_fail(const struct error *e);

/* Whether a command may write this file: "-" is not standard output here, and what exists is replaced only
 * with force. */
enum status cmd_output_file(const char *cmd, const char *path, int force, struct error *e);

/* ERR_ARG when it would replace one of the n files that the command reads, whatever their names; NULL: none.
 */
enum status cmd_output_apart(const char *path, const char *const *inputs, int n, struct error *e);

/* Where files are kept that nobody asked for: $TMPDIR, or /tmp. */
const char *cmd_temporary_folder(void);

/* The features named by the environment variable LFM2_ISA (0 when unset). Returns 0, or -1 after filling *e.
 */
int cmd_isa_mask(unsigned *mask, struct error *e);

/* -ctk and -ctv, as in llama.cpp: f16 (default) or q8_0. Keys and values have one type here, so naming one
 * names both. NULL: not given. The reference engine has no choice, so that naming one with it is an error;
 * engine may be NULL. */
struct cache_types {
    const char *keys, *values;
};
enum status cmd_kv_type(enum kv_type *out, const struct cache_types *given, const struct engine *engine,
                        struct error *e);
#define CACHE_OPTIONS(a)                                                                                     \
    {"-ctk,--cache-type-k", OPTION_TEXT, &(a).keys, "TYPE",                                                  \
     "f16 (default) or q8_0: keys and values are cached as int8, optimized\nengine only; half the memory"},  \
    {                                                                                                        \
        "-ctv,--cache-type-v", OPTION_TEXT, &(a).values, "TYPE", "the same: keys and values have one type"   \
    }

#endif
