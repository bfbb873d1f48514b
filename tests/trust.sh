#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SECURITY.md's figures are those of tests/trust.csv, tests/fuzz.csv, tests/mutations.results and tests/coverage.csv:
# writes the tables of fuzzers and of what proves the tests there, and with --check (as `make lint` does) says instead
# which figure is another.
set -u
page=SECURITY.md
fuzzers='<!-- made by tests/trust.sh from tests/fuzz.csv -->'
proof='<!-- made by tests/trust.sh from tests/mutations.results and tests/coverage.csv -->'
end='<!-- end -->'

# A row of the table of mistakes has a verdict only while it says what it said when it was tried.
table_of_proof() {
    echo "| what | tried | held | on commit |"
    echo "|---|---|---|---|"
    awk -F'\t' '
        /^#/ || !NF { next }
        FILENAME ~ /tsv$/ { key = $1 FS $3 FS ($4 ? $4 : $2); listed[key] = 1; rows++; next }
        { key = $3 FS $4 FS $5 }
        listed[key] && $1 != "not tried" { tried++; caught += $1 == "caught"; on[$2] = 1; delete listed[key] }
        END {
            for (c in on) commits = commits (commits ? ", " : "") c
            printf "| %d mistakes in kernels, router, state, sampler, extraction, statistics, journal, tokenizer: `make mutations` | %d | %d caught | %s |\n", rows, tried, caught, commits
        }' tests/mutations.tsv tests/mutations.results
    awk -F, '
        NR > 1 && /^lines/ { printf "| %s that the tests execute (%s) | %d | %.1f %% | %s |\n", $1, $5, $3, 100 * $2 / $3, $4 }
        NR > 1 && !/^lines/ { printf "| %s (%s) | %d | %d | %s |\n", $1, $5, $3, $2, $4 }' tests/coverage.csv
}

table_of_fuzzers() {
    awk -F, '
        function span(seconds) { return seconds < 600 ? sprintf("%.1f s", seconds) : sprintf("%.2f h", seconds / 3600) }
        BEGIN {
            fuzzers = split("gguf folder safetensors lora vocabulary imatrix base packed tokenizer chat rows extract", order, " ")
            what["gguf"] = "GGUF: models and vocabularies"; what["safetensors"] = "safetensors"; what["folder"] = "config.json and the weights beside it"
            what["lora"] = "adapters: adapter_config.json and safetensors"
            what["vocabulary"] = "tokenizer.json, tokenizer_config.json, merges.txt"
            what["imatrix"] = "importance matrices, both formats"; what["base"] = "files of log-probabilities"
            what["packed"] = "packed HDF5, in a child process"; what["tokenizer"] = "texts to encode and decode"
            what["chat"] = "tool calls in answers; conversations, five templates"
            what["rows"] = "data sets: JSON lines, JSON, CSV, TSV, tar"; what["extract"] = "answers to score; expressions of data sets"
            print "| fuzzer | input | processor time | executions | edges reached | findings, mended |"
            print "|---|---|---|---|---|---|"
        }
        NR > 1 { cpu[$1] += $3; n[$1] += $4; edges[$1] = $5 > edges[$1] ? $5 : edges[$1]; bad[$1] += $7 }
        END {
            for (i = 1; i <= fuzzers; i++) {
                f = order[i]
                printf "| %s | %s | %s | %d | %d | %d |\n", f, what[f], span(cpu[f]), n[f], edges[f], bad[f]
                seconds += cpu[f]; all += n[f]; found += bad[f]
            }
            printf "| all | | %s | %d | | %d |\n", span(seconds), all, found
        }' tests/fuzz.csv
}

filled() { # PAGE BEGIN TABLE: the page with the table between that mark and the next end
    grep -qxF -- "$2" <<<"$1" || echo "$page: the mark '$2' is missing" >&2
    awk -v begin="$2" -v end="$end" -v table="$3" '
        $0 == end { skip = 0 }
        !skip { print }
        $0 == begin { print table; skip = 1 }' <<<"$1"
}
new=$(filled "$(cat $page)" "$fuzzers" "$(table_of_fuzzers)")
new=$(filled "$new" "$proof" "$(table_of_proof)")
if [ "${1-}" != --check ]; then
    printf '%s\n' "$new" >$page.tmp && mv $page.tmp $page
    exit
fi
bad=0
[ "$new" = "$(cat $page)" ] || { echo "$page: a table is not that of its files (bash tests/trust.sh writes it)"; bad=1; }
while IFS=, read -r what tried held _; do
    [ "$what" = what ] || grep -qE "^\|.*\| $tried \| $held \|" $page ||
        { echo "$page: tests/trust.csv: $what: no row says $tried tried, $held held"; bad=1; }
done <tests/trust.csv
exit $bad
