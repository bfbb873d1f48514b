/* SPDX-License-Identifier: Apache-2.0 */
/* fake_peer: a llama-bench for tests: a script that writes down its arguments and gives a fixed answer. */
#ifndef TESTS_FAKE_PEER_H
#define TESTS_FAKE_PEER_H

#define FAKE_LLAMA_HELP "--n-prompt --repetitions -d, --n-depth <n>"
/* One run of 1 ms, by build 12 of commit abc. */
#define FAKE_ANSWER                                                                                          \
    "echo \"[{\\\"build_commit\\\":\\\"abc\\\",\\\"build_number\\\":12,\\\"samples_ns\\\":[1000000]}]\""

/* Writes it into the test's directory (tests/directory.h) and returns its path, or NULL. help: what --help
 * prints; body: the shell lines that answer anything else. */
const char *fake_peer_make(const char *help, const char *body);

/* The arguments of all calls so far, a line each. */
const char *fake_peer_args(void);

#endif
