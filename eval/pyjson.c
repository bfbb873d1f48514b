/* SPDX-License-Identifier: Apache-2.0 */
/* pyjson: Python's json.dumps, repr and str over jansson's values. */
#include "eval/pyjson.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void py_float(double x, char out[PY_FLOAT_SIZE]) {
    if (isnan(x) || isinf(x)) {
        snprintf(out, PY_FLOAT_SIZE, "%s", isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    char form[PY_FLOAT_SIZE], digits[20];
    int n = 1;
    for (;; n++) {
        snprintf(form, sizeof form, "%.*e", n - 1, x);
        if (n == 17 || strtod(form, NULL) == x) break;
    }
    const char *mantissa = form + (form[0] == '-');
    int exponent = atoi(strchr(form, 'e') + 1), k = 0;
    for (const char *p = mantissa; *p != 'e'; p++)
        if (*p != '.') digits[k++] = *p;
    digits[k] = 0;
    const char *sign = form[0] == '-' ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        snprintf(out, PY_FLOAT_SIZE, "%s%c%s%se%c%02d", sign, digits[0], k > 1 ? "." : "", digits + 1,
                 exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(out, PY_FLOAT_SIZE, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
    else if (k <= exponent + 1)
        snprintf(out, PY_FLOAT_SIZE, "%s%s%.*s.0", sign, digits, exponent + 1 - k, "0000000000000000");
    else
        snprintf(out, PY_FLOAT_SIZE, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

static void dump_text(const char *text, size_t n, struct buffer *out) {
    buffer_add(out, "\"", 1);
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buffer_add(out, text + done, i - done);
        done = i + 1;
        static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
        const char *at = memchr(special, c, sizeof special - 1);
        if (at)
            buffer_format(out, "\\%c", letter[at - special]);
        else
            buffer_format(out, "\\u%04x", c);
    }
    buffer_add(out, text + done, n - done);
    buffer_add(out, "\"", 1);
}

static void new_line(int indent, int depth, struct buffer *out) {
    buffer_format(out, "\n%*s", indent * depth, "");
}

static void dump(const json_t *value, int indent, int depth, struct buffer *out) {
    char number[PY_FLOAT_SIZE];
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *member;
        size_t n = 0;
        buffer_add(out, "{", 1);
        /* The iterators take no const, and change nothing. */
        json_object_foreach((json_t *)value, key, member) {
            if (n++) buffer_text(out, indent ? "," : ", ");
            if (indent) new_line(indent, depth + 1, out);
            dump_text(key, strlen(key), out);
            buffer_text(out, ": ");
            dump(member, indent, depth + 1, out);
        }
        if (indent && n) new_line(indent, depth, out);
        buffer_add(out, "}", 1);
        return;
    }
    case JSON_ARRAY:
        buffer_add(out, "[", 1);
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i) buffer_text(out, indent ? "," : ", ");
            if (indent) new_line(indent, depth + 1, out);
            dump(json_array_get(value, i), indent, depth + 1, out);
        }
        if (indent && json_array_size(value)) new_line(indent, depth, out);
        buffer_add(out, "]", 1);
        return;
    case JSON_STRING:
        dump_text(json_string_value(value), json_string_length(value), out);
        return;
    case JSON_INTEGER:
        buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        py_float(json_real_value(value), number);
        buffer_text(out, number);
        return;
    case JSON_TRUE:
        buffer_text(out, "true");
        return;
    case JSON_FALSE:
        buffer_text(out, "false");
        return;
    case JSON_NULL:
        buffer_text(out, "null");
        return;
    }
}

void py_dumps(const json_t *value, int indent, struct buffer *out) {
    dump(value, indent, 0, out);
}

void py_str(const json_t *value, struct buffer *out) {
    if (json_is_string(value))
        buffer_add(out, json_string_value(value), json_string_length(value));
    else if (json_is_boolean(value))
        buffer_text(out, json_is_true(value) ? "True" : "False");
    else if (json_is_null(value))
        buffer_text(out, "None");
    else
        dump(value, 0, 0, out);
}

json_t *py_sanitize(const json_t *value) {
    if (!json_is_array(value)) {
        struct buffer text = {0};
        py_str(value, &text);
        json_t *s = text.failed ? NULL : json_stringn(text.data ? text.data : "", text.n);
        buffer_free(&text);
        return s;
    }
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(value); i++)
        if (json_array_append_new(list, py_sanitize(json_array_get(value, i)))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

/* Bytes that one U+FFFD stands for: the longest beginning of a character that the text has there. */
static size_t broken(const char *text, size_t n) {
    for (size_t k = n < 3 ? n : 3; k > 1; k--)
        if (utf8_incomplete(text, k)) return k;
    return 1;
}

json_t *py_text(const char *text, size_t n) {
    struct buffer clean = {0};
    for (size_t i = 0, step; i < n; i += step) {
        step = utf8_decode(text + i, n - i, NULL);
        if (step) {
            buffer_add(&clean, text + i, step);
        } else {
            buffer_text(&clean, "\xef\xbf\xbd");
            step = broken(text + i, n - i);
        }
    }
    json_t *s = clean.failed ? NULL : json_stringn(clean.data ? clean.data : "", clean.n);
    buffer_free(&clean);
    return s;
}
