/* SPDX-License-Identifier: Apache-2.0 */
/* chat_calls: tool calls in a model's answer. LFM2 writes them as Python calls with literal arguments; they
 * are read by a parser for exactly that, nothing is ever evaluated. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat_parts.h"

enum { MAX_DEPTH = 64 };

/* Reads at[0..n). Every function returns NULL or 0 when the text is not what it reads. */
struct reader {
    const char *at;
    size_t n;
    int depth;
};

static json_t *read_value(struct reader *r);

static void skip(struct reader *r, size_t n) {
    r->at += n, r->n -= n;
}

static void skip_space(struct reader *r) {
    while (r->n && strchr(" \t\r\n", r->at[0]) && r->at[0]) skip(r, 1);
}

/* The next visible character is c, and it is taken. */
static int take(struct reader *r, char c) {
    skip_space(r);
    if (r->n == 0 || r->at[0] != c) return 0;
    skip(r, 1);
    return 1;
}

static int is_name_character(unsigned char c, int first) {
    return c == '_' || c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

/* An identifier; with dots a qualified one ("files.search"). */
static int read_name(struct reader *r, int dots, struct text *name) {
    skip_space(r);
    name->at = r->at;
    int first = 1;
    while (r->n) {
        unsigned char c = (unsigned char)r->at[0];
        if (is_name_character(c, first))
            first = 0;
        else if (dots && c == '.' && !first)
            first = 1;
        else
            break;
        skip(r, 1);
    }
    name->n = (size_t)(r->at - name->at);
    return name->n > 0 && !first;
}

/* n hexadecimal digits. */
static int read_hex(struct reader *r, size_t n, uint32_t *value) {
    *value = 0;
    if (r->n < n) return 0;
    for (size_t i = 0; i < n; i++, skip(r, 1)) {
        char c = r->at[0];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return 0;
        *value = *value << 4 | (uint32_t)digit;
    }
    return 1;
}

/* What follows a backslash. */
static int read_escape(struct reader *r, struct buffer *out) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    if (r->n == 0) return 0;
    char c = r->at[0], bytes[4];
    const char *found = c ? strchr(from, c) : NULL;
    uint32_t code;
    skip(r, 1);
    if (found) {
        buffer_add(out, &to[found - from], 1);
    } else if (c == '\n') { /* a line that goes on */
    } else if (c == 'x' || c == 'u' || c == 'U') {
        if (!read_hex(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code)) return 0;
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
        buffer_add(out, bytes, utf8_encode(code, bytes));
    } else if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && r->n && r->at[0] >= '0' && r->at[0] <= '7'; i++, skip(r, 1))
            code = code * 8 + (uint32_t)(r->at[0] - '0');
        buffer_add(out, bytes, utf8_encode(code, bytes));
    } else { /* Python keeps a backslash that begins no escape */
        buffer_add(out, "\\", 1);
        buffer_add(out, &c, 1);
    }
    return 1;
}

static json_t *read_string(struct reader *r) {
    char quote = r->at[0];
    struct buffer b = {0};
    int ok = 1;
    skip(r, 1);
    while (ok && r->n && r->at[0] != quote) {
        if (r->at[0] == '\\') {
            skip(r, 1);
            ok = read_escape(r, &b);
        } else {
            buffer_add(&b, r->at, 1);
            skip(r, 1);
        }
    }
    ok = ok && r->n && !b.failed;
    if (ok) skip(r, 1);
    json_t *v = ok ? json_stringn(b.n ? b.data : "", b.n) : NULL; /* NULL also when it is not UTF-8 */
    buffer_free(&b);
    return v;
}

static json_t *read_number(struct reader *r) {
    char digits[64];
    size_t n = 0;
    int real = 0;
    for (; n < r->n && n < sizeof digits - 1 && r->at[n] && strchr("+-.0123456789eE", r->at[n]); n++) {
        digits[n] = r->at[n];
        real |= strchr(".eE", r->at[n]) != NULL;
    }
    digits[n] = 0;
    skip(r, n);
    char *end = digits;
    errno = 0;
    json_int_t whole = real ? 0 : strtoll(digits, &end, 10);
    double value = real ? strtod(digits, &end) : 0;
    if (n == 0 || *end || end == digits || (!real && errno) || !isfinite(value)) return NULL;
    return real ? json_real(value) : json_integer(whole);
}

/* True, False, None, and the spellings of JSON, which models mix in. */
static json_t *read_word(struct reader *r) {
    static const struct {
        const char *word;
        int value;
    } words[] = {{"True", 1}, {"true", 1}, {"False", 0}, {"false", 0}, {"None", -1}, {"null", -1}};
    struct text name;
    if (!read_name(r, 0, &name)) return NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].word) == name.n && memcmp(words[i].word, name.at, name.n) == 0)
            return words[i].value < 0 ? json_null() : json_boolean(words[i].value);
    return NULL;
}

/* Reads "item, item" up to and with the closing bracket; a comma may stand before it. */
static int read_items(struct reader *r, char close, int (*item)(struct reader *, json_t *), json_t *into) {
    if (++r->depth > MAX_DEPTH) return 0;
    while (!take(r, close)) {
        if (!item(r, into)) return 0;
        if (take(r, ',')) continue;
        if (!take(r, close)) return 0;
        break;
    }
    r->depth--;
    return 1;
}

static int read_element(struct reader *r, json_t *list) {
    json_t *v = read_value(r);
    return v && json_array_append_new(list, v) == 0;
}

/* A name must not come twice. Takes value, which may be NULL. */
static int set_member(json_t *object, const char *key, size_t n, json_t *value) {
    if (value && !json_object_getn(object, key, n) && json_object_setn_new(object, key, n, value) == 0)
        return 1;
    if (value && json_object_getn(object, key, n)) json_decref(value);
    return 0;
}

static int read_entry(struct reader *r, json_t *object) {
    skip_space(r);
    if (r->n == 0 || (r->at[0] != '"' && r->at[0] != '\'')) return 0;
    json_t *key = read_string(r);
    int ok = key && take(r, ':') &&
             set_member(object, json_string_value(key), json_string_length(key), read_value(r));
    json_decref(key);
    return ok;
}

static int read_argument(struct reader *r, json_t *object) {
    struct text name;
    if (!read_name(r, 0, &name) || !take(r, '=')) return 0;
    return set_member(object, name.at, name.n, read_value(r));
}

static json_t *read_group(struct reader *r, char close, int (*item)(struct reader *, json_t *),
                          json_t *into) {
    skip(r, 1);
    if (into && read_items(r, close, item, into)) return into;
    json_decref(into);
    return NULL;
}

static json_t *read_value(struct reader *r) {
    skip_space(r);
    if (r->n == 0) return NULL;
    switch (r->at[0]) {
    case '"':
    case '\'':
        return read_string(r);
    case '[':
        return read_group(r, ']', read_element, json_array());
    case '(':
        return read_group(r, ')', read_element, json_array());
    case '{':
        return read_group(r, '}', read_entry, json_object());
    default:
        return is_name_character((unsigned char)r->at[0], 1) ? read_word(r) : read_number(r);
    }
}

static int read_call(struct reader *r, json_t *calls) {
    struct text name;
    if (!read_name(r, 1, &name)) return 0;
    json_t *call = take(r, '(') ? json_object() : NULL, *arguments = json_object();
    if (!call || !read_items(r, ')', read_argument, arguments)) {
        json_decref(call), json_decref(arguments);
        return 0;
    }
    int ok = json_object_set_new(call, "name", json_stringn(name.at, name.n)) == 0;
    ok = json_object_set_new(call, "arguments", arguments) == 0 && ok;
    if (ok) return json_array_append_new(calls, call) == 0;
    json_decref(call);
    return 0;
}

/* Appends what read found, if all of it is well. */
static int append_all(json_t *calls, json_t *found, int ok) {
    ok = ok && json_array_size(found) > 0 && json_array_extend(calls, found) == 0;
    json_decref(found);
    return ok;
}

int calls_of_python(struct text t, json_t *calls) {
    struct reader r = {t.at, t.n, 0};
    json_t *found = json_array();
    int ok = found && take(&r, '[') && read_items(&r, ']', read_call, found);
    skip_space(&r);
    return append_all(calls, found, ok && r.n == 0);
}

static int call_of_json(struct text t, json_t *calls) {
    json_t *call = json_loadb(t.at, t.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *name = json_object_get(call, "name"), *arguments = json_object_get(call, "arguments");
    json_t *found = json_array();
    int ok = found && json_is_string(name) && json_is_object(arguments) &&
             json_array_append_new(found, json_pack("{s:O, s:O}", "name", name, "arguments", arguments)) == 0;
    json_decref(call);
    return append_all(calls, found, ok);
}

enum status chat_parse_answer(enum chat_template template, const char *text, size_t n, struct buffer *content,
                              json_t **calls, struct error *e) {
    int is_qwen = template == CHAT_QWEN3;
    const char *open = is_qwen ? "<tool_call>" : "<|tool_call_start|>";
    const char *close = is_qwen ? "</tool_call>" : "<|tool_call_end|>";
    struct text rest = {text, n};
    const char *start;
    if (!(*calls = json_array())) return fail(e, ERR_MEMORY, "out of memory for tool calls");
    while ((start = text_find(rest, open))) {
        size_t before = (size_t)(start - rest.at), opened = before + strlen(open);
        struct text inside = {rest.at + opened, rest.n - opened};
        const char *end = text_find(inside, close);
        if (!end) break;
        inside.n = (size_t)(end - inside.at);
        size_t all = opened + inside.n + strlen(close);
        int ok = is_qwen ? call_of_json(inside, *calls) : calls_of_python(inside, *calls);
        buffer_add(content, rest.at, ok ? before : all);
        rest.at += all, rest.n -= all;
    }
    buffer_add(content, rest.at, rest.n);
    enum status status = buffer_check(content, e);
    if (status != OK) json_decref(*calls), *calls = NULL;
    return status;
}
