/* SPDX-License-Identifier: Apache-2.0 */
/* convert: decides types, copies keys, then makes pieces of whole rows. */
#include "data/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hf.h"
#include "data/pipeline.h"
#include "data/quant_weighted.h"
#include "data/source.h"
#include "data/tokenizer.h"
#include "data/unfinished.h"

enum { PIECE_WEIGHTS = 1 << 20 /* about; whole rows */ };

struct job {
    const struct convert_options *o;
    struct source source;
    const struct gguf *g;    /* of source.base */
    enum tensor_type *types; /* [n_tensors], of the output */
    enum tensor_type *round; /* [n_tensors], what values are rounded through before; F32: nothing */
    const float **weights;   /* [n_tensors], of the importance matrix; NULL: none */
    int64_t *first_piece;    /* [n_tensors + 1] */
    struct convert_result result;
};

static int is_quantised(enum tensor_type type) {
    return type_info(type)->block > 1;
}

static int64_t rows_per_piece(const struct gguf_tensor *t) {
    return t->dims[0] < PIECE_WEIGHTS ? PIECE_WEIGHTS / t->dims[0] : 1;
}

/* ---- plan ---- */

/* The user's own type of a tensor, in place of the recipe's. */
static void override_type(struct job *job, const struct recipe_facts *facts, uint64_t i, int *misfit) {
    const struct gguf_tensor *t = &job->g->tensors[i];
    int keeps = recipe_keeps(t);
    const enum tensor_type *own = overrides_find(job->o->overrides, t->name, facts->tied, keeps);
    if (!own) return;
    *misfit = t->dims[0] % type_info(*own)->block != 0;
    enum tensor_type type = !*misfit ? *own : t->dims[0] % 32 == 0 ? TYPE_Q8_0 : TYPE_F16;
    if (keeps)
        job->round[i] = type;
    else
        job->types[i] = type;
}

/* Whether a tensor's bytes are copied as they are. */
static int is_copied(const struct job *job, uint64_t i) {
    return job->g->tensors[i].type == job->types[i] && job->round[i] == TYPE_F32 &&
           source_is_plain(&job->source, i);
}

static enum status choose_type(struct job *job, const struct recipe_facts *facts, uint64_t i,
                               struct error *e) {
    const struct gguf_tensor *t = &job->g->tensors[i];
    const struct recipe *r = job->o->recipe;
    int misfit = 0;
    job->types[i] = r ? recipe_type(r, facts, job->g, t, &misfit) : t->type;
    job->round[i] = TYPE_F32;
    if (job->o->overrides) override_type(job, facts, i, &misfit);
    job->result.n_fallback += misfit;
    int plain = is_copied(job, i);
    if (job->o->imatrix && (job->types[i] == TYPE_Q4_0 || job->types[i] == TYPE_Q4_1) && !plain) {
        TRY(imatrix_find(job->o->imatrix, t, &job->weights[i], e));
        job->result.n_weighted += job->weights[i] != NULL;
    }
    if (is_quantised(t->type) && is_quantised(job->types[i]) && !plain && !job->o->allow_requantize)
        return fail(
            e, ERR_ARG,
            "%s: tensor %s is %s already and would be rounded a second time, to %s; start from a file with "
            "F32, F16 or BF16 weights, or allow it with --allow-requantize",
            job->g->path, t->source, type_info(t->type)->name, type_info(job->types[i])->name);
    job->first_piece[i + 1] =
        job->first_piece[i] + (gguf_tensor_rows(t) + rows_per_piece(t) - 1) / rows_per_piece(t);
    return OK;
}

static enum status plan(struct job *job, struct error *e) {
    const struct config *c = &job->source.base->config;
    struct recipe_facts facts = recipe_facts_of(job->g, c->n_layers, c->n_experts);
    facts.imatrix = job->o->imatrix != NULL;
    job->round = calloc(job->g->n_tensors + 1, sizeof *job->round);
    job->weights = calloc(job->g->n_tensors + 1, sizeof *job->weights);
    job->types = calloc(job->g->n_tensors + 1, sizeof *job->types);
    job->first_piece = calloc(job->g->n_tensors + 1, sizeof *job->first_piece);
    if (!job->types || !job->first_piece || !job->round || !job->weights)
        return fail(e, ERR_MEMORY, "%s: out of memory", job->o->in);
    for (uint64_t i = 0; i < job->g->n_tensors; i++) TRY(choose_type(job, &facts, i, e));
    if (job->o->overrides) TRY(overrides_check_used(job->o->overrides, job->g->path, e));
    if (job->o->imatrix && job->result.n_weighted == 0)
        return fail(e, ERR_SHAPE, "%s: has nothing for the matrices of %s that become Q4_0",
                    job->o->imatrix->path, job->g->path);
    return OK;
}

/* ---- keys ---- */

/* The type of most bytes decides what a file without a recipe is called. */
static uint32_t file_type(const struct job *job) {
    static const char *const names[] = {"F32", "F16", "BF16", "Q8_0", "Q6_K", "Q4_0"};
    if (job->o->recipe) return job->o->recipe->file_type;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(job->source.base->recipe, names[i]) == 0) return recipe_by_name(names[i])->file_type;
    return 0;
}

static int key_is(const struct gguf_kv *kv, const char *key) {
    size_t n = strlen(key);
    return kv->key.size >= n && memcmp(kv->key.data, key, n) == 0 && (kv->key.size == n || key[n - 1] == '.');
}

/* What a folder's tokenizer says itself. */
static int is_tokens_own(const struct gguf_kv *kv, const struct tokenizer *t) {
    return (key_is(kv, "tokenizer.ggml.bos_token_id") && tokenizer_bos(t) >= 0) ||
           (key_is(kv, "tokenizer.ggml.eos_token_id") && tokenizer_eos(t) >= 0) ||
           (key_is(kv, "tokenizer.ggml.padding_token_id") && tokenizer_pad(t) >= 0);
}

/* What llama-quantize notes about the importance matrix. */
static void put_imatrix_keys(const struct imatrix *m, struct gguf_writer *w) {
    const char *slash = strrchr(m->path, '/');
    gguf_put_string(w, "quantize.imatrix.file", slash ? slash + 1 : m->path);
    if (*m->dataset) gguf_put_string(w, "quantize.imatrix.dataset", m->dataset);
    gguf_put_u32(w, "quantize.imatrix.entries_count", (uint32_t)m->n);
    if (m->chunks > 0) gguf_put_u32(w, "quantize.imatrix.chunks_count", (uint32_t)m->chunks);
}

/* All keys but those that say how the input file was written. tokenizer: of a folder; NULL: none. */
static void copy_keys(struct job *job, struct gguf_writer *w, const struct tokenizer *tokenizer) {
    int numbered = 0;
    for (uint64_t i = 0; i < job->g->n_kv; i++) {
        const struct gguf_kv *kv = &job->g->kv[i];
        if (key_is(kv, "general.alignment") || key_is(kv, "split.")) continue;
        if (key_is(kv, "quantize.imatrix.") && job->o->imatrix) continue;
        if (key_is(kv, "general.file_type") && (job->o->recipe || kv->type != GGUF_U32)) continue;
        if (key_is(kv, "general.quantization_version")) continue;
        if (tokenizer && is_tokens_own(kv, tokenizer)) continue;
        numbered |= key_is(kv, "general.file_type");
        gguf_put_kv(w, kv);
    }
    if (!gguf_find(job->g, "general.name") && job->source.base->config.name[0])
        gguf_put_string(w, "general.name", job->source.base->config.name);
    if (!numbered) gguf_put_u32(w, "general.file_type", file_type(job));
    gguf_put_u32(w, "general.quantization_version", 2);
    if (job->o->imatrix) put_imatrix_keys(job->o->imatrix, w);
}

static int has_tokenizer(const char *folder) {
    static const char *const files[] = {"tokenizer.json", "vocab.json"};
    char path[4096 + 32];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (access(path, F_OK) == 0) return 1;
    }
    return 0;
}

static enum status put_keys(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct model *m = job->source.base;
    struct tokenizer *t = NULL;
    enum status status = OK;
    char folder[4096];
    if (m->hf && hf_folder(m->path, folder, sizeof folder))
        return fail(e, ERR_ARG, "%.64s...: path too long", m->path);
    job->result.no_tokenizer = m->hf && !has_tokenizer(folder);
    if (m->hf && !job->result.no_tokenizer) TRY(tokenizer_of_model(&t, m, e));
    copy_keys(job, w, t);
    if (t) status = tokenizer_put(t, w, m->config.n_vocab, e);
    if (job->result.no_tokenizer)
        gguf_put_string(w, "tokenizer.ggml.model", "none"); /* llama.cpp asks for it */
    tokenizer_close(t);
    return status;
}

/* ---- pieces ---- */

static enum status not_finite(const struct job *job, uint64_t t, int64_t row, struct error *e) {
    return fail(e, ERR_SHAPE,
                "%s: tensor %s: row %" PRId64 " holds a value that %s cannot (NaN, infinite or too large)",
                job->g->path, job->g->tensors[t].source, row, type_info(job->types[t])->name);
}

static int all_finite(const float *x, int64_t n) {
    float sum = 0; /* of zeros: 0 * NaN and 0 * Inf are NaN */
    for (int64_t i = 0; i < n; i++) sum += 0 * x[i];
    return sum == 0;
}

/* rows: room for three. */
static enum status make_row(const struct job *job, uint64_t t, int64_t row, float *rows, uint8_t *out,
                            struct error *e) {
    int64_t n = job->g->tensors[t].dims[0];
    const struct gguf_tensor *tensor = &job->g->tensors[t];
    const float *weights = job->weights[t];
    source_row(&job->source, t, row, rows, rows + n);
    if (job->round[t] != TYPE_F32) { /* a row of any type is shorter than one of float32 */
        quantize_row(job->round[t], rows, rows + n, n);
        dequantize_row(job->round[t], rows + n, rows, n);
    }
    if (weights) weights += row / tensor->dims[1] * n;
    quantize_row_weighted(job->types[t], rows, weights, out, n);
    dequantize_row(job->types[t], out, rows + n, n);
    return all_finite(rows, n) && all_finite(rows + n, n) ? OK : not_finite(job, t, row, e);
}

static enum status make_piece(void *arg, int64_t piece, uint8_t *out, size_t *n_bytes, struct error *e) {
    const struct job *job = arg;
    uint64_t low = 0, high = job->g->n_tensors;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (job->first_piece[middle] <= piece)
            low = middle;
        else
            high = middle;
    }
    const struct gguf_tensor *t = &job->g->tensors[low];
    int64_t first = (piece - job->first_piece[low]) * rows_per_piece(t), last = first + rows_per_piece(t);
    if (last > gguf_tensor_rows(t)) last = gguf_tensor_rows(t);
    size_t row_bytes = type_row_bytes(job->types[low], t->dims[0]);
    *n_bytes = (size_t)(last - first) * row_bytes;
    int plain = is_copied(job, low);
    float *rows = plain ? NULL : malloc(3 * (size_t)t->dims[0] * sizeof *rows);
    if (!plain && !rows) return fail(e, ERR_MEMORY, "%s: out of memory", job->g->path);
    enum status status = OK;
    for (int64_t r = first; r < last && status == OK; r++, out += row_bytes) {
        if (plain)
            memcpy(out, gguf_tensor_row(t, r), row_bytes);
        else
            status = make_row(job, low, r, rows, out, e);
    }
    free(rows);
    return status;
}

static enum status write_tensors(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct convert_options *o = job->o;
    struct pipeline p = {.threads = o->threads,
                         .n_pieces = job->first_piece[job->g->n_tensors],
                         .make = make_piece,
                         .arg = job,
                         .progress = o->progress,
                         .progress_arg = o->progress_arg};
    for (uint64_t i = 0; i < job->g->n_tensors; i++) {
        const struct gguf_tensor *t = &job->g->tensors[i];
        int64_t rows = rows_per_piece(t) < gguf_tensor_rows(t) ? rows_per_piece(t) : gguf_tensor_rows(t);
        size_t row_bytes = type_row_bytes(job->types[i], t->dims[0]);
        if ((size_t)rows * row_bytes > p.most) p.most = (size_t)rows * row_bytes;
        p.total += (uint64_t)gguf_tensor_rows(t) * row_bytes;
        job->result.in_bytes += t->bytes;
        job->result.n_params += (uint64_t)(t->dims[0] * gguf_tensor_rows(t));
        gguf_put_tensor(w, t->name, job->types[i], t->n_dims, t->dims);
    }
    job->result.out_bytes = p.total;
    TRY(gguf_writer_begin(w, e));
    TRY(pipeline_run(&p, w, e));
    return gguf_writer_finish(w, e);
}

static enum status run(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct convert_options *o = job->o;
    TRY(source_open(&job->source, o->in, o->merges, o->adapters, e));
    for (int i = 0; i < job->source.n_others; i++) TRY(output_check(o->out, job->source.others[i]->path, e));
    job->g = job->source.base->index;
    TRY(plan(job, e));
    TRY(put_keys(job, w, e));
    return write_tensors(job, w, e);
}

enum status convert_write(const struct convert_options *o, struct convert_result *result, struct error *e) {
    struct job job = {.o = o};
    struct gguf_writer *w;
    TRY(output_check(o->out, o->in, e));
    TRY(gguf_writer_new(&w, o->out, e));
    enum status status = run(&job, w, e);
    gguf_writer_free(w);
    source_close(&job.source);
    free(job.types);
    free(job.first_piece);
    free(job.round);
    free(job.weights);
    if (result) *result = job.result;
    return status;
}
