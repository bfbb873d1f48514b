#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What other ways of rounding products would cost in accuracy: the synthetic models on random ids, then a trained
# model as Q4_0 on a text, beside what it was quantised from. Keeps the record and draws the pages.
set -eu
usage='usage: bench/schemes.sh MODELS TRAINED TEXT'
models=${1:?$usage} # FILE,FILE
trained=${2:?$usage}
text=${3:?$usage}
record=bench/records/schemes.h5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

./lfm2 quantize "$trained" "$work/trained.gguf" Q4_0 >/dev/null
./lfm2 parity -m "$work/trained.gguf" --original "$trained" -f "$text" -p 1792 -n 256 \
    --scheme exact,folded,bf16 --record "$work/schemes.h5"
./lfm2 parity -m "$models" -n 0 --scheme exact,folded,bf16 --record "$work/schemes.h5"
mkdir -p bench/records
mv "$work/schemes.h5" "$record"
./lfm2 report
