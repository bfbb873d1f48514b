/* SPDX-License-Identifier: Apache-2.0 */
/* chat_turns: lines to turns, a file to tools, calls to lines. */
#include "bench/chat_turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

enum { MAX_TOOLS = 1 << 24 /* bytes of the file */ };

/* One line, without its end, added to *text. *more: it ends with a backslash, which is left out. Returns 0 at
 * the end of input. */
static int read_line(FILE *in, struct buffer *text, int *more) {
    char *line = NULL;
    size_t room = 0;
    errno = 0;
    ssize_t n = getline(&line, &room, in);
    if (n > 0 && line[n - 1] == '\n') n--;
    if (n > 0 && line[n - 1] == '\r') n--;
    *more = n > 0 && line[n - 1] == '\\';
    if (n > 0) buffer_add(text, line, (size_t)(n - *more));
    free(line);
    return n >= 0;
}

static enum turn_kind kind_of(struct buffer *text) {
    static const char tool[] = "/tool ";
    if (strcmp(text->data, "/clear") == 0) return TURN_CLEAR;
    if (strncmp(text->data, tool, strlen(tool)) != 0) return TURN_USER;
    text->n -= strlen(tool);
    memmove(text->data, text->data + strlen(tool), text->n + 1);
    return TURN_TOOL;
}

enum status turn_read(FILE *in, const char *prompt, enum turn_kind *kind, struct buffer *text,
                      struct error *e) {
    int more = 0, there;
    text->n = 0;
    do {
        if (more) buffer_text(text, "\n");
        if (prompt) fputs(more ? "  " : prompt, stderr);
        there = read_line(in, text, &more);
    } while (there && (more || text->n == 0));
    if (!there && ferror(in) && errno != EINTR) return fail(e, ERR_IO, "standard input: %s", strerror(errno));
    TRY(buffer_check(text, e));
    *kind = text->n && !(ferror(in) && errno == EINTR) ? kind_of(text) : TURN_END;
    if (prompt && !there) fputc('\n', stderr);
    return OK;
}

static enum status check_tool(const json_t *tool, size_t i, const char *path, struct error *e) {
    const json_t *function = json_object_get(tool, "function"), *it = function ? function : tool;
    if (json_is_object(it) && json_is_string(json_object_get(it, "name"))) return OK;
    return fail(e, ERR_FORMAT, "%s: tool %zu is not an object with a \"name\" or a \"function\" that has one",
                path, i + 1);
}

enum status tools_read(json_t **out, const char *path, struct error *e) {
    struct buffer text = {0};
    json_error_t why = {0};
    *out = NULL;
    enum status status = buffer_read_input(&text, path, MAX_TOOLS, e);
    json_t *tools =
        status == OK ? json_parse(text.data ? text.data : "", text.n, JSON_REJECT_DUPLICATES, &why) : NULL;
    buffer_free(&text);
    TRY(status);
    if (!tools) return fail(e, ERR_FORMAT, "%s: not JSON, line %d: %s", path, why.line, why.text);
    if (json_is_object(tools)) tools = json_pack("[o]", tools);
    if (json_array_size(tools) == 0)
        status = fail(e, ERR_FORMAT, "%s: no tools in it (expected an array of objects)", path);
    for (size_t i = 0; status == OK && i < json_array_size(tools); i++)
        status = check_tool(json_array_get(tools, i), i, path, e);
    if (status == OK)
        *out = tools;
    else
        json_decref(tools);
    return status;
}

void calls_print(const json_t *calls) {
    for (size_t i = 0; i < json_array_size(calls); i++) {
        char *text = json_dumps(json_array_get(calls, i), JSON_COMPACT);
        if (text) text_clean(text); /* JSON itself escapes some control characters, not all */
        fprintf(stderr, "tool call: %s\n", text ? text : "");
        free(text);
    }
}
