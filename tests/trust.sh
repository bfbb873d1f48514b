#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SECURITY.md's figures are those of tests/trust.csv and tests/fuzz.csv: writes the table of fuzzers there, and with
# --check (as `make lint` does) says instead which figure is another.
set -u
page=SECURITY.md
begin='<!-- made by tests/trust.sh from tests/fuzz.csv -->' end='<!-- end -->'

table() {
    awk -F, '
        function span(seconds) { return seconds < 600 ? sprintf("%.1f s", seconds) : sprintf("%.2f h", seconds / 3600) }
        BEGIN {
            split("gguf folder safetensors vocabulary imatrix base packed tokenizer chat rows extract", order, " ")
            what["gguf"] = "GGUF: models and vocabularies"; what["safetensors"] = "safetensors"; what["folder"] = "config.json and the weights beside it"
            what["vocabulary"] = "tokenizer.json, tokenizer_config.json, merges.txt"
            what["imatrix"] = "importance matrices, both formats"; what["base"] = "files of log-probabilities"
            what["packed"] = "packed HDF5, in a child process"; what["tokenizer"] = "texts to encode and decode"
            what["chat"] = "tool calls in answers; conversations, five templates"
            what["rows"] = "data sets: JSON lines, JSON, CSV, TSV"; what["extract"] = "answers to score; expressions of data sets"
            print "| fuzzer | input | processor time | executions | edges reached | findings, mended |"
            print "|---|---|---|---|---|---|"
        }
        NR > 1 { cpu[$1] += $3; n[$1] += $4; edges[$1] = $5 > edges[$1] ? $5 : edges[$1]; bad[$1] += $7 }
        END {
            for (i = 1; i <= 11; i++) {
                f = order[i]
                printf "| %s | %s | %s | %d | %d | %d |\n", f, what[f], span(cpu[f]), n[f], edges[f], bad[f]
                seconds += cpu[f]; all += n[f]; found += bad[f]
            }
            printf "| all | | %s | %d | | %d |\n", span(seconds), all, found
        }' tests/fuzz.csv
}

grep -qxF -- "$begin" $page && grep -qxF -- "$end" $page || { echo "$page: the marks of the table of fuzzers are missing"; exit 1; }
new=$(awk -v begin="$begin" -v end="$end" -v table="$(table)" '
    $0 == end { skip = 0 }
    !skip { print }
    $0 == begin { print table; skip = 1 }' $page)
if [ "${1-}" != --check ]; then
    printf '%s\n' "$new" >$page.tmp && mv $page.tmp $page
    exit
fi
bad=0
[ "$new" = "$(cat $page)" ] || { echo "$page: the table of fuzzers is not that of tests/fuzz.csv (bash tests/trust.sh)"; bad=1; }
while IFS=, read -r what tried held _; do
    [ "$what" = what ] || grep -qE "^\|.*\| $tried \| $held \|" $page ||
        { echo "$page: tests/trust.csv: $what: no row says $tried tried, $held held"; bad=1; }
done <tests/trust.csv
exit $bad
