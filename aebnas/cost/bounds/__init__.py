"""Bounds of costs over whole spaces, by dynamic programming."""
