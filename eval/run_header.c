/* SPDX-License-Identifier: Apache-2.0 */
/* run_header: which run a journal belongs to, and the journals of one folder. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "data/sha256.h"
#include "eval/pyjson.h"
#include "eval/run_parts.h"

/* Seconds since 1970; SOURCE_DATE_EPOCH, as in reproducible builds, where two runs shall give the same files.
 */
static json_int_t begun(void) {
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    return fixed && *fixed ? atoll(fixed) : (json_int_t)time(NULL);
}

static void add_sample(struct sha256_ctx *sha, const struct model *m, const struct tensor *t) {
    enum { BYTES = 64 };
    if (!t->data) return;
    size_t n = t->bytes < BYTES ? t->bytes : BYTES;
    sha256_update(sha, n, (const uint8_t *)t->data + (t->bytes - n) / 2);
    model_release_pages(m, t); /* a touched byte maps many pages around it */
}

/* Two checkpoints can have equal headers: some bytes of every layer. */
static void sample_weights(const struct model *m, char hex[SHA256_HEX]) {
    struct sha256_ctx sha;
    sha256_init(&sha);
    add_sample(&sha, m, &m->embedding);
    add_sample(&sha, m, &m->norm);
    for (int i = 0; i < m->config.n_layers; i++) {
        const struct layer *l = &m->layers[i];
        const struct tensor *all[] = {&l->mixer_norm, &l->ffn_norm, &l->conv_in, &l->conv_out, &l->q,
                                      &l->o,          &l->gate,     &l->down,    &l->router};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) add_sample(&sha, m, all[k]);
        if (l->experts) add_sample(&sha, m, &l->experts[0].down);
    }
    sha256_end_hex(&sha, hex);
    hex[16] = 0;
}

static json_t *task_list(const struct run *r) {
    json_t *list = json_array();
    for (int i = 0; i < r->n_tasks; i++)
        json_array_append_new(list, json_pack("[s,s,i]", r->tasks[i].task.name, r->tasks[i].task.version,
                                              r->tasks[i].original));
    return list;
}

enum status run_header(const struct run *r, json_t **out, struct error *e) {
    const struct run_options *o = &r->options;
    const struct model *m = r->lm->model;
    const char *name = strrchr(o->lm.model, '/');
    char sample[SHA256_HEX];
    sample_weights(m, sample);
    json_t *run = json_pack(
        "{s:i,s:s,s:s,s:s,s:I,s:s,s:s,s:o,s:i,s:i,s:b,s:b,s:s?,s:s?,s:s,s:O?,s:i,s:i,s:i,s:s?}", "journal", 1,
        "model", name && name[1] ? name + 1 : o->lm.model, "model_sha256", m->header_sha256, "model_sample",
        sample, "model_bytes", (json_int_t)m->file_bytes, "engine", o->lm.engine, "kv_type",
        o->lm.kv_type == KV_Q8 ? "q8_0" : "f16", "tasks", task_list(r), "limit", o->limit, "num_fewshot",
        o->task.num_fewshot, "apply_chat_template", o->task.apply_chat_template, "fewshot_as_multiturn",
        o->task.fewshot_as_multiturn, "system_instruction", o->task.system_instruction, "chat_template",
        o->task.apply_chat_template ? chat_template_names[r->lm->template] : NULL, "protocol",
        o->task.protocol == PROTOCOL_CARD ? "card" : "lm-eval", "gen_kwargs", o->gen_kwargs, "seed",
        o->lm.seed, "fewshot_seed", o->task.fewshot_seed, "max_length", r->lm->max_length, "isa", o->lm.isa);
    json_t *info = json_pack("{s:I,s:i}", "date", begun(), "batch_size", r->lm->n_slots);
    *out = run && info ? json_pack("{s:o,s:o}", "run", run, "info", info) : NULL;
    return *out ? OK : fail(e, ERR_ARG, "the options are not UTF-8");
}

enum status run_differs(const char *path, const json_t *ours, const json_t *found, struct error *e) {
    const json_t *a = json_object_get(ours, "run"), *b = json_object_get(found, "run");
    const char *key;
    json_t *value;
    if (!json_is_object(b)) return fail(e, ERR_FORMAT, "%s: not the journal of an evaluation", path);
    json_object_foreach((json_t *)a, key, value) {
        const json_t *other = json_object_get(b, key);
        if (other ? json_equal((json_t *)other, value) : json_is_null(value)) continue;
        struct buffer is = {0}, was = {0};
        py_str(value, &is);
        if (other) py_str(other, &was);
        enum status status =
            fail(e, ERR_ARG,
                 "%s: belongs to a run with another %s (found %.120s, expected %.120s); take another "
                 "--output_path or delete it",
                 path, key, was.n ? was.data : "none", is.n ? is.data : "none");
        buffer_free(&is);
        buffer_free(&was);
        return status;
    }
    return OK;
}

static enum status take(void *arg, const json_t *line, int number, struct error *e) {
    int fresh;
    struct error bad;
    if (run_take(arg, line, &fresh, &bad) == OK) return OK;
    return fail(e, bad.code, "%s: line %d: %s", ((struct run *)arg)->options.output_path, number, bad.text);
}

static int make_folders(const char *path) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *p = copy + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            if (mkdir(copy, 0777) && errno != EEXIST) return -1;
            *p = '/';
        }
    return mkdir(copy, 0777) && errno != EEXIST ? -1 : 0;
}

enum status run_journals(struct run *r, struct error *e) {
    const struct run_options *o = &r->options;
    char path[4096], own[64] = "journal.jsonl";
    if (o->shards > 0) snprintf(own, sizeof own, "journal-%d-of-%d.jsonl", o->shard, o->shards);
    if (make_folders(o->output_path))
        return fail(e, ERR_IO, "%s: cannot make the folder: %s", o->output_path, strerror(errno));
    if ((size_t)snprintf(path, sizeof path, "%s/%s", o->output_path, own) >= sizeof path)
        return fail(e, ERR_ARG, "%.80s...: the path is too long", o->output_path);
    TRY(journal_open(&r->journal, path, &r->header, run_differs, take, r, e));
    DIR *folder = opendir(o->output_path);
    if (!folder) return fail(e, ERR_IO, "%s: cannot read the folder: %s", o->output_path, strerror(errno));
    enum status status = OK;
    for (struct dirent *f; status == OK && (f = readdir(folder));) {
        size_t n = strlen(f->d_name);
        if (strncmp(f->d_name, "journal", 7) != 0 || n < 6 || strcmp(f->d_name + n - 6, ".jsonl") != 0)
            continue;
        if (strcmp(f->d_name, own) == 0) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", o->output_path, f->d_name) >= sizeof path) continue;
        json_t *header = json_incref(r->header);
        status = journal_read(path, &header, run_differs, take, r, e);
        json_decref(header);
    }
    closedir(folder);
    return status;
}
