#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Is the harness awake? Applies each mistake of tests/mutations.tsv to a scratch copy of the tree, rebuilds what it
# touches, and asks the judges named beside it, which must all object. The tree itself is never changed.
#
# usage: tests/mutate.sh BUILD [named | FIRST [LAST]]
# named: only rows that have a name, which CI runs, and which change no file. FIRST, LAST: numbers of rows; otherwise
# all. Verdicts take the place of the older ones of the same rows in tests/mutations.results: caught, SURVIVED (and
# what did not see it), "not built" for a change that does not compile, each with the commit it was tried on.
#
# A mistake may make the program run for ever. Judges answer after a few seconds of processor time (that none objects
# without a mistake is asked first), so one whose process has used the many that it may use objects: a test that ends so
# has crashed. Time on the clock says nothing on a busy machine: past its limit, there is no answer and no verdict.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:?usage: tests/mutate.sh BUILD [named | FIRST [LAST]]}
shift
first=1 last=999 named=
patience=1200 processor=200 # seconds on the clock for one answer, and of processor time for each process in it
lanes=2                     # rows tried side by side, each in a copy of its own
results=tests/mutations.results
case ${1:-} in named) named=1 ;; ?*) first=$1 last=${2:-999} ;; esac
commit=$(git rev-parse --short=7 HEAD)
copies=$(mktemp -d) || exit 1
trap 'rm -rf "$copies"' EXIT
scratch=$copies/0
mkdir "$scratch"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$scratch" # with their times,
cp -a "$build" "$scratch/build" || exit 1                                                    # so that objects stay good

rows() { # FUNCTION: calls it with FILE SED JUDGES NAME NUMBER for every row that was asked for
    local number=0 file change judges name
    while IFS=$'\t' read -r -u 3 file change judges name; do
        case $file in '' | '#'*) continue ;; esac
        number=$((number + 1))
        [ "$number" -lt "$first" ] || [ "$number" -gt "$last" ] && continue
        [ -z "$named" ] || [ -n "$name" ] || continue
        "$1" "$file" "$change" "$judges" "$name" "$number"
    done 3<tests/mutations.tsv
}

each_judge() { # JUDGES: one per line
    sed 's/ + /\n/g' <<<"$1"
}

# The trained model's answers to 80 questions of mini_mmlu, in a folder.
answers() { # ENGINE FOLDER
    local model=data/tiny
    [ "$1" = optimized ] && model=trained.gguf
    build/lfm2 eval -m "$model" --engine "$1" --tasks mini_mmlu --num_fewshot 5 --limit 20 --data data/tiny -t 1 \
        --log_samples --output_path "$2"
}

# 0: it objects, 1: it does not, 124: no answer in time, others: it cannot be asked.
judge() { # KIND ARGUMENT
    local status
    (ask "$1" "$2")
    status=$?
    case $status in 0 | 1 | 124) return $status ;; 152) return 0 ;; esac # its processor time is used up
    # Killed, or out of something: that says nothing about the mistake. What it was is shown, and asked once more.
    echo "mutations: '$1 $2' gave no verdict (status $status); its output ended with:" >&2
    tail -n 5 "$scratch/log" >&2
    (ask "$1" "$2")
}

ask() { # KIND ARGUMENT, in the copy; its output goes to log
    local status
    cd "$scratch" && ulimit -S -t $processor || return 2
    rm -f log
    case $1 in
    check) # a kernel against the oracle in float64
        timeout $patience build/lfm2 kernels --check --op "$2" >log 2>&1
        status=$?
        case $status in 0) return 1 ;; 1) grep -q "$2" log || return 2 ;; *) return $status ;; esac
        ;;
    test) # Criterion tests; a run in which nothing ran says nothing
        timeout $patience build/lfm2-tests -j2 --filter "$2" >log 2>&1
        status=$?
        [ "$status" -eq 0 ] && return 1
        [ "$status" -eq 1 ] && status=2 # without a test that failed, it is no objection
        grep -q 'Failing: [1-9]\|Crashing: [1-9]' log || return "$status"
        ;;
    parity) # the trained model in Q4_0, one engine against the other
        timeout $patience build/lfm2 parity -m trained.gguf -t 1 >log 2>&1
        status=$?
        case $status in 0) return 1 ;; 1) return 0 ;; *) return $status ;; esac
        ;;
    mini) # the trained model's answers are worse than those without the mistake: McNemar's exact p below 5 %
        rm -rf answers
        timeout $patience bash -c "$(declare -f answers); answers $2 answers" >log 2>&1
        status=$?
        [ "$status" -eq 124 ] && return 124
        [ "$status" -eq 0 ] && build/lfm2 eval --compare "answers-$2" answers >log 2>&1 || return 2
        awk '/^all .*,acc / { seen = 1; worse = $(NF - 1) > $(NF - 2) && $NF < 0.05 }
            END { exit seen ? !worse : 2 }' log
        ;;
    *) return 2 ;;
    esac
}

# What the mistakes are compared with; and judges who object to no mistake at all prove nothing.
prepare() {
    make -s "$build/lfm2" "$build/lfm2-tests" >/dev/null && make -s -C "$scratch" build/lfm2 build/lfm2-tests >/dev/null || return 1
    rows list_judges | sort -u >"$scratch/judges"
    ! grep -q '^parity\|^mini' "$scratch/judges" ||
        (cd "$scratch" && build/lfm2 quantize data/tiny trained.gguf Q4_0 >/dev/null 2>&1) || return 1
    for engine in $(sed -n 's/^mini //p' "$scratch/judges"); do
        (cd "$scratch" && answers "$engine" "answers-$engine" >/dev/null 2>&1) || return 1
    done
    while read -r -u 4 kind argument; do
        judge "$kind" "$argument"
        [ $? -eq 1 ] && continue
        echo "mutations: '$kind $argument' objects without any mistake"
        return 1
    done 4<"$scratch/judges"
}
list_judges() { each_judge "$3"; }

programs() { # JUDGES: what they need
    [[ $1 = *"test "* ]] && echo build/lfm2-tests
    [[ $1 =~ check\ |parity|mini\  ]] && echo build/lfm2
}

mistake() { # FILE SED JUDGES NAME NUMBER
    local file=$1 change=$2 judges=$3 name=$4 verdict=caught kind argument status
    [ $(($5 % lanes)) -eq "$lane" ] || return 0
    sed "$change" "$file" >"$scratch/$file"
    if cmp -s "$file" "$scratch/$file"; then
        verdict="CHANGED NOTHING"
    elif ! make -s -C "$scratch" $(programs "$judges") WARN=-w >/dev/null 2>&1; then
        verdict="not built"
    else
        while read -r -u 5 kind argument; do
            judge "$kind" "$argument"
            status=$?
            case $status in
            0) ;;
            1) verdict="SURVIVED $kind $argument" ;;
            124) verdict="no answer in time" ;;
            *) verdict="no verdict of $kind $argument" ;;
            esac
        done 5< <(each_judge "$judges")
    fi
    cp "$file" "$scratch/$file" # anew, so that make sees it
    printf '%s\t%s\t%s\t%s\t%s\n' "$verdict" "$commit" "$file" "$judges" "${name:-$change}" | tee "$copies/verdict.$5"
}

# The table's rows in order, each with its new verdict, or else with the one that it had.
write_results() {
    echo "# verdict, commit, changed file, judges, sed or name; in the order of tests/mutations.tsv"
    first=1 last=999
    rows one_result
}
one_result() { # FILE SED JUDGES NAME NUMBER
    local row="$1"$'\t'"$3"$'\t'"${4:-$2}"
    cat "$copies/verdict.$5" 2>/dev/null && return
    row=$row awk 'BEGIN { row = "\t" ENVIRON["row"] }
        substr($0, length($0) - length(row) + 1) == row { print; seen = 1; exit }
        END { if (!seen) print "not tried\t-" row }' "$copies/old"
}

prepare || {
    echo "mutations: nothing was tried"
    exit 1
}
for ((lane = 1; lane < lanes; lane++)); do cp -a "$copies/0" "$copies/$lane"; done
for ((lane = 0; lane < lanes; lane++)); do
    scratch=$copies/$lane
    rows mistake &
done
wait
tried=$(cat "$copies"/verdict.* | wc -l)
caught=$(cat "$copies"/verdict.* | grep -c '^caught')
if [ -z "$named" ]; then
    cp "$results" "$copies/old" 2>/dev/null || : >"$copies/old"
    write_results >"$copies/new" && cp "$copies/new" "$results"
fi
echo "mutations: $caught of $tried caught, $SECONDS s"
[ "$tried" -gt 0 ] && [ "$caught" = "$tried" ]
