/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: a digest in hexadecimal. */
#include "data/sha256.h"

#include <stdint.h>

void sha256_end_hex(struct sha256_ctx *ctx, char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[SHA256_HEX - 1] = 0;
}

void sha256_hex(const void *bytes, size_t n, char hex[SHA256_HEX]) {
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_end_hex(&ctx, hex);
}
