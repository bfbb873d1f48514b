/* SPDX-License-Identifier: Apache-2.0 */
/* numeric_equiv: a small reader of LaTeX numbers. */
#include "eval/tasks/numeric_equiv.h"

#include <math.h>
#include <string.h>

#include "eval/extract.h"
#include "eval/tasks/math_text.h"

/* What is read and where; failed: it is no number. depth bounds the recursion. */
struct reader {
    struct pystr a;
    size_t at;
    int depth, failed;
};

static long double read_sum(struct reader *r);

static void skip_blanks(struct reader *r) {
    static const char *const blanks[] = {"\\,", "\\!", "\\;", "\\:", "\\ ", "~"};
    for (int again = 1; again;) {
        again = 0;
        while (r->at < r->a.n && strchr(" \t\r\n", r->a.s[r->at]) && r->a.s[r->at]) r->at++;
        for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++)
            if (pystr_starts(pystr_from(r->a, r->at), blanks[i])) r->at += strlen(blanks[i]), again = 1;
    }
}

/* Takes the word if it comes next. A command's name must end there. */
static int take(struct reader *r, const char *word) {
    skip_blanks(r);
    struct pystr rest = pystr_from(r->a, r->at);
    size_t n = strlen(word);
    if (!pystr_starts(rest, word)) return 0;
    int letter = n < rest.n && (rest.s[n] | 32) >= 'a' && (rest.s[n] | 32) <= 'z';
    if (word[0] == '\\' && n > 2 && letter) return 0;
    r->at += n;
    return 1;
}

static int digit(const struct reader *r, size_t ahead) {
    return r->at + ahead < r->a.n && r->a.s[r->at + ahead] >= '0' && r->a.s[r->at + ahead] <= '9';
}

/* 12, 1,234,567, 0.5, .5 */
static long double read_number(struct reader *r) {
    long double value = 0, scale = 1;
    int digits = 0;
    while (digit(r, 0) || (digits && r->at < r->a.n && r->a.s[r->at] == ',' && digit(r, 1) && digit(r, 2) &&
                           digit(r, 3) && !digit(r, 4))) {
        if (r->a.s[r->at] != ',') value = value * 10 + (r->a.s[r->at] - '0'), digits++;
        r->at++;
    }
    if (r->at < r->a.n && r->a.s[r->at] == '.' && (digits || digit(r, 1)))
        for (r->at++; digit(r, 0); r->at++, digits++) value += (r->a.s[r->at] - '0') * (scale /= 10);
    if (!digits) r->failed = 1;
    return value;
}

/* {sum}, or one digit or letter as in \frac12. */
static long double read_argument(struct reader *r) {
    skip_blanks(r);
    if (take(r, "{")) {
        long double value = read_sum(r);
        if (!take(r, "}")) r->failed = 1;
        return value;
    }
    if (digit(r, 0)) return r->a.s[r->at++] - '0';
    if (take(r, "\\pi")) return acosl(-1.0L);
    r->failed = 1;
    return 0;
}

static long double read_root(struct reader *r) {
    long double degree = 2;
    if (take(r, "[")) {
        degree = read_sum(r);
        if (!take(r, "]")) r->failed = 1;
    }
    long double of = read_argument(r);
    if (of < 0 && degree == 3) return -cbrtl(-of);
    if (of < 0 || degree == 0) r->failed = 1;
    return degree == 2 ? sqrtl(of < 0 ? 0 : of) : powl(of < 0 ? 0 : of, 1 / (degree == 0 ? 1 : degree));
}

static int take_frac(struct reader *r) {
    return take(r, "\\frac") || take(r, "\\dfrac") || take(r, "\\tfrac");
}

static long double read_frac(struct reader *r) {
    long double above = read_argument(r), below = read_argument(r);
    if (below == 0) r->failed = 1;
    return below == 0 ? 0 : above / below;
}

static long double read_base(struct reader *r) {
    if (take_frac(r)) return read_frac(r);
    if (take(r, "\\sqrt")) return read_root(r);
    if (take(r, "\\pi") || take(r, "π")) return acosl(-1.0L);
    if (take(r, "(") || take(r, "{")) {
        char close[2] = {r->a.s[r->at - 1] == '(' ? ')' : '}', 0};
        long double value = read_sum(r);
        if (!take(r, close)) r->failed = 1;
        return value;
    }
    skip_blanks(r);
    if (r->at < r->a.n && r->a.s[r->at] == 'e') return r->at++, expl(1);
    long double value = read_number(r);
    /* A mixed number: 3\frac{1}{2}. */
    if (!r->failed && value == floorl(value) && take_frac(r)) value += read_frac(r);
    return value;
}

static long double read_power(struct reader *r) {
    if (++r->depth > 100) r->failed = 1;
    if (r->failed) return 0;
    if (take(r, "-")) {
        long double value = -read_power(r);
        return r->depth--, value;
    }
    long double value = read_base(r);
    if (take(r, "^")) value = powl(value, take(r, "-") ? -read_argument(r) : read_argument(r));
    r->depth--;
    return value;
}

/* 1: another factor follows without a sign: "2\pi", "3(4)". */
static int factor_follows(struct reader *r) {
    skip_blanks(r);
    struct pystr rest = pystr_from(r->a, r->at);
    return pystr_starts(rest, "\\sqrt") || pystr_starts(rest, "\\pi") || pystr_starts(rest, "π") ||
           pystr_starts(rest, "(") || pystr_starts(rest, "\\frac") || pystr_starts(rest, "e");
}

static long double read_product(struct reader *r) {
    long double value = read_power(r);
    while (!r->failed) {
        if (take(r, "\\cdot") || take(r, "\\times") || take(r, "*"))
            /* NOLINTNEXTLINE(bugprone-branch-clone): as when the sign is left out, the last case */
            value *= read_power(r);
        else if (take(r, "/") || take(r, "\\div")) {
            long double by = read_power(r);
            if (by == 0)
                r->failed = 1;
            else
                value /= by;
        } else if (factor_follows(r))
            value *= read_power(r);
        else
            break;
    }
    return value;
}

static long double read_sum(struct reader *r) {
    if (++r->depth > 100) r->failed = 1;
    (void)take(r, "+");
    long double value = r->failed ? 0 : read_product(r);
    while (!r->failed) {
        if (take(r, "+"))
            value += read_product(r);
        else if (take(r, "-"))
            value -= read_product(r);
        else
            break;
    }
    r->depth--;
    return value;
}

/* Without what says nothing about the value: dollars, \left, \text{...}, degrees, percent, a full stop. */
static void plain_form(struct pystr a, struct buffer *out) {
    static const char *const gone[] = {
        "\\$|\\\\left(?![a-z])|\\\\right(?![a-z])|\\\\!|\\^\\{?\\\\circ\\}?|\\\\?%|\\\\displaystyle",
        "\\\\(text|mbox|mathrm|textbf)\\{[^{}]*\\}",
        "^\\s*[a-zA-Z]\\s*(=|\\\\in\\b)\\s*|\\.\\s*$",
    };
    pystr_put(out, a);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        struct buffer next = {0};
        struct pattern *p = pattern_open(gone[i], 0, NULL);
        if (p) {
            pattern_remove(p, pystr_strip(pystr_in(out)), &next);
            buffer_free(out);
            *out = next;
        }
        pattern_close(p);
    }
}

int numeric_value(struct pystr a, long double *value) {
    struct reader r = {.a = a};
    *value = read_sum(&r);
    skip_blanks(&r);
    return !r.failed && r.at == a.n && isfinite(*value);
}

static int same_value(struct pystr a, struct pystr b) {
    long double x, y;
    if (!numeric_value(a, &x) || !numeric_value(b, &y)) return 0;
    long double size = fmaxl(fabsl(x), fabsl(y));
    return fabsl(x - y) <= 1e-12L * size || x == y;
}

static int opens(char c) {
    return c == '(' || c == '[' || c == '{';
}
static int closes(char c) {
    return c == ')' || c == ']' || c == '}';
}

/* The next member of a list, up to a comma outside brackets; 0: none is left. */
static int next_member(struct pystr *rest, struct pystr *member) {
    if (!rest->s) return 0;
    int open = 0;
    for (size_t i = 0; i < rest->n; i++) {
        open += opens(rest->s[i]) - closes(rest->s[i]);
        if (rest->s[i] != ',' || open != 0) continue;
        *member = pystr_strip(pystr_slice(*rest, 0, i));
        *rest = pystr_from(*rest, i + 1);
        return 1;
    }
    *member = pystr_strip(*rest);
    rest->s = NULL;
    return 1;
}

static int same_list(struct pystr a, struct pystr b, int depth);

static int same_plain(struct pystr a, struct pystr b, int depth) {
    a = pystr_strip(a);
    b = pystr_strip(b);
    return math_equal_text(a, b) || same_value(a, b) || (depth < 8 && same_list(a, b, depth + 1));
}

/* Both are bracketed alike, or not at all, and have equal members, more than one. */
static int same_list(struct pystr a, struct pystr b, int depth) {
    int bracketed = a.n > 1 && b.n > 1 && opens(a.s[0]) && closes(a.s[a.n - 1]);
    if (bracketed) {
        if (a.s[0] != b.s[0] || a.s[a.n - 1] != b.s[b.n - 1]) return 0;
        a = pystr_slice(a, 1, a.n - 2);
        b = pystr_slice(b, 1, b.n - 2);
    }
    struct pystr x, y;
    int n = 0;
    for (;; n++) {
        int more = next_member(&a, &x), other = next_member(&b, &y);
        if (more != other) return 0;
        if (!more) return n > 1;
        if (n == 0 && !a.s && !bracketed) return 0; /* one member is what was asked about */
        if (!same_plain(x, y, depth)) return 0;
    }
}

int numeric_equiv(struct pystr a, struct pystr b) {
    struct buffer x = {0}, y = {0};
    plain_form(a, &x);
    plain_form(b, &y);
    /* 10^-12 of a text that is only units or words would be an empty text: those are compared as they came.
     */
    int words = x.n == 0 || y.n == 0;
    int same = math_equal_text(pystr_strip(a), pystr_strip(b)) ||
               (!words && same_plain(pystr_in(&x), pystr_in(&y), 0));
    if (!same && words) {
        struct pattern *p = pattern_open("\\\\(text|mbox|mathrm|textbf)\\b|[{}$\\\\\\s.]", 0, NULL);
        struct buffer s = {0}, t = {0};
        if (p) pattern_remove(p, a, &s), pattern_remove(p, b, &t);
        same = s.n > 0 && pystr_equal(pystr_in(&s), pystr_in(&t));
        buffer_free(&s);
        buffer_free(&t);
        pattern_close(p);
    }
    buffer_free(&x);
    buffer_free(&y);
    return same;
}

struct pystr numeric_answer(struct pystr worked) {
    struct pattern *p =
        pattern_open("[Tt]he final answer is:?(.*?)(?:\\. I hope it is correct|\\n|$)", 0, NULL);
    struct matches m = {.text = worked};
    struct pystr found = {0};
    while (p && pattern_next(p, &m)) found = pystr_strip(m.group[0]);
    pattern_close(p);
    if (found.n) return math_between_dollars(found);
    if (math_boxed(worked, &found)) return found;
    size_t end = pystr_rfind(worked, pystr_of("$"));
    if (end < worked.n) {
        size_t start = pystr_rfind(pystr_slice(worked, 0, end), pystr_of("$"));
        if (start < end) return pystr_slice(worked, start + 1, end - start - 1);
    }
    worked = pystr_strip(worked);
    size_t line = pystr_rfind(worked, pystr_of("\n"));
    return line < worked.n ? pystr_from(worked, line + 1) : worked;
}
