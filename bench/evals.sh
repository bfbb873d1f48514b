#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the trained model of data/tiny/ answers: its own test sets, and where DATA has GSM8K and MMLU in their published
# form 200 and 57 x 10 of those questions. Original weights and Q4_0 on the reference engine, Q4_0 on the optimized one,
# compared question by question. Keeps the record and draws the pages. An interrupted call goes on where it was.
set -eu
data=${1-}
out=${2:-out/evals}
threads=${3:-$(nproc)}
record=bench/records/eval.h5
tiny=data/tiny
mkdir -p "$out" bench/records
rm -f "$out/eval.h5"
[ -f "$out/tiny-Q4_0.gguf" ] || ./lfm2 convert "$tiny" -o "$out/tiny-Q4_0.gguf" --type q4_0

# run NAME MODEL ENGINE TASKS DATA [OPTION...]: into a folder of its own, with its samples.
run() {
    name=$1 model=$2 engine=$3 tasks=$4 from=$5
    shift 5
    mkdir -p "$out/$name"
    echo "evals: $name: $tasks"
    ./lfm2 eval -m "$model" --engine "$engine" --tasks "$tasks" --data "$from" -t "$threads" \
        --output_path "$out/$name" --log_samples --record "$out/eval.h5" "$@" >"$out/$name/table.txt"
}

for way in original-reference Q4_0-reference Q4_0-optimized; do
    model=$out/tiny-Q4_0.gguf
    [ $way != original-reference ] || model=$tiny
    run $way/gsm8k "$model" ${way#*-} mini_gsm8k $tiny --num_fewshot 5
    run $way/mmlu "$model" ${way#*-} mini_mmlu $tiny --num_fewshot 5
    [ -n "$data" ] || continue
    run $way/real-gsm8k "$model" ${way#*-} gsm8k "$data" --num_fewshot 5 --limit 200
    run $way/real-mmlu "$model" ${way#*-} mmlu "$data" --num_fewshot 5 --limit 10
done
# The other protocol asks in a chat; its scores are another measurement. It gives room for 4096 tokens, which is more than
# the model's whole context.
run card "$out/tiny-Q4_0.gguf" optimized mini_gsm8k,mini_mmlu $tiny --protocol card --gen_kwargs max_gen_toks=1024

for pair in 'Q4_0-reference Q4_0-optimized' 'original-reference Q4_0-optimized'; do
    for set in gsm8k mmlu ${data:+real-gsm8k real-mmlu}; do
        ./lfm2 eval --compare "$out/${pair% *}/$set" "$out/${pair#* }/$set" --record "$out/eval.h5"
    done
done
mv "$out/eval.h5" "$record"
./lfm2 report
