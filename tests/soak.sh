#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Does a long evaluation stay flat? One `lfm2 eval` process works through the small tasks of data/tiny, their rows
# repeated, for HOURS of running time: memory, files, threads and finished items are sampled every 10 s, so time in
# which the whole process group is held does not count. Answers are kept until the end and may take their memory; what
# they take is shown by a second process, which reads the same journal and goes on for a minute. The first may stand at
# most 3 % above the second's memory, and never had more files or threads than after its warm-up.
# usage: tests/soak.sh PROGRAM FOLDER [HOURS [THREADS]]; FOLDER/soak.csv keeps the samples, FOLDER/verdict the end
set -u
program=$(realpath "${1:?usage: tests/soak.sh PROGRAM FOLDER [HOURS [THREADS]]}")
folder=${2:?usage: tests/soak.sh PROGRAM FOLDER [HOURS [THREADS]]}
hours=${3:-2} threads=${4:-2}
tiny=$(realpath "$(dirname "$0")/../data/tiny") || exit 1
every=10
mkdir -p "$folder" && cd "$folder" || exit 1
rm -rf sets out
mkdir -p sets/mini_mmlu/test sets/mini_gsm8k
cp -r "$tiny/mini_mmlu/dev" sets/mini_mmlu/
cp "$tiny/mini_gsm8k/train.jsonl" sets/mini_gsm8k/
for file in "$tiny"/mini_mmlu/test/*.csv; do
    { head -n 1 "$file" && for _ in $(seq 300); do tail -n +2 "$file"; done; } >"sets/mini_mmlu/test/${file##*/}"
done
for _ in $(seq 200); do cat "$tiny/mini_gsm8k/test.jsonl"; done >sets/mini_gsm8k/test.jsonl

begin() {
    "$program" eval -m "$tiny" --tasks mini_mmlu,mini_gsm8k --data sets --output_path out -t "$threads" >>eval.log 2>&1 &
    pid=$!
}
stop() {
    kill "$pid" 2>/dev/null
    wait "$pid"
    echo "ended with status $?" >>eval.log
}
sample() { # PART NUMBER: one line of soak.csv after 10 s; fails when the process is gone
    sleep $every
    local memory lines bytes
    memory=$(awk '/^VmRSS/ { r = $2 } /^RssAnon/ { a = $2 } /^Threads/ { t = $2 } END { print r "," a "," t }' \
        "/proc/$pid/status" 2>/dev/null) && [ "$memory" != ,, ] || return 1
    read -r lines bytes < <(wc -lc <out/journal.jsonl)
    echo "$1,$2,$memory,$(ls "/proc/$pid/fd" | wc -l),$((lines - 1)),$bytes" >>soak.csv
}
trap 'stop; echo "soak: stopped before its time" | tee verdict; exit 1' INT TERM HUP
echo "part,sample,rss_kib,anonymous_kib,threads,files,items,journal_bytes" >soak.csv
: >eval.log
samples=$(awk -v h="$hours" -v e=$every 'BEGIN { printf "%d", h * 3600 / e }')
begin
for n in $(seq "$samples"); do sample soak "$n" || break; done
stop
begin
for n in 1 2 3 4 5 6; do sample again "$n" || break; done
stop

# Warm-up is the first tenth.
awk -F, -v wanted="$samples" -v every=$every '
    $1 == "soak" {
        if ($2 > wanted / 10 && !n++) { rss0 = $3; threads = $5; files = $6; items0 = $7 }
        if (n && ($5 > threads || $6 > files)) more++
        last = $2; rss = $3; items = $7; bytes = $8
    }
    $1 == "again" { fresh = $3; of = $7 }
    END {
        if (last < wanted || !fresh) { printf "soak: FAILED, ended after %d of %d samples\n", last, wanted; exit 1 }
        flat = rss <= 1.03 * fresh && !more
        printf "soak: %s, %.2f h running, %d items; %.1f MiB after warm-up (%d items), %.1f MiB at the end, %.1f MiB " \
               "in a new process with %d items; %d files and %d threads, more than that %d times\n",
            flat ? "flat" : "FAILED", last * every / 3600, items, rss0 / 1024, items0, rss / 1024, fresh / 1024, of,
            files, threads, more
        exit !flat }' soak.csv | tee verdict
exit "${PIPESTATUS[0]}"
