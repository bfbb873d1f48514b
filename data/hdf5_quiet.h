/* SPDX-License-Identifier: Apache-2.0 */
/* hdf5_quiet: how this program uses the HDF5 library: it prints nothing, and it does nothing when the process
 * ends. Without the second, a file that could not be closed because its disk is full is written once more at
 * exit, and HDF5 1.10 crashes on it. */
#ifndef DATA_HDF5_QUIET_H
#define DATA_HDF5_QUIET_H

#include <hdf5.h>

/* Before any other call of the library. Every file must be closed by whoever opened it. */
static inline void hdf5_quiet(void) {
    H5dont_atexit(); /* takes effect before the first call that starts the library, and fails silently later
                      */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

#endif
