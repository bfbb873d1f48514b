/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan: the lists, ranges and presets of `lfm2 bench`, and the roofline its speeds are compared with. */
#include <criterion/criterion.h>

#include <string.h>

#include "bench/cost.h"
#include "bench/plan.h"

/* ---- lists and ranges ---- */

static void parse(struct int_list *l, const char *text) {
    struct error e = {0};
    memset(l, 0, sizeof *l);
    cr_assert_eq(int_list_parse(l, text, "-p", &e), OK, "%s: %s", text, e.text);
}

Test(plan, lists_and_ranges) {
    static const struct {
        const char *text;
        int n, v[8];
    } cases[] = {
        {"512", 1, {512}},
        {"0", 1, {0}},
        {"1,4,2", 3, {1, 4, 2}},
        {"3-6", 4, {3, 4, 5, 6}},
        {"100-350+100", 3, {100, 200, 300}},
        {"32-256*2", 4, {32, 64, 128, 256}},
        {"7,10-30+10,64-128*2", 6, {7, 10, 20, 30, 64, 128}},
        {"5-5*1", 1, {5}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct int_list l;
        parse(&l, cases[i].text);
        cr_assert_eq(l.n, cases[i].n, "%s: %d", cases[i].text, l.n);
        for (int k = 0; k < l.n; k++) cr_assert_eq(l.v[k], cases[i].v[k], "%s [%d]", cases[i].text, k);
    }
}

Test(plan, bad_lists) {
    static const char *const bad[] = {
        "",      "a",  "1,",  ",1",    "1-",   "5-2",      "1-9+0",  "1-9*1",
        "0-9*2", "-1", "1 2", "1-9/2", "2-8*", "99999999", "1-1000", "9999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct int_list l = {0};
        struct error e = {0};
        cr_assert_eq(int_list_parse(&l, bad[i], "-p", &e), ERR_ARG, "'%s' was accepted", bad[i]);
        cr_assert(strstr(e.text, "-p"), "%s", e.text);
    }
}

Test(plan, tests_and_their_names) {
    struct int_list p, n, pg, d, none = {0};
    struct test_list t;
    struct error e = {0};
    static const char *const names[] = {"pp512",         "tg128",         "pp64+tg16",
                                        "pp512 @ d4096", "tg128 @ d4096", "pp64+tg16 @ d4096"};
    parse(&p, "512,0");
    parse(&n, "128");
    parse(&pg, "64,16");
    parse(&d, "4096,0,4096");
    cr_assert_eq(test_list_make(&t, &p, &n, &pg, &d, &none, &e), OK, "%s", e.text);
    cr_assert_eq(t.n, 6);
    for (int i = 0; i < 6; i++) {
        char name[48];
        bench_test_name(&t.v[i], name, sizeof name);
        cr_assert_str_eq(name, names[i]);
    }
    parse(&pg, "64,16,8");
    cr_assert_eq(test_list_make(&t, &p, &n, &pg, &d, &none, &e), ERR_ARG);
    struct int_list zero;
    parse(&zero, "0");
    cr_assert_eq(test_list_make(&t, &zero, &zero, &none, &d, &none, &e), ERR_ARG);
}

Test(plan, only_decoding_is_done_by_several_sequences) {
    struct int_list p, n, np, none = {0};
    struct test_list t;
    struct error e = {0};
    static const char *const names[] = {"pp64", "tg8", "tg8 x4"};
    parse(&p, "64");
    parse(&n, "8");
    parse(&np, "1,4");
    cr_assert_eq(test_list_make(&t, &p, &n, &none, &none, &np, &e), OK, "%s", e.text);
    cr_assert_eq(t.n, 3);
    for (int i = 0; i < 3; i++) {
        char name[48];
        bench_test_name(&t.v[i], name, sizeof name);
        cr_assert_str_eq(name, names[i]);
    }
    cr_assert_eq(bench_test_tokens(&t.v[2]), 32);
    for (int i = 0; i < 2; i++) {
        parse(&np, i ? "257" : "0");
        cr_assert_eq(test_list_make(&t, &p, &n, &none, &none, &np, &e), ERR_ARG);
    }
}

Test(plan, presets_exist) {
    cr_assert_eq(preset_by_name("nothing"), NULL);
    const struct preset *report = preset_by_name("report");
    cr_assert(report && report->n == 4 && report->tests[1].n_prompt == 4096 &&
              report->tests[3].n_depth == 4096);
    cr_assert(preset_by_name("chart")->max_seconds > 0);
    cr_assert(preset_by_name("smoke"));
}

/* ---- cost ---- */

Test(cost, a_roofline_by_hand) {
    /* One attention layer with 2 experts of which 1 is chosen; no other weights. */
    struct expert experts[2] = {{.gate.bytes = 100, .up.bytes = 100, .down.bytes = 100},
                                {.gate.bytes = 100, .up.bytes = 100, .down.bytes = 100}};
    struct layer layer = {.mixer = MIXER_ATTENTION, .ffn = FFN_MOE, .experts = experts};
    struct model m = {
        .layers = &layer,
        .config = {.n_layers = 1, .n_experts = 2, .n_experts_used = 1, .n_heads = 3, .head_dim = 5}};
    struct model_cost base = model_cost(&m);
    struct test_cost one = test_cost(&m, &(struct bench_test){0, 1, 0, 1});
    struct test_cost two = test_cost(&m, &(struct bench_test){2, 0, 0, 1});
    cr_assert_float_eq(one.bytes, base.bytes_per_token + base.kv_bytes_per_position, 1e-9);
    cr_assert_float_eq(one.macs, base.macs_per_token + base.head_macs + 2 * 3 * 5, 1e-9);
    /* Two tokens choose 1 - 1/4 of the experts on average: 450 bytes, against 300 for one token. */
    cr_assert_float_eq(two.bytes, base.bytes_per_token + 150 + 2 * base.kv_bytes_per_position, 1e-9);
    cr_assert_float_eq(two.macs, 2 * base.macs_per_token + base.head_macs + 30 * (1 + 2), 1e-9);
    /* Two sequences share the weights; each has its own keys, values and logits. */
    struct test_cost both = test_cost(&m, &(struct bench_test){0, 1, 0, 2});
    cr_assert_float_eq(both.bytes, two.bytes, 1e-9);
    cr_assert_float_eq(both.macs, 2 * one.macs, 1e-9);
    const char *by;
    double ts = test_limit(&m, &(struct bench_test){0, 1, 0, 1}, 2, 1e9, &by);
    cr_assert_float_eq(ts, 1e9 * 2 / one.bytes, 1e-6 * ts);
    cr_assert_str_eq(by, "read");
    ts = test_limit(&m, &(struct bench_test){2, 0, 0, 1}, 1e9, 3, &by);
    cr_assert_float_eq(ts, 2e9 * 3 / two.macs, 1e-6 * ts);
    cr_assert_str_eq(by, "int8");
    cr_assert_eq(test_limit(&m, &(struct bench_test){2, 0, 0, 1}, 0, 3, &by), 0);
}
