#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Writes tests/expected_imatrix.inc: what llama-quantize --imatrix makes of the sources of tests/test_imatrix.c.
#     bash tests/expected_imatrix.sh BUILD LLAMA_QUANTIZE PYTHON      (PYTHON can import gguf)
set -eu
build=$1 quantize=$2 python=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LFM2_KEEP_SOURCES=$work "$build/lfm2-tests" --filter 'imatrix/fitted_files_are_llama_quantizes' >/dev/null 2>&1 || true
for source in moe dense; do
    for format in gguf dat; do
        "$quantize" --imatrix "$work/$source.imatrix.$format" "$work/$source.gguf" "$work/out.gguf" Q4_0 1 >/dev/null 2>&1
        "$python" - "$work/out.gguf" "$source" "$format" <<'PY'
import sys, zlib
from gguf import GGUFReader
types = data = 0
for t in sorted(GGUFReader(sys.argv[1]).tensors, key=lambda t: t.name):
    types = zlib.crc32(f"{t.name} {t.tensor_type.name}\n".encode(), types)
    data = zlib.crc32(t.data.tobytes(), data)
print(f'{{"{sys.argv[2]}", "{sys.argv[3]}", {types:#010x}, {data:#010x}}},')
PY
    done
done >tests/expected_imatrix.inc
