"""The compute of trainings in floating-point operations (FLOP)."""
