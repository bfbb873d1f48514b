#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Do two clean clones, in folders of different names and depths, give the same bytes of lfm2? Also that the source
# archive is the same twice. Builds what is committed. usage: sh tests/reproducible.sh
set -eu
cd "$(dirname "$0")/.."
here=$(pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir -p "$temp/a" "$temp/some/where/else/b"
for folder in "$temp/a" "$temp/some/where/else/b"; do
    git clone -q --no-hardlinks "$here" "$folder/lfm2"
    make -s -C "$folder/lfm2" lfm2 dist >/dev/null
    sleep 1 # a time stamp would differ
done
status=0
for file in lfm2 'lfm2-*.tar.gz'; do
    a=$(cd "$temp/a/lfm2" && sha256sum $file | cut -d' ' -f1)
    b=$(cd "$temp/some/where/else/b/lfm2" && sha256sum $file | cut -d' ' -f1)
    if [ "$a" = "$b" ]; then
        echo "reproducible: $file: $a, twice"
    else
        echo "reproducible: $file: differs ($a and $b)"
        status=1
    fi
done
exit $status
