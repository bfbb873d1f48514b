/* SPDX-License-Identifier: Apache-2.0 */
/* compare_print: a comparison as a table to read and as JSON. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "bench/compare.h"

static const char *const verdicts[] = {"worse", "better", "inconclusive", "new", "missing"};
enum { N_VERDICTS = sizeof verdicts / sizeof *verdicts };

static const char *time_text(char text[32], double ns) {
    text[0] = 0;
    if (ns >= 1e9)
        snprintf(text, 32, "%.3f s", ns * 1e-9);
    else if (ns >= 1e6)
        snprintf(text, 32, "%.3f ms", ns * 1e-6);
    else if (ns > 0)
        snprintf(text, 32, "%.2f us", ns * 1e-3);
    return text;
}

void compare_print(FILE *to, const char *title, const struct rows *rows) {
    const struct comparison_row *r = rows->data;
    int wide = 8;
    for (size_t i = 0; i < rows->n; i++) wide = (int)fmax(wide, (double)strlen(r[i].name));
    fprintf(to, "\n%s\n\n", title);
    fprintf(to, "| %-*s | %10s | %10s | %-22s | %9s | verdict |\n|", wide, "timed", "then", "now",
            "speed now / then, 95 %", "threshold");
    for (int i = 0; i < wide + 2; i++) fputc('-', to);
    fprintf(to, "|-----------:|-----------:|------------------------|----------:|---------|\n");
    for (size_t i = 0; i < rows->n; i++, r++) {
        char then[32], now[32], ratio[48] = "", threshold[16] = "";
        if (r->ratio > 0) {
            snprintf(ratio, sizeof ratio, "%.3f (%.3f to %.3f)", r->ratio, r->lo, r->hi);
            snprintf(threshold, sizeof threshold, "%.1f %%", 100 * r->threshold);
        }
        fprintf(to, "| %-*s | %10s | %10s | %-22s | %9s | %s%s%s |\n", wide, r->name,
                time_text(then, r->then_ns), time_text(now, r->now_ns), ratio, threshold, r->verdict,
                r->why[0] ? ": " : "", r->why);
    }
    fputc('\n', to);
    for (int i = 0; i < N_VERDICTS; i++)
        fprintf(to, "%s%d %s", i ? ", " : "", compare_count(rows, verdicts[i]), verdicts[i]);
    fputc('\n', to);
}

/* JSON has no NAN: a number that is not known is null. */
static json_t *number(double x) {
    return x > 0 && isfinite(x) ? json_real(x) : json_null();
}

void compare_print_json(FILE *to, const char *title, const struct rows *rows) {
    const struct comparison_row *r = rows->data;
    json_t *all = json_object(), *list = json_array();
    json_object_set_new(all, "compared", json_string(title));
    for (int i = 0; i < N_VERDICTS; i++)
        json_object_set_new(all, verdicts[i], json_integer(compare_count(rows, verdicts[i])));
    for (size_t i = 0; i < rows->n; i++, r++)
        json_array_append_new(list, json_pack("{ss ss ss sI sI so so so so so sf sf}", "timed", r->name,
                                              "verdict", r->verdict, "why", r->why, "n_then",
                                              (json_int_t)r->n_then, "n_now", (json_int_t)r->n_now, "then_ns",
                                              number(r->then_ns), "now_ns", number(r->now_ns), "ratio",
                                              number(r->ratio), "ratio_lo", number(r->lo), "ratio_hi",
                                              number(r->hi), "noise", r->noise, "threshold", r->threshold));
    json_object_set_new(all, "rows", list);
    json_dumpf(all, to, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', to);
    json_decref(all);
}
