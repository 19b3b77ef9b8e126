"""Relaxed networks of input-adaptive DARTS, their expected costs, and their discretization."""
