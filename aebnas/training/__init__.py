"""Training: one loop for supernets and single networks, what it minimises, and its settings."""
