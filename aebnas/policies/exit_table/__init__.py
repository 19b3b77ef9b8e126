"""The ExitTable: the outputs of one network for N samples at E exits, and the cost to each."""
