"""Relaxed networks of input-adaptive DARTS, their costs, and their discretization."""
