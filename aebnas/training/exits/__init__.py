"""How early exits join a training."""
