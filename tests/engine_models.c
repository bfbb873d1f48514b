/* SPDX-License-Identifier: Apache-2.0 */
/* engine_models: the tiny models that both engines are tested on (see engine_models.h). */
#include "tests/engine_models.h"

#include <stdio.h>

/* arch, L, D, H, G, d, F, EF, E, k, V */
#define MOE   "lfm2moe", 4, 64, 4, 2, 32, 192, 96, 8, 4, 512
#define DENSE "lfm2", 4, 64, 4, 2, 16, 192, 0, 0, 0, 512
#define QWEN  "qwen3", 3, 64, 4, 2, 64, 192, 0, 0, 0, 512
const struct engine_model engine_models[] = {
    {"lfm2moe F32", {MOE, TYPE_F32, TYPE_F32, 1, 1, 0}},
    {"lfm2moe F16", {MOE, TYPE_F16, TYPE_F16, 1, 2, 0}},
    {"lfm2moe Q8_0", {MOE, TYPE_Q8_0, TYPE_Q8_0, 1, 3, 0}},
    {"lfm2moe Q4_0", {MOE, TYPE_Q4_0, TYPE_Q4_0, 1, 4, 0}},
    {"lfm2 F32", {DENSE, TYPE_F32, TYPE_F32, 1, 5, 0}},
    {"lfm2 F16", {DENSE, TYPE_F16, TYPE_F16, 1, 6, 0}},
    {"lfm2 Q8_0", {DENSE, TYPE_Q8_0, TYPE_Q8_0, 1, 7, 0}},
    {"lfm2 Q4_0", {DENSE, TYPE_Q4_0, TYPE_Q4_0, 1, 8, 0}},
    {"qwen3 F32", {QWEN, TYPE_F32, TYPE_F32, 1, 9, 0}},
    {"qwen3 F16", {QWEN, TYPE_F16, TYPE_F16, 1, 10, 0}},
    {"qwen3 Q8_0", {QWEN, TYPE_Q8_0, TYPE_Q8_0, 1, 11, 0}},
    {"qwen3 Q4_0", {QWEN, TYPE_Q4_0, TYPE_Q4_0, 1, 12, 0}},
    /* The official recipe: Q4_0 with a tied Q6_K embedding. */
    {"lfm2moe Q4_0 + Q6_K",
     {"lfm2moe", 4, 256, 4, 1, 64, 320, 192, 8, 4, 512, TYPE_Q4_0, TYPE_Q6_K, 1, 13, 0}},
    {"qwen3 wide heads, separate head",
     {"qwen3", 2, 96, 3, 3, 64, 160, 0, 0, 0, 300, TYPE_Q8_0, TYPE_Q8_0, 0, 14, 0}},
    {"lfm2moe one expert of 5",
     {"lfm2moe", 3, 32, 2, 1, 16, 96, 32, 5, 1, 65, TYPE_Q4_0, TYPE_Q8_0, 0, 15, 0}},
    /* The most steps that a layer can have, in many layers. All experts are used: in a model this narrow a
     * choice that turns at a near-tie would be most of what is compared. */
    {"lfm2moe, attention only",
     {"lfm2moe", 10, 32, 2, 1, 32, 64, 32, 4, 4, 64, TYPE_Q8_0, TYPE_Q8_0, 1, 16, 1}},
};
#undef MOE
#undef DENSE
#undef QWEN
const int n_engine_models = (int)(sizeof engine_models / sizeof *engine_models);

enum status engine_model_open(struct model **out, int i, struct error *e) {
    char directory[256], path[300];
    *out = NULL;
    if (tiny_directory(directory, sizeof directory)) return fail(e, ERR_IO, "no temporary directory");
    snprintf(path, sizeof path, "%s/tiny.gguf", directory);
    enum status status = tiny_write(path, &engine_models[i].spec, e);
    if (status == OK) status = model_open(out, path, e);
    tiny_directory_remove(directory);
    return status;
}
