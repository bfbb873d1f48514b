/* SPDX-License-Identifier: Apache-2.0 */
/* run_command: a subcommand of lfm2 called as main() would, with its three streams in files. */
#ifndef TESTS_RUN_COMMAND_H
#define TESTS_RUN_COMMAND_H

enum { RUN_WORDS = 32 };

/* Standard input comes from in; standard output and error go to out and err. words end with NULL; argv[0] is
 * name. Returns the command's exit code, or -1 when a file cannot be opened or there are too many words. */
int run_command(int (*cmd)(int, char **), const char *name, const char *const *words, const char *in,
                const char *out, const char *err);

#endif
