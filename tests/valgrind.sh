#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Short runs under valgrind: the loader, both engines, the tokenizer, writers, packed weights, an evaluation, a chat.
# The portable kernels, since valgrind knows no AVX-512. usage: sh tests/valgrind.sh ./lfm2
set -eu
lfm2=${1:?usage: sh tests/valgrind.sh PROGRAM}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
m=$temp/model.gguf
"$lfm2" synth --arch tiny-qwen3 --type q4_0 -o "$m" >/dev/null
ran=0
check() {
    LFM2_ISA=scalar OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=Haswell valgrind --quiet --error-exitcode=9 \
        --leak-check=full --errors-for-leak-kinds=definite "$lfm2" "$@" >/dev/null || {
        echo "make valgrind: lfm2 $* failed"
        exit 1
    }
    ran=$((ran + 1))
}
check info "$m"
check tokenize -m "$m" -p "hello world"
check logits -m "$m" --ids 1,2,3 -t 2 -o "$temp/a.h5"
check logits -m "$m" --ids 1,2 -t 1 --engine reference -o "$temp/b.h5"
check quantize --allow-requantize "$m" "$temp/out.gguf" q8_0
# The trained model: experts, convolutions, a folder of Hugging Face.
words=data/tiny
check convert $words -o "$temp/words.gguf" --type q4_0
check pack -m "$temp/words.gguf" -t 2 -o "$temp/packed"
check logits -m "$temp/words.gguf" --packed "$temp/packed" --ids 1,2,3 -t 2 -o "$temp/c.h5"
check eval -m "$temp/words.gguf" --tasks mini_gsm8k,mini_mmlu --data $words --limit 1 --gen_kwargs max_gen_toks=4 \
    --batch_size 3 -t 2 --output_path "$temp/eval" --log_samples
check chat -m "$temp/words.gguf" -p "two and three" -n 4 -t 1
echo "make valgrind: $ran commands, nothing found"
