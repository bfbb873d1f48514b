/* SPDX-License-Identifier: Apache-2.0 */
/* shared: what several suites' documents have in common. */
#include "eval/tasks/shared.h"

#include "eval/tasks/math_text.h"

void prompt_text(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    pystr_put(out, doc_text(doc, "prompt"));
}

void zero_target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    (void)doc;
    buffer_text(out, "0");
}

void no_target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    (void)doc;
    (void)out;
}

json_t *answer_text(const struct response *r) {
    return json_stringn(r->n ? r->text : "", r->n);
}

json_t *math_document(const json_t *raw, const char **fault) {
    static const char *const keys[] = {"problem", "solution", NULL};
    struct pystr boxed;
    if (!doc_has_texts(raw, keys)) {
        *fault = "expected the texts \"problem\" and \"solution\"";
        return NULL;
    }
    if (!math_boxed(doc_text(raw, "solution"), &boxed)) {
        *fault = "the solution has no \\boxed{answer}";
        return NULL;
    }
    json_t *doc = json_copy((json_t *)raw);
    json_object_set_new(doc, "answer", json_stringn(boxed.s, boxed.n));
    return doc;
}

void math_document_target(const struct task *t, const json_t *doc, struct buffer *out) {
    (void)t;
    math_target(doc_text(doc, "answer"), out);
}

enum status math_gold(const struct task *t, const json_t *doc, struct pystr *out, struct error *e) {
    if (math_boxed(doc_text(doc, "solution"), out)) return OK;
    return fail(e, ERR_FORMAT, "%s: the document's solution has no \\boxed{answer}", t->name);
}
