/* SPDX-License-Identifier: Apache-2.0 */
/* share: one process, or MPI's. Rank 0 serves from its main thread (the only one that calls MPI) and computes
 * in another. Waiting is polling with short sleeps: MPI's own waiting would take a core from the engine. */
#include "eval/share.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_MPI
#include <mpi.h>
#endif

#include "eval/pyjson.h"

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

#ifdef HAVE_MPI
enum { ASK = 1, UNIT, LINE, OVER };

int share_has_mpi(void) {
    return 1;
}

static enum status join(struct share *s, struct error *e) {
    int provided;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED)
        return fail(e, ERR_UNSUPPORTED, "MPI did not start, or without threads");
    MPI_Comm_rank(MPI_COMM_WORLD, &s->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &s->size);
    return OK;
}

static void leave(struct share *s) {
    (void)s;
    int begun = 0;
    MPI_Initialized(&begun);
    if (begun) MPI_Finalize();
}

/* Receives the message that a probe found, as a text. */
static char *receive(const MPI_Status *from) {
    int n;
    MPI_Get_count(from, MPI_BYTE, &n);
    char *bytes = malloc((size_t)n + 1);
    if (!bytes) MPI_Abort(MPI_COMM_WORLD, 2);
    MPI_Recv(bytes, n, MPI_BYTE, from->MPI_SOURCE, from->MPI_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    bytes[n] = 0;
    return bytes;
}

/* Every rank says how it fared; all get the error of the first one that failed. */
static enum status agree(const struct share *s, enum status status, struct error *e) {
    int mine = status == OK ? s->size : s->rank, first = s->size;
    struct error told = {0};
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (first == s->size) return OK;
    if (first == s->rank) told = *e;
    MPI_Bcast(&told, sizeof told, MPI_BYTE, first, MPI_COMM_WORLD);
    return first == s->rank ? status : fail(e, told.code, "rank %d: %s", first, told.text);
}

static void note(struct share *s, enum status status, const struct error *e) {
    if (status != OK && s->failed.code == OK) s->failed = *e;
}

static void take_text(struct share *s, const char *text) {
    struct error e = {0};
    json_t *line = json_loads(text, JSON_ALLOW_NUL, NULL);
    enum status status = line ? s->master->line(s->master->arg, line, &e)
                              : fail(&e, ERR_FORMAT, "a message between ranks is damaged");
    note(s, status, &e);
    json_decref(line);
}

/* One message of another rank, if there is any. *left: ranks that have not said that they are over. */
static int serve(struct share *s, int *left) {
    int any;
    MPI_Status from;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &any, &from);
    if (!any) return 0;
    char *text = receive(&from);
    pthread_mutex_lock(&s->lock);
    if (from.MPI_TAG == ASK) {
        struct unit u = s->failed.code == OK ? s->master->unit(s->master->arg) : (struct unit){-1, 0};
        MPI_Send(&u, sizeof u, MPI_BYTE, from.MPI_SOURCE, UNIT, MPI_COMM_WORLD);
    } else if (from.MPI_TAG == LINE) {
        take_text(s, text);
    } else if (from.MPI_TAG == OVER) {
        --*left;
        if (*text) {
            struct error e;
            note(s, fail(&e, ERR_IO, "rank %d: %s", from.MPI_SOURCE, text), &e);
        }
    }
    pthread_mutex_unlock(&s->lock);
    free(text);
    return 1;
}

static void wait_for(int source, int tag) {
    for (int any = 0;;) {
        MPI_Iprobe(source, tag, MPI_COMM_WORLD, &any, MPI_STATUS_IGNORE);
        if (any) return;
        nap();
    }
}

static void ask(struct unit *u) {
    MPI_Send(NULL, 0, MPI_BYTE, 0, ASK, MPI_COMM_WORLD);
    wait_for(0, UNIT);
    MPI_Recv(u, sizeof *u, MPI_BYTE, 0, UNIT, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void send_text(const char *text, size_t n, int tag) {
    MPI_Send(text, (int)n, MPI_BYTE, 0, tag, MPI_COMM_WORLD);
}
#else
int share_has_mpi(void) {
    return 0;
}
#endif

/* How many processes the launcher says there are: without MPI each would do all the work and write over the
 * others' files. */
static int launched(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    int most = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && atoi(value) > most) most = atoi(value);
    }
    return most;
}

enum status share_open(struct share *s, struct error *e) {
    *s = (struct share){.size = 1};
    pthread_mutex_init(&s->lock, NULL);
    int n = launched();
    if (n == 1) return OK;
#ifdef HAVE_MPI
    return join(s, e);
#else
    return fail(e, ERR_UNSUPPORTED,
                "mpirun started %d processes, but this program was built without MPI (install libopenmpi-dev "
                "and build again, or use --shard)",
                n);
#endif
}

void share_close(struct share *s) {
#ifdef HAVE_MPI
    leave(s);
#endif
    pthread_mutex_destroy(&s->lock);
}

enum status share_agree(struct share *s, enum status status, struct error *e) {
#ifdef HAVE_MPI
    if (s->size > 1) return agree(s, status, e);
#endif
    (void)s, (void)e;
    return status;
}

struct worker {
    struct share *share;
    enum status (*work)(void *arg, struct error *e);
    void *arg;
    struct error error;
    enum status status;
    int over;
};

static void *run_worker(void *arg) {
    struct worker *w = arg;
    w->status = w->work(w->arg, &w->error);
    pthread_mutex_lock(&w->share->lock);
    w->over = 1;
    pthread_mutex_unlock(&w->share->lock);
    return NULL;
}

static enum status run_master(struct share *s, struct worker *w, struct error *e) {
    pthread_t thread;
    int left = s->size - 1, over = 0;
    if (pthread_create(&thread, NULL, run_worker, w)) return fail(e, ERR_MEMORY, "cannot start a thread");
    for (int naps = 0; !over || left > 0; naps++) {
#ifdef HAVE_MPI
        while (s->size > 1 && serve(s, &left)) {
        }
#endif
        nap();
        pthread_mutex_lock(&s->lock);
        struct error idle = {0};
        if (naps % 50 == 49 && s->master->idle(s->master->arg, &idle) != OK && s->failed.code == OK)
            s->failed = idle;
        over = w->over;
        if (over && w->status != OK && s->failed.code == OK) s->failed = w->error;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_join(thread, NULL);
    if (s->failed.code == OK) return OK;
    *e = s->failed;
    return e->code;
}

enum status share_run(struct share *s, const struct share_master *master,
                      enum status (*work)(void *arg, struct error *e), void *arg, struct error *e) {
    struct worker w = {.share = s, .work = work, .arg = arg};
    s->master = master;
    if (s->rank == 0) return run_master(s, &w, e);
    enum status status = work(arg, e);
#ifdef HAVE_MPI
    send_text(status == OK ? "" : e->text, status == OK ? 0 : strlen(e->text), OVER);
#endif
    return status;
}

enum status share_unit(struct share *s, struct unit *u, struct error *e) {
    (void)e;
#ifdef HAVE_MPI
    if (s->rank > 0) {
        ask(u);
        return OK;
    }
#endif
    pthread_mutex_lock(&s->lock);
    *u = s->failed.code == OK ? s->master->unit(s->master->arg) : (struct unit){-1, 0};
    pthread_mutex_unlock(&s->lock);
    return OK;
}

enum status share_line(struct share *s, const json_t *line, struct error *e) {
    enum status status = OK;
#ifdef HAVE_MPI
    if (s->rank > 0) {
        struct buffer text = {0};
        py_dumps(line, 0, &text);
        status = buffer_check(&text, e);
        if (status == OK && text.n > INT32_MAX)
            status = fail(e, ERR_UNSUPPORTED, "an answer of %zu bytes", text.n);
        if (status == OK) send_text(text.data, text.n, LINE);
        buffer_free(&text);
        return status;
    }
#endif
    pthread_mutex_lock(&s->lock);
    status = s->master->line(s->master->arg, line, e);
    pthread_mutex_unlock(&s->lock);
    return status;
}
