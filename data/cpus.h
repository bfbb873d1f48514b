/* SPDX-License-Identifier: Apache-2.0 */
/* cpus: how many CPUs this process may use, the default of every `-t`. */
#ifndef DATA_CPUS_H
#define DATA_CPUS_H

/* The CPUs of the affinity mask, or fewer where a control group's quota gives fewer, as containers are given
 * theirs: threads beyond it would only be held in turns. At least 1. */
int usable_cpus(void);

/* The lower of n and the CPUs, rounded up, that the quotas of the control groups in `groups` (the format of
 * /proc/PID/cgroup, both versions: cgroups(7)) and of all groups above them allow; their files lie below
 * `root`, as below /sys/fs/cgroup. What cannot be read sets no limit. */
int cpus_within_quota(int n, const char *groups, const char *root);

#endif
