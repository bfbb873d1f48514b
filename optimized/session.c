/* SPDX-License-Identifier: Apache-2.0 */
/* session: opening and closing: choosing kernels, packing weights, laying out all memory. */
#include "optimized/session.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "data/cpus.h"
#include "data/unfinished.h"
#include "optimized/scheme.h"

/* Changes whenever kernels.h changes a block or visit_matrices its order. */
static const char LAYOUT[] = "optimized panels of 16, version 2";

/* Hands out aligned pieces of one mapping. With base NULL it only counts. */
struct arena {
    unsigned char *base;
    size_t used;
};

static void *take(struct arena *a, size_t count, size_t size) {
    size_t at = a->used;
    a->used += (count * size + 127) / 64 * 64; /* at least 64 bytes of slack between pieces */
    return a->base ? a->base + at : NULL;
}

static void *map_memory(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    madvise(p, bytes,
            MADV_HUGEPAGE); /* fewer TLB misses while streaming; a kernel without it changes nothing */
    return p;
}

static int max_int(int a, int b) {
    return a > b ? a : b;
}

/* int8 and float forms of n rows of width K. with_x: room for the floats too. */
static struct rows take_rows(struct arena *a, int n, int K, int with_x) {
    struct rows r = {0};
    size_t rows = (size_t)n, width = (size_t)(K + 63) / 64 * 64;
    r.x_stride = width + 16;
    if (with_x) r.x = take(a, rows * r.x_stride, sizeof *r.x);
    if (K % BLOCK == 0) {
        /* An odd number of cache lines between rows spreads a tile's rows over the sets of the L1 cache. */
        r.a.q_stride = width + (width / 64 % 2 ? 128 : 64);
        r.a.s_stride = (size_t)K / BLOCK;
        r.a.q = take(a, rows * r.a.q_stride, 1);
        r.a.scale = take(a, rows * r.a.s_stride, sizeof *r.a.scale);
        r.a.offset8 = take(a, rows * r.a.s_stride, sizeof *r.a.offset8);
        r.a.sum16 = take(a, rows * 2 * r.a.s_stride, sizeof *r.a.sum16);
    }
    return r;
}

static struct routing take_routing(struct arena *a, const struct config *c, int n) {
    size_t tokens = (size_t)n, slots = tokens * (size_t)max_int(c->n_experts_used, 1);
    struct routing r;
    r.scores = take(a, tokens * (size_t)c->n_experts, sizeof *r.scores);
    r.chosen = take(a, slots, sizeof *r.chosen);
    r.weight = take(a, slots, sizeof *r.weight);
    r.shares = take(a, (size_t)c->n_experts, sizeof *r.shares);
    r.slot_token = take(a, slots, sizeof *r.slot_token);
    r.slot_weight = take(a, slots, sizeof *r.slot_weight);
    return r;
}

/* Widths that decide sizes. */
struct extent {
    int max_cols;   /* of any matrix */
    int float_cols; /* of any MATRIX_FLOAT */
    int float_ffn;  /* 1: some ffn needs float inputs or keeps its hidden values as floats */
};

static void see(struct extent *x, const struct matrix *m) {
    x->max_cols = max_int(x->max_cols, m->cols);
    if (m->kind == MATRIX_FLOAT) x->float_cols = max_int(x->float_cols, m->cols);
}

static void see_ffn(struct extent *x, const struct packed_expert *e) {
    see(x, &e->gate);
    see(x, &e->up);
    see(x, &e->down);
    if (e->gate.kind == MATRIX_FLOAT || e->up.kind == MATRIX_FLOAT || e->down.kind == MATRIX_FLOAT)
        x->float_ffn = 1;
}

static struct extent measure(const struct session *s) {
    struct extent x = {0};
    for (int i = 0; i < s->c->n_layers; i++) {
        struct packed_layer *l = &s->layers[i];
        if (s->model->layers[i].mixer == MIXER_CONV) {
            see(&x, &l->conv_in);
            see(&x, &l->conv_out);
        } else {
            const struct matrix *m[] = {&l->q, &l->k, &l->v, &l->o};
            for (int j = 0; j < 4; j++) see(&x, m[j]);
        }
        if (s->model->layers[i].ffn == FFN_DENSE)
            see_ffn(&x, &l->dense);
        else
            for (int e = 0; e < s->c->n_experts; e++) see_ffn(&x, &l->experts[e]);
    }
    see(&x, &s->head);
    return x;
}

static void lay_out_layer(struct session *s, struct arena *a, int i) {
    const struct config *c = s->c;
    struct packed_layer *l = &s->layers[i];
    size_t D = (size_t)c->n_embd;
    if (s->model->layers[i].mixer == MIXER_CONV) l->taps = take(a, 3 * D, sizeof *l->taps);
    if (s->model->layers[i].ffn == FFN_MOE)
        l->router = take(a, (size_t)(c->n_experts + PANEL - 1) / PANEL * PANEL * D, sizeof *l->router);
}

static void lay_out_worker(struct session *s, struct arena *a, const struct extent *x, struct worker *w) {
    const struct config *c = s->c;
    size_t heads = (size_t)ATTENTION_ROWS * (size_t)c->head_dim;
    int mixer = max_int(c->n_embd, c->n_heads * c->head_dim);
    w->u = take_rows(a, 1, c->n_embd, 1);
    w->mixed = take_rows(a, 1, mixer, 0);
    for (int i = 0; i < 2; i++) {
        w->tile[i] = take(a, TILE_TOKENS * CHUNK * PANEL, sizeof(float));
        w->unpacked[i] = take(a, (size_t)x->float_cols * PANEL, sizeof(float));
    }
    w->row = take(a, (size_t)x->max_cols, sizeof(float));
    if (s->scheme != SCHEME_EXACT) w->rounded = take(a, TILE_TOKENS * (size_t)x->max_cols, sizeof(float));
    w->q = take(a, heads, sizeof(float));
    w->o = take(a, heads, sizeof(float));
    w->part = take(a, heads, sizeof(float));
    w->attention_scratch = take(a, ATTENTION_ROWS * ATTENTION_SPAN, sizeof(float));
    if (s->kv_type == KV_Q8) {
        w->q8 = take_rows(a, ATTENTION_ROWS, c->head_dim, 0);
        w->weights8 = take(a, ATTENTION_ROWS * ATTENTION_SPAN, 1);
    }
    w->router = take(a, (size_t)c->n_experts + PANEL, sizeof(float));
    w->routing = take_routing(a, c, 1);
}

/* What only a layer's mixer, a dense ffn or a mixture of experts needs: they share their memory. */
static void lay_out_halves(struct session *s, struct arena *a, const struct extent *x, int mixer) {
    const struct config *c = s->c;
    int qkv = (c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
    int slots = s->max_batch * max_int(c->n_experts_used, 1);
    struct arena dense = *a, moe = *a;
    s->wide_stride = (size_t)max_int(c->conv_taps ? 3 * c->n_embd : 0, qkv);
    s->wide = take(a, (size_t)s->max_batch * s->wide_stride, sizeof(float));
    s->mixed = take_rows(a, s->max_batch, mixer, 0);
    s->hidden_dense = take_rows(&dense, s->max_batch, max_int(c->n_ff, BLOCK), x->float_ffn);
    if (c->n_experts_used) {
        s->gathered = take_rows(&moe, slots, c->n_embd, x->float_ffn);
        s->hidden_moe = take_rows(&moe, slots, c->n_expert_ff, x->float_ffn);
    }
    if (dense.used > a->used) *a = dense;
    if (moe.used > a->used) *a = moe;
}

/* Gives every buffer its place. Called twice: to count, and with the mapping. */
static void lay_out(struct session *s, struct arena *a, const struct extent *x) {
    const struct config *c = s->c;
    size_t B = (size_t)s->max_batch, D = (size_t)c->n_embd;
    int heads = c->n_heads * c->head_dim, mixer = max_int(c->n_embd, heads);
    for (int i = 0; i < c->n_layers; i++) lay_out_layer(s, a, i);
    s->rows = take(a, B, sizeof *s->rows);
    s->spans = take(a, B, sizeof *s->spans);
    s->wanted = take(a, B, sizeof *s->wanted);
    s->x = take(a, B * D, sizeof(float));
    s->y_stride = (size_t)mixer;
    s->y = take(a, B * s->y_stride, sizeof(float));
    s->u = take_rows(a, s->max_batch, c->n_embd, 1);
    lay_out_halves(s, a, x, mixer);
    size_t angles = B * (size_t)(c->head_dim / 2);
    s->rope_cos = take(a, angles, sizeof(float));
    s->rope_sin = take(a, angles, sizeof(float));
    s->routing = take_routing(a, c, s->max_batch);
    for (int i = 0; i < s->threads; i++) {
        s->workers[i].s = s;
        s->workers[i].thread = i;
        lay_out_worker(s, a, x, &s->workers[i]);
    }
}

static void lay_out_timeline(struct session *s, struct arena *a) {
    const struct config *c = s->c;
    size_t D = (size_t)c->n_embd, chunks = (size_t)(s->max_tokens + KV_CHUNK - 1) / KV_CHUNK;
    for (int i = 0; i < c->n_layers; i++) {
        struct memory *m = &s->memory[i];
        if (s->model->layers[i].mixer == MIXER_CONV) {
            m->conv_state = take(a, 2 * D, sizeof *m->conv_state);
            m->conv_mark = take(a, 2 * D, sizeof *m->conv_mark);
        } else {
            for (int j = 0; j < CACHE_PARTS; j++)
                m->cache[j] = take(a, (size_t)c->n_kv_heads, cache_bytes(s, j, s->positions));
        }
    }
    s->partial = take(a, (size_t)c->n_heads * chunks * (size_t)(c->head_dim + 2), sizeof(float));
}

/* Calls visit for every matrix of the model with its tensor. */
typedef void matrix_visit(struct session *s, struct matrix *m, const struct tensor *t, void *arg);

static void visit_expert(struct session *s, struct packed_expert *p, const struct tensor *gate,
                         const struct tensor *up, const struct tensor *down, matrix_visit *visit, void *arg) {
    visit(s, &p->gate, gate, arg);
    visit(s, &p->up, up, arg);
    visit(s, &p->down, down, arg);
}

static void visit_matrices(struct session *s, matrix_visit *visit, void *arg) {
    for (int i = 0; i < s->c->n_layers; i++) {
        const struct layer *f = &s->model->layers[i];
        struct packed_layer *l = &s->layers[i];
        if (f->mixer == MIXER_CONV) {
            visit(s, &l->conv_in, &f->conv_in, arg);
            visit(s, &l->conv_out, &f->conv_out, arg);
        } else {
            visit(s, &l->q, &f->q, arg);
            visit(s, &l->k, &f->k, arg);
            visit(s, &l->v, &f->v, arg);
            visit(s, &l->o, &f->o, arg);
        }
        if (f->ffn == FFN_DENSE)
            visit_expert(s, &l->dense, &f->gate, &f->up, &f->down, visit, arg);
        else
            for (int e = 0; e < s->c->n_experts; e++)
                visit_expert(s, &l->experts[e], &f->experts[e].gate, &f->experts[e].up, &f->experts[e].down,
                             visit, arg);
    }
    visit(s, &s->head, &s->model->head, arg);
}

static size_t room_for(const struct matrix *m) {
    return (matrix_bytes(m) + 63) / 64 * 64;
}

static void describe_one(struct session *s, struct matrix *m, const struct tensor *t, void *arg) {
    *m = matrix_describe(t);
    scheme_apply(s->scheme, m);
    s->weights_bytes += room_for(m);
    const unsigned char *data = t->data;
    for (size_t i = 0; i < 4; i++)
        s->sample = (s->sample ^ data[t->bytes / 4 * i]) * 0x100000001b3u; /* FNV-1a */
    model_release_pages(s->model, t); /* a touched byte maps many pages around it */
    (void)arg;
}

struct packing {
    const struct matrix *m;
    void *dst;
    int threads;
};

static void pack_part(void *arg, int thread) {
    const struct packing *p = arg;
    matrix_pack(p->m, p->dst, part_begin(p->m->panels, thread, p->threads),
                part_begin(p->m->panels, thread + 1, p->threads));
}

/* The file's pages are given back as soon as they are packed: original and copy are never both resident. */
static void pack_one(struct session *s, struct matrix *m, const struct tensor *t, void *arg) {
    size_t *used = arg;
    if (m->kind == MATRIX_FLOAT) return;
    struct packing p = {m, (unsigned char *)s->weights + *used, s->threads};
    pool_run(s->pool, pack_part, &p);
    m->data = p.dst;
    *used += room_for(m);
    model_release_pages(s->model, t);
}

/* The place of a matrix in a packed file. */
static void find_one(struct session *s, struct matrix *m, const struct tensor *t, void *arg) {
    size_t *used = arg;
    if (m->kind == MATRIX_FLOAT) return;
    m->data = s->packed.weights + *used;
    *used += room_for(m);
    (void)t;
}

static void prepare_vectors(struct session *s) {
    const struct config *c = s->c;
    int D = c->n_embd;
    for (int i = 0; i < c->n_layers; i++) {
        const struct layer *f = &s->model->layers[i];
        struct packed_layer *l = &s->layers[i];
        l->mixer_norm = f->mixer_norm.data;
        l->ffn_norm = f->ffn_norm.data;
        if (f->mixer == MIXER_CONV) {
            const float *taps = f->conv_taps.data;
            for (int ch = 0; ch < D; ch++)
                for (int j = 0; j < 3; j++) l->taps[(size_t)j * D + ch] = taps[(size_t)ch * 3 + j];
        } else {
            l->q_norm = f->q_norm.data;
            l->k_norm = f->k_norm.data;
        }
        if (f->ffn == FFN_MOE) {
            struct matrix router = matrix_describe(&f->router);
            for (int p = 0; p < router.panels; p++)
                matrix_unpack(&router, p, l->router + (size_t)p * PANEL * D, s->workers[0].row);
            l->router_bias = f->router_bias.data;
        }
    }
}

/* What the kernels take for granted beyond what model_open has checked. */
static enum status check_shapes(const struct model *m, enum kv_type kv_type, struct error *e) {
    const struct config *c = &m->config;
    if (c->n_kv_heads && kv_type == KV_Q8 && c->head_dim % BLOCK)
        return fail(e, ERR_UNSUPPORTED,
                    "%s: an int8 KV cache needs a head size that is a multiple of 32 (found %d)", m->path,
                    c->head_dim);
    if (c->n_kv_heads) {
        if (c->head_dim % 16 || c->head_dim > 512)
            return fail(
                e, ERR_UNSUPPORTED,
                "%s: the optimized engine needs a head size that is a multiple of 16, at most 512 (found %d)",
                m->path, c->head_dim);
        if (c->n_heads / c->n_kv_heads > ATTENTION_ROWS)
            return fail(e, ERR_UNSUPPORTED, "%s: more than %d query heads share a kv head (found %d)",
                        m->path, ATTENTION_ROWS, c->n_heads / c->n_kv_heads);
    }
    return OK;
}

static enum status take_tables(struct session *s, struct error *e) {
    const struct config *c = s->c;
    size_t L = (size_t)c->n_layers;
    s->layers = calloc(L, sizeof *s->layers);
    s->experts = calloc(L * (size_t)c->n_experts + 1, sizeof *s->experts);
    s->workers = calloc((size_t)s->threads, sizeof *s->workers);
    s->n_counters = c->n_layers * LAYER_STEPS + OTHER_STEPS;
    s->counters = calloc((size_t)s->n_counters, sizeof *s->counters);
    if (!s->layers || !s->experts || !s->workers || !s->counters) return fail(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < L; i++) s->layers[i].experts = s->experts + i * (size_t)c->n_experts;
    return OK;
}

/* An empty timeline of max_tokens. */
static enum status take_timeline(struct session *s, int max_tokens, struct error *e) {
    struct arena a = {0};
    s->max_tokens = max_tokens;
    s->mark = -1;
    /* two K blocks are read at once (kernels.h) */
    s->positions = ((size_t)max_tokens + 2 * KV_BLOCK - 1) / (2 * KV_BLOCK) * (2 * KV_BLOCK);
    s->memory = calloc((size_t)s->c->n_layers, sizeof *s->memory);
    if (!s->memory) return fail(e, ERR_MEMORY, "out of memory");
    lay_out_timeline(s, &a);
    s->timeline_bytes = a.used;
    s->timeline = map_memory(a.used);
    if (!s->timeline)
        return fail(e, ERR_MEMORY, "%s: cannot reserve %.1f GB for %d positions", s->model->path,
                    1e-9 * (double)a.used, max_tokens);
    a = (struct arena){.base = s->timeline};
    lay_out_timeline(s, &a);
    return OK;
}

static enum status take_memory(struct session *s, struct error *e) {
    if (!s->packed_path) s->weights = map_memory(s->weights_bytes + 64);
    struct extent x = measure(s);
    struct arena a = {0};
    lay_out(s, &a, &x);
    s->buffers_bytes = a.used;
    s->buffers = map_memory(a.used);
    if ((!s->weights && !s->packed_path) || !s->buffers)
        return fail(
            e, ERR_MEMORY, "%s: cannot reserve %.1f GB for packed weights and %.1f GB for batches of %d",
            s->model->path, 1e-9 * (double)s->weights_bytes, 1e-9 * (double)s->buffers_bytes, s->max_batch);
    a = (struct arena){.base = s->buffers};
    lay_out(s, &a, &x);
    /* mixed.x is y itself: the float form of what is quantised there */
    s->mixed.x = s->y;
    s->mixed.x_stride = s->y_stride;
    for (int i = 0; i < s->threads; i++) s->workers[i].mixed.x = s->y;
    return OK;
}

static struct packed_id packed_id(const struct session *s) {
    const struct model *m = s->model;
    return (struct packed_id){LAYOUT, m->header_sha256, m->file_bytes, s->weights_bytes, s->sample};
}

static enum status fill(struct session *s, struct error *e) {
    TRY(take_tables(s, e));
    TRY(pool_open(&s->pool, s->threads, s->pin, e));
    visit_matrices(s, describe_one, NULL);
    if (s->packed_path) {
        struct packed_id id = packed_id(s);
        TRY(packed_open(&s->packed, s->packed_path, &id, e));
    }
    TRY(take_memory(s, e));
    size_t used = 0;
    visit_matrices(s, s->packed_path ? find_one : pack_one, &used);
    prepare_vectors(s);
    return OK;
}

enum status session_open(struct session **out, const struct model *m, const struct engine_options *o,
                         struct error *e) {
    *out = NULL;
    TRY(check_shapes(m, o->kv_type, e));
    if (o->threads < 0 || o->threads > ENGINE_MAX_THREADS)
        return fail(e, ERR_ARG, "threads must be 1..%d, or 0 for one per CPU (found %d)", ENGINE_MAX_THREADS,
                    o->threads);
    if (o->max_tokens < 0 || o->max_tokens > (1 << 24))
        return fail(e, ERR_ARG, "context must be 1..%d tokens (found %d)", 1 << 24, o->max_tokens);
    if (o->packed && o->scheme != SCHEME_EXACT)
        return fail(e, ERR_ARG, "%s: packed weights are exact (found scheme %s); leave the packed file out",
                    o->packed, scheme_names[o->scheme]);
    if (o->max_batch < 0) return fail(e, ERR_ARG, "batch must be positive (found %d)", o->max_batch);
    struct session *s = calloc(1, sizeof *s);
    if (!s) return fail(e, ERR_MEMORY, "out of memory");
    s->model = m;
    s->c = &m->config;
    s->first = s;
    s->kv_type = o->kv_type;
    s->scheme = o->scheme;
    s->threads = o->threads ? o->threads : usable_cpus();
    s->pin = !o->no_pin;
    int max_tokens = o->max_tokens ? o->max_tokens : 4096;
    s->max_batch = o->max_batch ? o->max_batch : 2048;
    if (s->max_batch > max_tokens) s->max_batch = max_tokens;
    s->packed_path = o->packed;
    s->tap = o->tap;
    s->tap_arg = o->tap_arg;
    s->route = o->route;
    s->route_arg = o->route_arg;
    kernels_select(&s->k, o->cpu_mask);
    enum status code = take_timeline(s, max_tokens, e);
    if (!code) code = fill(s, e);
    if (code) {
        session_close(s);
        return code;
    }
    *out = s;
    return OK;
}

enum status session_fork(struct session **out, struct session *of, int max_tokens, struct error *e) {
    *out = NULL;
    if (max_tokens < 0 || max_tokens > of->max_tokens)
        return fail(e, ERR_ARG, "fork: context must be 1..%d tokens, or 0 for as many (found %d)",
                    of->max_tokens, max_tokens);
    struct session *s = calloc(1, sizeof *s);
    if (!s) return fail(e, ERR_MEMORY, "out of memory");
    s->model = of->model;
    s->c = of->c;
    s->first = of->first;
    s->kv_type = of->kv_type;
    enum status code = take_timeline(s, max_tokens ? max_tokens : of->max_tokens, e);
    if (code) {
        session_close(s);
        return code;
    }
    *out = s;
    return OK;
}

void session_close(struct session *s) {
    if (!s) return;
    pool_close(s->pool);
    if (s->weights) munmap(s->weights, s->weights_bytes + 64);
    packed_close(&s->packed);
    if (s->buffers) munmap(s->buffers, s->buffers_bytes);
    if (s->timeline) munmap(s->timeline, s->timeline_bytes);
    free(s->memory);
    free(s->layers);
    free(s->experts);
    free(s->workers);
    free(s->counters);
    free(s);
}

/* Writes one matrix: packed into a buffer by all threads, then appended. */
struct packing_file {
    struct packed_writer *writer;
    void *buffer;
    size_t size, done;
    void (*progress)(void *arg, double done);
    void *progress_arg;
    struct error *e;
    enum status code;
};

static void write_one(struct session *s, struct matrix *m, const struct tensor *t, void *arg) {
    struct packing_file *f = arg;
    size_t bytes = room_for(m);
    if (m->kind == MATRIX_FLOAT || f->code) return;
    if (bytes > f->size) {
        free(f->buffer);
        f->size = bytes;
        f->buffer = aligned_alloc(64, bytes);
        if (!f->buffer) {
            f->code = fail(f->e, ERR_MEMORY, "%s: out of memory for %s", s->model->path, t->name);
            return;
        }
    }
    struct packing p = {m, f->buffer, s->threads};
    pool_run(s->pool, pack_part, &p);
    f->code = packed_add(f->writer, f->buffer, bytes, f->e);
    f->done += bytes;
    model_release_pages(s->model, t);
    if (f->progress) f->progress(f->progress_arg, (double)f->done / (double)s->weights_bytes);
}

enum status session_pack(const struct model *m, const char *path, int threads,
                         void (*progress)(void *arg, double done), void *arg, struct error *e) {
    if (threads < 0 || threads > ENGINE_MAX_THREADS)
        return fail(e, ERR_ARG, "threads must be 1..%d, or 0 for one per CPU (found %d)", ENGINE_MAX_THREADS,
                    threads);
    TRY(output_check(path, m->path, e));
    struct session s = {.model = m, .c = &m->config, .threads = threads ? threads : usable_cpus()};
    struct packing_file f = {.progress = progress, .progress_arg = arg, .e = e};
    enum status code = take_tables(&s, e);
    if (!code) code = pool_open(&s.pool, s.threads, 1, e);
    if (!code) {
        visit_matrices(&s, describe_one, NULL);
        struct packed_id id = packed_id(&s);
        code = s.weights_bytes
                   ? packed_create(&f.writer, path, &id, e)
                   : fail(e, ERR_UNSUPPORTED, "%s: no matrix of this file has a packed form", m->path);
    }
    if (!code) {
        visit_matrices(&s, write_one, &f);
        code = f.code;
        if (code)
            packed_discard(f.writer);
        else
            code = packed_commit(f.writer, e);
    }
    free(f.buffer);
    pool_close(s.pool);
    free(s.layers);
    free(s.experts);
    free(s.workers);
    free(s.counters);
    return code;
}
