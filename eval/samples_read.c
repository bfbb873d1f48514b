/* SPDX-License-Identifier: Apache-2.0 */
/* samples_read: lines of JSON from files that anybody may have written. */
#include "eval/samples_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/json.h"

enum status samples_read(const char *path,
                         enum status (*line)(void *arg, const json_t *object, int number, struct error *e),
                         void *arg, struct error *e) {
    struct stat st;
    if (stat(path, &st)) return fail(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) /* a device may have one line without end */
        return fail(e, ERR_IO, "%s: not a regular file", path);
    FILE *f = fopen(path, "r");
    if (!f) return fail(e, ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    char *text = NULL;
    size_t capacity = 0;
    enum status status = OK;
    int number = 0;
    for (ssize_t n; status == OK && (n = getline(&text, &capacity, f)) >= 0;) {
        number++;
        if (n == 1 && text[0] == '\n') continue;
        json_error_t why = {0};
        json_t *object = json_parse(text, (size_t)n, JSON_ALLOW_NUL, &why);
        if (!json_is_object(object))
            status = fail(e, ERR_FORMAT, "%s: line %d is not a JSON object%s%s", path, number,
                          object ? "" : ": ", object ? "" : why.text);
        else
            status = line(arg, object, number, e);
        json_decref(object);
    }
    /* Not at the end: an input error, or no memory for the line. */
    if (status == OK && !feof(f)) status = fail(e, ERR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (status == OK && number == 0) status = fail(e, ERR_FORMAT, "%s: has no lines", path);
    free(text);
    fclose(f);
    return status;
}

int samples_task(const char *path, char task[128], char date[64]) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    size_t n = strlen(name);
    if (n < 15 || strncmp(name, "samples_", 8) != 0 || strcmp(name + n - 6, ".jsonl") != 0) return 0;
    /* The date is what follows the last '_': dates have none. */
    const char *last = name + 8;
    for (const char *p = last; (p = strchr(p, '_')); p++) last = p;
    if (*last != '_' || last - (name + 8) >= 128) return 0;
    snprintf(task, 128, "%.*s", (int)(last - (name + 8)), name + 8);
    snprintf(date, 64, "%.*s", (int)strlen(last + 1) - 6 < 63 ? (int)strlen(last + 1) - 6 : 63, last + 1);
    return 1;
}
