/* SPDX-License-Identifier: Apache-2.0 */
/* ifeval_checks: one function per kind of instruction, in the words of lm-eval's instructions.py. */
#include "eval/tasks/ifeval_checks.h"

#include <string.h>

#include "data/json.h"
#include "eval/extract.h"
#include "eval/tasks/ifeval_text.h"

/* What a checker gets; a broken expression of the instruction sets `broken`. */
struct check {
    const json_t *kwargs;
    struct pystr a;
    int64_t *effort; /* as in struct matches */
    int broken;
};

static struct pystr argument(const struct check *c, const char *key) {
    const json_t *value = json_object_get(c->kwargs, key);
    return json_is_string(value) ? (struct pystr){json_string_value(value), json_string_length(value)}
                                 : pystr_of("");
}

static long number(const struct check *c, const char *key) {
    return (long)json_number_value(json_object_get(c->kwargs, key));
}

/* "less than" or "at least", the argument `key`. */
static int relates(const struct check *c, const char *relation, long found, const char *key) {
    return pystr_is(argument(c, relation), "less than") ? found < number(c, key) : found >= number(c, key);
}

/* len(re.findall(before + middle + after)). */
static long count_around(struct check *c, const char *before, struct pystr middle, const char *after,
                         unsigned flags, struct pystr a) {
    struct buffer expression = {0};
    buffer_text(&expression, before);
    pystr_put(&expression, middle);
    buffer_text(&expression, after);
    long n = pattern_count(expression.data ? expression.data : "", flags, a, c->effort);
    buffer_free(&expression);
    if (n < 0) c->broken = 1;
    return n;
}

static void lower(struct buffer *out, struct pystr a) {
    pystr_lower(out, a);
}

static int starts_with(struct pystr a, struct pystr b) {
    return a.n >= b.n && memcmp(a.s, b.s, b.n) == 0;
}
static int ends_with(struct pystr a, struct pystr b) {
    return starts_with(pystr_from(a, a.n - b.n), b) && a.n >= b.n;
}

static int no_comma(struct check *c) {
    return pystr_find(c->a, pystr_of(",")) >= c->a.n;
}
static int number_words(struct check *c) {
    return relates(c, "relation", pattern_count("\\w+", 0, c->a, c->effort), "num_words");
}
static int number_sentences(struct check *c) {
    return relates(c, "relation", sentences(c->a), "num_sentences");
}
static int capital_words(struct check *c) {
    return relates(c, "capital_relation", words_in_capitals(c->a), "capital_frequency");
}
static int placeholders(struct check *c) {
    return pattern_count("\\[.*?\\]", 0, c->a, c->effort) >= number(c, "num_placeholders");
}

static int forbidden_words(struct check *c) {
    size_t i;
    json_t *word;
    json_array_foreach(json_object_get(c->kwargs, "forbidden_words"), i, word) {
        struct pystr w = {json_string_value(word), json_string_length(word)};
        if (count_around(c, "\\b", w, "\\b", PATTERN_IGNORECASE, c->a) != 0) return 0;
    }
    return 1;
}

static int keywords(struct check *c) {
    size_t i;
    json_t *word;
    json_array_foreach(json_object_get(c->kwargs, "keywords"), i, word) {
        struct pystr w = {json_string_value(word), json_string_length(word)};
        if (count_around(c, "", w, "", PATTERN_IGNORECASE, c->a) <= 0) return 0;
    }
    return 1;
}

static int keyword_frequency(struct check *c) {
    struct pystr word = pystr_strip(argument(c, "keyword"));
    return relates(c, "relation", count_around(c, "", word, "", PATTERN_IGNORECASE, c->a), "frequency");
}

/* The letter as asked for; lm-eval draws another one at random when it is not one of a to z. */
static int letter_frequency(struct check *c) {
    struct buffer text = {0}, letter = {0};
    lower(&text, c->a);
    lower(&letter, pystr_strip(argument(c, "letter")));
    long n = 0;
    struct pystr rest = pystr_in(&text);
    for (size_t at; letter.n && (at = pystr_find(rest, pystr_in(&letter))) < rest.n; n++)
        rest = pystr_from(rest, at + letter.n);
    buffer_free(&text);
    buffer_free(&letter);
    return relates(c, "let_relation", n, "let_frequency");
}

/* Texts between asterisks, one or two, that are not blank. */
static int highlights(struct check *c) {
    static const char *const expressions[] = {"\\*[^\\n\\*]*\\*", "\\*\\*[^\\n\\*]*\\*\\*"};
    long n = 0;
    for (int i = 0; i < 2; i++) {
        struct pattern *p = pattern_open(expressions[i], 0, NULL);
        struct matches m = {.text = c->a, .effort = c->effort};
        while (p && pattern_next(p, &m)) n += pystr_strip(pystr_strip_of(m.whole, "*")).n > 0;
        pattern_close(p);
    }
    return n >= number(c, "num_highlights");
}

static int bullets(struct check *c) {
    return pattern_count("^[" PY_SPACE "]*\\*[^\\*].*$", PATTERN_MULTILINE, c->a, c->effort) +
               pattern_count("^[" PY_SPACE "]*-.*$", PATTERN_MULTILINE, c->a, c->effort) ==
           number(c, "num_bullets");
}

static int sections(struct check *c) {
    return count_around(c, "[" PY_SPACE "]?", pystr_strip(argument(c, "section_spliter")),
                        "[" PY_SPACE "]?\\d+[" PY_SPACE "]?", 0, c->a) >= number(c, "num_sections");
}

/* re.split: calls each with every piece; stops where it says 0. */
static int split(const char *expression, struct pystr a,
                 int (*each)(void *arg, struct pystr piece, int first, int last), void *arg) {
    struct pattern *p = pattern_open(expression, 0, NULL);
    struct matches m = {.text = a};
    size_t from = 0;
    int first = 1, good = 1;
    while (good && p && pattern_next(p, &m)) {
        size_t at = (size_t)(m.whole.s - a.s);
        good = each(arg, pystr_slice(a, from, at - from), first, 0);
        from = at + m.whole.n;
        first = 0;
    }
    pattern_close(p);
    return good && each(arg, pystr_from(a, from), first, 1);
}

/* Blank pieces may be the first and the last only. */
static int count_piece(void *arg, struct pystr piece, int first, int last) {
    long *n = arg;
    int blank = pystr_strip(piece).n == 0;
    *n += !blank;
    return !blank || first || last;
}

static int paragraphs(struct check *c) {
    long n = 0;
    return split("[" PY_SPACE "]?\\*\\*\\*[" PY_SPACE "]?", c->a, count_piece, &n) &&
           n == number(c, "num_paragraphs");
}

struct pair {
    struct pystr piece[2];
    int n;
};
static int keep_pair(void *arg, struct pystr piece, int first, int last) {
    struct pair *pair = arg;
    piece = pystr_strip(piece);
    if (piece.n && pair->n < 2) pair->piece[pair->n] = piece;
    pair->n += piece.n > 0;
    return piece.n || first || last;
}

static int two_responses(struct check *c) {
    struct pair pair = {0};
    return split("\\*{6}", c->a, keep_pair, &pair) && pair.n == 2 &&
           !pystr_equal(pair.piece[0], pair.piece[1]);
}

/* The nth piece, and how many are not blank. */
struct nth {
    long wanted, index, filled;
    struct pystr piece;
};
static int keep_nth(void *arg, struct pystr piece, int first, int last) {
    (void)first;
    (void)last;
    struct nth *nth = arg;
    piece = pystr_strip(piece);
    if (++nth->index == nth->wanted) nth->piece = piece;
    nth->filled += piece.n > 0;
    return 1;
}

static int first_word(struct check *c) {
    struct nth nth = {.wanted = number(c, "nth_paragraph"), .piece = pystr_of("")};
    split("\\n\\n", c->a, keep_nth, &nth);
    if (nth.wanted > nth.filled || nth.piece.n == 0 || nth.filled != number(c, "num_paragraphs")) return 0;
    size_t end = 0;
    uint32_t code;
    while (end < nth.piece.n) {
        size_t n = pystr_next(nth.piece, end, &code);
        if (pystr_isspace(code)) break;
        end += n;
    }
    struct pystr word = pystr_slice(nth.piece, 0, end);
    while (word.n && word.s[0] == '\'') word = pystr_from(word, 1);
    while (word.n && word.s[0] == '"') word = pystr_from(word, 1);
    size_t keep = 0;
    while (keep < word.n && !strchr(".,?!'\"", word.s[keep])) keep++;
    struct buffer found = {0}, wanted = {0};
    lower(&found, pystr_slice(word, 0, keep));
    lower(&wanted, argument(c, "first_word"));
    int same = pystr_equal(pystr_in(&found), pystr_in(&wanted));
    buffer_free(&found);
    buffer_free(&wanted);
    return same;
}

static int postscript(struct check *c) {
    struct buffer text = {0}, marker = {0};
    lower(&text, c->a);
    struct pystr m = pystr_strip(argument(c, "postscript_marker"));
    lower(&marker, m);
    const char *s = "[" PY_SPACE "]";
    struct buffer known = {0};
    if (pystr_is(m, "P.P.S"))
        buffer_format(&known, "%s*p\\.%s?p\\.%s?s.*$", s, s, s);
    else if (pystr_is(m, "P.S."))
        buffer_format(&known, "%s*p\\.%s?s\\..*$", s, s);
    long n = known.n ? pattern_count(known.data, PATTERN_MULTILINE, pystr_in(&text), c->effort)
                     : count_around(c, "[" PY_SPACE "]*", pystr_in(&marker), ".*$", PATTERN_MULTILINE,
                                    pystr_in(&text));
    buffer_free(&known);
    buffer_free(&text);
    buffer_free(&marker);
    return n > 0;
}

static struct pystr without_prefix(struct pystr a, const char *prefix) {
    return pystr_starts(a, prefix) ? pystr_from(a, strlen(prefix)) : a;
}

/* json.loads would take it; of what Python takes, jansson refuses NaN, Infinity, lone surrogates and whole
 * numbers beyond 64 bits, and the quota what takes much more memory than text. */
static int json_format(struct check *c) {
    struct pystr a = pystr_strip(c->a);
    static const char *const prefixes[] = {"```json", "```Json", "```JSON", "```"};
    for (int i = 0; i < 4; i++) a = without_prefix(a, prefixes[i]);
    if (pystr_ends(a, "```")) a.n -= 3;
    a = pystr_strip(a);
    json_error_t ignored;
    json_t *value = json_parse(a.s, a.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &ignored);
    json_decref(value);
    return value != NULL;
}

static int title(struct check *c) {
    struct pattern *p = pattern_open("<<[^\\n]+>>", 0, NULL);
    struct matches m = {.text = c->a, .effort = c->effort};
    int found = 0;
    while (p && !found && pattern_next(p, &m)) {
        struct pystr t = m.whole;
        while (t.n && t.s[0] == '<') t = pystr_from(t, 1);
        while (t.n && t.s[t.n - 1] == '>') t.n--;
        found = pystr_strip(t).n > 0;
    }
    pattern_close(p);
    return found;
}

static int constrained(struct check *c) {
    static const char *const options[] = {"My answer is yes.", "My answer is no.", "My answer is maybe."};
    for (int i = 0; i < 3; i++)
        if (pystr_find(c->a, pystr_of(options[i])) < c->a.n) return 1;
    return 0;
}

static int quotation(struct check *c) {
    struct pystr a = pystr_strip(c->a);
    return a.n > 1 && a.s[0] == '"' && a.s[a.n - 1] == '"';
}

/* Compares both in lower case, white space at the ends aside. */
static int compare_lower(struct pystr a, struct pystr b, int (*compare)(struct pystr, struct pystr)) {
    struct buffer x = {0}, y = {0};
    lower(&x, a);
    lower(&y, pystr_strip(b));
    int same = compare(pystr_in(&x), pystr_in(&y));
    buffer_free(&x);
    buffer_free(&y);
    return same;
}

static int repeat_prompt(struct check *c) {
    return compare_lower(pystr_strip(c->a), argument(c, "prompt_to_repeat"), starts_with);
}
static int end_checker(struct check *c) {
    return compare_lower(pystr_strip_of(pystr_strip(c->a), "\""), argument(c, "end_phrase"), ends_with);
}

/* A text without letters has no language; lm-eval lets it pass, and so does langdetect's refusal. */
static int is_language(struct pystr a, struct pystr wanted) {
    const char *language = language_guess(a);
    return !*language || pystr_is(wanted, language);
}
static int response_language(struct check *c) {
    return is_language(c->a, argument(c, "language"));
}
static int english_capital(struct check *c) {
    return pystr_isupper(c->a) && is_language(c->a, pystr_of("en"));
}
static int english_lowercase(struct check *c) {
    return pystr_islower(c->a) && is_language(c->a, pystr_of("en"));
}

/* What an argument is; R is "less than" or "at least", P a text that is a regular expression, E a list of
 * them. */
static const struct {
    const char *id;
    const char *arguments; /* "type name", separated by spaces: N number, S text, R relation */
    int (*check)(struct check *c);
} table[] = {
    {"keywords:existence", "E keywords", keywords},
    {"keywords:frequency", "P keyword N frequency R relation", keyword_frequency},
    {"keywords:forbidden_words", "E forbidden_words", forbidden_words},
    {"keywords:letter_frequency", "S letter N let_frequency R let_relation", letter_frequency},
    {"language:response_language", "S language", response_language},
    {"length_constraints:number_sentences", "N num_sentences R relation", number_sentences},
    {"length_constraints:number_paragraphs", "N num_paragraphs", paragraphs},
    {"length_constraints:number_words", "N num_words R relation", number_words},
    {"length_constraints:nth_paragraph_first_word", "N num_paragraphs N nth_paragraph S first_word",
     first_word},
    {"detectable_content:number_placeholders", "N num_placeholders", placeholders},
    {"detectable_content:postscript", "P postscript_marker", postscript},
    {"detectable_format:number_bullet_lists", "N num_bullets", bullets},
    {"detectable_format:constrained_response", "", constrained},
    {"detectable_format:number_highlighted_sections", "N num_highlights", highlights},
    {"detectable_format:multiple_sections", "P section_spliter N num_sections", sections},
    {"detectable_format:json_format", "", json_format},
    {"detectable_format:title", "", title},
    {"combination:two_responses", "", two_responses},
    {"combination:repeat_prompt", "S prompt_to_repeat", repeat_prompt},
    {"startend:end_checker", "S end_phrase", end_checker},
    {"startend:quotation", "", quotation},
    {"change_case:capital_word_frequency", "N capital_frequency R capital_relation", capital_words},
    {"change_case:english_capital", "", english_capital},
    {"change_case:english_lowercase", "", english_lowercase},
    {"punctuation:no_comma", "", no_comma},
};
enum { KINDS = sizeof table / sizeof *table };

static int kind_of(const char *id) {
    int i = 0;
    while (i < KINDS && strcmp(table[i].id, id) != 0) i++;
    return i;
}

static int is_expression(const char *text) {
    struct pattern *p = text ? pattern_open(text, 0, NULL) : NULL;
    pattern_close(p);
    return p != NULL;
}

static int fits(char type, const json_t *value) {
    const char *text = json_string_value(value);
    if (type == 'N') return json_is_number(value) && json_number_value(value) > 0;
    if (type == 'S') return text && *text;
    if (type == 'P') return text && *text && is_expression(text);
    if (type == 'R') return text && (strcmp(text, "less than") == 0 || strcmp(text, "at least") == 0);
    int good = json_array_size(value) > 0;
    for (size_t i = 0; i < json_array_size(value); i++)
        good &= is_expression(json_string_value(json_array_get(value, i)));
    return good;
}

const char *ifeval_fault(const char *id, const json_t *kwargs) {
    int kind = kind_of(id);
    if (kind == KINDS) return "an instruction of no known kind";
    for (const char *at = table[kind].arguments; *at;) {
        char name[32];
        size_t n = strcspn(at + 2, " ");
        memcpy(name, at + 2, n);
        name[n] = 0;
        if (!fits(*at, json_object_get(kwargs, name)))
            return "an instruction lacks an argument in \"kwargs\", or has one that is no regular expression";
        at += 2 + n;
        at += *at == ' ';
    }
    return NULL;
}

const char *ifeval_list_fault(const json_t *ids, const json_t *kwargs) {
    size_t n = json_array_size(ids);
    if (n == 0 || json_array_size(kwargs) != n)
        return "expected the lists \"instruction_id_list\" and \"kwargs\" of equal length";
    for (size_t i = 0; i < n; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        const char *fault = id ? ifeval_fault(id, json_array_get(kwargs, i)) : "an instruction is not a text";
        if (fault) return fault;
    }
    return NULL;
}

static enum status check_one(const char *id, const json_t *kwargs, struct pystr a, int64_t *effort,
                             int *follows, struct error *e) {
    struct check c = {.kwargs = kwargs, .a = a, .effort = effort};
    *follows = pystr_strip(a).n > 0 && table[kind_of(id)].check(&c);
    return c.broken ? fail(e, ERR_FORMAT, "%s: an argument is no regular expression", id) : OK;
}

/* A second or so for expressions that go astray, and more than enough to look through long answers. */
enum { VARIANTS = 8, EFFORT = 40000000, EFFORT_PER_BYTE = 100 };

/* The answer as it is and without asterisks, whole and without its first line, its last, or both. */
static void make_variants(struct pystr answer, struct buffer out[VARIANTS]) {
    size_t first = pystr_find(answer, pystr_of("\n")), last = pystr_rfind(answer, pystr_of("\n"));
    int lines = first < answer.n;
    const struct pystr parts[4] = {
        answer,
        pystr_strip(lines ? pystr_from(answer, first + 1) : pystr_of("")),
        pystr_strip(lines ? pystr_slice(answer, 0, last) : pystr_of("")),
        pystr_strip(lines && last > first ? pystr_slice(answer, first + 1, last - first - 1) : pystr_of("")),
    };
    for (int i = 0; i < 4; i++) {
        pystr_put(&out[i], parts[i]);
        pystr_replace(&out[4 + i], parts[i], "*", "");
    }
}

enum status ifeval_verdicts(const json_t *doc, struct pystr answer, const char *const names[4],
                            json_t *metrics, struct error *e) {
    const json_t *ids = json_object_get(doc, "instruction_id_list"), *kwargs = json_object_get(doc, "kwargs");
    const char *fault = ifeval_list_fault(ids, kwargs);
    if (fault) return fail(e, ERR_FORMAT, "the document: %s", fault);
    int64_t effort = EFFORT + EFFORT_PER_BYTE * (int64_t)answer.n;
    struct buffer variants[VARIANTS] = {0};
    make_variants(answer, variants);
    json_t *strict = json_array(), *loose = json_array();
    int all_strict = 1, all_loose = 1;
    enum status status = OK;
    for (size_t i = 0; status == OK && i < json_array_size(ids); i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        const json_t *arguments = json_array_get(kwargs, i);
        int follows = 0, follows_strictly = 0;
        status = check_one(id, arguments, answer, &effort, &follows_strictly, e);
        for (int v = 0; status == OK && !follows && v < VARIANTS; v++)
            status = check_one(id, arguments, pystr_in(&variants[v]), &effort, &follows, e);
        json_array_append_new(strict, json_boolean(follows_strictly));
        json_array_append_new(loose, json_boolean(follows));
        all_strict &= follows_strictly;
        all_loose &= follows;
    }
    for (int v = 0; v < VARIANTS; v++) buffer_free(&variants[v]);
    json_object_set_new(metrics, names[0], json_boolean(all_strict));
    json_object_set_new(metrics, names[1], strict);
    json_object_set_new(metrics, names[2], json_boolean(all_loose));
    json_object_set_new(metrics, names[3], loose);
    return status;
}
