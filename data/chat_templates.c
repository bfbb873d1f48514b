/* SPDX-License-Identifier: Apache-2.0 */
/* chat_templates: the templates as functions. Each follows its Jinja source step by step; what looks odd here
 * is odd there. Left out: LFM2.5-8B's CONTINUE_FINAL_MESSAGE_TAG, a mark that only the transformers library
 * puts into messages. */
#include <string.h>

#include "data/chat_parts.h"

struct render {
    const json_t *messages; /* without the system message where the template takes it out */
    size_t first, n;        /* messages first..first+n-1 are left */
    const json_t *tools;    /* NULL: none */
    const struct chat_options *o;
    struct chat_text *out;
    struct error *e;
};

static const json_t *message_at(const struct render *r, size_t i) {
    return json_array_get(r->messages, r->first + i);
}
static struct text role_of(const json_t *message) {
    return text_of(json_object_get(message, "role"));
}
static int is_role(const json_t *message, const char *role) {
    const char *s = json_string_value(json_object_get(message, "role"));
    return s && strcmp(s, role) == 0;
}

static void add_text(const struct render *r, struct text t) {
    chat_add_literal(r->out, t.at, t.n);
}
static void add_json(const struct render *r, const json_t *v) {
    struct buffer b = {0};
    json_as_python(&b, v);
    if (b.failed) r->out->text.failed = 1;
    chat_add_literal(r->out, b.data, b.n);
    buffer_free(&b);
}
static void begin_message(const struct render *r, struct text role) {
    chat_add_template(r->out, "<|im_start|>");
    add_text(r, role);
    chat_add_template(r->out, "\n");
}
static void end_message(const struct render *r) {
    chat_add_template(r->out, "<|im_end|>\n");
}

static enum status wrong_content(const struct render *r, size_t i, const char *expected) {
    return fail(r->e, ERR_ARG, "message %zu: content is missing or of the wrong type (expected %s)",
                r->first + i, expected);
}

/* LFM2.5-8B's parse_content: a string, or a list of parts of which images become a word. */
static enum status flatten(const struct render *r, size_t i, const json_t *content, struct buffer *out) {
    if (json_is_string(content)) {
        buffer_add(out, json_string_value(content), json_string_length(content));
        return OK;
    }
    if (json_is_object(content)) { /* Jinja walks its keys */
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)content, key, value) {
            json_t *part = json_string(key);
            if (part) json_as_python(out, part);
            json_decref(part);
        }
        return buffer_check(out, r->e);
    }
    if (!json_is_array(content)) return wrong_content(r, i, "a string or a list of parts");
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *part = json_array_get(content, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (type && strcmp(type, "image") == 0)
            buffer_text(out, "<image>");
        else if (type && strcmp(type, "text") == 0 && json_is_string(text))
            buffer_add(out, json_string_value(text), json_string_length(text));
        else
            json_as_python(out, part);
    }
    return buffer_check(out, r->e);
}

/* What Jinja takes for true. */
static int is_there(const json_t *v) {
    return v && !json_is_null(v) && !json_is_false(v) && !(json_is_string(v) && json_string_length(v) == 0) &&
           !(json_is_array(v) && json_array_size(v) == 0) && !(json_is_object(v) && json_object_size(v) == 0);
}

/* LFM2 and LFM2.5: the system message and the tools become one block. takes_parts: the content may be a list,
 * or be missing. */
static enum status add_system(struct render *r, int takes_parts, const char *before_tools,
                              const char *after_tools) {
    struct buffer system = {0};
    if (is_role(message_at(r, 0), "system")) {
        const json_t *content = json_object_get(message_at(r, 0), "content");
        if (!takes_parts && !json_is_string(content)) return wrong_content(r, 0, "a string");
        enum status status = is_there(content) ? flatten(r, 0, content, &system) : OK;
        r->first++, r->n--;
        if (status != OK) return buffer_free(&system), status;
    }
    if (r->tools || system.n) {
        begin_message(r, (struct text){"system", 6});
        chat_add_literal(r->out, system.data, system.n);
        if (r->tools) {
            if (system.n) chat_add_template(r->out, "\n");
            chat_add_template(r->out, before_tools);
            for (size_t i = 0; i < json_array_size(r->tools); i++) {
                const json_t *tool = json_array_get(r->tools, i);
                if (i) chat_add_template(r->out, ", ");
                if (json_is_string(tool))
                    add_text(r, text_of(tool));
                else
                    add_json(r, tool);
            }
            chat_add_template(r->out, after_tools);
        }
        end_message(r);
    }
    buffer_free(&system);
    return OK;
}

static void add_answer(const struct render *r, struct text t) {
    chat_add_answer(r->out, t.at, t.n);
}

static enum status render_lfm2(struct render *r) {
    if (r->o->bos) chat_add_template(r->out, r->o->bos);
    TRY(add_system(r, 0, "List of tools: <|tool_list_start|>[", "]<|tool_list_end|>"));
    for (size_t i = 0; i < r->n; i++) {
        const json_t *message = message_at(r, i), *content = json_object_get(message, "content");
        if (!content) return wrong_content(r, i, "any value");
        int is_tool = is_role(message, "tool");
        begin_message(r, role_of(message));
        if (is_tool) chat_add_template(r->out, "<|tool_response_start|>");
        if (!json_is_string(content))
            add_json(r, content);
        else if (is_role(message, "assistant"))
            add_answer(r, text_of(content));
        else
            add_text(r, text_of(content));
        if (is_tool) chat_add_template(r->out, "<|tool_response_end|>");
        end_message(r);
    }
    return OK;
}

static enum status render_lfm25(struct render *r) {
    if (r->o->bos) chat_add_template(r->out, r->o->bos);
    TRY(add_system(r, 0, "List of tools: [", "]"));
    size_t last_answer = SIZE_MAX;
    for (size_t i = 0; i < r->n; i++)
        if (is_role(message_at(r, i), "assistant")) last_answer = i;
    for (size_t i = 0; i < r->n; i++) {
        const json_t *message = message_at(r, i), *content = json_object_get(message, "content");
        if (!content) return wrong_content(r, i, "any value");
        begin_message(r, role_of(message));
        struct buffer json = {0};
        struct text t = text_of(content);
        if (!json_is_string(content)) {
            json_as_python(&json, content);
            t = (struct text){json.data, json.n};
        }
        int is_answer = is_role(message, "assistant");
        if (is_answer && !r->o->keep_thinking && i != last_answer && text_find(t, "</think>"))
            t = text_strip(text_after_last(t, "</think>"));
        if (is_answer)
            add_answer(r, t);
        else
            add_text(r, t);
        if (json.failed) r->out->text.failed = 1;
        buffer_free(&json);
        end_message(r);
    }
    return OK;
}

static enum status add_python_call(const struct render *r, const json_t *call) {
    const json_t *function = json_object_get(call, "function"),
                 *arguments = json_object_get(function, "arguments");
    const json_t *name = json_object_get(function, "name");
    json_t *parsed = json_is_string(arguments)
                         ? json_loadb(json_string_value(arguments), json_string_length(arguments), 0, NULL)
                         : json_incref((json_t *)arguments);
    if (!json_is_string(name) || !json_is_object(parsed)) {
        json_decref(parsed);
        return fail(r->e, ERR_ARG, "a tool call has no function.name or no object as function.arguments");
    }
    const char *key, *between = "";
    size_t length;
    json_t *value;
    struct buffer b = {0};
    buffer_add(&b, json_string_value(name), json_string_length(name));
    buffer_text(&b, "(");
    json_object_keylen_foreach(parsed, key, length, value) {
        buffer_text(&b, between);
        buffer_add(&b, key, length);
        buffer_text(&b, "=");
        if (json_is_string(value)) buffer_text(&b, "'");
        if (json_is_object(value))
            json_as_python(&b, value);
        else
            json_as_str(&b, value);
        if (json_is_string(value)) buffer_text(&b, "'");
        between = ", ";
    }
    buffer_text(&b, ")");
    chat_add_literal(r->out, b.data, b.n);
    enum status status = buffer_check(&b, r->e);
    buffer_free(&b), json_decref(parsed);
    return status;
}

static enum status add_python_calls(const struct render *r, const json_t *calls) {
    if (!json_is_array(calls)) return OK;
    chat_add_template(r->out, "<|tool_call_start|>[");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (i) chat_add_template(r->out, ", ");
        TRY(add_python_call(r, json_array_get(calls, i)));
    }
    chat_add_template(r->out, "]<|tool_call_end|>");
    return OK;
}

static enum status add_message_lfm25_8b(const struct render *r, size_t i, int keeps_thinking) {
    const json_t *message = message_at(r, i), *content = json_object_get(message, "content");
    const json_t *thinking = json_object_get(message, "thinking");
    int is_answer = is_role(message, "assistant");
    begin_message(r, role_of(message));
    if (is_answer && json_is_string(thinking) && keeps_thinking) {
        chat_add_template(r->out, "<think>");
        add_text(r, text_of(thinking));
        chat_add_template(r->out, "</think>");
    }
    if (is_there(content)) {
        struct buffer flat = {0};
        enum status status = flatten(r, i, content, &flat);
        struct text t = {flat.data, flat.n};
        if (is_answer && !keeps_thinking && text_find(t, "</think>"))
            t = text_strip(text_after_last(t, "</think>"));
        if (is_answer)
            add_answer(r, t);
        else
            add_text(r, t);
        buffer_free(&flat);
        TRY(status);
    }
    if (is_answer) TRY(add_python_calls(r, json_object_get(message, "tool_calls")));
    end_message(r);
    return OK;
}

static enum status render_lfm25_8b(struct render *r) {
    if (r->o->bos) chat_add_template(r->out, r->o->bos);
    TRY(add_system(r, 1, "List of tools: [", "]"));
    size_t after_user = 0;
    for (size_t i = 0; i < r->n; i++)
        if (is_role(message_at(r, i), "user")) after_user = i + 1;
    for (size_t i = 0; i < r->n; i++) TRY(add_message_lfm25_8b(r, i, r->o->keep_thinking || i >= after_user));
    return OK;
}

/* Qwen3: where the question is that the answers after it are still working on. */
static size_t last_question(const struct render *r) {
    for (size_t i = r->n; i-- > 0;) {
        const json_t *content = json_object_get(message_at(r, i), "content");
        struct text t = text_of(content);
        if (is_role(message_at(r, i), "user") && json_is_string(content) &&
            !(text_begins(t, "<tool_response>") && text_ends(t, "</tool_response>")))
            return i;
    }
    return r->n - 1;
}

static enum status add_qwen3_tools(const struct render *r) {
    const json_t *content = json_object_get(message_at(r, 0), "content");
    begin_message(r, (struct text){"system", 6});
    if (is_role(message_at(r, 0), "system")) {
        if (!json_is_string(content)) return wrong_content(r, 0, "a string");
        add_text(r, text_of(content));
        chat_add_template(r->out, "\n\n");
    }
    chat_add_template(r->out,
                      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
                      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>");
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        chat_add_template(r->out, "\n");
        add_json(r, json_array_get(r->tools, i));
    }
    chat_add_template(
        r->out, "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
                "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
                "\"arguments\": <args-json-object>}\n</tool_call>");
    end_message(r);
    return OK;
}

static void add_qwen3_calls(const struct render *r, const json_t *calls, int after_text) {
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        if (is_there(function)) call = function;
        const json_t *arguments = json_object_get(call, "arguments");
        if (i > 0 || after_text) chat_add_template(r->out, "\n");
        chat_add_template(r->out, "<tool_call>\n{\"name\": \"");
        add_text(r, text_of(json_object_get(call, "name")));
        chat_add_template(r->out, "\", \"arguments\": ");
        if (json_is_string(arguments))
            add_text(r, text_of(arguments));
        else if (arguments)
            add_json(r, arguments);
        chat_add_template(r->out, "}\n</tool_call>");
    }
}

static void add_qwen3_answer(const struct render *r, size_t i, int is_current) {
    const json_t *message = message_at(r, i), *given = json_object_get(message, "reasoning_content");
    struct text content = text_of(json_object_get(message, "content")), thought = text_of(given);
    if (!json_is_string(given) && text_find(content, "</think>")) {
        thought = text_strip_newlines(text_before_first(content, "</think>"), 0, 1);
        thought = text_strip_newlines(text_after_last(thought, "<think>"), 1, 0);
        content = text_strip_newlines(text_after_last(content, "</think>"), 1, 0);
    }
    begin_message(r, role_of(message));
    if (is_current && (i == r->n - 1 || thought.n > 0)) {
        chat_add_template(r->out, "<think>\n");
        add_answer(r, text_strip_newlines(thought, 1, 1));
        chat_add_template(r->out, "\n</think>\n\n");
        add_answer(r, text_strip_newlines(content, 1, 0));
    } else {
        add_answer(r, content);
    }
    add_qwen3_calls(r, json_object_get(message, "tool_calls"), content.n > 0);
    end_message(r);
}

static enum status render_qwen3(struct render *r) {
    if (r->tools) TRY(add_qwen3_tools(r));
    size_t question = last_question(r);
    for (size_t i = 0; i < r->n; i++) {
        const json_t *message = message_at(r, i), *content = json_object_get(message, "content");
        if (i == 0 && is_role(message, "system") && !json_is_string(content))
            return wrong_content(r, 0, "a string");
        int is_system = is_role(message, "system") && !(i == 0 && r->tools);
        if (is_system || is_role(message, "user")) {
            begin_message(r, role_of(message));
            add_text(r, text_of(content));
            end_message(r);
        } else if (is_role(message, "assistant")) {
            add_qwen3_answer(r, i, i > question);
        } else if (is_role(message, "tool")) {
            if (i == 0 || !is_role(message_at(r, i - 1), "tool"))
                chat_add_template(r->out, "<|im_start|>user");
            chat_add_template(r->out, "\n<tool_response>\n");
            add_text(r, text_of(content));
            chat_add_template(r->out, "\n</tool_response>");
            if (i == r->n - 1 || !is_role(message_at(r, i + 1), "tool")) end_message(r);
        }
    }
    return OK;
}

static enum status render_chatml(struct render *r) {
    if (r->o->bos) chat_add_template(r->out, r->o->bos);
    for (size_t i = 0; i < r->n; i++) {
        const json_t *message = message_at(r, i), *content = json_object_get(message, "content");
        if (!json_is_string(content)) return wrong_content(r, i, "a string");
        begin_message(r, role_of(message));
        if (is_role(message, "assistant"))
            add_answer(r, text_of(content));
        else
            add_text(r, text_of(content));
        end_message(r);
    }
    return OK;
}

static enum status check_messages(const json_t *messages, const json_t *tools, struct error *e) {
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return fail(e, ERR_ARG, "no messages (expected a JSON array of {\"role\", \"content\"})");
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!json_is_string(json_object_get(json_array_get(messages, i), "role")))
            return fail(e, ERR_ARG, "message %zu has no role", i);
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return fail(e, ERR_ARG, "tools: expected a JSON array");
    return OK;
}

enum status chat_render(enum chat_template template, const json_t *messages, const json_t *tools,
                        const struct chat_options *o, struct chat_text *out, struct error *e) {
    static enum status (*const renderers[CHAT_TEMPLATES])(struct render *) = {
        [CHAT_LFM2] = render_lfm2,   [CHAT_LFM25] = render_lfm25,   [CHAT_LFM25_8B] = render_lfm25_8b,
        [CHAT_QWEN3] = render_qwen3, [CHAT_CHATML] = render_chatml,
    };
    TRY(check_messages(messages, tools, e));
    out->text.n = out->n_literal = 0;
    struct render r = {messages, 0, json_array_size(messages), is_there(tools) ? tools : NULL, o, out, e};
    TRY(renderers[template](&r));
    if (!o->no_answer) chat_add_template(out, "<|im_start|>assistant\n");
    if (!o->no_answer && o->no_thinking && template == CHAT_QWEN3)
        chat_add_template(out, "<think>\n\n</think>\n\n");
    return buffer_check(&out->text, e);
}
