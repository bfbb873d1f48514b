/* SPDX-License-Identifier: Apache-2.0 */
/* directory: the temporary directory of a test. Criterion forks per test, so there is one per process. */
#ifndef TESTS_DIRECTORY_H
#define TESTS_DIRECTORY_H

/* For a test's .init and .fini. Making it ends the process where that is impossible; removing takes what is
 * in it along. */
void make_directory(void);
void remove_directory(void);

const char *directory_path(void);

/* The path of a name in it; valid until the eighth call after this one. */
const char *in_directory(const char *name);

#endif
