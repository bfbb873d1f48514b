/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: opens the files, and checks an index file against what they hold. */
#include "data/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/json.h"
#include "data/safetensors_parts.h"

enum { MAX_FILES = 1024, MAX_INDEX = 16 << 20 /* bytes */ };

static enum status allocate(struct safetensors **out, size_t n_files, const char *path, struct error *e) {
    *out = NULL;
    struct safetensors *s = calloc(1, sizeof *s);
    if (s) s->files = calloc(n_files, sizeof *s->files);
    if (!s || !s->files) {
        free(s);
        return fail(e, ERR_MEMORY, "%s: out of memory", path);
    }
    *out = s;
    return OK;
}

/* folder may be NULL. */
static enum status add_file(struct safetensors *s, const char *folder, const char *name, struct error *e) {
    size_t size = (folder ? strlen(folder) + 1 : 0) + strlen(name) + 1;
    struct safetensors_file *f = &s->files[s->n_files];
    if (!(f->path = malloc(size))) return fail(e, ERR_MEMORY, "%s: out of memory", name);
    snprintf(f->path, size, "%s%s%s", folder ? folder : "", folder ? "/" : "", name);
    s->n_files++;
    TRY(mapped_open(&f->map, f->path, "safetensors", e));
    return safetensors_parse(s, s->n_files - 1, e);
}

static int compare_names(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum status sort(struct safetensors *s, struct error *e) {
    if (s->n_tensors) qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
    for (size_t i = 1; i < s->n_tensors; i++)
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
            return fail(e, ERR_FORMAT, "%s: tensor %s occurs twice", s->files[s->tensors[i].file].path,
                        s->tensors[i].name);
    return OK;
}

enum status safetensors_open(struct safetensors **out, const char *path, struct error *e) {
    TRY(allocate(out, 1, path, e));
    enum status status = add_file(*out, NULL, path, e);
    if (status == OK) status = sort(*out, e);
    if (status == OK) return OK;
    safetensors_close(*out);
    *out = NULL;
    return status;
}

/* A name in an index must be that of a file in the same folder. */
static int is_file_name(const char *name) {
    size_t n = strlen(name);
    static const char end[] = ".safetensors";
    for (const char *p = name; *p; p++)
        if (*p == '/' || (unsigned char)*p < 0x20) return 0;
    return n >= sizeof end && n < 256 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

static int find_file(const struct safetensors *s, size_t folder_length, const char *name) {
    for (int i = 0; i < s->n_files; i++)
        if (strcmp(s->files[i].path + folder_length + 1, name) == 0) return i;
    return -1;
}

/* Opens the files that the index names, each once. */
static enum status open_files(struct safetensors *s, json_t *map, const char *folder, const char *index,
                              struct error *e) {
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || json_string_length(value) != strlen(name) || !is_file_name(name))
            return fail(
                e, ERR_FORMAT,
                "%s: tensor %s: bad file (found %s%.100s, expected the name of a .safetensors file in this "
                "folder)",
                index, tensor, name ? "" : "no text", name ? name : "");
        if (find_file(s, strlen(folder), name) >= 0) continue;
        if (s->n_files == MAX_FILES)
            return fail(e, ERR_UNSUPPORTED, "%s: too many files (expected at most %d)", index, MAX_FILES);
        TRY(add_file(s, folder, name, e));
    }
    return OK;
}

/* Index and files must tell the same. The index's total_size is not used, and published ones are often wrong.
 */
static enum status check_index(const struct safetensors *s, json_t *map, const char *folder,
                               const char *index, struct error *e) {
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct safetensors_tensor *t = &s->tensors[i];
        const char *name = json_string_value(json_object_get(map, t->name));
        if (!name || find_file(s, strlen(folder), name) != t->file)
            return fail(e, ERR_FORMAT,
                        "%s: tensor %s: wrong file (found %.100s, expected %s, which holds it)", index,
                        t->name, name ? name : "none", s->files[t->file].path);
    }
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value) if (!safetensors_find(s, tensor)) return fail(
        e, ERR_FORMAT, "%s: tensor %s is not in the file that the index names (expected it in %s)", index,
        tensor, json_string_value(value));
    return OK;
}

static enum status open_index(struct safetensors *s, const char *folder, const char *index, struct error *e) {
    json_t *root;
    TRY(json_read(&root, index, MAX_INDEX, JSON_REJECT_DUPLICATES, e));
    json_t *map = json_object_get(root, "weight_map");
    enum status status = OK;
    if (!json_is_object(map))
        status = fail(e, ERR_FORMAT, "%s: weight_map is missing (expected a file for each tensor)", index);
    if (status == OK) status = open_files(s, map, folder, index, e);
    if (status == OK) status = sort(s, e);
    if (status == OK) status = check_index(s, map, folder, index, e);
    json_decref(root);
    return status;
}

enum status safetensors_open_folder(struct safetensors **out, const char *path, struct error *e) {
    char index[4096 + 64];
    int n = snprintf(index, sizeof index, "%s/model.safetensors.index.json", path);
    *out = NULL;
    if (n < 0 || (size_t)n >= sizeof index) return fail(e, ERR_ARG, "%.64s...: path too long", path);
    if (access(index, F_OK)) {
        snprintf(index, sizeof index, "%s/model.safetensors", path);
        return safetensors_open(out, index, e);
    }
    TRY(allocate(out, MAX_FILES, path, e));
    enum status status = open_index(*out, path, index, e);
    if (status == OK) return OK;
    safetensors_close(*out);
    *out = NULL;
    return status;
}

void safetensors_close(struct safetensors *s) {
    if (!s) return;
    for (int i = 0; i < s->n_files; i++) {
        mapped_close(&s->files[i].map);
        free(s->files[i].path);
    }
    for (size_t i = 0; i < s->n_tensors; i++) free(s->tensors[i].name);
    free(s->files);
    free(s->tensors);
    free(s);
}

static int compare_name(const void *name, const void *t) {
    return strcmp(name, ((const struct safetensors_tensor *)t)->name);
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name) {
    return s->n_tensors ? bsearch(name, s->tensors, s->n_tensors, sizeof *s->tensors, compare_name) : NULL;
}
