# SPDX-License-Identifier: Apache-2.0
# throughput: tokens per second against a number of tokens.
# ARG1 data: blocks of "x median low high", each after a line with its quoted title. ARG2 output without suffix.
# ARG3 title. ARG4 label of x. ARG5 kind and ARG6 colour of each block.
kinds = ARG5
colours = ARG6
load ARG0[1:strlen(ARG0) - strlen("throughput.gp")]."style.gp"
n = words(kinds)
set title ARG3
set xlabel ARG4
set ylabel "tokens per second"
eval tokens
set yrange [0:*]
set offsets graph 0.03, graph 0.03, graph 0.05, 0
do for [suffix in "png svg"] {
    eval suffix eq "png" ? png(1080, 680) : svg(1080, 680)
    set output ARG2.".".suffix
    plot for [i = 1:n] ARG1 index i-1 using 1:2:3:4 with yerrorbars \
             lc rgb colour(i) lw (is_line(i) ? 0 : 1.4) pt (is_line(i) ? 0 : mark(i)) ps 1.1 notitle, \
         for [i = 1:n] ARG1 index i-1 using 1:2 with linespoints dt dash(i) lw width(i) \
             pt (is_line(i) ? 0 : mark(i)) ps (is_line(i) ? 0 : 1.1) lc rgb colour(i) title columnheader(1)
    unset output
}
