#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The threads of the program under ThreadSanitizer: the pool on fewer and on more CPUs than threads, sequences computed
# at once and their prefixes, the pipeline that writes models, packing, the end by a signal. The real commands, since
# Debian 12's Criterion does not start under the sanitizer. usage: bash tests/tsan.sh PROGRAM
set -u
lfm2=${1:?usage: bash tests/tsan.sh PROGRAM}
temp=$(mktemp -d) || exit 1
trap 'rm -rf "$temp"' EXIT
# OpenBLAS is not instrumented: it gets one thread, and its own locks are not looked at (tests/tsan.supp).
export OPENBLAS_NUM_THREADS=1 TSAN_OPTIONS="exitcode=66 halt_on_error=1 suppressions=tests/tsan.supp"
# Old runtimes do not start where the addresses of mappings are very random.
plain=
"$lfm2" synth --list >/dev/null 2>&1 || plain="setarch -R"
ran=0

ended() { # STATUS EXPECTED COMMAND...: ends the script unless the command ended so and nothing was reported
    local status=$1 expected=$2
    shift 2
    ran=$((ran + 1))
    [ "$status" = "$expected" ] && ! grep -q 'ThreadSanitizer' "$temp/err" && return
    head -n 60 "$temp/err"
    echo "make tsan: exit status $status (expected $expected): lfm2 $*"
    exit 1
}
check() {
    $plain "$lfm2" "$@" >"$temp/out" 2>"$temp/err" </dev/null
    ended $? 0 "$@"
}

moe=$temp/moe.gguf dense=$temp/dense.gguf words=data/tiny
ids=$(seq -s, 1 40)
check synth --arch tiny-lfm2moe --type q4_0 -t 2 -o "$moe"
check synth --arch tiny-qwen3 --type q4_0 -t 4 -o "$dense"
for threads in 2 4 1; do
    for model in "$moe" "$dense"; do
        check logits -m "$model" --ids "$ids" --all -b 16 -t $threads -o "$temp/logits.h5"
        check bench -m "$model" -p 24 -n 3 -np 1,3 -d 0,8 -t $threads -r 1 --no-limits
    done
    [ $threads = 1 ] && continue
    # Several sequences that come and go, examples that are shared, choices of one question.
    for size in 1 3 8; do
        check eval -m $words --tasks mini_gsm8k,mini_mmlu --data $words --limit 3 --gen_kwargs max_gen_toks=8 \
            --batch_size $size -t $threads --output_path "$temp/eval-$threads-$size" --log_samples
    done
done
check logits -m "$moe" --ids "$ids" --engine reference -t 2 -o "$temp/logits.h5"
check logits -m "$dense" --ids "$ids" -ctk q8_0 -ctv q8_0 -t 2 -o "$temp/logits.h5"
check parity -m "$moe,$dense" -p 16 -n 2 -t 2
check perplexity -m $words -f $words/heldout.txt -c 64 --chunks 2 -t 2
check run -m $words -p "one two three one two" -n 8 --lookup --temp 0 -t 2
check pack -m "$moe" -t 4 -o "$temp/moe.packed"
check logits -m "$moe" --packed "$temp/moe.packed" --ids "$ids" -t 2 -o "$temp/logits.h5"
check quantize --allow-requantize "$moe" "$temp/q8.gguf" Q8_0 3
check convert $words -o "$temp/words.gguf" --type q4_0
check kernels --check --op 'gemm*,attention*' --case 1
check limits --quick
# An evaluation that is told to end while its threads work: what a signal's function touches. SIGINT is ignored by what
# a shell puts into the background, and in all that was begun so.
for signal in INT TERM; do
    rm -rf "$temp/ended"
    env --default-signal=INT $plain "$lfm2" eval -m $words --tasks mini_gsm8k --data $words --limit 60 --batch_size 4 \
        -t 2 --output_path "$temp/ended" >"$temp/out" 2>"$temp/err" </dev/null &
    child=$!
    until [ -s "$temp/ended/journal.jsonl" ] || ! kill -0 $child 2>/dev/null; do sleep 0.1; done
    kill -s $signal $child 2>/dev/null
    { wait $child; } 2>/dev/null # where the shell says that it ended
    status=$?
    ended $status $((128 + $(kill -l $signal))) "eval, ended by SIG$signal"
done
echo "make tsan: $ran commands, no race"
