#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs fuzzers, each for some seconds, and adds what they did to a ledger, a line per fuzzer and commit, so that
# hours add up over days. Processor time is user and system time of the fuzzer and its children: time in which
# the machine was busy with something else, or the fuzzer was held, does not count.
#   bash tests/fuzz.sh run BUILD SECONDS LEDGER [NAME...]    BUILD/fuzz is the program; the corpora grow in BUILD
#   bash tests/fuzz.sh minimize BUILD [NAME...]              the smallest inputs of BUILD's corpora that reach most
#                                                            into tests/fuzz/NAME, beside those called finding-*
set -u
export TMPDIR=${TMPDIR:-/dev/shm}
header=fuzzer,commit,cpu_seconds,executions,edges,corpus,findings
all='gguf folder safetensors lora vocabulary imatrix base packed tokenizer chat rows extract'

# add FUZZER COMMIT CPU EXECUTIONS EDGES CORPUS FINDINGS: sums of the same commit, the last edges and corpus.
add() {
    [ -s "$ledger" ] || echo "$header" >"$ledger"
    awk -F, -v OFS=, -v f="$1" -v c="$2" -v cpu="$3" -v n="$4" -v edges="$5" -v corpus="$6" -v bad="$7" '
        $1 == f && $2 == c { $3 += cpu; $4 += n; if (edges) { $5 = edges; $6 = corpus } $7 += bad; done = 1 }
        { print }
        END { if (!done) print f, c, cpu, n, edges, corpus, bad }' "$ledger" >"$ledger.$$" && mv "$ledger.$$" "$ledger"
}

run_one() { # NAME
    local name=$1 cpu status=0
    local own=$build/corpora/$name log=$build/fuzz_$name.log dictionary=tests/fuzz/$name.dict
    mkdir -p "$own"
    ln -f "$build/fuzz" "$build/fuzz_$name"
    local memory=64 options= # MB for one block; expressions are promised up to 256
    [ "$name" = extract ] && memory=300
    # HDF5 asks for what a damaged header says: refused to it, as memory that is not there, it goes on.
    [ "$name" = packed ] && memory=4096 options=max_allocation_size_mb=64
    local arguments=(-max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=1024 -malloc_limit_mb=$memory
        -artifact_prefix="$build/$name-")
    [ -f "$dictionary" ] && arguments+=(-dict="$dictionary")
    TIMEFORMAT='%U %S'
    cpu=$({ time ASAN_OPTIONS=${ASAN_OPTIONS-}:$options "$build/fuzz_$name" "${arguments[@]}" "$own" "tests/fuzz/$name" >"$log" 2>&1; } 2>&1) || status=$?
    cpu=$(echo "$cpu" | awk 'END { printf "%.1f", $1 + $2 }')
    local executions edges
    executions=$(awk '/^stat::number_of_executed_units/ { n = $2 } END { print n + 0 }' "$log")
    edges=$(awk '{ for (i = 1; i < NF; i++) if ($i == "cov:") n = $(i + 1) } END { print n + 0 }' "$log")
    local commit=$(git rev-parse --short=12 HEAD)
    add "$name" "$commit" "$cpu" "$executions" "$edges" "$(ls "$own" | wc -l)" $((status != 0))
    echo "$name: $cpu s of processor time, $executions executions, $edges edges$([ $status = 0 ] || echo ", FAILED")"
    [ $status = 0 ] && return
    bad=1
    tail -n 30 "$log"
    echo "$name: the input is $build/$name-*, the log $log"
}

# Of libFuzzer's control file of a merge: the edges each file reaches, and how often. Takes, again and again, the
# file that adds most, edges before counts, until nothing is added or the room is used.
cover() { # CONTROL ROOM
    awk -v room="$2" '
        NR == 1 { n = $1 } NR > 2 && NR <= n + 2 { file[NR - 3] = $0 }
        $1 == "STARTED" { size[$2] = $3 }
        $1 == "FT" { for (i = 3; i <= NF; i++) reach[$2] = reach[$2] " " $i }
        $1 == "COV" { for (i = 3; i <= NF; i++) reach[$2] = reach[$2] " edge" $i }
        END {
            while (1) {
                best = -1; most = 0
                for (f in reach) {
                    if (size[f] > room) { delete reach[f]; continue }
                    k = split(reach[f], feature, " "); fresh = 0; rest = ""
                    for (i = 1; i <= k; i++) if (!(feature[i] in have)) {
                        fresh += feature[i] ~ /^edge/ ? 20 : 1; rest = rest " " feature[i]
                    }
                    if (!fresh) { delete reach[f]; continue }
                    reach[f] = rest
                    if (fresh / (size[f] + 1000) > most) { most = fresh / (size[f] + 1000); best = f }
                }
                if (best < 0 || ++taken > 40) break
                k = split(reach[best], feature, " ")
                for (i = 1; i <= k; i++) have[feature[i]] = 1
                room -= size[best]; print file[best]; delete reach[best]
            }
        }' "$1"
}

minimize() { # NAME
    local name=$1 to=tests/fuzz/$1 merged=$build/merged/$1 control=$build/merged/$1.control
    rm -rf "$merged" "$control"
    mkdir -p "$merged" "$to"
    ln -f "$build/fuzz" "$build/fuzz_$name"
    "$build/fuzz_$name" -merge=1 -merge_control_file="$control" "$merged" "$build/corpora/$name" "$to" >/dev/null 2>&1
    local room=24000 kept=$build/merged/$name.kept
    case $name in gguf | folder) room=48000 ;; esac
    rm -rf "$kept"
    mkdir "$kept"
    cover "$control" "$room" | while read -r file; do cp "$file" "$kept/$(sha1sum <"$file" | head -c 12)"; done
    find "$to" -type f ! -name 'finding-*' -delete
    cp "$kept"/* "$to"/
    echo "$name: $(ls "$to" | wc -l) inputs, $(cat "$to"/* | wc -c) bytes"
}

bad=0
command=${1:?usage: see the head of tests/fuzz.sh} build=${2:?BUILD}
shift 2
case $command in
run)
    seconds=${1:?SECONDS} ledger=${2:?LEDGER}
    shift 2
    for name in ${*:-$all}; do run_one "$name"; done
    ;;
minimize)
    for name in ${*:-$all}; do minimize "$name"; done
    ;;
*)
    echo "unknown command: $command" >&2
    exit 2
    ;;
esac
exit $bad
