"""What a Graph costs up to each of its exits, in units that stand in the names."""
