#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What evaluation gains from computing together: questions per second of 5-shot MMLU with and without the shared
# examples, by turns, and decoding of 8 sequences against one. One model at a time, nothing else running. Keeps the
# record and draws the pages.
set -eu
data=${1:?usage: bench/eval-speed.sh DATA MODEL.gguf[,MODEL.gguf] [QUESTIONS [REPETITIONS [TASK [TOKENS]]]]}
models=${2:?usage: bench/eval-speed.sh DATA MODEL.gguf[,MODEL.gguf] [QUESTIONS [REPETITIONS [TASK [TOKENS]]]]}
questions=${3:-32}
repetitions=${4:-3}
task=${5:-mmlu_conceptual_physics}
tokens=${6:-32}
record=bench/records/eval-speed.h5
start=$(date +%s)
mkdir -p bench/records
new=$record.new
rm -f "$new"
trap 'rm -f "$new"' EXIT
trap 'exit 130' INT TERM
say() { echo "eval-speed, $(($(date +%s) - start)) s: $*"; }

say "decoding 1 and 8 sequences"
./lfm2 bench -m "$models" -p 0 -n "$tokens" -np 1,8 -r 5 --record "$new"
ask() {
    ./lfm2 eval -m "${models%%,*}" --tasks "$task" --num_fewshot 5 --limit "$questions" --data "$data" \
        --record "$new" "$@" >/dev/null
}
turn=1
while [ "$turn" -le "$repetitions" ]; do
    say "turn $turn of $repetitions: $questions questions of $task, examples shared and not"
    if [ $((turn % 2)) -eq 1 ]; then
        ask
        ask --no-prefix-cache
    else
        ask --no-prefix-cache
        ask
    fi
    turn=$((turn + 1))
done
mv "$new" "$record"
./lfm2 report
say "done: the section \"Answers\" of RESULTS.md; the record behind it is $record"
