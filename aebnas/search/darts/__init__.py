"""Relaxed trainings in a search."""
