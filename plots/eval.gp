# SPDX-License-Identifier: Apache-2.0
# eval: scores of tasks with their intervals, one mark per model and engine.
# ARG1 data: a block of "place label", then blocks of "place value low high", each after a line with its quoted title.
# ARG2 output without suffix. ARG3 kind ("ours" optimized, "peer" reference) and ARG4 colour of each block. ARG5 title.
kinds = ARG3
colours = ARG4
load ARG0[1:strlen(ARG0) - strlen("eval.gp")]."style.gp"
n = words(kinds)
set title ARG5
set ylabel "score"
set yrange [0:1]
set xtics noenhanced
set key outside top center
set bmargin 5
set offsets 0.5, 0.5, 0, 0
at(i) = (i - 1 - n / 2.0) * 0.12
do for [suffix in "png svg"] {
    eval suffix eq "png" ? png(1080, 620) : svg(1080, 620)
    set output ARG2.".".suffix
    plot ARG1 index 0 using 1:(-1):xtic(2) with points notitle, \
         for [i = 2:n] ARG1 index i-1 using ($1 + at(i)):2:3:4 with yerrorbars \
             lc rgb colour(i) lw 1.6 pt mark(i) ps 1.2 title columnheader(1)
    unset output
}
