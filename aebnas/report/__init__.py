"""Reports on runs: plots, the HTML page, tables, live progress, comparisons."""
