#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One model from a prompt of one token to the whole 32k context, and decoding from the first token to depth 32k:
# beside a llama-bench where one is named, which then takes most of the hour. Long tests are repeated less often.
# The model is read from its packed file, which is made when missing. Keeps the record and draws the pages.
set -eu
model=${1:?usage: bench/long.sh MODEL.gguf [LLAMA-BENCH]}
peer=${2-}
record=bench/records/long.h5
new=$record.new

[ -f "$model" ] || {
    echo "long: $model is not there; \`make chart\` makes it (with the same MODEL= and MODELS=)" >&2
    exit 2
}
packed=${model%.gguf}.packed
[ -f "$packed" ] || ./lfm2 pack -m "$model" -o "$packed"
mkdir -p bench/records
rm -f "$new"
trap 'rm -f "$new"' EXIT
trap 'exit 130' INT TERM

ours() { ./lfm2 bench -m "$model" --packed "$packed" --record "$new" "$@"; }
both() { ours "$@" ${peer:+--peer "$peer"}; }
# A peer that has not the memory for so long a context is no reason to lose the hour: ours is in the record then.
deep() {
    both "$@" || {
        [ -n "$peer" ] # the script ends here without one
        echo "long: went on without all of: bench $*" >&2
    }
}

# Alone in its process, so that its peak memory is that of a context of 2048.
./lfm2 bench -m "$model" -p 2048 -n 32 -r 3 --record "$new"
both -p 1,4,16,64,256,1024,4096 -n 0 -r 3
both -p 0 -n 32 -d 0,1024,4096 -r 3
ours -p 8192,16384 -n 0 -r 1
ours -p 0 -n 32 -d 8192,16384 -r 1
deep -p 32768 -n 0 -r 1 --no-warmup
deep -p 0 -n 32 -d 32736 -r 1
ours -p 32768 -n 0 -r 1 -ctk q8_0
ours -p 0 -n 32 -d 4096,32736 -r 1 -ctk q8_0
mv "$new" "$record"
./lfm2 report
