/* SPDX-License-Identifier: Apache-2.0 */
/* checksums: what tests/expected_*.sh writes of a file that llama-quantize made, of ours. */
#ifndef TESTS_CHECKSUMS_H
#define TESTS_CHECKSUMS_H

#include "data/status.h"

/* CRC-32 over all tensors of a GGUF file in the order of their names: of "NAME TYPE\n", and of the bytes. */
enum status gguf_checksums(const char *path, unsigned long *types, unsigned long *bytes, struct error *e);

#endif
