/* SPDX-License-Identifier: Apache-2.0 */
/* unfinished: the names of files that are being written and have not got their final name, so that a program
 * that is told to end can remove them. The one list of this kind in a process; safe in threads and signal
 * handlers. */
#ifndef DATA_UNFINISHED_H
#define DATA_UNFINISHED_H

#include "data/status.h"

/* Before anything is written: a finished file takes the place of what has its name, so that must be nothing
 * or a regular file, and not the file `input` that is read (NULL: none). */
enum status output_check(const char *path, const char *input, struct error *e);

/* From now on the file, which need not be there yet, or the folder, added before its files, is somebody's
 * half work. A list that is full, or a name that is too long, is no error: the file is then left behind. */
void unfinished_add(const char *path);
/* It was renamed or removed. */
void unfinished_done(const char *path);
/* Gives the closed file `temporary` its final name, after its bytes have reached the disk: a power cut leaves
 * the old file or the new one. It is unfinished no more; on an error it is left for the caller to remove. */
enum status put_in_place(const char *temporary, const char *path, struct error *e);
/* Removes them. Calls nothing but unlink and rmdir. */
void unfinished_remove(void);

#endif
