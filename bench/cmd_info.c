/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_info: `lfm2 info MODEL`: what a model file holds, what one token of it costs, and which kernels this
 * CPU would run. Gathers the facts once, then prints them as Markdown or JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cmd.h"
#include "data/gguf.h"
#include "data/model.h"
#include "optimized/kernels.h"

enum { TYPES = 64 };

struct facts {
    const struct model *m;
    struct model_cost cost;
    struct kernel_set kernels;
    struct {
        int tensors;
        uint64_t weights, bytes;
    } type[TYPES]; /* by type id */
    /* Which layers have a mixer and an ffn, as "0-1, 5". */
    char layers[2][2][1024];
    int n_layers[2][2];
};

static const char *const mixer_names[] = {[MIXER_CONV] = "convolution", [MIXER_ATTENTION] = "attention"};
static const char *const ffn_names[] = {[FFN_DENSE] = "dense", [FFN_MOE] = "experts"};

static int is_kind(const struct model *m, int layer, int mixer, int ffn) {
    return layer < m->config.n_layers && (int)m->layers[layer].mixer == mixer &&
           (int)m->layers[layer].ffn == ffn;
}

static void list_layers(struct facts *f, int mixer, int ffn) {
    char *out = f->layers[mixer][ffn];
    size_t size = sizeof f->layers[mixer][ffn], at = 0;
    for (int i = 0; i < f->m->config.n_layers; i++) {
        if (!is_kind(f->m, i, mixer, ffn)) continue;
        int last = i;
        while (is_kind(f->m, last + 1, mixer, ffn)) last++;
        f->n_layers[mixer][ffn] += last - i + 1;
        /* A thousand alternating layers would not fit: the counts still tell. */
        if (at + 24 < size) {
            at +=
                (size_t)snprintf(out + at, size - at, last > i ? "%s%d-%d" : "%s%d", at ? ", " : "", i, last);
        }
        i = last;
    }
}

static void gather(struct facts *f, const struct model *m, unsigned mask) {
    memset(f, 0, sizeof *f);
    f->m = m;
    f->cost = model_cost(m);
    kernels_select(&f->kernels, mask);
    for (uint64_t i = 0; i < m->index->n_tensors; i++) {
        const struct gguf_tensor *t = &m->index->tensors[i];
        const struct type_info *info = type_info(t->type);
        if ((int)t->type >= TYPES) continue;
        f->type[t->type].tensors++;
        f->type[t->type].bytes += t->bytes;
        f->type[t->type].weights += t->bytes / (uint64_t)info->bytes * (uint64_t)info->block;
    }
    for (int mixer = 0; mixer < 2; mixer++)
        for (int ffn = 0; ffn < 2; ffn++) list_layers(f, mixer, ffn);
}

/* Convolution state: the last taps-1 columns of B*x, float32. */
static double state_bytes(const struct facts *f) {
    const struct config *c = &f->m->config;
    int n = f->n_layers[MIXER_CONV][FFN_DENSE] + f->n_layers[MIXER_CONV][FFN_MOE];
    return n ? 4.0 * (c->conv_taps - 1) * c->n_embd * n : 0;
}

static void print_shape(FILE *to, const struct gguf_tensor *t) {
    for (int i = t->n_dims - 1; i >= 0; i--) fprintf(to, "%" PRId64 "%s", t->dims[i], i ? " x " : "");
}

static void print_head(const struct facts *f) {
    const struct model *m = f->m;
    const struct config *c = &m->config;
    char path[sizeof m->path];
    snprintf(path, sizeof path, "%s", m->path);
    text_clean(path); /* somebody else may have named the file */
    printf("## %s\n\n", c->name[0] ? c->name : path);
    printf("| | |\n|---|---|\n");
    printf("| file | %s, %.3f GB |\n", path, (double)m->file_bytes * 1e-9);
    printf("| header sha256 | %s |\n", m->header_sha256);
    printf("| architecture | %s |\n", c->arch);
    printf("| weights | %.4f G, most of them %s, %s |\n", (double)m->n_params * 1e-9, m->recipe,
           m->synthetic ? "synthetic (seeded random numbers, not trained)" : "not marked as synthetic");
    printf("| layers | %d |\n| width | %d |\n", c->n_layers, c->n_embd);
    printf("| heads | %d, %d kv heads of size %d |\n", c->n_heads, c->n_kv_heads, c->head_dim);
    if (c->n_ff) printf("| dense ffn width | %d |\n", c->n_ff);
    if (c->n_experts)
        printf("| experts | %d of width %d, %d per token, sigmoid, %s, scale %g |\n", c->n_experts,
               c->n_expert_ff, c->n_experts_used, c->expert_norm ? "normalised" : "not normalised",
               (double)c->expert_scale);
    if (c->conv_taps) printf("| convolution taps | %d |\n", c->conv_taps);
    printf("| vocabulary | %d, head %s |\n", c->n_vocab, m->tied ? "tied to the embedding" : "separate");
    printf("| context | %d tokens |\n", c->context_length);
    printf("| rope theta, norm eps | %g, %g |\n", (double)c->rope_theta, (double)c->norm_eps);
    printf("| bos, eos | %d, %d |\n", c->bos_id, c->eos_id);
}

static void print_markdown(const struct facts *f, int tensors) {
    const struct model *m = f->m;
    print_head(f);
    printf("\n| mixer | ffn | count | layers |\n|---|---|---:|---|\n");
    for (int mixer = 0; mixer < 2; mixer++)
        for (int ffn = 0; ffn < 2; ffn++)
            if (f->n_layers[mixer][ffn])
                printf("| %s | %s | %d | %s |\n", mixer_names[mixer], ffn_names[ffn], f->n_layers[mixer][ffn],
                       f->layers[mixer][ffn]);
    printf("\n| type | tensors | weights | MB |\n|---|---:|---:|---:|\n");
    for (int t = 0; t < TYPES; t++)
        if (f->type[t].tensors)
            printf("| %s | %d | %" PRIu64 " | %.1f |\n", type_info(t)->name, f->type[t].tensors,
                   f->type[t].weights, (double)f->type[t].bytes * 1e-6);
    printf("\n| one decoded token, empty context | |\n|---|---:|\n");
    printf("| weights read | %.1f MB |\n", f->cost.bytes_per_token * 1e-6);
    printf("| multiply-accumulates, layers | %.1f M |\n", f->cost.macs_per_token * 1e-6);
    printf("| multiply-accumulates, head | %.1f M |\n", f->cost.head_macs * 1e-6);
    printf("| keys and values per position, f16 | %.1f KiB |\n", f->cost.kv_bytes_per_position / 1024);
    printf("| convolution state, f32 | %.1f KiB |\n", state_bytes(f) / 1024);
    printf("\n| op | kernel on this CPU |\n|---|---|\n");
    for (int i = 0; i < OP_COUNT; i++)
        printf("| %s | %s |\n", f->kernels.chosen[i]->op_name, f->kernels.chosen[i]->isa);
    if (!tensors) return;
    printf("\n| tensor | type | shape | bytes |\n|---|---|---|---:|\n");
    for (uint64_t i = 0; i < m->index->n_tensors; i++) {
        const struct gguf_tensor *t = &m->index->tensors[i];
        printf("| %s | %s | ", t->name, type_info(t->type)->name);
        print_shape(stdout, t);
        printf(" | %" PRIu64 " |\n", t->bytes);
    }
}

static json_t *json_config(const struct config *c) {
    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f, s:i, s:i, s:i, s:f, s:f, "
        "s:i, s:i}",
        "arch", c->arch, "name", c->name, "n_layers", c->n_layers, "n_embd", c->n_embd, "n_heads", c->n_heads,
        "n_kv_heads", c->n_kv_heads, "head_dim", c->head_dim, "n_ff", c->n_ff, "n_expert_ff", c->n_expert_ff,
        "n_experts", c->n_experts, "n_experts_used", c->n_experts_used, "n_dense_layers", c->n_dense_layers,
        "expert_norm", c->expert_norm, "expert_scale", (double)c->expert_scale, "conv_taps", c->conv_taps,
        "n_vocab", c->n_vocab, "context_length", c->context_length, "rope_theta", (double)c->rope_theta,
        "norm_eps", (double)c->norm_eps, "bos_id", c->bos_id, "eos_id", c->eos_id);
}

static json_t *json_layers(const struct facts *f) {
    json_t *array = json_array();
    for (int i = 0; i < f->m->config.n_layers; i++)
        json_array_append_new(array, json_pack("{s:s, s:s}", "mixer", mixer_names[f->m->layers[i].mixer],
                                               "ffn", ffn_names[f->m->layers[i].ffn]));
    return array;
}

static json_t *json_types(const struct facts *f) {
    json_t *object = json_object();
    for (int t = 0; t < TYPES; t++)
        if (f->type[t].tensors)
            json_object_set_new(object, type_info(t)->name,
                                json_pack("{s:i, s:I, s:I}", "tensors", f->type[t].tensors, "weights",
                                          (json_int_t)f->type[t].weights, "bytes",
                                          (json_int_t)f->type[t].bytes));
    return object;
}

static json_t *json_kernels(const struct facts *f) {
    json_t *object = json_object();
    for (int i = 0; i < OP_COUNT; i++)
        json_object_set_new(object, f->kernels.chosen[i]->op_name, json_string(f->kernels.chosen[i]->isa));
    return object;
}

static json_t *json_tensors(const struct model *m) {
    json_t *array = json_array();
    for (uint64_t i = 0; i < m->index->n_tensors; i++) {
        const struct gguf_tensor *t = &m->index->tensors[i];
        json_t *dims = json_array();
        for (int d = 0; d < t->n_dims; d++) json_array_append_new(dims, json_integer(t->dims[d]));
        json_array_append_new(array, json_pack("{s:s, s:s, s:o, s:I}", "name", t->name, "type",
                                               type_info(t->type)->name, "dims", dims, "bytes",
                                               (json_int_t)t->bytes));
    }
    return array;
}

/* Paths and names may hold bytes that are not UTF-8, which JSON cannot: such a text becomes null. */
static json_t *json_text(const char *s) {
    json_t *text = json_string(s);
    return text ? text : json_null();
}

static enum status print_json(const struct facts *f, int tensors, struct error *e) {
    const struct model *m = f->m;
    json_t *o = json_object();
    json_object_set_new(o, "file", json_text(m->path));
    json_object_set_new(o, "file_bytes", json_integer((json_int_t)m->file_bytes));
    json_object_set_new(o, "header_sha256", json_string(m->header_sha256));
    json_object_set_new(o, "n_params", json_integer((json_int_t)m->n_params));
    json_object_set_new(o, "recipe", json_string(m->recipe));
    json_object_set_new(o, "synthetic", json_boolean(m->synthetic));
    json_object_set_new(o, "tied", json_boolean(m->tied));
    json_object_set_new(o, "config", json_config(&m->config));
    json_object_set_new(o, "layers", json_layers(f));
    json_object_set_new(o, "types", json_types(f));
    json_object_set_new(o, "bytes_per_token", json_real(f->cost.bytes_per_token));
    json_object_set_new(o, "macs_per_token", json_real(f->cost.macs_per_token));
    json_object_set_new(o, "head_macs", json_real(f->cost.head_macs));
    json_object_set_new(o, "kv_bytes_per_position", json_real(f->cost.kv_bytes_per_position));
    json_object_set_new(o, "conv_state_bytes", json_real(state_bytes(f)));
    json_object_set_new(o, "kernels", json_kernels(f));
    if (tensors) json_object_set_new(o, "tensors", json_tensors(m));
    int failed = json_dumpf(o, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(o);
    return failed ? fail(e, ERR_IO, "info: cannot write JSON") : OK;
}

int cmd_info(int argc, char **argv) {
    int tensors = 0, n_free = 0;
    const char *format = "md", *path = NULL, *word = NULL;
    const struct option_spec specs[] = {
        {"-m,--model", OPTION_TEXT, &path, "FILE", "the model (or give it as a word)"},
        {"--tensors", OPTION_FLAG, &tensors, NULL, "list every tensor"},
        {"-o,--output", OPTION_TEXT, &format, "md|json", "how to print (md)"},
        {NULL, 0, NULL, NULL, NULL},
    };
    struct error e = {0};
    int parsed = options_parse(argc, argv, "usage: lfm2 info MODEL [options]", specs, &word, 1, &n_free, &e);
    if (parsed) return parsed > 0 ? 0 : cmd_fail(&e);
    if (!path == !n_free) {
        fail(&e, ERR_ARG, "info: needs one model; see lfm2 info --help");
        return cmd_fail(&e);
    }
    int json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "md") != 0) {
        fail(&e, ERR_ARG, "info: unknown output format (found '%s', expected md or json)", format);
        return cmd_fail(&e);
    }
    unsigned mask;
    struct model *m;
    if (cmd_isa_mask(&mask, &e) || model_open(&m, path ? path : word, &e)) return cmd_fail(&e);
    struct facts f;
    gather(&f, m, mask);
    enum status status = OK;
    if (json)
        status = print_json(&f, tensors, &e);
    else
        print_markdown(&f, tensors);
    model_close(m);
    return status == OK ? 0 : cmd_fail(&e);
}
