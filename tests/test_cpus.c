/* SPDX-License-Identifier: Apache-2.0 */
/* cpus: the quotas of control groups, of both versions, and what is no quota. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/cpus.h"
#include "tests/directory.h"
#include "tests/folder.h"

TestSuite(cpus, .init = make_directory, .fini = remove_directory);

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s", in_directory(name));
    for (char *p = strchr(path + strlen(directory_path()) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0777);
        *p = '/';
    }
    cr_assert(write_file(path, text, strlen(text)));
}

static int within(int n, const char *groups) {
    put("groups", groups);
    return cpus_within_quota(n, in_directory("groups"), directory_path());
}

Test(cpus, at_least_one_and_no_more_than_may_be_run_on) {
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    cr_assert(usable_cpus() >= 1 && usable_cpus() <= CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(usable_cpus(), 1);
}

Test(cpus, a_quota_counts_in_whole_cpus_rounded_up) {
    put("box/cpu.max", "250000 100000\n");
    cr_assert_eq(within(64, "0::/box\n"), 3);
    put("box/cpu.max", "200000 100000\n");
    cr_assert_eq(within(64, "0::/box\n"), 2);
    put("box/cpu.max", "1000 100000\n");
    cr_assert_eq(within(64, "0::/box\n"), 1);
    put("box/cpu.max", "900000000000 100000\n");
    cr_assert_eq(within(64, "0::/box\n"), 64);
}

Test(cpus, the_narrowest_group_above_counts) {
    put("cpu.max", "600000 100000\n");
    put("slice/cpu.max", "300000 100000\n");
    put("slice/box/cpu.max", "400000 100000\n");
    cr_assert_eq(within(64, "0::/slice/box\n"), 3);
    cr_assert_eq(within(64, "0::/elsewhere\n"), 6);
    cr_assert_eq(within(64, "0::/\n"), 6);
    cr_assert_eq(within(2, "0::/slice/box\n"), 2);
}

Test(cpus, version_1_where_cpu_is_among_the_controllers) {
    put("cpu/box/cpu.cfs_quota_us", "150000\n");
    put("cpu/box/cpu.cfs_period_us", "50000\n");
    cr_assert_eq(within(64, "3:cpuset:/box\n1:cpu,cpuacct:/box\n0::/box\n"), 3);
    cr_assert_eq(within(64, "3:cpuset:/box\n1:cpuacct:/box\n"), 64);
    put("cpu/box/cpu.cfs_quota_us", "-1\n");
    cr_assert_eq(within(64, "1:cpu:/box\n"), 64);
}

Test(cpus, what_is_no_quota_sets_no_limit) {
    static const char *const contents[] = {"max 100000\n", "",          "100000", "0 100000",
                                           "100000 0",     "-5 100000", "x"};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        put("box/cpu.max", contents[i]);
        cr_assert_eq(within(8, "0::/box\n"), 8, "%s", contents[i]);
    }
    static const char *const groups[] = {"", "\n", "0\n", "0:\n", "0::\n", "::::\n", "0::/box"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        cr_assert_eq(within(8, groups[i]), 8, "%s", groups[i]);
    cr_assert_eq(cpus_within_quota(8, in_directory("absent"), directory_path()), 8);
}
