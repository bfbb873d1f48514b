/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: hashes as text, for nettle's SHA-256. */
#ifndef DATA_SHA256_H
#define DATA_SHA256_H

#include <nettle/sha2.h>
#include <stddef.h>

enum { SHA256_HEX = 2 * SHA256_DIGEST_SIZE + 1 };

/* Lower-case hexadecimal, and a 0 byte. */
void sha256_hex(const void *bytes, size_t n, char hex[SHA256_HEX]);

/* The same of what was given to sha256_update; ctx begins anew, as after sha256_init. */
void sha256_end_hex(struct sha256_ctx *ctx, char hex[SHA256_HEX]);

#endif
