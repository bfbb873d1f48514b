#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that building, testing and charting need; with "checkers" also those that look at the
# code, which CI uses; with "dev" also what else only developers need. Says what it installs, and does nothing, not even
# `apt-get update`, when all is there.
# Needs no make, so that it works on a machine with nothing but git and a shell.
set -eu

user="gcc libc6-dev make pkg-config libopenblas-dev libhdf5-dev libjansson-dev libpcre2-dev nettle-dev zlib1g-dev
    libcriterion-dev gnuplot-nox"
checkers="valgrind cppcheck clang-tidy"
dev="clang clang-format libclang-rt-dev libopenmpi-dev openmpi-bin"

case "${1-}" in
'') wanted=$user ;;
checkers) wanted="$user $checkers" ;;
dev) wanted="$user $checkers $dev" ;;
*)
    echo "usage: sh .ci/deps.sh [checkers|dev]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    # Another system: whatever its packages are called, these are the things that have to be there.
    if pkg-config --exists openblas hdf5 jansson libpcre2-8 nettle zlib criterion 2>/dev/null &&
        command -v gcc >/dev/null && command -v make >/dev/null && command -v gnuplot >/dev/null; then
        echo "deps: not a Debian system, but everything needed is there"
        exit 0
    fi
    echo "deps: this is not a Debian system (no apt-get); install what Debian calls:" >&2
    echo $wanted >&2
    exit 1
fi

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null) || state=
    case " $state" in *" installed "*) ;; *) missing="$missing $package" ;; esac
done
if [ -z "$missing" ]; then
    echo "deps: all packages are there"
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "deps: installing needs root or sudo; as root, run: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "deps: installing with apt-get${as_root:+ and $as_root}:$missing"
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
echo "deps: installed$missing"
