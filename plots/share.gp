# SPDX-License-Identifier: Apache-2.0
# share: per cent of the machine's limit, prefill on the left, decode on the right.
# ARG1, ARG2 data of the two panels: blocks of "x share", each after a line with its quoted title; "" for none.
# ARG3 output without suffix. ARG4, ARG5 kinds and colours of the left panel, ARG6, ARG7 of the right.
# ARG8 title.
kinds = ARG4
colours = ARG5
load ARG0[1:strlen(ARG0) - strlen("share.gp")]."style.gp"
set ylabel "per cent of the limit"
eval tokens
set xtics rotate by -40
set yrange [0:100<*]
set offsets graph 0.05, graph 0.05, 0, 0
do for [suffix in "png svg"] {
    eval suffix eq "png" ? png(1240, 640) : svg(1240, 640)
    set output ARG3.".".suffix
    set multiplot layout 1,2 title ARG8 noenhanced
    do for [panel = 1:2] {
        data = panel == 1 ? ARG1 : ARG2
        kinds = panel == 1 ? ARG4 : ARG6
        colours = panel == 1 ? ARG5 : ARG7
        set title panel == 1 ? "prefill" : "decode"
        set xlabel panel == 1 ? "prompt length (tokens)" : "context (tokens, mean over the test)"
        if (strlen(data)) {
            plot for [i = 1:words(kinds)] data index i-1 using 1:2 with linespoints dt dash(i) lw width(i) \
                     pt mark(i) ps 1.1 lc rgb colour(i) title columnheader(1)
        } else {
            set multiplot next
        }
    }
    unset multiplot
    unset output
}
