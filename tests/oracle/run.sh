#!/bin/sh
# Derives the evaluation fixtures anew with the pinned lm-evaluation-harness and compares them with the committed ones.
# `make oracle` runs it. Without Python or without the packages it says so and passes: the committed fixtures are what
# `make test` compares with. LFM2_EVAL_DATA adds the published data sets; ORACLE_UPDATE=1 keeps what it derived.
set -eu
build=${1:?usage: sh tests/oracle/run.sh BUILD}
here=$(dirname "$0")
fixtures=tests/fixtures/lmeval
venv=$build/oracle-venv

if ! command -v python3 >/dev/null || ! python3 -c 'import venv' 2>/dev/null; then
    echo "skipped: make oracle needs python3 with venv"
    exit 0
fi
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
if ! "$venv/bin/pip" install -q -r "$here/requirements.txt" >"$build/oracle.log" 2>&1; then
    echo "skipped: the packages of $here/requirements.txt cannot be installed ($build/oracle.log)"
    exit 0
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cp -r "$fixtures/own" "$fixtures/answers.json" "$temp"
TQDM_DISABLE=1 HF_HUB_OFFLINE=1
export TQDM_DISABLE HF_HUB_OFFLINE
for script in make_lmeval_golden.py make_ifeval_golden.py; do
    if ! "$venv/bin/python" "$here/$script" "$temp" ${LFM2_EVAL_DATA:+"$LFM2_EVAL_DATA"} >>"$build/oracle.log" 2>&1; then
        tail -5 "$build/oracle.log" >&2
        echo "FAIL  $script stopped; the whole log is $build/oracle.log" >&2
        exit 1
    fi
done
status=0
for f in "$temp"/*.jsonl; do
    name=$(basename "$f")
    if [ "${ORACLE_UPDATE-}" = 1 ]; then
        cp "$f" "$fixtures/$name"
    elif cmp -s "$f" "$fixtures/$name"; then
        echo "ok    $name: what lm-eval gives"
    else
        echo "FAIL  $name: lm-eval gives something else (ORACLE_UPDATE=1 keeps it)"
        status=1
    fi
done
exit $status
