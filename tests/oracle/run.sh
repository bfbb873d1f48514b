#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Derives the evaluation fixtures anew with the pinned lm-evaluation-harness, compares them with the committed ones,
# and shows what `make test` compares with them, in a table. `make oracle` runs it; .ci/run too. Without Python or
# without the packages it says so and passes: the committed fixtures are what `make test` compares with, always.
# LFM2_EVAL_DATA adds the published data sets; ORACLE_UPDATE=1 keeps what it derived.
set -eu
build=${1:?usage: sh tests/oracle/run.sh BUILD}
here=$(dirname "$0")
fixtures=tests/fixtures/lmeval
venv=$build/oracle-venv
log=$build/oracle.log

if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "skipped: make oracle needs python3 with venv"
    exit 0
fi
if ! { [ -x "$venv/bin/python" ] || python3 -m venv "$venv"; } >"$log" 2>&1 ||
    ! timeout 900 "$venv/bin/pip" install -q -r "$here/requirements.txt" >>"$log" 2>&1; then
    echo "skipped: the packages of $here/requirements.txt cannot be installed ($log)"
    exit 0
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cp -r "$fixtures/own" "$fixtures/answers.json" "$temp"
derive() { # SCRIPT ARGUMENTS...
    if ! TQDM_DISABLE=1 HF_HUB_OFFLINE=1 "$venv/bin/python" "$here/$@" >>"$log" 2>&1; then
        tail -5 "$log" >&2
        echo "FAIL  $1 stopped; the whole log is $log" >&2
        exit 1
    fi
}
derive make_documents.py "$temp/own"
derive make_lmeval_golden.py "$temp" ${LFM2_EVAL_DATA:+"$LFM2_EVAL_DATA"}
derive make_lmeval_samples.py "$temp"
derive make_ifeval_golden.py "$temp" ${LFM2_EVAL_DATA:+"$LFM2_EVAL_DATA"}

status=0
for f in $(cd "$temp" && find . -type f | sort); do
    name=${f#./}
    if cmp -s "$temp/$name" "$fixtures/$name"; then
        case $name in own/* | answers.json) ;; *) echo "ok    $name: what lm-eval gives" ;; esac
    elif [ "${ORACLE_UPDATE-}" = 1 ]; then
        mkdir -p "$(dirname "$fixtures/$name")"
        cp "$temp/$name" "$fixtures/$name"
        echo "kept  $name"
    else
        echo "FAIL  $name: lm-eval gives something else (ORACLE_UPDATE=1 keeps it)"
        status=1
    fi
done
[ -n "${LFM2_EVAL_DATA-}" ] || echo "skipped: the published documents (LFM2_EVAL_DATA does not say where they are)"

# And ours against the same.
if ! "$build/lfm2-tests" -j1 --filter '@(eval_tasks|eval_score|eval_ifeval)/*' >"$log.tests" 2>&1; then
    tail -20 "$log.tests"
    echo "FAIL  prompts or scores are not lm-eval's; the whole output is $log.tests"
    status=1
fi
sed -n 's/^table: //p' "$log.tests"
exit $status
