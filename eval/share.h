/* SPDX-License-Identifier: Apache-2.0 */
/* share: who computes what, when a run has several processes. Work is cut into units of UNIT_ITEMS documents
 * of one task; rank 0 hands them out one by one, and gets every finished item as a line. One process is the
 * case of rank 0 alone. Processes are those of mpirun (when the program was built with MPI); without it
 * everything here works for one.
 *
 * Rank 0's main thread serves while a thread of its own computes, so no rank is idle. */
#ifndef EVAL_SHARE_H
#define EVAL_SHARE_H

#include <jansson.h>
#include <pthread.h>
#include <stdint.h>

#include "data/status.h"

enum { UNIT_ITEMS = 32 };

struct unit {
    int index;     /* -1: there is no more work */
    uint32_t todo; /* bit i: document i of the unit is not done yet */
};

/* What rank 0 decides. Called with the lock held, from either of its threads. */
struct share_master {
    /* The next unit with anything to do; index -1 when there is none. */
    struct unit (*unit)(void *arg);
    /* A finished item. */
    enum status (*line)(void *arg, const json_t *line, struct error *e);
    /* About once a tenth of a second, while anything runs. */
    enum status (*idle)(void *arg, struct error *e);
    void *arg;
};

struct share {
    int rank, size;
    pthread_mutex_t lock;
    const struct share_master *master; /* rank 0 */
    struct error failed;               /* the first error of any rank, at rank 0 */
};

/* Joins the processes that mpirun started; one process otherwise. Once, before anything else.
 * ERR_UNSUPPORTED: mpirun started several, and this program was built without MPI. */
enum status share_open(struct share *s, struct error *e);
void share_close(struct share *s);

/* Every rank says whether it can begin: OK when all can, else the error of the first that cannot. Called by
 * all of them before share_run: a rank that stayed away would be waited for without end. */
enum status share_agree(struct share *s, enum status status, struct error *e);

/* Runs work(arg) on every rank; it calls share_unit and share_line. master is used at rank 0. Returns when
 * all work of all ranks is done; at rank 0 with the first error of any. */
enum status share_run(struct share *s, const struct share_master *master,
                      enum status (*work)(void *arg, struct error *e), void *arg, struct error *e);

/* From work(): */
enum status share_unit(struct share *s, struct unit *u, struct error *e);
enum status share_line(struct share *s, const json_t *line, struct error *e);

/* 1: built with MPI. */
int share_has_mpi(void);

#endif
