/* SPDX-License-Identifier: Apache-2.0 */
/* See data/cpus.h. */
#include "data/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 4096 };

/* Reads up to two numbers; returns how many came before something else, such as "max". */
static int read_numbers(const char *path, long long out[2]) {
    FILE *f = fopen(path, "r");
    int n = f ? fscanf(f, "%lld %lld", &out[0], &out[1]) : 0;
    if (f) fclose(f);
    return n;
}

/* Microseconds of processor time that a group has in each period of so many; 0: any. */
static int quota_of(const char *root, const char *group, int version, long long *quota, long long *period) {
    char path[2 * LONGEST];
    long long v[2];
    if (version == 2) {
        snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
        if (read_numbers(path, v) != 2) return 0;
        *quota = v[0], *period = v[1];
    } else {
        snprintf(path, sizeof path, "%s/cpu%s/cpu.cfs_quota_us", root, group);
        if (read_numbers(path, v) != 1) return 0;
        *quota = v[0];
        snprintf(path, sizeof path, "%s/cpu%s/cpu.cfs_period_us", root, group);
        if (read_numbers(path, v) != 1) return 0;
        *period = v[0];
    }
    return *quota > 0 && *period > 0;
}

/* 2, 1 when the line is of version 1 and its controllers have "cpu" among them, else 0; *group: its path. */
static int version_of(char *line, char **group) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL,
         *rest = NULL;
    if (!path) return 0;
    *controllers++ = *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    *group = path;
    if (!*controllers) return 2;
    for (char *c = strtok_r(controllers, ",", &rest); c; c = strtok_r(NULL, ",", &rest))
        if (strcmp(c, "cpu") == 0) return 1;
    return 0;
}

int cpus_within_quota(int n, const char *groups, const char *root) {
    char line[LONGEST], *group;
    long long quota, period;
    FILE *f = fopen(groups, "r");
    while (f && fgets(line, sizeof line, f)) {
        int version = version_of(line, &group);
        for (char *end = version ? group + strlen(group) : NULL; end; end = strrchr(group, '/')) {
            *end = '\0';
            if (quota_of(root, group, version, &quota, &period) && quota / period < n)
                n = (int)(quota / period + (quota % period != 0));
        }
    }
    if (f) fclose(f);
    return n > 1 ? n : 1;
}

int usable_cpus(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cpus_within_quota(n, "/proc/self/cgroup", "/sys/fs/cgroup");
}
