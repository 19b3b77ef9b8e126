"""Relaxed trainings as work of an evaluator."""
