#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The main job, from models to pages: makes the models where they are missing, measures the machine's limits, proves
# that both engines agree, measures speed, and draws RESULTS.md and plots/ from the record of this very run. Checks
# memory and disk before it starts. With --parity only the models are made and compared.
set -eu
only_parity=
if [ "${1-}" = --parity ]; then
    only_parity=yes
    shift
fi
folder=${1:?usage: bench/chart.sh [--parity] FOLDER MODEL [BESIDE]}
model=${2:?usage: bench/chart.sh [--parity] FOLDER MODEL [BESIDE]}
beside=${3-}
record=bench/records/chart.h5
start=$(date +%s)

say() { echo "chart, $(($(date +%s) - start)) s: $*"; }
refuse() {
    echo "chart: $*" >&2
    exit 2
}

# MB of a model as Q4_0. A model of one's own is a file in FOLDER; a name that is neither fails in `lfm2 synth`.
megabytes() {
    file=$folder/$1-q4_0.gguf
    if [ -f "$file" ]; then
        echo $(($(wc -c <"$file") / 1000000))
        return
    fi
    case $1 in
    '') echo 0 ;;
    lfm2-24b-a2b) echo 13600 ;;
    lfm2-8b-a1b) echo 4800 ;;
    qwen3-4b) echo 2400 ;;
    lfm2-2.6b) echo 1500 ;;
    qwen3-1.7b) echo 1100 ;;
    lfm2-1.2b) echo 750 ;;
    lfm2-350m) echo 250 ;;
    *) echo 100 ;;
    esac
}

# Both models are held at once, so that their runs can take turns: files, packed copies in place of the pages they
# were read from, keys and values of the longest context, and what the reference unpacks.
needed() { echo $((($(megabytes "$1") + $(megabytes "$2")) * 13 / 10 + 1500)); }

check_room() {
    [ -r /proc/meminfo ] || return 0
    have=$(awk '/^MemAvailable:/ { print int($2 * 1.024 / 1000) }' /proc/meminfo)
    need=$(needed "$model" "$beside")
    if [ "$have" -lt "$need" ]; then
        for smaller in lfm2-2.6b lfm2-1.2b lfm2-350m; do
            for other in "$beside" ''; do
                [ "$(needed $smaller "$other")" -le "$have" ] || continue
                [ "$(needed $smaller "$other")" -lt "$need" ] || continue
                refuse "$model${beside:+ and $beside} need $need MB of free memory and this machine has $have;" \
                    "take a smaller model: make chart MODEL=$smaller BESIDE=$other"
            done
        done
        refuse "$model${beside:+ and $beside} need $need MB of free memory and this machine has $have"
    fi
    mkdir -p "$folder"
    need=100
    for m in $model $beside; do
        [ -f "$folder/$m-q4_0.gguf" ] || need=$((need + $(megabytes "$m")))
    done
    have=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') * 1024 / 1000000))
    [ "$have" -ge "$need" ] ||
        refuse "the models need $need MB in $folder/ and there are $have; name another place: make chart MODELS=DIR"
}

# Instruction sets below the best of this CPU that are worth a row; scalar would take minutes.
weaker() {
    flags=$(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1)
    case " $flags " in *" avx512bw "*) echo avx2 ;; esac
    case " $flags " in *" amx_int8 "*) echo avx512vnni ;; esac
}

# 1, 2, 4 ... up to the CPUs this process may use, and one and a half times as many.
thread_counts() {
    cpus=$(nproc)
    list=1
    n=2
    while [ "$n" -lt "$cpus" ]; do
        list=$list,$n
        n=$((n * 2))
    done
    [ "$cpus" -eq 1 ] || list=$list,$cpus
    echo "$list,$((cpus + (cpus + 1) / 2))"
}

check_room
files=
for m in $model $beside; do
    file=$folder/$m-q4_0.gguf
    if [ -f "$file" ]; then
        say "$file is there already"
    else
        say "making $file: real shapes, seeded random weights"
        ./lfm2 synth --arch "$m" --type q4_0 -o "$file"
    fi
    files=$files${files:+,}$file
done
if [ -n "$only_parity" ]; then
    exec ./lfm2 parity -m "$files"
fi

# The pages show one run: an old record must not mix with it, and a run that dies leaves the old one whole.
mkdir -p bench/records
new=$record.new
rm -f "$new"
trap 'rm -f "$new"' EXIT
trap 'exit 130' INT TERM
say "measuring this machine's limits"
./lfm2 limits --record "$new"
say "parity: does the optimized engine compute what the reference computes?"
agree=0
./lfm2 parity -m "$files" --record "$new" || agree=$?
[ "$agree" -le 1 ] || exit "$agree"
say "the same with an int8 cache, and with weaker instructions"
for way in '' $(weaker); do
    again=0
    if [ -z "$way" ]; then
        ./lfm2 parity -m "$files" -ctk q8_0 --record "$new" >/dev/null || again=$?
    else
        LFM2_ISA=$way ./lfm2 parity -m "$files" --record "$new" >/dev/null || again=$?
    fi
    [ "$again" -le 1 ] || exit "$again"
    [ "$again" -le "$agree" ] || agree=$again
done
say "speed: prefill and decode against length and depth; both models take turns"
./lfm2 bench --preset chart -m "$files" --record "$new"
say "speed against threads, one more than there are CPUs included"
./lfm2 bench -m "$files" -p 512 -n 32 -t "$(thread_counts)" -r 3 --record "$new"
say "prompt lookup, on a small trained model: random weights repeat nothing that could be guessed"
./lfm2 bench -m data/tiny --lookup 128 --record "$new"
mv "$new" "$record"
say "drawing"
./lfm2 report
say "done: read RESULTS.md, look at plots/*.png; the record behind them is $record"
if [ "$agree" -ne 0 ]; then
    echo "chart: the engines do NOT agree within the bounds of \`lfm2 parity\`: see the parity tables of RESULTS.md" >&2
    exit 1
fi
