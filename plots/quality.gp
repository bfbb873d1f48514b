# SPDX-License-Identifier: Apache-2.0
# quality: KL divergence against bits per weight.
# ARG1 data: blocks of "bits KL low high label", each after a line with its quoted title. ARG2 output without suffix.
# ARG3 kind ("ours" a recipe as it is, "peer" fitted) and ARG4 colour of each block. ARG5 title.
kinds = ARG3
colours = ARG4
load ARG0[1:strlen(ARG0) - strlen("quality.gp")]."style.gp"
n = words(kinds)
set title ARG5
set xlabel "bits per weight"
set ylabel "KL divergence (nats, mean and 95 % interval)"
set logscale x 2
set xtics (4, 5, 6, 8, 10, 12, 16, 32)
set logscale y
set format y "%.0e" # no superscripts: enhanced text would lower what follows the underscores of labels
set autoscale fix
set offsets graph 0.06, graph 0.08, graph 0.08, graph 0.05
do for [suffix in "png svg"] {
    eval suffix eq "png" ? png(1080, 680) : svg(1080, 680)
    set output ARG2.".".suffix
    plot for [i = 1:n] ARG1 index i-1 using 1:2:3:4 with yerrorbars \
             lc rgb colour(i) lw 1.4 pt mark(i) ps 1.1 notitle, \
         for [i = 1:n] ARG1 index i-1 using 1:2 with linespoints dt dash(i) lw width(i) \
             pt mark(i) ps 1.1 lc rgb colour(i) title columnheader(1), \
         ARG1 index 0 using 1:2:(stringcolumn(5)) with labels noenhanced offset 0, 1.1 tc rgb "#444444" notitle
    unset output
}
