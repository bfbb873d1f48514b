/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_split: cuts running text into the words that the merges work on, with the regular expression of
 * the vocabulary's tokenizer.json. PCRE2 sees well-formed UTF-8 only; stray bytes are words of their own. */
#include "data/tokenizer_parts.h"

#include <string.h>

/* Unicode's White_Space, which is what \s means to the library that the models were trained with. PCRE2's own
 * \s differs (U+180E). */
#define SPACE                                                                                                \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* The patterns differ in how many digits make a word. Left: as tokenizer.json has it. Right: the same for
 * PCRE2. */
#define AS_PUBLISHED(digits)                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                     \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define FOR_PCRE2(digits)                                                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE                       \
    "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"

enum { LLAMA3, LFM2, QWEN2, N_PRE };
static const struct pre_tokenizer pre_tokenizers[N_PRE] = {
    [LLAMA3] = {AS_PUBLISHED("\\p{N}{1,3}"), .ignore_merges = 1, .adds_bos = 1},
    [LFM2] = {AS_PUBLISHED("\\p{N}{1,3}"), .adds_bos = 1},
    [QWEN2] = {AS_PUBLISHED("\\p{N}"), .nfc = 1},
};
static const struct {
    const char *name; /* GGUF's tokenizer.ggml.pre */
    int pre;
} names[] = {
    {"lfm2", LFM2}, {"llama3", LLAMA3}, {"llama-v3", LLAMA3}, {"llama-bpe", LLAMA3}, {"qwen2", QWEN2},
};

const struct pre_tokenizer *pre_tokenizer_named(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == n && memcmp(names[i].name, name, n) == 0)
            return &pre_tokenizers[names[i].pre];
    return NULL;
}

const struct pre_tokenizer *pre_tokenizer_of_pattern(const char *pattern) {
    for (int i = 0; i < N_PRE; i++)
        if (strcmp(pre_tokenizers[i].pattern, pattern) == 0) return &pre_tokenizers[i];
    return NULL;
}

const char *pre_tokenizer_name(const struct tokenizer *t) {
    int qwen2 = strcmp(t->pre->pattern, pre_tokenizers[QWEN2].pattern) == 0;
    if (qwen2) return t->nfc && !t->ignore_merges ? "qwen2" : NULL;
    return t->nfc ? NULL : t->ignore_merges ? "llama-bpe" : "lfm2";
}

enum status pre_tokenizer_compile(struct tokenizer *t, const struct pre_tokenizer *pre, struct error *e) {
    const char *pattern = strcmp(pre->pattern, pre_tokenizers[QWEN2].pattern) == 0 ? FOR_PCRE2("\\p{N}")
                                                                                   : FOR_PCRE2("\\p{N}{1,3}");
    int code;
    PCRE2_SIZE where;
    t->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_ANCHORED, &code,
                            &where, NULL);
    if (!t->code)
        return fail(e, ERR_UNSUPPORTED, "%s: PCRE2 does not take the pre-tokenizer (code %d at %zu)", t->name,
                    code, where);
    /* Where the compiler is missing or memory may not be made executable, matching is interpreted. */
    (void)pcre2_jit_compile(t->code, PCRE2_JIT_COMPLETE);
    t->pre = pre;
    t->nfc = pre->nfc, t->ignore_merges = pre->ignore_merges, t->adds_bos = pre->adds_bos;
    return OK;
}

/* text[0..n) is well-formed UTF-8. */
static enum status split_words(struct encoder *c, const char *text, size_t n) {
    /* What backtracking may cost is proportional to the text: white space is walked at most a few times. */
    uint32_t limit = n < UINT32_MAX / 16 ? 10000 + 8 * (uint32_t)n : UINT32_MAX / 2;
    pcre2_set_match_limit(c->limits, limit);
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(c->match);
    for (size_t i = 0; i < n;) {
        int rc = pcre2_match(c->t->code, (PCRE2_SPTR)text, n, i, PCRE2_NO_UTF_CHECK, c->match, c->limits);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return fail(c->e, ERR_UNSUPPORTED,
                        "%s: the pre-tokenizer gave up at byte %zu of a text (PCRE2 code %d)", c->t->name, i,
                        rc);
        size_t end = rc > 0 && found[1] > i ? found[1] : i + utf8_decode(text + i, n - i, NULL);
        TRY(encode_word(c, text + i, end - i));
        i = end;
    }
    return OK;
}

static enum status encode_valid(struct encoder *c, const char *text, size_t n) {
    if (!c->t->nfc || nfc_is_plain(text, n)) return split_words(c, text, n);
    c->normal.n = 0;
    TRY(nfc_normalize(text, n, &c->normal, c->e));
    return split_words(c, c->normal.data, c->normal.n);
}

enum status encode_text(struct encoder *c, const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t start = i, size;
        while (i < n && (size = utf8_decode(text + i, n - i, NULL)) > 0) i += size;
        if (i > start) TRY(encode_valid(c, text + start, i - start));
        start = i;
        while (i < n && utf8_decode(text + i, n - i, NULL) == 0) i++;
        if (i > start) TRY(encode_word(c, text + start, i - start));
    }
    return OK;
}
