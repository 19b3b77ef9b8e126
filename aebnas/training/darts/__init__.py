"""Training relaxed networks."""
