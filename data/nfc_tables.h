/* SPDX-License-Identifier: Apache-2.0 */
/* nfc_tables: Unicode's canonical decompositions and combining classes, each table in order of code points.
 */
#ifndef DATA_NFC_TABLES_H
#define DATA_NFC_TABLES_H

#include <stdint.h>

struct nfc_pair {
    uint32_t code, first, second;
};
struct nfc_single {
    uint32_t code, becomes;
};
struct nfc_class {
    uint32_t low, high;
    uint8_t class;
};
extern const struct nfc_pair nfc_pairs[];
extern const struct nfc_single nfc_singles[];
extern const struct nfc_class nfc_classes[];
extern const uint16_t nfc_by_parts[]; /* the pairs that compose again, in order of first, then second */
extern const int nfc_n_by_parts, nfc_n_pairs, nfc_n_singles, nfc_n_classes;

#endif
