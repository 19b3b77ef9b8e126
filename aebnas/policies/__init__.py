"""What is found offline about exit policies: the ExitTable, its metrics, and thresholds chosen on it."""
