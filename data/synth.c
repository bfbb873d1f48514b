/* synth: makes the weights and writes them. Worker threads take chunks of weights in file order, make and
 * quantise them into a ring of buffers; the calling thread writes the buffers in order. Which thread made a
 * chunk leaves no trace in it. */
#include "data/synth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

struct slot {
    uint8_t *bytes;
    size_t used;
    int64_t chunk; /* the one it holds when ready */
    int ready;
};

struct job {
    const struct synth_options *options;
    struct synth_plan plan;
    int64_t *first_chunk; /* of each tensor, and the number of all */
    struct slot *slots;
    int n_slots;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t taken, written; /* chunks */
    int stop;
};

static int64_t n_chunks(const struct synth_tensor *t) {
    return (t->weights + CHUNK - 1) / CHUNK;
}

/* Makes chunk number c of a tensor; returns its bytes. */
static size_t make_chunk(const struct synth_options *o, const struct synth_tensor *t, int64_t c,
                         uint8_t *out) {
    float piece[PIECE];
    uint8_t *end = out;
    int64_t first = c * CHUNK, last = first + CHUNK < t->weights ? first + CHUNK : t->weights;
    for (int64_t i = first; i < last; i += PIECE) {
        int64_t n = last - i < PIECE ? last - i : PIECE;
        synth_values(o->seed, t, i, piece, n);
        quantize_row(t->type, piece, end, n);
        end += type_row_bytes(t->type, n);
    }
    return (size_t)(end - out);
}

static void *work(void *argument) {
    struct job *job = argument;
    int tensor = 0;
    pthread_mutex_lock(&job->lock);
    while (!job->stop && job->taken < job->first_chunk[job->plan.n]) {
        int64_t chunk = job->taken++;
        struct slot *slot = &job->slots[chunk % job->n_slots];
        while (!job->stop && chunk >= job->written + job->n_slots)
            pthread_cond_wait(&job->changed, &job->lock);
        if (job->stop) break;
        pthread_mutex_unlock(&job->lock);
        while (chunk >= job->first_chunk[tensor + 1]) tensor++;
        slot->used = make_chunk(job->options, &job->plan.tensors[tensor], chunk - job->first_chunk[tensor],
                                slot->bytes);
        pthread_mutex_lock(&job->lock);
        slot->chunk = chunk;
        slot->ready = 1;
        pthread_cond_broadcast(&job->changed);
    }
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

/* Writes all chunks in order. */
static enum status drain(struct job *job, struct gguf_writer *w, uint64_t total, struct error *e) {
    uint64_t done = 0;
    for (int64_t chunk = 0; chunk < job->first_chunk[job->plan.n]; chunk++) {
        struct slot *slot = &job->slots[chunk % job->n_slots];
        pthread_mutex_lock(&job->lock);
        while (!slot->ready || slot->chunk != chunk) pthread_cond_wait(&job->changed, &job->lock);
        pthread_mutex_unlock(&job->lock);
        TRY(gguf_writer_data(w, slot->bytes, slot->used, e));
        done += slot->used;
        if (job->options->progress) job->options->progress(job->options->progress_arg, done, total);
        pthread_mutex_lock(&job->lock);
        slot->ready = 0;
        job->written = chunk + 1;
        pthread_cond_broadcast(&job->changed);
        pthread_mutex_unlock(&job->lock);
    }
    return OK;
}

static enum status run_threads(struct job *job, struct gguf_writer *w, uint64_t total, struct error *e) {
    int n = job->options->threads, started = 0;
    enum status status = OK;
    pthread_t *threads = malloc((size_t)n * sizeof *threads);
    if (!threads) return fail(e, ERR_MEMORY, "out of memory for %d threads", n);
    while (started < n && pthread_create(&threads[started], NULL, work, job) == 0) started++;
    if (started == 0) status = fail(e, ERR_MEMORY, "cannot start a thread");
    if (status == OK) status = drain(job, w, total, e);
    pthread_mutex_lock(&job->lock);
    job->stop = 1;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    return status;
}

static enum status job_prepare(struct job *job, struct error *e) {
    int n = job->plan.n;
    job->n_slots = job->options->threads + 2;
    job->first_chunk = calloc((size_t)n + 1, sizeof *job->first_chunk);
    job->slots = calloc((size_t)job->n_slots, sizeof *job->slots);
    if (!job->first_chunk || !job->slots) return fail(e, ERR_MEMORY, "out of memory");
    size_t largest = 0;
    for (int i = 0; i < n; i++) {
        const struct synth_tensor *t = &job->plan.tensors[i];
        int64_t weights = t->weights < CHUNK ? t->weights : CHUNK;
        job->first_chunk[i + 1] = job->first_chunk[i] + n_chunks(t);
        if (type_row_bytes(t->type, weights) > largest) largest = type_row_bytes(t->type, weights);
    }
    for (int i = 0; i < job->n_slots; i++) {
        job->slots[i].bytes = malloc(largest);
        if (!job->slots[i].bytes) return fail(e, ERR_MEMORY, "out of memory");
    }
    return OK;
}

static enum status write_model(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct synth_options *o = job->options;
    uint64_t total = 0;
    TRY(synth_plan_make(&job->plan, o->shape, o->recipe, e));
    TRY(job_prepare(job, e));
    TRY(synth_put_metadata(w, o, e));
    for (int i = 0; i < job->plan.n; i++) {
        const struct synth_tensor *t = &job->plan.tensors[i];
        gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims);
        total += type_row_bytes(t->type, t->weights);
    }
    TRY(gguf_writer_begin(w, e));
    TRY(run_threads(job, w, total, e));
    return gguf_writer_finish(w, e);
}

enum status synth_write(const struct synth_options *o, struct error *e) {
    struct job job = {.options = o, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct gguf_writer *w;
    if (o->threads < 1) return fail(e, ERR_ARG, "%d threads (expected at least 1)", o->threads);
    TRY(gguf_writer_new(&w, o->path, e));
    enum status status = write_model(&job, w, e);
    gguf_writer_free(w);
    for (int i = 0; job.slots && i < job.n_slots; i++) free(job.slots[i].bytes);
    free(job.slots);
    free(job.first_chunk);
    free(job.plan.tensors);
    return status;
}
