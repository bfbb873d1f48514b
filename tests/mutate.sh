#!/bin/bash
# Is the harness awake? Applies each small change of tests/mutations.tsv to a scratch copy of the tree, rebuilds what
# it touches, and runs the test that is named beside it, which must fail. Writes the verdicts to
# tests/mutations.results: caught, SURVIVED, or "not built" for a change that does not compile. The tree itself is
# never changed. usage: tests/mutate.sh [FIRST [LAST]] (numbers of lines of the table)
set -u
cd "$(dirname "$0")/.." || exit 1
first=${1:-1} last=${2:-999}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
results=tests/mutations.results
make -s build/lfm2 build/lfm2-tests >/dev/null || exit 1
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$scratch" # with their times,
cp -a build "$scratch/build"                                                                 # so that objects stay good
[ "$first" = 1 ] && echo "# verdict, changed file, test; in the order of tests/mutations.tsv" >"$results"

fails() { # KIND NAME: 0 when the test failed as it must, by itself, not by being absent
    if [ "$1" = check ]; then
        (cd "$scratch" && timeout 300 build/lfm2 kernels --check --op "$2" >log 2>&1)
        status=$?
        [ "$status" -ne 0 ] && grep -q "$2" "$scratch/log"
    else
        (cd "$scratch" && timeout 1200 build/lfm2-tests -j2 --filter "$2" >log 2>&1)
        status=$?
        [ "$status" -ne 0 ] && grep -q 'Failing: [1-9]\|Crashing: [1-9]' "$scratch/log"
    fi
}
target() { if [ "$1" = check ]; then echo build/lfm2; else echo build/lfm2-tests; fi; }

number=0 caught=0 tried=0
while IFS=$'\t' read -r file change test; do
    case $file in '' | '#'*) continue ;; esac
    number=$((number + 1))
    [ "$number" -lt "$first" ] || [ "$number" -gt "$last" ] && continue
    read -r kind name <<<"$test"
    tried=$((tried + 1))
    sed "$change" "$file" >"$scratch/$file"
    if cmp -s "$file" "$scratch/$file"; then
        verdict="CHANGED NOTHING"
    elif ! make -s -C "$scratch" "$(target "$kind")" WARN=-w >/dev/null 2>&1; then
        verdict="not built"
    elif fails "$kind" "$name"; then
        verdict=caught
        caught=$((caught + 1))
    elif [ "$status" = 124 ]; then
        verdict="no answer in time"
    else
        verdict=SURVIVED
    fi
    cp "$file" "$scratch/$file" # anew, so that make sees it
    printf '%s\t%s\t%s\t%s\n' "$verdict" "$file" "$test" "$change" | tee -a "$results"
done <tests/mutations.tsv
echo "mutations: $caught of $tried caught"
[ "$caught" = "$tried" ]
