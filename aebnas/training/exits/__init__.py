"""How early exits take part in a training."""
