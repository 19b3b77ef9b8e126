"""Costs of a Graph up to each of its exits, with units in the names."""
