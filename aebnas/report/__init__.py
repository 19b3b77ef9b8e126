"""What a run shows of itself: front files, plots, the HTML report, tables, protocol and environment."""
