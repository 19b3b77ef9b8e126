"""Relaxed trainings as jobs of an evaluator."""
