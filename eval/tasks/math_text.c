/* SPDX-License-Identifier: Apache-2.0 */
/* math_text: strip_string and its helpers, whose exceptions are part of what they compute: an answer on which
 * they fail is compared as it is. */
#include "eval/tasks/math_text.h"

#include <string.h>

#include "eval/extract.h"

struct pystr math_between_dollars(struct pystr answer) {
    size_t first = pystr_find(answer, pystr_of("$")), last = pystr_rfind(answer, pystr_of("$"));
    return first < last && last < answer.n ? pystr_slice(answer, first + 1, last - first - 1) : answer;
}

/* last_boxed_only_string: 0 is None. */
static int last_boxed(struct pystr s, struct pystr *out) {
    struct pystr spaced = pystr_of("\\boxed ");
    size_t at = pystr_rfind(s, spaced);
    if (at < s.n) {
        struct pystr rest = pystr_from(s, at);
        struct pystr after = pystr_from(rest, spaced.n);
        *out = pystr_slice(rest, 0, spaced.n + pystr_find(after, pystr_of("$")));
        return 1;
    }
    at = pystr_rfind(s, pystr_of("\\boxed"));
    if (at >= s.n) at = pystr_rfind(s, pystr_of("\\fbox"));
    if (at >= s.n) return 0;
    int open = 0;
    for (size_t i = at; i < s.n; i++) {
        open += s.s[i] == '{';
        if (s.s[i] == '}' && --open == 0) return *out = pystr_slice(s, at, i - at + 1), 1;
    }
    return 0;
}

int math_boxed(struct pystr solution, struct pystr *out) {
    struct pystr boxed;
    if (!last_boxed(solution, &boxed)) return 0;
    struct pystr spaced = pystr_of("\\boxed "), braced = pystr_of("\\boxed{");
    if (pystr_find(boxed, spaced) < boxed.n) {
        if (!pystr_starts(boxed, "\\boxed ")) return 0;
        *out = pystr_from(boxed, spaced.n);
        return 1;
    }
    if (!pystr_starts(boxed, "\\boxed{") || !pystr_ends(boxed, "}")) return 0;
    *out = pystr_slice(boxed, braced.n, boxed.n - braced.n - 1);
    return 1;
}

static void replace(struct buffer *b, const char *from, const char *to) {
    struct buffer out = {0};
    pystr_replace(&out, pystr_in(b), from, to);
    buffer_free(b);
    *b = out;
}

static void replace_all(struct buffer *b, struct buffer *out) {
    buffer_free(b);
    *b = *out;
    *out = (struct buffer){0};
}

/* How often s occurs, not overlapping. */
static int occurrences(struct pystr a, const char *s) {
    int n = 0;
    for (size_t at; (at = pystr_find(a, pystr_of(s))) < a.n; n++) a = pystr_from(a, at + strlen(s));
    return n;
}

/* \sqrt3 -> \sqrt{3}. 0: Python raises IndexError at an empty rest. */
static int fix_sqrt(struct buffer *b) {
    struct pystr rest = pystr_in(b), mark = pystr_of("\\sqrt");
    struct buffer out = {0};
    size_t at = pystr_find(rest, mark);
    pystr_put(&out, pystr_slice(rest, 0, at));
    int good = 1;
    while (good && at < rest.n) {
        rest = pystr_from(rest, at + mark.n);
        at = pystr_find(rest, mark);
        struct pystr piece = pystr_slice(rest, 0, at);
        good = piece.n > 0;
        if (!good) break;
        buffer_text(&out, "\\sqrt");
        if (piece.s[0] != '{') {
            size_t n = pystr_next(piece, 0, NULL);
            buffer_text(&out, "{");
            pystr_put(&out, pystr_slice(piece, 0, n));
            buffer_text(&out, "}");
            piece = pystr_from(piece, n);
        }
        pystr_put(&out, piece);
    }
    if (good) replace_all(b, &out);
    buffer_free(&out);
    return good;
}

/* One piece after "\frac". 0: exception; -1: the whole text stays as it was. */
static int fix_one_frac(struct pystr piece, struct buffer *out) {
    if (piece.n == 0) return 0;
    buffer_text(out, "\\frac");
    if (piece.s[0] == '{') return pystr_put(out, piece), 1;
    size_t a = pystr_next(piece, 0, NULL);
    if (a >= piece.n) return -1;
    size_t b = pystr_next(piece, a, NULL);
    buffer_text(out, "{");
    pystr_put(out, pystr_slice(piece, 0, a));
    buffer_text(out, "}");
    int braced = piece.s[a] == '{';
    buffer_text(out, braced ? "" : "{");
    pystr_put(out, pystr_slice(piece, a, b));
    buffer_text(out, braced ? "" : "}");
    pystr_put(out, pystr_from(piece, a + b));
    return 1;
}

/* \frac12 -> \frac{1}{2}. */
static int fix_fracs(struct buffer *b) {
    struct pystr rest = pystr_in(b), mark = pystr_of("\\frac");
    struct buffer out = {0};
    size_t at = pystr_find(rest, mark);
    pystr_put(&out, pystr_slice(rest, 0, at));
    int good = 1;
    while (good > 0 && at < rest.n) {
        rest = pystr_from(rest, at + mark.n);
        at = pystr_find(rest, mark);
        good = fix_one_frac(pystr_slice(rest, 0, at), &out);
    }
    if (good > 0) replace_all(b, &out);
    buffer_free(&out);
    return good != 0;
}

/* Would Python's int() take it? Its digits may be any script's. */
static int is_int(struct pystr a) {
    struct pattern *p = pattern_open("\\A[" PY_SPACE "]*[+-]?\\d+(_\\d+)*[" PY_SPACE "]*\\z", 0, NULL);
    int good = p && pattern_found(p, a);
    pattern_close(p);
    size_t digits = 0;
    for (size_t i = 0; i < a.n; i++) digits += a.s[i] >= '0' && a.s[i] <= '9';
    return good && digits <= 4300; /* more raise ValueError too */
}

/* Is it what str(int(a)) gives? */
static int is_plain_int(struct pystr a) {
    size_t at = a.n && a.s[0] == '-';
    if (at >= a.n || (a.s[at] == '0' && a.n > 1)) return 0;
    for (; at < a.n; at++)
        if (a.s[at] < '0' || a.s[at] > '9') return 0;
    return 1;
}

/* a/b -> \frac{a}{b} for whole numbers. 0: ValueError. */
static int fix_slash(struct buffer *b) {
    struct pystr s = pystr_in(b);
    if (occurrences(s, "/") != 1) return 1;
    size_t at = pystr_find(s, pystr_of("/"));
    struct pystr above = pystr_slice(s, 0, at), below = pystr_from(s, at + 1);
    if (!is_int(above) || !is_int(below)) return 0;
    if (!is_plain_int(above) || !is_plain_int(below)) return 1;
    struct buffer out = {0};
    buffer_text(&out, "\\frac{");
    pystr_put(&out, above);
    buffer_text(&out, "}{");
    pystr_put(&out, below);
    buffer_text(&out, "}");
    replace_all(b, &out);
    return 1;
}

/* Keeps what stands before "\text{ ", where units begin. 0: there are two of them. */
static int drop_units(struct buffer *b) {
    int n = occurrences(pystr_in(b), "\\text{ ");
    if (n == 1) b->n = pystr_find(pystr_in(b), pystr_of("\\text{ "));
    return n <= 1;
}

/* strip_string. 0: it raised an exception. */
static int strip_string(struct pystr s, struct buffer *b) {
    static const char *const before[][2] = {
        {"\n", ""},     {"\\!", ""},     {"\\\\", "\\"},    {"tfrac", "frac"}, {"dfrac", "frac"},
        {"\\left", ""}, {"\\right", ""}, {"^{\\circ}", ""}, {"^\\circ", ""},   {"\\$", ""},
    };
    static const char *const after[][2] = {{"\\%", ""}, {" .", " 0."}, {"{.", "{0."}};
    pystr_put(b, s);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) replace(b, before[i][0], before[i][1]);
    if (!drop_units(b)) return 0;
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) replace(b, after[i][0], after[i][1]);
    if (b->n == 0) return 1;
    if (b->data[0] == '.') {
        struct buffer out = {0};
        buffer_text(&out, "0");
        pystr_put(&out, pystr_in(b));
        replace_all(b, &out);
    }
    if (occurrences(pystr_in(b), "=") == 1) {
        size_t at = pystr_find(pystr_in(b), pystr_of("="));
        if (pystr_length(pystr_slice(pystr_in(b), 0, at)) <= 2) {
            struct buffer out = {0};
            pystr_put(&out, pystr_from(pystr_in(b), at + 1));
            replace_all(b, &out);
        }
    }
    if (!fix_sqrt(b)) return 0;
    replace(b, " ", "");
    if (!fix_fracs(b)) return 0;
    if (pystr_is(pystr_in(b), "0.5")) replace(b, "0.5", "\\frac{1}{2}");
    return fix_slash(b);
}

int math_equal_text(struct pystr a, struct pystr b) {
    struct buffer x = {0}, y = {0};
    int good = strip_string(a, &x) && strip_string(b, &y);
    int equal = good ? pystr_equal(pystr_in(&x), pystr_in(&y)) : pystr_equal(a, b);
    buffer_free(&x);
    buffer_free(&y);
    return equal;
}

/* A list of whole numbers. 0: no such list. */
static int list_of_ints(struct pystr s, struct buffer *out) {
    struct pystr inside = pystr_slice(s, 1, s.n - 2);
    buffer_text(out, "[");
    for (int i = 0; inside.n; i++) {
        size_t at = pystr_find(inside, pystr_of(","));
        struct pystr member = pystr_strip(pystr_slice(inside, 0, at));
        if (at < inside.n && pystr_strip(inside).n == 1 && i == 0) return 0;
        if (member.n == 0 && at >= inside.n && i > 0) break; /* a comma at the end */
        if (!is_plain_int(member)) return 0;
        buffer_text(out, i ? ", " : "");
        pystr_put(out, member);
        inside = pystr_from(inside, at + 1);
    }
    buffer_text(out, "]");
    return 1;
}

void math_target(struct pystr answer, struct buffer *out) {
    struct buffer list = {0};
    if (pystr_starts(answer, "[") && pystr_ends(answer, "]") && list_of_ints(answer, &list))
        pystr_put(out, pystr_in(&list));
    else
        pystr_put(out, answer);
    buffer_free(&list);
}
