#!/bin/sh
# What quantisation costs on a trained model: fits an importance matrix on the first part of a text, scores every
# recipe on both engines on the rest, keeps the record and draws the pages.
set -eu
model=${1:?usage: bench/quality.sh MODEL TEXT [CHUNKS [THREADS]]}
text=${2:?usage: bench/quality.sh MODEL TEXT [CHUNKS [THREADS]]}
chunks=${3:--1}
threads=${4:-1} # of a small model, a second thread waits more than it works
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
recipes=F32,BF16,Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0,Q4_0+imatrix,Q4_0+router=Q8_0,Q4_0+output-tensor=Q4_0
recipes=$recipes,Q4_0+experts=Q8_0,Q4_0+attention=Q8_0,Q4_0+conv=Q8_0,Q4_0+dense=Q8_0,F32+router=Q4_0
recipes=$recipes,F32+taps=F16
mkdir -p bench/records
./lfm2 quality -m "$model" -f "$work/$name-rest.txt" -c 256 --chunks "$chunks" -t "$threads" \
    --imatrix "$work/model.imatrix.gguf" --recipes "$recipes" --record "$work/quality.h5"
mv "$work/quality.h5" "$record"
./lfm2 report
