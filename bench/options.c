/* SPDX-License-Identifier: Apache-2.0 */
/* options: the table-driven command line of all subcommands. */
#include "bench/options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int name_matches(const char *names, const char *word, size_t n) {
    for (const char *p = names; *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && memcmp(p, word, n) == 0) return 1;
        p += len;
        if (*p) p++;
    }
    return 0;
}

static const struct option_spec *find(const struct option_spec *specs, const char *word, size_t n) {
    for (; specs->names; specs++)
        if (name_matches(specs->names, word, n)) return specs;
    return NULL;
}

static void print_help(const char *usage, const struct option_spec *specs) {
    printf("%s\n\nOptions:\n", usage);
    for (; specs->names; specs++) {
        char left[128];
        snprintf(left, sizeof left, "%s%s%s", specs->names, specs->arg ? " " : "",
                 specs->arg ? specs->arg : "");
        printf("  %-26s ", left);
        if (strlen(left) > 26) printf("\n  %-26s ", "");
        for (const char *h = specs->help; *h; h++) {
            putchar(*h);
            if (*h == '\n') printf("  %-26s ", "");
        }
        putchar('\n');
    }
    printf("  %-26s show this text\n", "-h,--help");
}

/* Joins a repeated text value with ','. The joined copy lives until the process ends, like argv. */
static const char *join(const char *old, const char *more, struct error *e) {
    size_t n = strlen(old) + strlen(more) + 2;
    char *s = malloc(n);
    if (!s) {
        fail(e, ERR_MEMORY, "out of memory");
        return NULL;
    }
    snprintf(s, n, "%s,%s", old, more);
    return s;
}

/* strtod and strtol would take a space before the number, and strtod hexadecimals, "inf" and "nan". */
static int is_plain(const char *number) {
    return !number[strspn(number, "+-.0123456789eE")];
}

static int store(const struct option_spec *s, const char *cmd, const char *value, int repeated,
                 struct error *e) {
    char *end;
    errno = 0;
    if (s->kind == OPTION_INT || s->kind == OPTION_THREADS) {
        long v = strtol(value, &end, 10);
        if (end == value || *end || !is_plain(value) || errno || v < INT_MIN || v > INT_MAX) {
            fail(e, ERR_ARG, "%s: %s needs a whole number (found '%s')", cmd, s->names, value);
            return -1;
        }
        if (s->kind == OPTION_THREADS && (v < 1 || v > OPTION_MAX_THREADS)) {
            fail(e, ERR_ARG, "%s: %s: cannot use %ld threads (expected 1 to %d)", cmd, s->names, v,
                 OPTION_MAX_THREADS);
            return -1;
        }
        *(int *)s->value = (int)v;
    } else if (s->kind == OPTION_FLOAT) {
        double v = strtod(value, &end);
        if (end == value || *end || !is_plain(value) || errno) {
            fail(e, ERR_ARG, "%s: %s needs a number (found '%s')", cmd, s->names, value);
            return -1;
        }
        *(double *)s->value = v;
    } else if (s->kind == OPTION_LIST) {
        struct option_list *list = s->value;
        int most = (int)(sizeof list->at / sizeof *list->at);
        if (list->n == most) {
            fail(e, ERR_ARG, "%s: %s is given more than %d times", cmd, s->names, most);
            return -1;
        }
        list->at[list->n++] = value;
    } else {
        const char **slot = s->value;
        *slot = repeated ? join(*slot, value, e) : value;
        if (!*slot) return -1;
    }
    return 0;
}

int options_parse(int argc, char **argv, const char *usage, const struct option_spec *specs,
                  const char **free_words, int max_free, int *n_free, struct error *e) {
    const char *cmd = argc > 0 ? argv[0] : "lfm2";
    unsigned char seen[128] = {0};
    int only_words = 0;
    if (n_free) *n_free = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_words || word[0] != '-' || word[1] == 0) {
            if (!n_free || *n_free >= max_free) {
                fail(e, ERR_ARG, "%s: unexpected word '%s'; see lfm2 %s --help", cmd, word, cmd);
                return -1;
            }
            free_words[(*n_free)++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_words = 1;
            continue;
        }
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            print_help(usage, specs);
            return 1;
        }
        const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
        const struct option_spec *s = find(specs, word, equals ? (size_t)(equals - word) : strlen(word));
        if (!s) {
            fail(e, ERR_ARG, "%s: unknown option '%s'; see lfm2 %s --help", cmd, word, cmd);
            return -1;
        }
        size_t index = (size_t)(s - specs);
        int repeated = index < sizeof seen && seen[index];
        if (index < sizeof seen) seen[index] = 1;
        if (s->kind == OPTION_FLAG) {
            if (equals) {
                fail(e, ERR_ARG, "%s: %s takes no value; see lfm2 %s --help", cmd, s->names, cmd);
                return -1;
            }
            *(int *)s->value = 1;
            continue;
        }
        const char *value = equals ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            fail(e, ERR_ARG, "%s: %s needs a value; see lfm2 %s --help", cmd, s->names, cmd);
            return -1;
        }
        if (store(s, cmd, value, repeated, e)) return -1;
    }
    return 0;
}
