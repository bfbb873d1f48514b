/* SPDX-License-Identifier: Apache-2.0 */
/* corpus_others: cases 85 to 100: files of log-probabilities, HDF5 files of our own kind that were damaged,
 * values of options that no run can have, and names that lead to things which are no files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "data/golden.h"
#include "data/packed.h"
#include "data/records.h"
#include "tests/corpus.h"

#define PACKED "logits -m % --packed bad.h5 --ids 1 -o out.h5"
#define REPORT "report --records . -o pages"
#define LOGITS "logits -m % --ids 1,2 -o out.h5 "

static void in_folder(const struct making *m, const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", m->folder, name);
}

/* bytes_n bytes become what they were not, at a place found by its content; from NULL: at the start. */
static void replace(struct making *m, const char *name, const void *from, size_t n, const void *to) {
    char path[4096];
    static char bytes[1 << 20];
    in_folder(m, name, path, sizeof path);
    FILE *f = fopen(path, "r+b");
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    char *at = from ? memmem(bytes, size, from, n) : bytes;
    if (!f || !at || fseek(f, at - bytes, SEEK_SET) || fwrite(to, 1, n, f) != n || fclose(f)) m->failed = 1;
}

static void shorten(struct making *m, const char *name, long to) {
    char path[4096];
    in_folder(m, name, path, sizeof path);
    if (truncate(path, to)) m->failed = 1;
}

/* The weights of a packed file that belongs to no model: 4096 bytes, or 4104 that no other number equals. */
static void packed(struct making *m, uint64_t bytes) {
    char path[4096];
    struct error e;
    struct packed_writer *w;
    struct packed_id id = {.layout = "none", .header_sha256 = "0", .model_bytes = 1, .weights_bytes = bytes};
    in_folder(m, "bad.h5", path, sizeof path);
    void *zeros = image_memory(&m->im, bytes);
    int made = packed_create(&w, path, &id, &e) == OK;
    if (made && packed_add(w, zeros, bytes, &e) != OK)
        made = 0, packed_discard(w);
    else if (made)
        made = packed_commit(w, &e) == OK;
    if (!made) m->failed = 1;
}

/* Arrays without what a packed or record file needs. */
static void golden(struct making *m) {
    char path[4096];
    struct error e;
    struct golden *g;
    float x[6] = {0};
    in_folder(m, "bad.h5", path, sizeof path);
    if (golden_create(&g, path, &e) != OK) {
        m->failed = 1;
        return;
    }
    if (golden_write_f32(g, "weights", 2, (int64_t[]){2, 3}, x, &e) != OK ||
        golden_write_text(g, "layout", "a text", &e) != OK)
        m->failed = 1;
    if (golden_commit(g, &e) != OK) m->failed = 1;
}

static void record(struct making *m) {
    static const struct field fields[] = {{"model", FIELD_TEXT, 0, 16, 0}, {"ns", FIELD_I64, 16, 8, 0}};
    static const struct table table = {
        .name = "throughput", .row_bytes = 24, .fields = fields, .n_fields = 2};
    static const char rows[3][24] = {"a", "b", "c"};
    char path[4096];
    struct error e;
    struct record *r = record_new("bench");
    in_folder(m, "bad.h5", path, sizeof path);
    unlink(m->file);
    record_text(r, "time", "%s", "yesterday");
    record_rows(r, &table, rows, 3);
    if (records_append(path, r, NULL, &e) != OK) m->failed = 1;
    record_free(r);
    m->written = 1;
}

/* The place of a dataset's length, stated in 8 bytes. */
static void lie_about(struct making *m, uint64_t truth, uint64_t lie) {
    replace(m, "bad.h5", &truth, sizeof truth, &lie);
}

static void other_kind(struct making *m, int kind) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int s = -1, bad = 0;
    m->written = 1;
    if (kind == 'f') bad = mkfifo(m->file, 0600);
    if (kind == 'd') bad = mkdir(m->file, 0700);
    if (kind == 'l') bad = symlink("model.gguf", m->file);
    if (kind == 'z') bad = symlink("/dev/zero", m->file);
    if (kind == 't') bad = symlink("/dev/null", m->file);
    if (kind == 'p') bad = symlink("/proc/self/mem", m->file);
    if (kind == 's') {
        snprintf(name.sun_path, sizeof name.sun_path, "%.100s", m->file);
        s = socket(AF_UNIX, SOCK_STREAM, 0);
        bad = s < 0 || bind(s, (struct sockaddr *)&name, sizeof name);
        if (s >= 0) close(s);
    }
    if (bad) m->failed = 1;
}

/* A file of log-probabilities for 1 chunk of 4 ids, with one of its numbers changed. */
struct base_lie {
    const char *magic;
    int32_t n_ctx, n_vocab, n_chunks, id;
    float scale;
    uint64_t bytes; /* 0: as many as the header says */
};

static void base_file(struct making *m, struct base_lie lie) {
    uint64_t row = 2 * (512 + 4), size = 20 + 4 * 4 + row;
    uint8_t *bytes = image_memory(&m->im, size);
    int32_t sizes[3] = {lie.n_ctx ? lie.n_ctx : 4, lie.n_vocab ? lie.n_vocab : 512,
                        lie.n_chunks ? lie.n_chunks : 1};
    float lowest = -30;
    memcpy(bytes, lie.magic ? lie.magic : "_logits_", 8);
    memcpy(bytes + 8, sizes, sizeof sizes);
    memcpy(bytes + 20 + 8, &lie.id, 4);
    memcpy(bytes + 36, &lie.scale, 4), memcpy(bytes + 40, &lowest, 4);
    making_file(m, "base.kld", bytes, lie.bytes ? lie.bytes : size);
    m->written = 0;
}

#define HDF5(X)                                                                                              \
    X(85, not_hdf5, 2, "bad.h5", PACKED, making_text(m, "bad.h5", "hello"); m->written = 0)                  \
    X(85, hdf5_empty, 2, "bad.h5", PACKED, making_file(m, "bad.h5", "", 0); m->written = 0)                  \
    X(85, superblock_cut, 2, "bad.h5", PACKED, packed(m, 4096); shorten(m, "bad.h5", 20))                    \
    X(85, packed_cut, 2, "bad.h5", PACKED, packed(m, 4096); shorten(m, "bad.h5", 4000))                      \
    X(85, report_not_hdf5, 2, "bad.h5", REPORT, making_text(m, "bad.h5", "hello"))                           \
    X(85, report_cut, 2, "bad.h5", REPORT, record(m); shorten(m, "bad.h5", 100))                             \
    X(86, other_arrays, 2, "bad.h5", PACKED, golden(m))                                                      \
    X(86, other_model, 2, "bad.h5", PACKED, packed(m, 4096))                                                 \
    X(86, report_arrays, 2, "bad.h5", REPORT, golden(m); m->written = 1; unlink(m->file))                    \
    X(86, report_fields, 2, "bad.h5", REPORT, record(m))                                                     \
    X(87, length_2_62, 2, "bad.h5", PACKED, packed(m, 41040); lie_about(m, 41040, 1ull << 62))               \
    X(87, rows_2_62, 2, "bad.h5", REPORT, record(m); lie_about(m, 3, 1ull << 62))                            \
    X(88, length_0, 2, "bad.h5", PACKED, packed(m, 41040); lie_about(m, 41040, 0))                           \
    X(89, soft_link, 2, "bad.h5", PACKED, packed(m, 4096); replace(m, "bad.h5", "weights", 7, "nothing"))    \
    X(91, attribute_missing, 2, "bad.h5", PACKED, packed(m, 4096);                                           \
      replace(m, "bad.h5", "model_bytes", 11, "modem_bytes"))                                                \
    X(91, attribute_name, 2, "bad.h5", PACKED, packed(m, 4096);                                              \
      replace(m, "bad.h5", "layout", 6, "\xff\xff\xff\xff\xff\xff"))

#define OPTIONS(X)                                                                                           \
    X(93, prompt_empty, 2, "empty", "logits -m % --no-bos -p '' -o out.h5", (void)m)                         \
    X(93, prompt_over_context, 2, "context", "run -m % -c 8 -n 1 --no-bos -p abcdefghijklmnop", (void)m)     \
    X(93, prompt_fills_context, 0, "", "run -m % -c 8 -n 1 --no-bos -p abcdefgh", (void)m)                   \
    X(94, predict_minus_7, 2, "-7", "run -m % -p a -n -7", (void)m)                                          \
    X(94, predict_2_31, 2, "2147483648", "run -m % -p a -n 2147483648", (void)m)                             \
    X(94, context_2_31, 2, "context", "run -m % -p a -c 2147483647 -n 1", (void)m)                           \
    X(94, context_4096, 0, "", "run -m % -p a -c 4096 -n 1", (void)m)                                        \
    X(94, context_4097, 2, "context", "run -m % -p a -c 4097 -n 1", (void)m)                                 \
    X(94, threads_0, 2, "cannot use 0 threads", LOGITS "-t 0", (void)m)                                      \
    X(94, threads_minus_1, 2, "-t", LOGITS "-t -1", (void)m)                                                 \
    X(94, threads_10_6, 2, "1000000", LOGITS "-t 1000000", (void)m)                                          \
    X(94, threads_10_6_reference, 2, "1000000", LOGITS "-t 1000000 --engine reference", (void)m)             \
    X(94, threads_10_6_run, 2, "1000000", "run -m % -p a -n 1 -t 1000000", (void)m)                          \
    X(94, batch_10_9, 0, "", LOGITS "-b 1000000000", (void)m)                                                \
    X(94, temperature_nan, 2, "--temp", "run -m % -p a -n 1 --temp nan", (void)m)                            \
    X(94, temperature_minus_1, 2, "temperature", "run -m % -p a -n 1 --temp -1", (void)m)                    \
    X(94, ids_none, 2, "--ids", "logits -m % --ids '' -o out.h5", (void)m)                                   \
    X(94, bench_depth, 2, "context", "bench -m % -p 8 -n 0 -d 100000 -r 1 --no-limits", (void)m)             \
    X(94, bench_prompt, 2, "context", "bench -m % -p 5000 -n 0 -r 1 --no-limits", (void)m)                   \
    X(94, bench_generate, 2, "context", "bench -m % -p 0 -n 5000 -r 1 --no-limits", (void)m)                 \
    X(94, bench_0_times, 2, "-r 0", "bench -m % -p 8 -n 0 -r 0 --no-limits", (void)m)                        \
    X(94, bench_minus_1_times, 2, "-r -1", "bench -m % -p 8 -n 0 -r -1 --no-limits", (void)m)                \
    X(94, bench_threads, 2, "1000000", "bench -m % -p 8 -n 0 -t 1000000 --no-limits", (void)m)               \
    X(94, parity_prompt, 2, "context", "parity -m % -p 100000", (void)m)                                     \
    X(94, quantize_threads, 2, "1000000", "quantize % out.gguf q8_0 1000000", (void)m)                       \
    X(94, pack_threads, 2, "1000000", "pack -m % -o out.h5 -t 1000000", (void)m)                             \
    X(94, limits_threads, 2, "1000000", "limits -t 1000000", (void)m)                                        \
    X(94, synth_threads, 2, "1000000", "synth --arch tiny-lfm2 -o out.gguf -t 1000000", (void)m)

/* A folder is a model's; so the directory is asked for its config.json. */
#define THINGS(X)                                                                                            \
    X(96, missing, 2, "model.gguf: cannot open", NULL, m->written = 1)                                       \
    X(96, directory, 2, "config.json", NULL, other_kind(m, 'd'))                                             \
    X(96, fifo, 2, "not a regular file", NULL, other_kind(m, 'f'))                                           \
    X(96, socket, 2, "model.gguf", NULL, other_kind(m, 's'))                                                 \
    X(96, dev_zero, 2, "not a regular file", NULL, other_kind(m, 'z'))                                       \
    X(96, dev_null, 2, "not a regular file", NULL, other_kind(m, 't'))                                       \
    X(96, proc_mem, 2, "model.gguf", NULL, other_kind(m, 'p'))                                               \
    X(96, link_to_itself, 2, "model.gguf", NULL, other_kind(m, 'l'))                                         \
    X(96, text_is_zero, 2, "text.txt", "tokenize -m % -f text.txt", char p[4096];                            \
      in_folder(m, "text.txt", p, sizeof p); if (symlink("/dev/zero", p)) m->failed = 1)                     \
    X(96, packed_is_fifo, 2, "bad.h5", PACKED, char p[4096]; in_folder(m, "bad.h5", p, sizeof p);            \
      if (mkfifo(p, 0600)) m->failed = 1)                                                                    \
    X(96, record_is_fifo, 2, "bad.h5", REPORT, char p[4096]; m->written = 1;                                 \
      in_folder(m, "bad.h5", p, sizeof p); if (mkfifo(p, 0600)) m->failed = 1)

#define KLD "perplexity -m % --kl-divergence --kl-divergence-base base.kld"
#define BASES(X)                                                                                             \
    X(100, base_magic, 2, "_logits_", KLD, base_file(m, (struct base_lie){.magic = "_tigols_"}))             \
    X(100, base_cut, 2, "cut short", KLD, base_file(m, (struct base_lie){.bytes = 1000}))                    \
    X(100, base_header_alone, 2, "cut short", KLD, base_file(m, (struct base_lie){.bytes = 20}))             \
    X(100, base_header_cut, 2, "_logits_", KLD, base_file(m, (struct base_lie){.bytes = 13}))                \
    X(100, base_vocabulary, 2, "vocabulary", KLD, base_file(m, (struct base_lie){.n_vocab = 511}))           \
    X(100, base_wraps, 2, "impossible sizes", KLD,                                                           \
      base_file(m, (struct base_lie){.n_ctx = INT32_MAX, .n_vocab = INT32_MAX, .n_chunks = INT32_MAX}))      \
    X(100, base_negative, 2, "impossible sizes", KLD, base_file(m, (struct base_lie){.n_chunks = -1}))       \
    X(100, base_id, 2, "outside the vocabulary", KLD, base_file(m, (struct base_lie){.id = 512}))            \
    X(100, base_id_negative, 2, "outside the vocabulary", KLD, base_file(m, (struct base_lie){.id = -1}))    \
    X(100, base_scale_nan, 2, "no log-probabilities", KLD, base_file(m, (struct base_lie){.scale = NAN}))    \
    X(100, base_is_fifo, 2, "not a regular file", KLD, char p[4096]; in_folder(m, "base.kld", p, sizeof p);  \
      if (mkfifo(p, 0600)) m->failed = 1)

#define ALL(X) BASES(X) HDF5(X) OPTIONS(X) THINGS(X)

#define X(number, id, code, mention, command, ...)                                                           \
    static void case_##id(struct making *m) {                                                                \
        __VA_ARGS__;                                                                                         \
    }
ALL(X)
#undef X

const struct corpus_case corpus_others[] = {
#define X(number, id, code, mention, command, ...) {number, #id, code, mention, command, case_##id},
    ALL(X)
#undef X
        {0},
};
