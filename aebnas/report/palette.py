"""Colours of all plots: the Okabe-Ito palette, distinguishable with colour blindness.

Without its yellow, which has too little contrast on white.
"""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    "#000000",
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
"""In the order in which lines are drawn."""
GREY = "#B0B0B0"
"""For reference lines and what is not on a front."""
