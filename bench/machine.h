/* SPDX-License-Identifier: Apache-2.0 */
/* machine: what a result was measured on: the build, the CPU, the system, and whether it was quiet. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stddef.h>

#include "data/records.h"

/* Stores schema, time, threads, commit, dirty, compiler, flags, cpu, cores, caches, memory_bytes, isa, os,
 * kernel, libc, governor, boost, smt, virtual, loadavg, thp and warnings (one per line; "" when nothing is
 * amiss) as attributes. threads: what is about to be measured, for the warnings; 0: all CPUs. */
void machine_attributes(struct record *r, int threads);

/* The machine as far as timings depend on it and it does not change by itself: baselines of one host say
 * nothing about another. */
struct host {
    char id[17];    /* 16 hexadecimal digits of the SHA-256 of text */
    char text[512]; /* "CPU; 2 CPUs; L1d 32K, ...; avx2 avx512" */
};
void machine_host(struct host *host);
void machine_host_of(struct host *host, const char *text);

/* What might spoil a measurement with this many threads, one sentence per line: load, frequency governor,
 * more threads than CPUs. Returns the number of sentences. */
int machine_warnings(char *text, size_t size, int threads);

/* Keeps the calling thread on the index-th CPU that this process may run on, counted round. Does nothing
 * where that is refused. */
void machine_pin(int index);

/* "AMD EPYC"; the commit the program's folder is at ("unknown" outside git), and whether tracked files
 * other than stored results differ from it. */
void machine_cpu_name(char *text, size_t size);
void machine_commit(char *commit, size_t size, int *dirty);

#endif
