#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Does llama.cpp load what `lfm2 quantize` writes, and say the same? Every type of every tiny synthetic model.
#     bash tests/llama_loads.sh LFM2 LLAMA_COMPLETION
# Prints one line per file; exit code 1 when one does not load. The texts may differ: llama.cpp rounds activations of
# BF16, F16 and K-quants otherwise. F32 must be the same.
set -u
lfm2=$(realpath "$1") completion=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prompt='the rain in the plain' failed=0
for arch in tiny-lfm2moe tiny-lfm2 tiny-qwen3; do
    "$lfm2" synth --arch $arch --type f32 -o "$work/$arch.gguf" >/dev/null || exit 2
    for type in F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q4_K_M Q4_0; do
        "$lfm2" quantize --force "$work/$arch.gguf" "$work/out.gguf" $type >/dev/null || exit 2
        ours=$("$lfm2" run -m "$work/out.gguf" -p "$prompt" -n 12 --temp 0 2>/dev/null | od -An -tx1 | tr -d ' \n')
        if theirs=$("$completion" -m "$work/out.gguf" -p "$prompt" -n 12 -no-cnv --no-display-prompt --temp 0 -t 1 \
            --no-warmup 2>"$work/log" </dev/null | od -An -tx1 | tr -d ' \n') && grep -q 'eval time' "$work/log"; then
            theirs=${theirs%0a0a}
            verdict=same
            [ -n "$ours" ] && [ "$ours" = "$theirs" ] || verdict="loads, other text"
            [ "$verdict" = same ] || [ $type != F32 ] || { verdict="OTHER TEXT" failed=1; }
        else
            verdict="DOES NOT LOAD" failed=1
        fi
        printf '%-14s %-7s %s\n' $arch $type "$verdict"
    done
done
exit $failed
