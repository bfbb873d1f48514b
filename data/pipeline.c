/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline: worker threads take the next piece, wait for a free slot of a ring, and fill it; the calling
 * thread empties the slots in order. */
#include "data/pipeline.h"

#include <pthread.h>
#include <stdlib.h>

struct slot {
    uint8_t *bytes;
    size_t used;
    int64_t piece; /* the one it holds when ready */
    int ready;
    enum status status;
    struct error error;
};

struct job {
    const struct pipeline *p;
    struct slot *slots;
    int n_slots;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t taken, written; /* pieces */
    int stop;
};

static void *work(void *argument) {
    struct job *job = argument;
    pthread_mutex_lock(&job->lock);
    while (!job->stop && job->taken < job->p->n_pieces) {
        int64_t piece = job->taken++;
        struct slot *slot = &job->slots[piece % job->n_slots];
        while (!job->stop && piece >= job->written + job->n_slots)
            pthread_cond_wait(&job->changed, &job->lock);
        if (job->stop) break;
        pthread_mutex_unlock(&job->lock);
        slot->status = job->p->make(job->p->arg, piece, slot->bytes, &slot->used, &slot->error);
        pthread_mutex_lock(&job->lock);
        slot->piece = piece;
        slot->ready = 1;
        pthread_cond_broadcast(&job->changed);
    }
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

/* Writes all pieces in order. */
static enum status drain(struct job *job, struct gguf_writer *w, struct error *e) {
    const struct pipeline *p = job->p;
    uint64_t done = 0;
    for (int64_t piece = 0; piece < p->n_pieces; piece++) {
        struct slot *slot = &job->slots[piece % job->n_slots];
        pthread_mutex_lock(&job->lock);
        while (!slot->ready || slot->piece != piece) pthread_cond_wait(&job->changed, &job->lock);
        pthread_mutex_unlock(&job->lock);
        if (slot->status != OK) return fail(e, slot->status, "%s", slot->error.text);
        TRY(gguf_writer_data(w, slot->bytes, slot->used, e));
        done += slot->used;
        if (p->progress) p->progress(p->progress_arg, done, p->total);
        pthread_mutex_lock(&job->lock);
        slot->ready = 0;
        job->written = piece + 1;
        pthread_cond_broadcast(&job->changed);
        pthread_mutex_unlock(&job->lock);
    }
    return OK;
}

static enum status run_threads(struct job *job, struct gguf_writer *w, struct error *e) {
    int n = job->p->threads, started = 0;
    enum status status = OK;
    pthread_t *threads = malloc((size_t)n * sizeof *threads);
    if (!threads) return fail(e, ERR_MEMORY, "out of memory for %d threads", n);
    while (started < n && pthread_create(&threads[started], NULL, work, job) == 0) started++;
    if (started == 0) status = fail(e, ERR_MEMORY, "cannot start a thread");
    if (status == OK) status = drain(job, w, e);
    pthread_mutex_lock(&job->lock);
    job->stop = 1;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    return status;
}

enum status pipeline_run(const struct pipeline *p, struct gguf_writer *w, struct error *e) {
    struct job job = {.p = p,
                      .n_slots = p->threads + 2,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .changed = PTHREAD_COND_INITIALIZER};
    if (p->threads < 1) return fail(e, ERR_ARG, "%d threads (expected at least 1)", p->threads);
    enum status status = OK;
    job.slots = calloc((size_t)job.n_slots, sizeof *job.slots);
    if (!job.slots) return fail(e, ERR_MEMORY, "out of memory");
    for (int i = 0; i < job.n_slots && status == OK; i++)
        if (!(job.slots[i].bytes = malloc(p->most ? p->most : 1)))
            status = fail(e, ERR_MEMORY, "out of memory for %d pieces of %zu bytes", job.n_slots, p->most);
    if (status == OK) status = run_threads(&job, w, e);
    for (int i = 0; i < job.n_slots; i++) free(job.slots[i].bytes);
    free(job.slots);
    return status;
}
