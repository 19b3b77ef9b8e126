"""Temperatures, and policies with a goal or a promise about risk."""
