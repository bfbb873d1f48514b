/* SPDX-License-Identifier: Apache-2.0 */
/* extract: the filters regex, remove_whitespace and multi_choice_regex, and the metric exact_match. */
#include "eval/extract.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

struct pattern *pattern_open(const char *expression, unsigned flags, struct error *e) {
    struct pattern *p = calloc(1, sizeof *p);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code = 0;
    PCRE2_SIZE at = 0;
    if (p && context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* Python's '.' stops at \n only */
        /* \C, which Python has not, would end matches inside characters, where the next must not begin. */
        /* Where to start a caseless match PCRE2 before 10.43 looks for in both cases, the missing one to the
         * end of the text for every match: a minute for a megabyte of one letter. */
        uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                           (flags & PATTERN_IGNORECASE ? PCRE2_CASELESS | PCRE2_NO_START_OPTIMIZE : 0) |
                           (flags & PATTERN_MULTILINE ? PCRE2_MULTILINE | PCRE2_ALT_CIRCUMFLEX : 0) |
                           (flags & PATTERN_DOTALL ? PCRE2_DOTALL : 0);
        p->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, options, &code, &at, context);
        p->limits = pcre2_match_context_create(NULL);
        p->data = p->code ? pcre2_match_data_create_from_pattern(p->code, NULL) : NULL;
    }
    pcre2_compile_context_free(context);
    if (p && p->code && p->limits && p->data) {
        pcre2_set_heap_limit(p->limits, 256 * 1024); /* KiB */
        return p;
    }
    fail(e, p && code < 0 ? ERR_MEMORY : ERR_FORMAT, "expression %s cannot be used (error %d at %zu)",
         expression, code, (size_t)at);
    pattern_close(p);
    return NULL;
}

void pattern_close(struct pattern *p) {
    if (!p) return;
    pcre2_match_data_free(p->data);
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    free(p);
}

static int well_formed(struct pystr a) {
    for (size_t at = 0, n; at < a.n; at += n)
        if (!(n = utf8_decode(a.s + at, a.n - at, NULL))) return 0;
    return 1;
}

/* PCRE2 does not say how many steps it took, so a match that did not end within few is tried again with more,
 * and those count. */
static int match(struct pattern *p, struct matches *m, uint32_t options) {
    enum { FEW = 10000, MOST = 20000000 };
    PCRE2_SPTR subject = (PCRE2_SPTR)(m->text.s ? m->text.s : "");
    for (int64_t steps = m->effort ? FEW : MOST;; steps *= 8) {
        if (steps > MOST) steps = MOST;
        if (m->effort && steps > FEW) {
            if (steps > *m->effort) steps = *m->effort;
            if (steps <= 0) return PCRE2_ERROR_MATCHLIMIT;
            *m->effort -= steps;
        }
        pcre2_set_match_limit(p->limits, (uint32_t)steps);
        int n = pcre2_match(p->code, subject, m->text.n, m->at, options, p->data, p->limits);
        if (n != PCRE2_ERROR_MATCHLIMIT || steps == MOST) return n;
    }
}

int pattern_next(struct pattern *p, struct matches *m) {
    if (!m->started) {
        m->started = 1;
        m->ended = !well_formed(m->text);
    }
    if (m->ended) return 0;
    uint32_t options = PCRE2_NO_UTF_CHECK | (m->after_empty ? PCRE2_NOTEMPTY_ATSTART : 0);
    int n = match(p, m, options);
    const PCRE2_SIZE *where = pcre2_get_ovector_pointer(p->data);
    /* \K under a lookaround, in an expression that a data set brings, can put the start behind the end. */
    if (n <= 0 || where[0] > where[1] || where[0] < m->at) return m->ended = 1, 0;
    m->whole = pystr_slice(m->text, where[0], where[1] - where[0]);
    uint32_t groups = pcre2_get_ovector_count(p->data) - 1;
    m->n_groups = groups < 4 ? (int)groups : 4;
    for (int i = 0; i < m->n_groups; i++) {
        PCRE2_SIZE start = where[2 * i + 2], end = where[2 * i + 3];
        m->group[i] =
            i + 1 < n && start != PCRE2_UNSET ? pystr_slice(m->text, start, end - start) : pystr_of("");
    }
    m->at = where[1];
    m->after_empty = where[0] == where[1];
    return 1;
}

int pattern_found(struct pattern *p, struct pystr a) {
    struct matches m = {.text = a};
    return pattern_next(p, &m);
}

long pattern_count(const char *expression, unsigned flags, struct pystr a, int64_t *effort) {
    struct pattern *p = pattern_open(expression, flags, NULL);
    if (!p) return -1;
    struct matches m = {.text = a, .effort = effort};
    long n = 0;
    while (pattern_next(p, &m)) n++;
    pattern_close(p);
    return n;
}

void pattern_replace(struct pattern *p, struct pystr a, const char *replacement, struct buffer *out) {
    struct matches m = {.text = a};
    size_t kept = 0;
    while (pattern_next(p, &m)) {
        size_t start = (size_t)(m.whole.s - a.s);
        pystr_put(out, pystr_slice(a, kept, start - kept));
        for (const char *c = replacement; *c; c++) {
            if (*c != '$')
                buffer_add(out, c, 1);
            else if (*++c == '0')
                pystr_put(out, m.whole);
            else if (*c - '1' < m.n_groups)
                pystr_put(out, m.group[*c - '1']);
        }
        kept = start + m.whole.n;
    }
    pystr_put(out, pystr_from(a, kept));
}

void pattern_remove(struct pattern *p, struct pystr a, struct buffer *out) {
    pattern_replace(p, a, "", out);
}

/* re.findall(...)[select], of several groups the first that is not empty. 0: there is no match. *only_empty:
 * there is one, all of whose groups are empty. */
static int select_match(struct pattern *p, struct pystr a, int select, struct pystr *out, int *only_empty) {
    struct matches m = {.text = a}, last = {0};
    int found = 0;
    while (pattern_next(p, &m)) {
        last = m;
        found = 1;
        if (select == 0) break;
    }
    *only_empty = 0;
    if (!found) return 0;
    *out = last.n_groups ? last.group[0] : last.whole;
    if (last.n_groups > 1) {
        int i = 0;
        while (i < last.n_groups && last.group[i].n == 0) i++;
        *only_empty = i == last.n_groups;
        *out = *only_empty ? pystr_of("") : last.group[i];
    }
    *out = pystr_strip(*out);
    return 1;
}

static enum status apply_regex(const struct filter_step *s, struct pystr answer, struct buffer *out,
                               struct error *e) {
    struct pattern *p = pattern_open(s->regex, 0, e);
    if (!p) return e ? e->code : ERR_FORMAT;
    struct pystr match;
    int only_empty;
    if (select_match(p, answer, s->select, &match, &only_empty) && !only_empty)
        pystr_put(out, match);
    else
        buffer_text(out, "[invalid]");
    pattern_close(p);
    return OK;
}

/* Lower case and without Unicode punctuation. */
static void ignore_marks(struct pattern *punctuation, struct pystr a, struct buffer *out) {
    struct buffer lower = {0};
    pystr_lower(&lower, a);
    pattern_remove(punctuation, pystr_in(&lower), out);
    buffer_free(&lower);
}

enum { MAX_CHOICES = 26 };

/* The length of re.escape(a), which is what lm-eval sorts by. */
static size_t escaped_length(struct pystr a) {
    size_t n = pystr_length(a);
    for (size_t i = 0; i < a.n; i++) n += a.s[i] && strchr("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", a.s[i]) != NULL;
    return n;
}

/* The choices as an alternation, the longest first. */
static void alternation(const struct buffer *choice, int n, struct buffer *out) {
    int order[MAX_CHOICES];
    for (int i = 0; i < n; i++) {
        int at = i;
        size_t length = escaped_length(pystr_in(&choice[i]));
        for (; at > 0 && escaped_length(pystr_in(&choice[order[at - 1]])) < length; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 0; i < n; i++) {
        struct pystr a = pystr_in(&choice[order[i]]);
        if (i) buffer_text(out, "|");
        for (size_t k = 0; k < a.n; k++) {
            if (a.s[k] == 0) {
                buffer_text(out, "\\x00");
                continue;
            }
            if ((unsigned char)a.s[k] < 0x80 && !(a.s[k] >= '0' && a.s[k] <= '9') &&
                !((a.s[k] | 32) >= 'a' && (a.s[k] | 32) <= 'z'))
                buffer_text(out, "\\");
            buffer_add(out, &a.s[k], 1);
        }
    }
}

/* The answer names a choice by its text: the text's letter, or the text itself where stripping has changed
 * it. */
static int match_choice_text(struct pattern *punctuation, const json_t *choices, int n, struct pystr answer,
                             int select, struct buffer *out) {
    struct buffer choice[MAX_CHOICES] = {0}, expression = {0}, plain = {0};
    for (int i = 0; i < n; i++) {
        const json_t *c = json_array_get(choices, (size_t)i);
        ignore_marks(punctuation, pystr_strip((struct pystr){json_string_value(c), json_string_length(c)}),
                     &choice[i]);
    }
    alternation(choice, n, &expression);
    ignore_marks(punctuation, answer, &plain);
    struct pattern *p =
        expression.failed ? NULL : pattern_open(expression.data ? expression.data : "", 0, NULL);
    struct pystr match = pystr_of("");
    int only_empty = 0,
        found = p && select_match(p, pystr_in(&plain), select, &match, &only_empty) && match.n > 0;
    if (found) {
        int letter = -1;
        for (int i = 0; i < n; i++)
            if (pystr_equal(match, pystr_in(&choice[i]))) letter = i;
        if (letter < 0)
            pystr_put(out, match);
        else
            buffer_format(out, "(%c)", 'A' + letter);
    }
    pattern_close(p);
    for (int i = 0; i < n; i++) buffer_free(&choice[i]);
    buffer_free(&expression);
    buffer_free(&plain);
    return found;
}

static enum status apply_multi_choice(const struct filter_step *s, struct pystr answer, const json_t *choices,
                                      struct buffer *out, struct error *e) {
    size_t n = json_array_size(choices);
    if (n == 0 || n > MAX_CHOICES)
        return fail(e, ERR_FORMAT, "document has %zu choices (expected 1 to %d in \"choices\")", n,
                    MAX_CHOICES);
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(choices, i))) return fail(e, ERR_FORMAT, "a choice is not a text");
    struct pattern *first = pattern_open(s->regex, 0, e);
    struct pattern *punctuation = pattern_open("\\p{P}+", 0, e);
    struct buffer letters = {0};
    buffer_format(&letters, ":[%s]*([A-%c])", PY_SPACE, (char)('A' + n - 1));
    struct pattern *lettered = letters.failed ? NULL : pattern_open(letters.data, 0, e);
    struct pystr match;
    int only_empty;
    if (first && punctuation && lettered) {
        if (select_match(first, answer, s->select, &match, &only_empty) && match.n)
            pystr_put(out, match);
        else if (match_choice_text(punctuation, choices, (int)n, answer, s->select, out))
            ;
        else if (select_match(lettered, answer, s->select, &match, &only_empty) && match.n)
            buffer_format(out, "(%.*s)", (int)match.n, match.s);
        else
            buffer_text(out, "[invalid]");
    }
    enum status status = first && punctuation && lettered ? OK : fail(e, ERR_MEMORY, "out of memory");
    pattern_close(first);
    pattern_close(punctuation);
    pattern_close(lettered);
    buffer_free(&letters);
    return status;
}

enum status filter_apply(const struct filter *f, struct pystr answer, const json_t *choices,
                         struct buffer *out, struct error *e) {
    struct buffer now = {0}, next = {0};
    pystr_put(&now, answer);
    enum status status = OK;
    for (int i = 0; status == OK && i < FILTER_MAX_STEPS && f->steps[i].kind != STEP_END; i++) {
        if (f->steps[i].kind == STEP_REGEX)
            status = apply_regex(&f->steps[i], pystr_in(&now), &next, e);
        else if (f->steps[i].kind == STEP_STRIP)
            pystr_put(&next, pystr_strip(pystr_in(&now)));
        else
            status = apply_multi_choice(&f->steps[i], pystr_in(&now), choices, &next, e);
        buffer_free(&now);
        now = next;
        next = (struct buffer){0};
    }
    pystr_put(out, pystr_in(&now));
    if (status == OK && (now.failed || next.failed)) status = fail(e, ERR_MEMORY, "out of memory");
    buffer_free(&now);
    buffer_free(&next);
    return status;
}

/* numpy, in whose arrays lm-eval keeps both sides, loses NULs at the end. */
static void drop_nuls(struct buffer *b) {
    while (b->n && b->data[b->n - 1] == 0) b->n--;
}

static enum status normal_form(const struct exact_match *m, struct pystr a, struct buffer *out,
                               struct error *e) {
    pystr_put(out, a);
    for (int i = 0; i < 5 && m->ignore[i]; i++) {
        struct buffer shorter = {0};
        struct pattern *p = pattern_open(m->ignore[i], 0, e);
        if (!p) return ERR_FORMAT;
        pattern_remove(p, pystr_in(out), &shorter);
        pattern_close(p);
        buffer_free(out);
        *out = shorter;
        drop_nuls(out);
    }
    drop_nuls(out);
    if (m->ignore_case) {
        /* numpy lowers in place: what a letter that becomes two pushes out at the end is lost. */
        struct buffer lower = {0};
        size_t length = pystr_length(pystr_in(out));
        pystr_lower(&lower, pystr_in(out));
        lower.n -= pystr_skip(pystr_in(&lower), length).n;
        buffer_free(out);
        *out = lower;
    }
    if (m->ignore_punctuation) {
        size_t kept = 0;
        for (size_t i = 0; i < out->n; i++)
            if (!out->data[i] || !strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", out->data[i]))
                out->data[kept++] = out->data[i];
        out->n = kept;
        drop_nuls(out);
    }
    return buffer_check(out, e);
}

enum status exact_match(const struct exact_match *m, struct pystr answer, struct pystr target, int *equal,
                        struct error *e) {
    struct buffer a = {0}, b = {0};
    enum status status = normal_form(m, answer, &a, e);
    if (status == OK) status = normal_form(m, target, &b, e);
    *equal = status == OK && pystr_equal(pystr_in(&a), pystr_in(&b));
    buffer_free(&a);
    buffer_free(&b);
    return status;
}
