/* SPDX-License-Identifier: Apache-2.0 */
/* signals: how the program ends when it is told to, or when a file it reads breaks under it: with nothing
 * half written left behind, and for a broken file with the usual line and exit code 2. */
#ifndef BENCH_SIGNALS_H
#define BENCH_SIGNALS_H

/* Once, first in main. SIGINT, SIGTERM and SIGHUP still end the process by the signal; SIGBUS in a mapped
 * file is an error; writing beyond a file size limit is an error of write() instead of a signal. */
void signals_install(void);

#endif
