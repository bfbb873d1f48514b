# SPDX-License-Identifier: Apache-2.0
# style: what all figures share. Okabe and Ito's palette, which colour-blind readers can tell apart.
# A series has a colour (1: first model, 2: second, ...) and a kind (ours, peer, peer2 ..., limit, off).
array palette[6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
set encoding utf8
set border 3 lc rgb "#444444"
set tics nomirror out
set grid xtics ytics lc rgb "#dddddd" lt 1 lw 1
# The key sits below the x label; its empty first line keeps the two apart.
set key outside bottom center horizontal maxcols 2 samplen 4 spacing 1.25 height 1 noenhanced
set title noenhanced
# Token counts: logarithmic, a tick at every power of two.
tokens = "set logscale x 2; set for [k = 0:20] xtics add (2**k)"
colour(i) = palette[(int(word(colours, i)) - 1) % 6 + 1]
kind(i) = word(kinds, i)
# Ours: solid with discs. Peers (peer, peer2, ...): dashed with open triangles, squares ... Limits: dotted, no marks.
is_peer(i) = kind(i)[1:4] eq "peer"
nth(i) = strlen(kind(i)) > 4 ? int(kind(i)[5:5]) : 1
dash(i) = kind(i) eq "ours" ? 1 : is_peer(i) ? 1 + nth(i) + (nth(i) > 1) : 3
mark(i) = kind(i) eq "ours" ? 7 : is_peer(i) ? 6 + 2 * nth(i) : 8
width(i) = kind(i) eq "ours" ? 2.2 : 1.6
is_line(i) = kind(i) eq "limit" || kind(i) eq "off"
png(w, h) = sprintf("set terminal pngcairo noenhanced size %d,%d font 'Sans,11' background 'white'", w, h)
svg(w, h) = sprintf("set terminal svg noenhanced size %d,%d dynamic font 'Sans,14' background 'white'", w, h)
