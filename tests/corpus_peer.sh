#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What another program makes of the corpus of bad files: runs it on every model.gguf under a folder, with limits, and
# prints number, case, and ok, error or crash (ended by a signal). The folder comes from the test program:
# CORPUS=DIR build/lfm2-tests --filter 'corpus/*'. usage: tests/corpus_peer.sh DIR PROGRAM ARGUMENTS... (FILE follows)
set -u
dir=${1:?usage: tests/corpus_peer.sh DIR PROGRAM ARGUMENTS...}
shift
for case in "$dir"/*/; do
    name=$(basename "$case")
    [ -e "$case/model.gguf" ] && [ ! -d "$case/model.gguf" ] && [ ! -p "$case/model.gguf" ] || continue
    case ${name%%-*} in 066 | 067 | 08? | 09[134] | 100) continue ;; esac # a good model with something else beside it
    case $name in 096-*_is_*) continue ;; esac
    (ulimit -v 6000000 -t 20 -c 0; timeout 40 "$@" "$case/model.gguf" </dev/null >"$dir/log" 2>&1)
    status=$?
    case $status in
    0) answer=ok ;;
    12[4-9] | 1[3-9][0-9]) answer="crash ($status)" ;;
    *) answer=error ;;
    esac
    printf '%s\t%s\n' "$name" "$answer"
done
rm -f "$dir/log"
