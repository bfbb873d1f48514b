/* SPDX-License-Identifier: Apache-2.0 */
/* overrides: a sorted list of compiled patterns. */
#include "data/overrides.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct override {
    enum tensor_class class;
    enum tensor_type type;
    char text[256]; /* of the pattern, for messages */
    pcre2_code *code;
    int used;
};

const char *const tensor_class_names[CLASS_COUNT] = {
    "token-embedding", "output-tensor", "tensor", "experts", "dense", "attention", "conv", "router", "taps"};
static const char *const patterns[CLASS_COUNT] = {
    "^token_embd\\.weight$",
    "^(output|token_embd)\\.weight$",
    NULL,
    "\\.ffn_(gate|up|down)_exps\\.weight$",
    "\\.ffn_(gate|up|down)\\.weight$",
    "\\.attn_(q|k|v|output)\\.weight$",
    "\\.shortconv\\.(in|out)_proj\\.weight$",
    "\\.ffn_gate_inp\\.weight$",
    "\\.shortconv\\.conv\\.weight$",
};

void overrides_free(struct overrides *o) {
    for (int i = 0; i < o->n; i++) pcre2_code_free(o->at[i].code);
    free(o->at);
    *o = (struct overrides){0};
}

static enum status insert(struct overrides *o, const struct override *new, struct error *e) {
    struct override *at = realloc(o->at, ((size_t)o->n + 1) * sizeof *at);
    if (!at) {
        pcre2_code_free(new->code);
        return fail(e, ERR_MEMORY, "out of memory");
    }
    o->at = at;
    int i = o->n++;
    for (; i > 0 && at[i - 1].class > new->class; i--) at[i] = at[i - 1];
    at[i] = *new;
    return OK;
}

enum status overrides_add(struct overrides *o, enum tensor_class class, const char *pattern, const char *type,
                          struct error *e) {
    struct override new = {.class = class};
    const struct type_info *info = type_by_name(type);
    const char *text = patterns[class] ? patterns[class] : pattern;
    int code;
    PCRE2_SIZE where;
    if (!info)
        return fail(e, ERR_ARG,
                    "--%s-type: unknown type '%s' (expected F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K, Q5_K or "
                    "Q6_K)",
                    tensor_class_names[class], type);
    new.type = info->type;
    if (strlen(text) >= sizeof new.text) return fail(e, ERR_ARG, "--tensor-type: the pattern is too long");
    memcpy(new.text, text, strlen(text) + 1);
    new.code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, &code, &where, NULL);
    if (!new.code) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return fail(e, ERR_ARG, "--tensor-type: '%s' is no regular expression (%s, at character %zu)", text,
                    (const char *)why, (size_t)where + 1);
    }
    return insert(o, &new, e);
}

static int matches(const struct override *x, const char *name, int tied) {
    if (x->class == CLASS_HEAD && !tied && strcmp(name, "output.weight") != 0) return 0;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    int found =
        match && pcre2_match(x->code, (PCRE2_SPTR)name, PCRE2_ZERO_TERMINATED, 0, 0, match, NULL) >= 0;
    pcre2_match_data_free(match);
    return found;
}

const enum tensor_type *overrides_find(struct overrides *o, const char *name, int tied, int keeps) {
    for (int i = 0; i < o->n; i++) {
        struct override *x = &o->at[i];
        if ((x->class == CLASS_ROUTER || x->class == CLASS_TAPS) != keeps || !matches(x, name, tied))
            continue;
        x->used = 1;
        return &x->type;
    }
    return NULL;
}

enum status overrides_check_used(const struct overrides *o, const char *file, struct error *e) {
    for (int i = 0; i < o->n; i++)
        if (!o->at[i].used)
            return fail(e, ERR_ARG, "%s: --%s-type has no effect: no matrix is left for '%s'", file,
                        tensor_class_names[o->at[i].class], o->at[i].text);
    return OK;
}
