/* SPDX-License-Identifier: Apache-2.0 */
/* chat_parts: shared by the chat files only. */
#ifndef DATA_CHAT_PARTS_H
#define DATA_CHAT_PARTS_H

#include "data/chat.h"

/* Python's json.dumps(v, ensure_ascii=False), which is what templates call tojson. */
void json_as_python(struct buffer *out, const json_t *v);
/* Python's str(v). */
void json_as_str(struct buffer *out, const json_t *v);

struct text {
    const char *at;
    size_t n;
};
struct text text_of(const json_t *string); /* {"", 0} for another type */
int text_begins(struct text t, const char *prefix);
int text_ends(struct text t, const char *suffix);
struct text text_after_last(struct text t, const char *mark);   /* t without the mark in it */
struct text text_before_first(struct text t, const char *mark); /* t without the mark in it */
const char *text_find(struct text t, const char *mark);         /* NULL: not there */
struct text text_strip(struct text t);                          /* Python's strip() */
struct text text_strip_newlines(struct text t, int left, int right);

void chat_add_template(struct chat_text *c, const char *text);          /* the template's own words */
void chat_add_literal(struct chat_text *c, const char *text, size_t n); /* somebody else's */
void chat_add_answer(struct chat_text *c, const char *text, size_t n);  /* the model's */

/* [f(a=1), g()] to JSON calls, appended; 0 when text is not of that form, nothing is appended then. */
int calls_of_python(struct text t, json_t *calls);

#endif
