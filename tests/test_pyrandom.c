/* SPDX-License-Identifier: Apache-2.0 */
/* test_pyrandom: the numbers of CPython's random.Random (recorded with CPython 3.11). */
#include <criterion/criterion.h>

#include "eval/pyrandom.h"

static void expect_samples(int n, int k, int draws, const int want[][6]) {
    struct pyrandom r;
    pyrandom_seed(&r, 1234);
    for (int d = 0; d < draws; d++) {
        int got[6];
        cr_assert(pyrandom_sample(&r, n, k, got));
        for (int i = 0; i < k; i++) cr_assert_eq(got[i], want[d][i], "n %d, draw %d: %d", n, d, got[i]);
    }
}

Test(pyrandom, draws_bits) {
    static const uint32_t want[] = {4150886329u, 3342196574u, 1892932127u, 501869158u, 32175636u};
    struct pyrandom r;
    pyrandom_seed(&r, 1234);
    for (int i = 0; i < 5; i++) cr_assert_eq(pyrandom_bits(&r, 32), want[i]);
}

Test(pyrandom, samples) {
    expect_samples(7473, 5, 3,
                   (const int[][6]){{6374, 3610, 957, 61, 742},
                                    {7462, 6610, 4769, 286, 5501},
                                    {5677, 687, 806, 6279, 2905}});
    expect_samples(10552, 6, 2,
                   (const int[][6]){{7220, 1914, 122, 1485, 9539, 572}, {1375, 1612, 5810, 3879, 285, 504}});
    expect_samples(20, 5, 3, (const int[][6]){{14, 3, 0, 2, 1}, {2, 3, 11, 7, 0}, {0, 19, 11, 15, 14}});
    struct pyrandom r;
    pyrandom_seed(&r, 1);
    int out[3];
    cr_assert_not(pyrandom_sample(&r, 2, 3, out));
}

Test(pyrandom, shuffles) {
    static const int want[4][4] = {{2, 1, 3, 0}, {3, 2, 0, 1}, {1, 3, 2, 0}, {1, 2, 0, 3}};
    struct pyrandom r;
    pyrandom_seed(&r, 42);
    for (int d = 0; d < 4; d++) {
        int x[] = {0, 1, 2, 3};
        pyrandom_shuffle(&r, x, 4);
        for (int i = 0; i < 4; i++) cr_assert_eq(x[i], want[d][i]);
    }
}
