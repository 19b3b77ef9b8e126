"""Finding exit thresholds on an ExitTable."""
