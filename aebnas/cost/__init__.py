"""What a Graph costs up to each of its exits, with units in the names."""
