"""A search: its plan (the checked specs), the loop, and the same search over several seeds."""
