# SPDX-License-Identifier: Apache-2.0
# parity: error of the residual stream after each layer, optimized against reference.
# ARG1 data: blocks of "layer NMSE", each after a line with its quoted title. ARG2 output without suffix.
# ARG3 kind ("ours" prefill, "peer" decode, "limit" prefill with own choice of experts) and ARG4 colour of each block. ARG5 title.
kinds = ARG3
colours = ARG4
load ARG0[1:strlen(ARG0) - strlen("parity.gp")]."style.gp"
set title ARG5
set xlabel "layer"
set ylabel "NMSE (squared error / squared reference)"
set logscale y
set format y "10^{%L}"
set xtics 0, 2
set xrange [-0.5:]
do for [suffix in "png svg"] {
    eval suffix eq "png" ? png(1080, 680) : svg(1080, 680)
    set termoption enhanced
    set output ARG2.".".suffix
    plot for [i = 1:words(kinds)] ARG1 index i-1 using 1:2 with linespoints dt dash(i) lw width(i) \
             pt (is_line(i) ? 0 : mark(i)) ps 0.9 lc rgb colour(i) title columnheader(1)
    unset output
}
