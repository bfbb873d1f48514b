#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Lines executed per folder and per file, and which rows of the kernel table ran, from the counters that a build with
# --coverage left after its tests. A row that this CPU cannot run counts when its second coding ran: the same source
# with the instructions emulated or coded otherwise (tests/test_amx.c, tests/test_avxvnni.c).
# usage: tests/coverage.sh BUILD [CSV]; CSV: the figures are written there, with the commit
# Ends with status 1 when data, reference or eval is below 85 %, or a row of the table did not run.
set -u
build=${1:?usage: tests/coverage.sh BUILD [CSV]}
csv=${2:-/dev/null}
least=85
rm -f "$build/coverage.txt"
for room in data reference optimized bench eval; do
    gcov -n "$build/$room"/*.gcda "$build/$room"/*/*.gcda 2>/dev/null |
        awk -v room="$room" -v list="$build/coverage.txt" '
            /^File / { file = $2; gsub("\x27", "", file) }
            /^Lines executed:/ { split($0, a, /[:% ]+/)
                if (index(file, room "/") == 1 && file ~ /\.c$/) {
                    printf "%6.1f %%  %s\n", a[3], file >>list
                    total += $NF; done += int($NF * a[3] / 100 + 0.5) }
                file = "" }
            END { printf "lines of %s,%d,%d\n", room, done, total }'
done >"$build/coverage.csv"

# Name and lines of every function that ran.
ran() { # FILES
    gcov -n -f "$@" 2>/dev/null | awk -F"'" '/^Function/ { f = $2 } /^Lines executed/ { if (f != "" && !/:0\.00%/) print f; f = "" }'
}
ran "$build"/optimized/kernels_*.gcda >"$build/coverage.ran"
ran "$build"/tests/test_amx.gcda "$build"/tests/test_avxvnni.gcda | sed -n 's/^second_//p' >"$build/coverage.second"
rows=0 here=0 second=0 missing=
for row in $(sed -n 's/^\(KERNEL\|X86\)(\([a-z0-9_]*\), *\([a-z0-9]*\),.*/\2_\3/p' optimized/kernels.def); do
    rows=$((rows + 1))
    if grep -qx "$row" "$build/coverage.ran"; then
        here=$((here + 1))
    elif grep -qx "$row" "$build/coverage.second"; then
        second=$((second + 1))
    else
        missing="$missing $row"
    fi
done
printf 'kernel rows on this CPU,%d,%d\nkernel rows by a second coding,%d,%d\n' $here $rows $second $rows >>"$build/coverage.csv"

awk -F, '{ printf "%-30s %5.1f %% of %d\n", $1, $3 ? 100 * $2 / $3 : 0, $3 }' "$build/coverage.csv"
[ -z "$missing" ] || echo "rows of the kernel table that did not run:$missing"
{
    echo "what,executed,of,commit,how"
    sed "s/$/,$(git rev-parse --short=7 HEAD),make coverage/" "$build/coverage.csv"
} >"$csv"
[ -z "$missing" ] && awk -F, -v least=$least '
    /^lines of (data|reference|eval),/ && $2 * 100 < least * $3 { print $1 ": below " least " %"; bad = 1 }
    END { exit bad }' "$build/coverage.csv"
