#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every test of BUILD/lfm2-tests, then those whose answer depends on the kernels once more for each weaker
# instruction set this CPU has, unless WEAKER=no. Ends with one line that says what ran. A run in which nothing ran has
# failed.
set -u
build=${1:?usage: sh tests/run.sh BUILD}
log=$build/test.log
# Suites that take their kernels from LFM2_ISA; the kernels' own tests walk all rows of the table.
dependent='@(optimized|logits)*/*'

flags=$(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
has() { case " $flags " in *" $1 "*) true ;; *) false ;; esac; }
weaker=
[ -n "$flags" ] && weaker=scalar
has avx512bw && weaker="$weaker avx2"
has avx512_vnni && weaker="$weaker avx512"
has amx_int8 && weaker="$weaker avx512vnni"
[ "${WEAKER-}" = no ] && weaker=

# Memory that cannot be had is NULL under AddressSanitizer too: the program has an answer to that.
ASAN_OPTIONS=allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export ASAN_OPTIONS

: >"$log"
total=0
bad=0
run() { # NAME ARGUMENTS...: one run of the test program; counts what passed and what did not
    name=$1
    shift
    echo "== $name" >>"$log"
    "$build/lfm2-tests" -j1 "$@" >"$log.part" 2>&1
    status=$?
    cat "$log.part" >>"$log"
    grep '^skipped: ' "$log.part" | sort -u
    ran=$(sed -n 's/.*Tested: [^0-9]*\([0-9]*\).*/\1/p' "$log.part" | tail -n 1)
    if [ "$status" -ne 0 ] || [ "${ran:-0}" -eq 0 ]; then
        bad=$((bad + 1))
        cat "$log.part"
        # Once more at the end, where a reader of a long output looks: what failed, where, and why.
        grep -E '^\[(----|FAIL)\]' "$log.part"
        echo "FAIL  $name: exit status $status, ${ran:-0} tests ran"
    else
        echo "ok    $name: $ran tests"
        total=$((total + ran))
    fi
    rm -f "$log.part"
}

unset LFM2_ISA
run "all tests, the kernels dispatch takes"
for isa in $weaker; do
    LFM2_ISA=$isa
    export LFM2_ISA
    run "engine tests, LFM2_ISA=$isa" --filter "$dependent"
done
if [ "$bad" -ne 0 ]; then
    echo "make test: FAILED ($bad of the runs above); the whole output is in $log"
    exit 1
fi
echo "make test: $total tests passed; the whole output is in $log"
