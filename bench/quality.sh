#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What quantisation costs on a trained model: fits an importance matrix on the first part of a text, scores every
# recipe in every way of computing on the rest, lets each answer the trained model's questions, keeps the record and
# draws the pages.
set -eu
usage='usage: bench/quality.sh MODEL TEXT QUESTIONS [CHUNKS [LIMIT [THREADS]]]'
model=${1:?$usage}
text=${2:?$usage}
questions=${3:?$usage} # a folder with mini_mmlu and mini_gsm8k; "no": none are asked
chunks=${4:--1}
limit=${5:-0}
threads=${6:-1} # of a small model, a second thread waits more than it works
record=bench/records/tiny.h5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Not the same lines: what a matrix was fitted to must not judge it.
lines=$(($(wc -l <"$text") / 5))
name=$(basename "$text" .txt)
head -n "$lines" "$text" >"$work/$name-first-fifth.txt"
tail -n "+$((lines + 1))" "$text" >"$work/$name-rest.txt"

./lfm2 imatrix -m "$model" -f "$work/$name-first-fifth.txt" -c 256 -t "$threads" -o "$work/model.imatrix.gguf"
whole='F32 BF16 Q8_0 Q6_K Q5_K_M Q4_K_M Q4_0 Q4_0+imatrix'
recipes=$(echo "$whole" | tr ' ' ,),Q4_0+router=Q8_0,Q4_0+output-tensor=Q4_0
recipes=$recipes,Q4_0+experts=Q8_0,Q4_0+attention=Q8_0,Q4_0+conv=Q8_0,Q4_0+dense=Q8_0,F32+router=Q4_0
recipes=$recipes,F32+taps=F16
mkdir -p bench/records
./lfm2 quality -m "$model" -f "$work/$name-rest.txt" -c 256 --chunks "$chunks" -t "$threads" \
    --engine reference,optimized,optimized:avx2,optimized:scalar,optimized:kv-q8_0 \
    --imatrix "$work/model.imatrix.gguf" --recipes "$recipes" --record "$work/quality.h5"

# ask FOLDER MODEL ENGINE TASKS [OPTION...]: 64 tokens are room for an answer, and for nothing after it.
ask() {
    folder=$work/answers/$1 file=$2 engine=$3 tasks=$4
    shift 4
    ./lfm2 eval -m "$file" --engine "$engine" --tasks "$tasks" --num_fewshot 5 --limit "$limit" --data "$questions" \
        --gen_kwargs max_gen_toks=64 -t "$threads" --log_samples --output_path "$folder" "$@" >/dev/null
}
if [ "$questions" != no ]; then
    both=mini_mmlu,mini_gsm8k
    ask original "$model" reference $both
    set --
    for recipe in $whole; do
        file=$work/$recipe.gguf
        fit=
        [ "${recipe%+imatrix}" = "$recipe" ] || fit="--imatrix $work/model.imatrix.gguf"
        # shellcheck disable=SC2086
        ./lfm2 quantize $fit "$model" "$file" "${recipe%+imatrix}" >/dev/null
        ask "$recipe-reference" "$file" reference mini_mmlu # word by word it takes minutes
        ask "$recipe-optimized" "$file" optimized $both
        LFM2_ISA=avx2 ask "$recipe-avx2" "$file" optimized $both
        LFM2_ISA=scalar ask "$recipe-scalar" "$file" optimized mini_mmlu
        ask "$recipe-kv" "$file" optimized $both -ctk q8_0
        for way in reference optimized avx2 scalar kv; do set -- "$@" "$work/answers/$recipe-$way"; done
    done
    ./lfm2 eval --compare "$work/answers/original" "$@" --record "$work/quality.h5"
fi
mv "$work/quality.h5" "$record"
./lfm2 report
