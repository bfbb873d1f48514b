/* SPDX-License-Identifier: Apache-2.0 */
/* chat_text: pieces of text as templates treat them, and JSON values as Python writes them. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat_parts.h"

struct text text_of(const json_t *string) {
    if (!json_is_string(string)) return (struct text){"", 0};
    return (struct text){json_string_value(string), json_string_length(string)};
}

const char *text_find(struct text t, const char *mark) {
    return t.n ? memmem(t.at, t.n, mark, strlen(mark)) : NULL;
}

int text_begins(struct text t, const char *prefix) {
    size_t n = strlen(prefix);
    return t.n >= n && memcmp(t.at, prefix, n) == 0;
}

int text_ends(struct text t, const char *suffix) {
    size_t n = strlen(suffix);
    return t.n >= n && memcmp(t.at + t.n - n, suffix, n) == 0;
}

struct text text_after_last(struct text t, const char *mark) {
    const char *found;
    while ((found = text_find(t, mark))) {
        size_t skip = (size_t)(found - t.at) + strlen(mark);
        t.at += skip, t.n -= skip;
    }
    return t;
}

struct text text_before_first(struct text t, const char *mark) {
    const char *found = text_find(t, mark);
    return found ? (struct text){t.at, (size_t)(found - t.at)} : t;
}

struct text text_strip_newlines(struct text t, int left, int right) {
    while (left && t.n && t.at[0] == '\n') t.at++, t.n--;
    while (right && t.n && t.at[t.n - 1] == '\n') t.n--;
    return t;
}

static int is_python_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

struct text text_strip(struct text t) {
    uint32_t c;
    for (size_t n; (n = utf8_decode(t.at, t.n, &c)) && is_python_space(c);) t.at += n, t.n -= n;
    for (;;) {
        size_t back = 1;
        while (back < 4 && back < t.n && ((unsigned char)t.at[t.n - back] & 0xc0) == 0x80) back++;
        if (t.n == 0 || !utf8_decode(t.at + t.n - back, back, &c) || !is_python_space(c)) return t;
        t.n -= back;
    }
}

/* The shortest decimal number that is read back as v, in Python's layout. */
static void add_real(struct buffer *out, double v) {
    char digits[40];
    int precision = 0;
    do snprintf(digits, sizeof digits, "%.*e", precision, v);
    while (strtod(digits, NULL) != v && ++precision < 17);
    char *exponent_at = strchr(digits, 'e');
    int exponent = atoi(exponent_at + 1);
    if (exponent >= 16 || exponent < -4) {
        int mantissa = (int)(exponent_at - digits);
        buffer_format(out, "%.*se%c%02d", mantissa, digits, exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    int decimals = precision - exponent;
    buffer_format(out, "%.*f", decimals > 1 ? decimals : 1, v);
}

static void add_json_string(struct buffer *out, struct text t) {
    static const char named[][3] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    buffer_text(out, "\"");
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if (c == '"' || c == '\\')
            buffer_format(out, "\\%c", c);
        else if (c < sizeof named / sizeof *named && named[c][0])
            buffer_text(out, named[c]);
        else if (c < 0x20)
            buffer_format(out, "\\u%04x", c);
        else
            buffer_add(out, &t.at[i], 1);
    }
    buffer_text(out, "\"");
}

/* 1 when Python's repr writes the character as it is. */
static int is_printable(const pcre2_code *not_printable, pcre2_match_data *match, const char *at, size_t n) {
    if (n == 1) return (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f;
    return pcre2_match(not_printable, (PCRE2_SPTR)at, n, 0, 0, match, NULL) < 0;
}

static void add_repr_string(struct buffer *out, struct text t) {
    int code;
    PCRE2_SIZE where;
    pcre2_code *pattern =
        pcre2_compile((PCRE2_SPTR) "[\\p{C}\\p{Z}]", PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &where, NULL);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!pattern || !match) out->failed = 1;
    char quote = memchr(t.at, '\'', t.n) && !memchr(t.at, '"', t.n) ? '"' : '\'';
    buffer_add(out, &quote, 1);
    uint32_t c = 0;
    for (size_t n; !out->failed && (n = utf8_decode(t.at, t.n, &c)); t.at += n, t.n -= n) {
        if (c == (unsigned char)quote || c == '\\')
            buffer_format(out, "\\%c", (int)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            buffer_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (is_printable(pattern, match, t.at, n))
            buffer_add(out, t.at, n);
        else
            buffer_format(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    buffer_add(out, &quote, 1);
    pcre2_match_data_free(match), pcre2_code_free(pattern);
}

/* How the two notations differ. */
struct notation {
    const char *yes, *no, *nothing;
    void (*add_string)(struct buffer *out, struct text t);
};

static void add_value(struct buffer *out, const json_t *v, const struct notation *as);

static void add_members(struct buffer *out, const json_t *v, const struct notation *as) {
    const char *key, *between = "";
    size_t length;
    json_t *member;
    buffer_text(out, "{");
    json_object_keylen_foreach((json_t *)v, key, length, member) {
        buffer_text(out, between);
        as->add_string(out, (struct text){key, length});
        buffer_text(out, ": ");
        add_value(out, member, as);
        between = ", ";
    }
    buffer_text(out, "}");
}

static void add_value(struct buffer *out, const json_t *v, const struct notation *as) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        add_members(out, v, as);
        break;
    case JSON_ARRAY:
        buffer_text(out, "[");
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i) buffer_text(out, ", ");
            add_value(out, json_array_get(v, i), as);
        }
        buffer_text(out, "]");
        break;
    case JSON_STRING:
        as->add_string(out, text_of(v));
        break;
    case JSON_INTEGER:
        buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        add_real(out, json_real_value(v));
        break;
    case JSON_TRUE:
        buffer_text(out, as->yes);
        break;
    case JSON_FALSE:
        buffer_text(out, as->no);
        break;
    default:
        buffer_text(out, as->nothing);
    }
}

void json_as_python(struct buffer *out, const json_t *v) {
    static const struct notation json = {"true", "false", "null", add_json_string};
    add_value(out, v, &json);
}

void json_as_str(struct buffer *out, const json_t *v) {
    static const struct notation repr = {"True", "False", "None", add_repr_string};
    if (json_is_string(v))
        buffer_add(out, json_string_value(v), json_string_length(v));
    else
        add_value(out, v, &repr);
}
