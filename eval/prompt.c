/* SPDX-License-Identifier: Apache-2.0 */
/* prompt: system text, examples and question in lm-eval's order, with its delimiters. */
#include "eval/prompt.h"

#include <string.h>

static enum status add_message(struct item *item, const char *role, struct pystr content, struct error *e) {
    if (!item->messages) item->messages = json_array();
    json_t *text = json_stringn(content.n ? content.s : "", content.n);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", text);
    if (!text || json_array_append_new(item->messages, message) != 0)
        return fail(e, ERR_FORMAT, "a message is not UTF-8, or memory ran out");
    return OK;
}

/* Texts are joined with "\n\n" only where neither has white space at the join. */
enum status prompt_begin(struct item *item, const struct task_options *o, const char *description,
                         struct error *e) {
    struct pystr system = pystr_of(o->system_instruction ? o->system_instruction : "");
    struct pystr rest = pystr_of(description ? description : "");
    struct buffer both = {0};
    pystr_put(&both, system);
    if (system.n && rest.n && pystr_rstrip(system).n == system.n && pystr_lstrip(rest).n == rest.n)
        buffer_text(&both, "\n\n");
    pystr_put(&both, rest);
    enum status status = buffer_check(&both, e);
    if (status == OK && both.n && o->apply_chat_template)
        status = add_message(item, "system", pystr_in(&both), e);
    else
        pystr_put(&item->context, pystr_in(&both));
    buffer_free(&both);
    return status == OK ? buffer_check(&item->context, e) : status;
}

enum status prompt_shot(struct item *item, const struct task_options *o, const struct delimiters *d,
                        struct pystr question, struct pystr answer, struct error *e) {
    if (o->apply_chat_template && o->fewshot_as_multiturn) {
        TRY(add_message(item, "user", question, e));
        return answer.n ? add_message(item, "assistant", answer, e) : OK;
    }
    /* In a single user message, and in plain text, examples are one text with the question. */
    pystr_put(&item->context, question);
    if (answer.n) {
        buffer_text(&item->context, d->target);
        pystr_put(&item->context, answer);
        buffer_text(&item->context, d->shot);
    }
    return buffer_check(&item->context, e);
}

enum status prompt_ask(struct item *item, const struct task_options *o, struct pystr question,
                       struct error *e) {
    pystr_put(&item->context, question);
    TRY(buffer_check(&item->context, e));
    if (!o->apply_chat_template) return OK;
    enum status status = add_message(item, "user", pystr_in(&item->context), e);
    buffer_free(&item->context);
    item->context = (struct buffer){0};
    return status;
}
