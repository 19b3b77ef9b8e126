"""The ExitTable: what one network said about N samples at E exits, and the cost to each."""
