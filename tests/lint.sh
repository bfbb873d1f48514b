#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The house rules that a machine can check. `make lint` runs this after building BUILD/liblfm2.a; each broken rule
# is one line "FILE:LINE: what is wrong", and any of them fails the run.
set -u
build=${1:?usage: tests/lint.sh BUILD}
cc=${CC:-gcc}
findings=$build/lint.findings
: >"$findings"
files=$(ls *.c {data,reference,optimized,bench,eval,eval/tasks,tests}/*.[ch] 2>/dev/null)

# complain RULE: every line of the input is one finding.
complain() { sed -e '/^$/d' -e "s~\$~: $1~" | tee -a "$findings"; }

# Includes: the files of a room name only those that match ALLOWED.
room() { # ROOM ALLOWED
    grep -nE '^ *# *include *"' "$1"/*.[ch] "$1"/*/*.[ch] 2>/dev/null | grep -vE "\"($2)\"" |
        complain "not among the includes this folder may have ($2)"
}
room data 'data/.*'
room reference '(data|reference)/.*'
room optimized '(data|optimized)/.*|reference/engine\.h'
room bench '(data|bench|tests)/.*|eval/(sampler|task)\.h|reference/engine\.h|optimized/(kernels|peak)\.h'
room eval '(data|bench|eval)/.*|reference/engine\.h'

# A library's header is included where that library is used and nowhere else.
home() { # HEADER FILES
    grep -nE "^ *# *include *<$1" $files | grep -vE "^($2):" | complain "<$1> belongs in $2 only"
}
home 'hdf5' 'data/[a-z0-9_]*\.[ch]'
home 'cblas' 'reference/ops\.c'
home 'immintrin' 'optimized/kernels_[a-z0-9_]*\.[ch]'
home 'arm_neon' 'optimized/kernels_[a-z0-9_]*\.[ch]'
home 'criterion' 'tests/test_[a-z0-9_]*\.c'

# Headers compile alone.
for header in $(printf '%s\n' $files | grep '\.h$'); do
    if ! echo "#include \"$header\"" |
        $cc $CPPFLAGS -std=gnu17 -Wall -Wextra -Werror -fsyntax-only -x c - 2>"$build/lint.txt"; then
        grep -m 1 error "$build/lint.txt" | complain "$header does not compile alone"
    fi
done

# The library returns its errors: it neither prints, nor ends the process, nor reads the environment.
forbidden='exit|_exit|_Exit|quick_exit|abort|__assert_fail|raise|printf|vprintf|fprintf|vfprintf|dprintf|puts|fputs'
forbidden="$forbidden|putchar|perror|stdout|stderr|getenv|secure_getenv|setenv|system|popen|rand|srand"
nm -A -u "$build/liblfm2.a" | grep -E " U (__)?($forbidden)(_chk)?(@.*)?$" |
    sed 's/^[^:]*:\([^:]*\): *U /\1: /' | complain "the library must not use this"

# The kernel table: each op has a scalar row, and it is the op's first.
ops=$(sed -n '/^enum kernel_op/,/^}/s/^ *OP_\([a-z0-9_]*\),.*/\1/p' optimized/kernels.h)
[ -n "$ops" ] || echo "no ops found" | complain "optimized/kernels.h"
for op in $ops; do
    first=$(sed -n "s/^ *KERNEL($op, *\([a-z0-9]*\),.*/\1/p" optimized/kernels.def | head -n 1)
    [ "$first" = scalar ] || echo "optimized/kernels.def: op $op" | complain "its first row is not scalar"
    grep -q "OP_$op\b" tests/*.c || echo "tests: op $op" | complain "no kernel case names it"
done

# Sizes. Kernels may be longer: one file holds one instruction set.
for f in $files; do
    case $f in optimized/kernels_*) continue ;; esac
    lines=$(wc -l <"$f")
    [ "$lines" -le 620 ] || echo "$f: $lines lines" | complain "about 600 at most"
    awk -v f="$f" '/^[a-z].*[^;]$/ { start = / = \{$/ ? 0 : NR }
        /^\}/ { if (start && NR - start >= 70) print f ":" start ": " NR - start + 1 " lines"; start = 0 }' "$f" |
        complain "a function has at most 70"
done

# The recordings are the files that their manifest lists, and no others.
(cd data/golden && sha256sum --quiet -c MANIFEST 2>&1) | complain "not as data/golden/MANIFEST says"
(cd data/golden && find . -name '*.safetensors' -o -name '*.json' -o -name '*.h5') | sed 's,^\./,,' |
    grep -vxFf <(sed -n 's/^[0-9a-f]*  //p' data/golden/MANIFEST) | complain "data/golden/MANIFEST does not list it"

# SECURITY.md's figures.
bash tests/trust.sh --check | complain "figures must agree"

# Text.
grep -nE '[[:space:]]+$' $files Makefile README.md {tests,bench,.ci}/*.sh .ci/run | cut -d: -f1,2 |
    complain "white space at the end of a line"
grep -nP '\t' $files | cut -d: -f1,2 | complain "a tab in C"
for f in $files; do head -c 2 "$f" | grep -q '/\*' || echo "$f:1"; done |
    complain "a file begins with a comment that says what it is for"
for f in $files optimized/*.def plots/*.gp Makefile .ci/run $(git ls-files '*.sh' '*.py'); do
    head -n 2 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f:1"
done | complain "a source file names its licence: SPDX-License-Identifier: Apache-2.0"
grep -nE -e '-march=native|-mtune=native|-ffast-math|-Ofast' Makefile $files |
    complain "results must not depend on the compiling machine"
if command -v clang-format >/dev/null; then
    for f in $files; do
        clang-format --dry-run -Werror "$f" >"$build/lint.txt" 2>&1 ||
            grep -m 1 -oE '^[^ ]*:[0-9]+' "$build/lint.txt" | complain "clang-format -i would change it"
    done
else
    echo "lint: no clang-format here (make deps-dev), the format was not checked"
fi

bad=$(wc -l <"$findings")
rm -f "$build/lint.txt" "$findings"
if [ "$bad" -ne 0 ]; then
    echo "make lint: $bad findings"
    exit 1
fi
echo "make lint: $(printf '%s\n' $files | wc -l) files, nothing found"
