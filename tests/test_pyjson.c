/* SPDX-License-Identifier: Apache-2.0 */
/* pyjson against what CPython 3.11 prints. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/sha256.h"
#include "eval/pyjson.h"

Test(pyjson, floats_are_reprs) {
    static const struct {
        double x;
        const char *repr;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-12.5, "-12.5"},
        {0.1, "0.1"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {1.5e-7, "1.5e-07"},
        {1e15, "1000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {1.2345678901234567e22, "1.2345678901234568e+22"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {1.0 / 3, "0.3333333333333333"},
        {(double)-1.2345678f, "-1.2345677614212036"},
        {0.1 + 0.2, "0.30000000000000004"},
        {123456.789, "123456.789"},
        {-0.00012345, "-0.00012345"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[PY_FLOAT_SIZE];
        py_float(cases[i].x, text);
        cr_expect_str_eq(text, cases[i].repr);
    }
}

Test(pyjson, dumps_is_pythons) {
    /* json.dumps({"a": [1, 2.5, "x\x01\x7f\"\\/é\n"], "b": {}, "c": [], "d": {"e": None, "f": [True,
     * False]}}) */
    json_t *v =
        json_loads("{\"a\":[1,2.5,\"x\\u0001\\u007f\\\"\\\\/\\u00e9\\n\\b\\f\\r\\t\"],\"b\":{},\"c\":[],"
                   "\"d\":{\"e\":null,\"f\":[true,false]}}",
                   0, NULL);
    struct buffer line = {0}, indented = {0};
    py_dumps(v, 0, &line);
    cr_expect_str_eq(line.data,
                     "{\"a\": [1, 2.5, \"x\\u0001\x7f\\\"\\\\/\xc3\xa9\\n\\b\\f\\r\\t\"], \"b\": {}, "
                     "\"c\": [], \"d\": {\"e\": null, \"f\": [true, false]}}");
    py_dumps(v, 2, &indented);
    cr_expect_str_eq(
        indented.data,
        "{\n  \"a\": [\n    1,\n    2.5,\n    \"x\\u0001\x7f\\\"\\\\/\xc3\xa9\\n\\b\\f\\r\\t\"\n  ],\n"
        "  \"b\": {},\n  \"c\": [],\n  \"d\": {\n    \"e\": null,\n    \"f\": [\n      true,\n"
        "      false\n    ]\n  }\n}");
    buffer_free(&line);
    buffer_free(&indented);
    json_decref(v);
}

Test(pyjson, leaves_become_texts) {
    json_t *v = json_pack("[[f,b],[s,n,i]]", -1.5, 1, "x", 7), *text = py_sanitize(v);
    struct buffer line = {0};
    py_dumps(text, 0, &line);
    cr_expect_str_eq(line.data, "[[\"-1.5\", \"True\"], [\"x\", \"None\", \"7\"]]");
    buffer_free(&line);
    json_decref(v);
    json_decref(text);
}

Test(pyjson, broken_utf8_is_replaced_as_python_does) {
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"ok \xc3\xa9", "ok \xc3\xa9"},
        {"\xff", "\xef\xbf\xbd"},
        {"a\xe2\x82", "a\xef\xbf\xbd"},
        {"\xf0\x9f\x98z", "\xef\xbf\xbdz"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *s = py_text(cases[i].bytes, strlen(cases[i].bytes));
        cr_expect_str_eq(json_string_value(s), cases[i].text);
        json_decref(s);
    }
}

Test(pyjson, hash) {
    char hex[SHA256_HEX];
    sha256_hex("abc", 3, hex);
    cr_expect_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
