"""Exit policies offline: the ExitTable, figures of policies on it, and searches for their thresholds."""
