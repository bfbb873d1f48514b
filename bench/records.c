/* SPDX-License-Identifier: Apache-2.0 */
/* records: the field lists of the stored tables. */
#include "bench/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))
#define TABLE(name, type)                                                                                    \
    { name, type##_fields, COUNT(type##_fields), sizeof(struct type) }
#define F(member)       F64(THIS, member)
#define F_LATER(member) F64_LATER(THIS, member)
#define I(member)       I64(THIS, member)
#define T(member)       TEXT_FIELD(THIS, member)

#define THIS model_row
static const struct field model_row_fields[] = {
    T(name),           T(file),          T(arch),
    T(recipe),         T(header_sha256), I(bytes),
    I(params),         I(synthetic),     F(bytes_per_token),
    F(macs_per_token), F(head_macs),     F(kv_bytes_per_position),
};
#undef THIS
#define THIS throughput_row
static const struct field throughput_row_fields[] = {
    T(engine),         T(model),         T(test),           I(n_prompt),       I(n_gen),
    I(n_depth),        I(n_batch),       I(threads),        I(seed),           I(repetitions),
    I(samples_first),  I(samples_count), F(avg_ns),         F(stddev_ns),      F(avg_ts),
    F(stddev_ts),      F(median_ts),     F(ci_lo),          F(ci_hi),          F(bytes_per_token),
    F(macs_per_token), F(limit_ts),      F(share_of_limit), F_LATER(share_lo), F_LATER(share_hi),
    T(limited_by),     I(peak_rss),      I(load_ns),        I(first_token_ns), T(kernels),
    T(output_sha256),  I(output_same),   F(ratio),          F(ratio_lo),       F(ratio_hi),
};
#undef THIS
#define THIS kernel_row
static const struct field kernel_row_fields[] = {
    T(op),         T(isa),          T(shape),      I(chosen),        I(fastest),
    I(threads),    I(seed),         I(cases),      F(error_share),   I(pass),
    F(median_ns),  F(ci_lo_ns),     F(ci_hi_ns),   I(samples_first), I(samples_count),
    F(gb_s),       F(gmac_s),       F(limit_gb_s), F(limit_gmac_s),  F(share_of_limit),
    T(limited_by), F(times_scalar),
};
#undef THIS
#define THIS limits_row
static const struct field limits_row_fields[] = {
    T(name),   T(isa),     T(unit), I(threads),       I(bytes),         F(median),
    F(lowest), F(highest), I(best), I(samples_first), I(samples_count),
};
#undef THIS
#define THIS sample_row
static const struct field sample_row_fields[] = {I(ns), F_LATER(read_gb_s), F_LATER(int8_gmac_s),
                                                 F_LATER(calls)};
#undef THIS
#define THIS noise_row
static const struct field noise_row_fields[] = {T(name), I(samples), F(noise)};
#undef THIS
#define THIS comparison_row
static const struct field comparison_row_fields[] = {
    T(name),   T(verdict), T(why), I(n_then), I(n_now), F(then_ns),
    F(now_ns), F(ratio),   F(lo),  F(hi),     F(noise), F(threshold),
};
#undef THIS

const struct table models_table = TABLE("models", model_row);
const struct table throughput_table = TABLE("throughput", throughput_row);
const struct table kernels_table = TABLE("kernels", kernel_row);
const struct table limits_table = TABLE("limits", limits_row);
const struct table samples_table = TABLE("samples", sample_row);
const struct table noise_table = TABLE("noise", noise_row);
const struct table comparison_table = TABLE("comparison", comparison_row);

struct model_row model_row(const struct model *m) {
    struct model_row r = {0};
    const char *slash = strrchr(m->path, '/');
    snprintf(r.file, sizeof r.file, "%.127s", slash ? slash + 1 : m->path);
    if (m->config.name[0])
        snprintf(r.name, sizeof r.name, "%s", m->config.name);
    else {
        size_t len = strlen(r.file);
        if (len > 5 && strcmp(r.file + len - 5, ".gguf") == 0) len -= 5;
        snprintf(r.name, sizeof r.name, "%.*s", (int)(len < 63 ? len : 63), r.file);
    }
    snprintf(r.arch, sizeof r.arch, "%s", m->config.arch);
    snprintf(r.recipe, sizeof r.recipe, "%s", m->recipe);
    snprintf(r.header_sha256, sizeof r.header_sha256, "%s", m->header_sha256);
    r.bytes = (int64_t)m->file_bytes;
    r.params = (int64_t)m->n_params;
    r.synthetic = m->synthetic;
    struct model_cost cost = model_cost(m);
    r.bytes_per_token = cost.bytes_per_token;
    r.macs_per_token = cost.macs_per_token;
    r.head_macs = cost.head_macs;
    r.kv_bytes_per_position = cost.kv_bytes_per_position;
    return r;
}

int rows_add(struct rows *list, const struct table *t, const void *row) {
    if (list->n == list->capacity) {
        size_t more = list->capacity ? 2 * list->capacity : 16;
        void *data = realloc(list->data, more * t->row_bytes);
        if (!data) return -1;
        list->data = data;
        list->capacity = more;
    }
    memcpy((char *)list->data + list->n++ * t->row_bytes, row, t->row_bytes);
    return 0;
}
