#!/bin/bash
# Are the goldens worth anything? Puts one mistake at a time into a copy of the sources (see the list at the end) and
# expects the tests that compare with data/golden to fail. A mistake that they do not see is named and fails the run.
# Each is named for what a person could have written; sed must find its place, so the list cannot rot silently.
set -u
build=${1:?usage: bash tests/mutants.sh BUILD (after make BUILD/lfm2-tests)}
copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
cp -a Makefile lfm2.c data reference optimized bench eval tests "$copy" && cp -a "$build" "$copy/build" || exit 1
suites='@(transformers|optimized_golden)/*'
caught=0
missed=0

build_and_test() { # 0: the tests pass, 1: they fail, 2: it does not compile
    make -C "$copy" -s BUILD=build WARN= build/lfm2-tests >"$copy/make.log" 2>&1 || return 2
    (cd "$copy" && build/lfm2-tests --filter "$suites" >test.log 2>&1) && return 0
    grep -q 'Synthesis: Tested' "$copy/test.log" && return 1
    return 2
}

mutant() { # NAME FILE SED...: sed expressions that make the mistake
    local name=$1 file=$2
    shift 2
    sed "$@" "$file" >"$copy/$file"
    if cmp -s "$file" "$copy/$file"; then
        echo "STALE   $name: $file has no such place"
        missed=$((missed + 1))
        return
    fi
    build_and_test
    case $? in
    0) echo "MISSED  $name" && missed=$((missed + 1)) ;;
    1) echo "caught  $name: $(sed -n 's/.*Failing: \([0-9]*\).*/\1/p' "$copy/test.log") tests" && caught=$((caught + 1)) ;;
    *) echo "BROKEN  $name: $(head -n 1 "$copy/make.log")" && missed=$((missed + 1)) ;;
    esac
    cp "$file" "$copy/$file"
}

build_and_test || {
    echo "mutants: the tests fail without any mistake"
    exit 1
}

r=reference/ops.c
mutant 'taps in the reverse order' $r 's/w\[old\] \* newest/w[0] * newest/; s/(double)w\[j\] \* state/(double)w[old - j] * state/'
mutant 'B and C exchanged' $r 's/\*B = bcx, \*C = bcx + D,/*C = bcx, *B = bcx + D,/'
mutant 'convolution state forgets its newest column' $r 's/: newest;/: 0;/'
mutant 'rotation of neighbours instead of halves' $r 's/(size_t)d + i, \*b = a + half;/(size_t)d + 2 * i, *b = a + 1;/'
mutant 'rotation starts anew with every feed' $r 's/(double)(position + t) \* pow/(double)(0 * position + t) * pow/'
mutant 'rotation the other way for half of it' $r 's/(a0 \* s + b0 \* c)/(b0 * c - a0 * s)/'
mutant 'query heads read other key heads' $r 's|(h / (a->H / a->G))|(h % a->G)|'
mutant 'attention scaled for heads of 64' $r 's/1.0f \/ sqrtf((float)a->d)/0.125f/'
mutant 'gate and up exchanged' $r 's/= gate\[i\] \/ (1.0f + expf(-gate\[i\])) \* up\[i\]/= up[i] \/ (1.0f + expf(-up[i])) * gate[i]/'
mutant 'experts chosen without the bias' $r 's/bias ? p\[i\] + bias\[i\] : p\[i\]/p[i]/'
mutant 'no 1e-6 beside the sum of weights' $r 's/(sum + 1e-6)/sum/'
mutant 'weights always normalised' $r 's/normalise ? scale/1 ? scale/'
mutant 'weights not scaled' $r 's/normalise ? scale \/ (/normalise ? 1 \/ (/'
mutant 'norm without its epsilon' $r 's/ \/ D + (double)eps)/ \/ D)/'
mutant 'bias used in the weights' reference/reference.c \
    's/^    ref_expert_weights(.*/    for (int i = 0; i < n * c->n_experts; i++)\n        s->p[i] += ((const float *)l->router_bias.data)[i % c->n_experts];\n&/'
mutant 'fused experts: gate and up exchanged' data/hf.c 's/r->halves + r->half)/r->halves + 1 - r->half)/'
mutant 'the ffn width not adjusted' data/hf_config.c 's/    if (adjusts) {/    if (0 \&\& adjusts) {/'
o=optimized/moe.c
mutant 'optimized: bias used in the weights' $o 's/score\[e\] = 1.0f \/ (1.0f + expf(-w->router\[e\]));/score[e] = 1.0f \/ (1.0f + expf(-w->router[e])) + l->router_bias[e];/'
mutant 'optimized: weights not scaled' $o 's/c->expert_norm ? c->expert_scale \//c->expert_norm ? 1 \//'
mutant 'optimized: one expert of wrong scale' $o 's/= score\[chosen\[i\]\] \* scale;/= score[chosen[i]] * scale * (chosen[i] == 3 ? 1.5f : 1);/'
mutant 'optimized: nibbles of a byte exchanged' optimized/pack.c \
    's/memcpy(b->q\[g\]\[r\], src + 2 + 4 \* g, 4);$/for (int i = 0; i < 4; i++) b->q[g][r][i] = (uint8_t)(src[2 + 4 * g + i] << 4 | src[2 + 4 * g + i] >> 4);/;'

echo "mutants: $caught caught, $missed not"
[ "$missed" -eq 0 ]
