/* SPDX-License-Identifier: Apache-2.0 */
/* sample: the lines of lm-eval's samples files. */
#include "eval/sample.h"

#include <stdio.h>

enum status sample_hash(const struct item *item, const struct buffer *prompt, struct sample_hashes *out,
                        struct error *e) {
    struct buffer doc = {0};
    py_dumps(item->doc, 2, &doc);
    TRY(buffer_check(&doc, e));
    sha256_hex(doc.data, doc.n, out->doc);
    buffer_free(&doc);
    sha256_hex(prompt->data ? prompt->data : "", prompt->n, out->prompt);
    size_t n = 0;
    while (item->target && item->target[n]) n++;
    sha256_hex(item->target ? item->target : "", n, out->target);
    return OK;
}

/* One response as it is logged: its text, or [log-likelihood, is greedy] as texts. */
static json_t *one(enum item_kind kind, const struct response *r) {
    if (kind == ITEM_GENERATE) return json_stringn(r->text ? r->text : "", r->n);
    char number[PY_FLOAT_SIZE];
    py_float(r->loglikelihood, number);
    return json_pack("[s,s]", number, r->is_greedy ? "True" : "False");
}

/* Requests x repeats: a choice is a request of its own, answers to one prompt are repeats. */
json_t *sample_resps(enum item_kind kind, const struct response *r, int n) {
    json_t *all = json_array(), *repeats = NULL;
    for (int i = 0; i < n; i++) {
        if (kind == ITEM_CHOICES || i == 0) json_array_append_new(all, repeats = json_array());
        json_array_append_new(repeats, one(kind, &r[i]));
    }
    return all;
}

json_t *sample_filtered(enum item_kind kind, const struct response *r, int n, const struct score *score) {
    if (score->filtered) return py_sanitize(score->filtered);
    json_t *all = json_array();
    for (int i = 0; i < (kind == ITEM_CHOICES ? n : n > 0); i++) json_array_append_new(all, one(kind, &r[i]));
    return all;
}

static json_t *arguments(const struct item *item, const struct buffer *prompt) {
    json_t *all = json_object();
    int n = item->kind == ITEM_CHOICES ? item->n_continuations : 1;
    for (int i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "gen_args_%d", i);
        json_t *second = item->kind == ITEM_GENERATE
                             ? json_incref(item->gen_kwargs)
                             : py_text(item->continuations[i].data, item->continuations[i].n);
        json_object_set_new(all, key,
                            json_pack("{s:o,s:o}", "arg_0",
                                      py_text(prompt->data ? prompt->data : "", prompt->n), "arg_1", second));
    }
    return all;
}

enum status sample_line(int doc_id, const struct item *item, const struct buffer *prompt,
                        const struct response *r, int n, const char *filter, const struct score *score,
                        const struct sample_hashes *hashes, json_t **out, struct error *e) {
    json_t *names = json_array(), *value;
    const char *key;
    if (score->metrics) json_object_foreach(score->metrics, key, value) {
            json_array_append_new(names, json_string(key));
        }
    *out = json_pack("{s:i,s:O,s:s,s:o,s:o,s:o,s:s,s:o,s:s,s:s,s:s}", "doc_id", doc_id, "doc", item->doc,
                     "target", item->target ? item->target : "", "arguments", arguments(item, prompt),
                     "resps", sample_resps(item->kind, r, n), "filtered_resps",
                     sample_filtered(item->kind, r, n, score), "filter", filter, "metrics", names, "doc_hash",
                     hashes->doc, "prompt_hash", hashes->prompt, "target_hash", hashes->target);
    if (*out && score->metrics && json_object_update(*out, score->metrics)) {
        json_decref(*out);
        *out = NULL;
    }
    return *out ? OK : fail(e, ERR_MEMORY, "no memory for a line of samples, or its texts are not UTF-8");
}
