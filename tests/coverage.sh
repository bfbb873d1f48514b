#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Lines executed per folder and per file, from the counters that a build with --coverage left after its tests.
# usage: tests/coverage.sh BUILD; ends with status 1 when data, reference or eval is below 85 %.
set -u
build=${1:?usage: tests/coverage.sh BUILD}
bad=0
for room in data reference optimized bench eval; do
    gcov -n "$build/$room"/*.gcda "$build/$room"/*/*.gcda 2>/dev/null |
        awk -v room="$room" -v list="$build/coverage.txt" '
            /^File / { file = $2; gsub("\x27", "", file) }
            /^Lines executed:/ { split($0, a, /[:% ]+/)
                if (index(file, room "/") == 1 && file ~ /\.c$/) {
                    printf "%6.1f %%  %s\n", a[3], file >list; n = $NF; total += n; done += n * a[3] / 100 }
                file = "" }
            END { if (total) printf "%-10s %5.1f %% of %d lines\n", room, 100 * done / total, total; else print room, "nothing ran" }'
done | tee "$build/coverage.summary"
awk '/^(data|reference|eval) / && $2 + 0 < 85 { bad = 1 } END { exit bad }' "$build/coverage.summary"
