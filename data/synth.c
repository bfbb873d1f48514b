/* SPDX-License-Identifier: Apache-2.0 */
/* synth: makes the weights, a chunk at a time, and writes them. */
#include "data/synth.h"

#include <stdlib.h>
#include <string.h>

#include "data/pipeline.h"
#include "data/synth_parts.h"

enum {
    CHUNK = 1 << 20, /* weights; a multiple of every block size */
    PIECE = 2048, /* weights made at a time, which stay in the first-level cache until they are quantised */
};

#define STEP UINT64_C(0x9e3779b97f4a7c15)

/* The output function of SplitMix64: a counter through it gives independent 64-bit values. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t stream_of(uint64_t seed, const char *name) {
    uint64_t h = mix(seed + STEP);
    for (; *name; name++) h = mix(h ^ (unsigned char)*name);
    return h;
}

/* Four weights from three 64-bit values: each 16-bit lane is the sum of three uniform 14-bit numbers, which
 * is bell-shaped within +-3 standard deviations, of which one is 8192. Integers all the way to the last
 * product, so that every machine gets the same values. */
static inline void four_values(uint64_t counter, float mean, float unit, float *out) {
    const uint64_t lanes = UINT64_C(0x3fff3fff3fff3fff);
    uint64_t sum = (mix(counter) & lanes) + (mix(counter + STEP) & lanes) + (mix(counter + 2 * STEP) & lanes);
    for (int j = 0; j < 4; j++) out[j] = mean + unit * (float)(2 * (int)(sum >> 16 * j & 0xffff) - 49149);
}

void synth_values(uint64_t seed, const struct synth_tensor *t, int64_t first, float *out, int64_t n) {
    uint64_t counter = stream_of(seed, t->name) + (uint64_t)first / 4 * 3 * STEP;
    float mean = t->mean, unit = t->sd / 16384; /* per half step from the middle of a lane, 24574.5 */
    int64_t i = 0;
    for (; i + 4 <= n; i += 4, counter += 3 * STEP) four_values(counter, mean, unit, out + i);
    if (i == n) return;
    float last[4];
    four_values(counter, mean, unit, last);
    memcpy(out + i, last, (size_t)(n - i) * sizeof *out);
}

struct job {
    const struct synth_options *options;
    struct synth_plan plan;
    int64_t *first_chunk; /* of each tensor, and the number of all */
};

static int64_t n_chunks(const struct synth_tensor *t) {
    return (t->weights + CHUNK - 1) / CHUNK;
}

static enum status make_chunk(void *arg, int64_t chunk, uint8_t *out, size_t *n_bytes, struct error *e) {
    (void)e;
    const struct job *job = arg;
    int tensor = 0;
    while (chunk >= job->first_chunk[tensor + 1]) tensor++;
    const struct synth_tensor *t = &job->plan.tensors[tensor];
    float piece[PIECE];
    uint8_t *end = out;
    int64_t first = (chunk - job->first_chunk[tensor]) * CHUNK;
    int64_t last = first + CHUNK < t->weights ? first + CHUNK : t->weights;
    for (int64_t i = first; i < last; i += PIECE) {
        int64_t n = last - i < PIECE ? last - i : PIECE;
        synth_values(job->options->seed, t, i, piece, n);
        quantize_row(t->type, piece, end, n);
        end += type_row_bytes(t->type, n);
    }
    *n_bytes = (size_t)(end - out);
    return OK;
}

static enum status job_prepare(struct job *job, size_t *most, struct error *e) {
    int n = job->plan.n;
    job->first_chunk = calloc((size_t)n + 1, sizeof *job->first_chunk);
    if (!job->first_chunk) return fail(e, ERR_MEMORY, "out of memory");
    *most = 0;
    for (int i = 0; i < n; i++) {
        const struct synth_tensor *t = &job->plan.tensors[i];
        int64_t weights = t->weights < CHUNK ? t->weights : CHUNK;
        job->first_chunk[i + 1] = job->first_chunk[i] + n_chunks(t);
        if (type_row_bytes(t->type, weights) > *most) *most = type_row_bytes(t->type, weights);
    }
    return OK;
}

static enum status write_model(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct synth_options *o = job->options;
    struct pipeline p = {.threads = o->threads,
                         .make = make_chunk,
                         .arg = job,
                         .progress = o->progress,
                         .progress_arg = o->progress_arg};
    TRY(synth_plan_make(&job->plan, o->shape, o->recipe, e));
    TRY(job_prepare(job, &p.most, e));
    p.n_pieces = job->first_chunk[job->plan.n];
    TRY(synth_put_metadata(w, o, e));
    for (int i = 0; i < job->plan.n; i++) {
        const struct synth_tensor *t = &job->plan.tensors[i];
        gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims);
        p.total += type_row_bytes(t->type, t->weights);
    }
    TRY(gguf_writer_begin(w, e));
    TRY(pipeline_run(&p, w, e));
    return gguf_writer_finish(w, e);
}

enum status synth_write(const struct synth_options *o, struct error *e) {
    struct job job = {.options = o};
    struct gguf_writer *w;
    TRY(gguf_writer_new(&w, o->path, e));
    enum status status = write_model(&job, w, e);
    gguf_writer_free(w);
    free(job.first_chunk);
    free(job.plan.tensors);
    return status;
}
